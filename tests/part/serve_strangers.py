#!/usr/bin/env python3
"""What serving meets beside the usual: messages in fragments, of 16 MiB, binary, of strange forms; archives with
nothing in them, of other venues, of other times; sessions of strange names; many who never read."""
import pathlib
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import maker  # noqa: E402
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

TRADE = "btcusdt@trade"
PLAIN, COMBINED = "/ws/" + TRADE, "/stream?streams=" + TRADE
FRAME_IN = 1
READERS = 48
MEMORY_MAX = 160 << 20  # of so many that never read: the archive has more for each than that


def wrapped(data):
    return b'{"stream":"btcusdt@trade","data":' + data + b"}"


def make(path, bodies):
    """An archive of received frames, a millisecond apart."""
    segment = maker.SegmentMaker(1)
    for i, body in enumerate(bodies):
        segment.add([(maker.START_NS + i * 1000000, FRAME_IN, 0, 1, body)])
    return maker.write_archive(path, {1: segment.seal().data})


def frames_of(archive, target):
    """(opcode, fin, payload) of each frame a client is sent, and what the server said."""
    with served.Server("--speed", "max", "--gather", "20ms", archive) as server:
        client, found = served.Client(server, target), []
        try:
            while True:
                found.append(client.frame()[:3])
        except served.Gone as end:
            expect_equal(end.code, 1000, "the end of %s" % archive)
        return found, server.stop()


def fragments(scratch):
    one, two = wrapped(b'{"t":1}'), wrapped(b'{"t":2}')
    archive = make(scratch / "fragments", [
        maker.frame(one[:10], 1, False), maker.frame(b"hi", 9), maker.frame(one[10:30], 0, False),
        maker.frame(one[30:], 0), maker.frame(two)])
    expect_equal(frames_of(archive, COMBINED)[0],
                 [(1, 0, one[:10]), (0, 0, one[10:30]), (0, 1, one[30:]), (1, 1, two)], "fragments as they were")
    expect_equal(frames_of(archive, PLAIN)[0], [(1, 1, b'{"t":1}'), (1, 1, b'{"t":2}')], "the data of fragments")


def forms(scratch):
    """The data's very bytes, wherever it stands; what is no wrapper as it is."""
    cases = [(b'{"data":{"a":1},"stream":"btcusdt@trade"}', b'{"a":1}'), (wrapped(b'{"a":"}}"}'), b'{"a":"}}"}'),
             (b' {"stream" : "btcusdt@trade" , "data" : [1,2] } ', b"[1,2]"), (wrapped(b'"s"'), b'"s"'),
             (b'{"stream":"btcusdt\\u0040trade","data":{"u":1}}', b'{"u":1}'), (wrapped(b"null"), b"null"),
             (b'{"stream":"btcusdt@trade","x":{"data":1},"data":{}}', b"{}"), (wrapped(b'{"x":"\xff"}'), b'{"x":"\xff"}'),
             (b'{"stream":"btcusdt@trade"}', b'{"stream":"btcusdt@trade"}')]
    archive = make(scratch / "forms", [maker.frame(b""), maker.frame(b"\x00\x01", 2)] +
                   [maker.frame(payload) for payload, _ in cases])
    found, said = frames_of(archive, PLAIN)
    expect_equal([payload for _, _, payload in found], [data for _, data in cases], "what is sent")
    expect(said.count("whose stream their content does not tell, are not sent (the first is record 0)") == 1, said)


def sixteen_mebibytes(scratch):
    """The longest message there may be, as it was and without its wrapper; others go on."""
    data = b'{"pad":"' + b"x" * ((16 << 20) - 100) + b'"}'
    archive = make(scratch / "long", [maker.frame(wrapped(p)) for p in (b'{"t":1}', data, b'{"t":2}')])
    expect(frames_of(archive, PLAIN)[0] == [(1, 1, b'{"t":1}'), (1, 1, data), (1, 1, b'{"t":2}')], "without the wrapper")
    expect(frames_of(archive, COMBINED)[0] == [(1, 1, wrapped(p)) for p in (b'{"t":1}', data, b'{"t":2}')], "as it was")


def nothing(scratch):
    rig.call("tape-record", "--import", rig.write_lines(scratch / "none.txt", []), scratch / "none")
    other = [b'1618677786799668000 {"topic":"trade.BCHUSDT","data":[{"symbol":"BCHUSDT","price":"1053.90"}]}']
    rig.call("tape-record", "--import", rig.write_lines(scratch / "other.txt", other), scratch / "other")
    for archive, words in ((scratch / "none", "0 messages"), (maker.write_archive(scratch / "bare", {}), "0 messages"),
                           (scratch / "other", "whose stream their content does not tell")):
        found, said = frames_of(archive, PLAIN)
        expect_equal(found, [], "of nothing")
        expect(words in said, said)


def apart(scratch, lines):
    """Archives that share no time are told to; not where nothing is compared."""
    late = [b"%d %s" % (int(line[:19]) + 3600 * 10**9, line[20:]) for line in lines]
    first, second = served.import_lines(scratch, "first", lines), served.import_lines(scratch, "second", late)
    for words, count in (((first, second), 1), ((first, first), 0), (("--duplicates", "keep", first, second), 0)):
        with served.Server(*words) as server:
            server.control()
            expect_equal(server.stop().count("the archives share no time: nothing can be compared"), count, "%s" % (words,))


def names(archive):
    with served.Server("--paused", archive) as server:
        for name in (".", "..", "%2e%2e", "", "a%2fb", "a%00b", "a%0d%0ab", "x" * 65, "%e4"):
            client = served.Client(server, "/ws?session=" + name)
            expect_equal(client.status, 400, "session " + name)
        for name in ("x" * 64, "a..b", "__proto__"):
            client = served.Client(server, "/ws/%s?session=%s" % (TRADE, name))
            expect_equal((client.status, server.control(name)["session"]), (101, name), "session " + name)
        for session, status in (("x" * 65, 404), ("..", 404), ("%", 404), ("", 404), ("x" * 64, 503)):
            found = server.http("/api/v3/depth?symbol=BTCUSDT&session=" + session)
            expect_equal(found[0], status, "the book of session %r: %r" % (session, found))


def memory_of(server):
    status = pathlib.Path("/proc/%d/status" % server.process.pid).read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


def never_read(scratch, lines):
    """Each with a queue of its own, as no two asked for the same; one that reads gets all of it."""
    lines = [line[:-2] + b',"pad":"' + b"x" * 2000 + b'"}}' for line in lines]
    archive = served.import_lines(scratch, "padded", lines)
    wanted = served.payloads(lines, [TRADE])
    with served.Server("--unrouted", archive) as server:
        held = [served.Client(server, "%s/x%d@y&session=held&clients=%d&speed=max" % (COMBINED, i, READERS),
                              receive_bytes=4096) for i in range(READERS)]
        before, since = -1, time.monotonic()
        while time.monotonic() - since < 1:  # until it stands still
            now = server.control("held")["sent_messages"]
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.05)
        expect(0 < before < len(wanted), "they hold it up: %d" % before)
        expect(served.Client(server, COMBINED + "&speed=max").messages() == wanted, "one that reads")
        peak = memory_of(server)
        if b"__asan_init" not in (rig.BUILD / "tape-replay").read_bytes():
            expect(peak < MEMORY_MAX, "the server took %d MiB" % (peak >> 20))
        for client in held:
            client.close()


def notices_unread(archive):
    """Whoever started it never reads what it says: it serves on, and says so when somebody does."""
    words = [str(rig.BUILD / "tape-replay"), "serve", "--listen", "127.0.0.1:0", "--speed", "max", "--gather", "1ms", archive]
    with subprocess.Popen([*map(str, words)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0) as server:
        try:
            server.port = int(server.stderr.readline().rsplit(b":", 1)[1])
            server.tls = None
            for i in range(80):  # some 1,000 bytes each, and more than a pipe holds
                names = "/".join("%d@%s" % (j, "z" * 90) for j in range(9))
                client = served.Client(server, "/ws/%s?speed=max" % names)
                client.messages()
                expect_equal(client.gone.code, 1000, "client %d" % i)
            server.terminate()
            said = server.stderr.read().decode()
            expect_equal(server.wait(rig.PATIENCE_S), 0, "its end")
        finally:
            server.kill()
    lines = said.splitlines()
    expect(all(line.startswith("tape-replay: ") for line in lines), "whole lines")
    expect(40000 < len(said) < 80000, "a pipe full: %d" % len(said))


def main(scratch):
    lines = rig.generate("--count", 12000, "--rate", 2000, "--symbols", "btcusdt")
    fragments(scratch)
    forms(scratch)
    sixteen_mebibytes(scratch)
    nothing(scratch)
    apart(scratch, lines[:500])
    archive = served.import_lines(scratch, "tape", lines[:500])
    names(archive)
    notices_unread(archive)
    never_read(scratch, lines)


rig.run_main(main)
