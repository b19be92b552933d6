#!/usr/bin/env python3
"""How serving ends, and what it says: command lines and files that cannot be meant, a port in use, ranges with
nothing in them, --at-end, signals, damage in the range, lateness asked about, receipts, clients that go, a
recording that is still growing, several archives."""
import json
import pathlib
import signal
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

TRADES = "btcusdt@trade"
TARGET = "/public/stream?streams=" + TRADES


def says(words, code, said):
    """The command ends at once, with one line."""
    done = subprocess.run([str(rig.BUILD / "tape-replay"), "serve", *map(str, words)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=rig.PATIENCE_S, check=False)
    lines = done.stderr.decode().splitlines()
    expect_equal(done.returncode, code, "%r: %r" % (words, lines))
    expect(len(lines) == 1 and lines[0].startswith("tape-replay: "), "one line: %r" % lines)
    expect_equal(lines[0][13:] if said[-1:] != "*" else lines[0][13:13 + len(said) - 1], said.rstrip("*"), "what it says")


def refusals(scratch, archive, lines):
    times = [int(line.split(b" ", 1)[0]) for line in lines]
    busy = socket.create_server(("127.0.0.1", 0))
    port = busy.getsockname()[1]
    says(["--listen", "127.0.0.1:%d" % port, archive], 1, "listen on 127.0.0.1:%d: another program listens there already: choose another port, or 0 "
         "for any free one" % port)
    busy.close()
    says([scratch / "nothing"], 1, "open %s: open the directory: No such file or directory" % (scratch / "nothing"))
    says(["--cert", "x.pem", archive], 2, "--cert and --key go together")
    says(["--cert", scratch / "ca.pem", "--key", scratch / "nokey.pem", archive], 1,
         'key file "%s": No such file or directory' % (scratch / "nokey.pem"))
    says(["--control", "127.0.0.1:0", archive], 2,
         "serve has no option --control*")
    says(["--venue", "spotty", archive], 2, "unknown venue \"spotty\"; known: coinm (binance-coinm), spot (binance-spot), usdm (binance-usdm)")
    says(["--follow", archive, archive], 2, "--follow goes with one archive")
    says(["--from", times[-1] + 1, archive], 2, "from is after the last message, *")
    says(["--to", times[0], archive], 2, "to is not after the first message, *")
    says(["--from", times[9], "--to", times[9], archive], 2, "from is not before to: nothing lies between")
    says(["--receipt", scratch / "no/where", archive], 1, "receipt %s: No such file or directory" % (scratch / "no/where"))
    says(["--faults", scratch / "nofaults", archive], 2,
         'cannot read the file of faults "%s": No such file or directory' % (scratch / "nofaults"))


def at_end(archive, lines):
    wanted = served.payloads(lines, [TRADES])
    with served.Server("--speed", "max", "--at-end", "exit", archive) as server:
        client = served.Client(server, TARGET)
        expect_equal(client.messages(), wanted, "exit: all of it")
        expect_equal((client.gone.code, client.gone.reason), (1000, "end of replay"), "exit: the close")
        server.wait(0)
    with served.Server("--speed", "max", archive) as server:
        for _ in range(2):  # the shared session begins anew when all have left
            client = served.Client(server, TARGET)
            expect_equal(client.messages(), wanted, "close: all of it")
            expect_equal(client.gone.code, 1000, "close")
        expect_equal(server.stop().count("messages in"), 2, "a receipt for each")


def signals(archive):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with served.Server("--paused", archive) as server:
            client = served.Client(server, TARGET)
            server.wait_state(lambda state: state["phase"] == "paused", "the start")
            server.process.send_signal(number)
            client.messages()
            expect_equal((client.gone.code, client.gone.reason), (1001, "the server ends"), "close")
            expect("ended early: nobody is there any more" in server.wait(0), "the receipt")


def who_may(archive):
    """An address that others reach is told to be one; such a line is none of loopback's."""
    words = "tape-replay: whoever reaches this address may watch and command"
    for listen, count in (("0.0.0.0:0", 1), ("127.0.0.2:0", 0), (":0", 0)):
        with subprocess.Popen([str(rig.BUILD / "tape-replay"), "serve", "--listen", listen, str(archive)],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
            said = server.stderr.readline()
            server.terminate()
            said += server.stderr.read()
            expect_equal((server.wait(), said.count(words)), (0, count), "%s: %s" % (listen, said))


def receipts(scratch, archive, lines):
    wanted = served.payloads(lines, [TRADES])
    path = scratch / "receipts.json"
    digests = set()
    for words in (("--speed", "max"), ("--speed", "50"), ("--speed", "max", "--json")):
        with served.Server("--digest", "--receipt", path, "--at-end", "exit", *words, archive) as server:
            expect_equal(len(served.Client(server, TARGET).messages()), len(wanted), "messages")
            said = server.wait(0)
        (line,) = path.read_text(encoding="utf-8").splitlines()
        receipt = json.loads(line)
        expect_equal([receipt[key] for key in ("session", "end", "sent_messages", "sent_frames", "clients_most",
                                               "sent_away", "cuts", "damages")],
                     ["main", "archive", len(wanted), len(wanted), 1, 0, 0, []], "receipt")
        frames = sum(len(p) + (2 if len(p) < 126 else 4) for p in wanted)
        expect_equal(receipt["sent_bytes"], frames, "bytes on the wire")
        digests.add(receipt["sha256"])
        expect((line in said) == ("--json" in words), "the JSON among the notices")
        expect(("sha256 " + receipt["sha256"] in said) != ("--json" in words), "or the line for people")
    expect_equal(len(digests), 1, "one digest at any speed")


def receipts_go_on(scratch, archive, lines):
    """A seek behind the end: whoever is there then, the next end tells what was sent since the last receipt."""
    wanted = served.payloads(lines, [TRADES])
    time = next(int(l.split(b" ", 1)[0]) for l in lines if wanted[-7] in l)
    path = scratch / "each.json"

    def told():
        return [(r["end"], r["sent_messages"], r["clients_most"], r["sha256"])
                for r in map(json.loads, path.read_text(encoding="utf-8").splitlines())]

    def told_is(count, messages):
        server.wait_for("session main: %d messages in %d frames, .* to 1 client in " % (messages, messages))
        server.control()  # it is written behind the line
        expect_equal(len(told()), count, "receipts in the file")

    for how in ("close", "hold"):
        with served.Server("--digest", "--speed", "max", "--at-end", how, "--receipt", path, archive) as server:
            client = served.Client(server, TARGET)
            expect_equal(client.messages(len(wanted)), wanted, "all of it")
            if how == "close":
                expect_equal(client.messages(), [], "nothing more")
                server.wait_state(lambda state: state["clients"] == 0, "nobody")
            server.wait_state(lambda state: state["phase"] == "ended", "the end")
            told_is(1, len(wanted))
            expect_equal(server.control(do="speed", speed="max")["phase"], "ended", "other commands move nothing")
            state = server.control(do="seek", to=str(time))
            if how == "close":
                expect_equal((state["phase"], state["clients"]), ("waiting", 0), "it waits for a client")
                client = served.Client(server, TARGET)
            expect_equal(client.messages(7), wanted[-7:], "from the time sought")
            told_is(2, 7)
            server.stop()
        expect_equal([one[:3] for one in told()], [("archive", len(wanted), 1), ("archive", 7, 1)], how)
        expect(told()[0][3] != told()[1][3], "a digest of each")
    with served.Server("--speed", "max", archive) as server:
        served.Client(server, TARGET).messages()
        server.wait_state(lambda state: state["clients"] == 0, "nobody")
        server.control(do="seek", to=str(time))
        expect_equal(server.stop().count("messages in"), 1, "nobody came: nothing to tell")


def lateness(archive):
    with served.Server("--speed", "100", "--max-late", "1ns", "--at-end", "exit", archive) as server:
        served.Client(server, TARGET).messages()
        expect("--max-late" in server.wait(1) or "late" in server.text(), "it says so")
    with served.Server("--speed", "100", "--max-late", "1h", "--at-end", "exit", archive) as server:
        served.Client(server, TARGET).messages()
        server.wait(0)


def damage(scratch, lines):
    """Blocks in the middle are bad: what is before and behind is sent, the gap told, and the end is 3."""
    archive = served.import_lines(scratch, "damaged", lines, "--no-pack")
    segment = next((archive / "segments").rglob("*.hot"))
    data = bytearray(segment.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 64] = bytes(byte ^ 0x55 for byte in data[middle:middle + 64])
    segment.write_bytes(data)
    left = [l for l in rig.play(archive, "--format", "raw", wanted=3).splitlines() if l.startswith(b'{"stream":"btcusdt@trade"')]
    wanted = served.payloads(lines, [TRADES])
    expect(100 < len(left) < len(wanted), "damage takes a part: %d of %d" % (len(left), len(wanted)))
    with served.Server("--speed", "max", archive) as server:
        client = served.Client(server, TARGET)
        expect_equal(client.messages(), left, "what is left of it")
        line = server.wait_for("session main: corrupt, passed over: ")
        state = server.control()
        expect_equal([d["verdict"] for d in state["damages"]], ["corrupt"], "the state tells it")
        expect(state["damages"][0]["text"] in line, "the same words: %r" % line)
        expect("; 1 damaged place passed over" in server.stop(3), "the receipt")


def clients_go(archive):
    """Gone without a word, in the middle: the others go on, and a private session is over."""
    with served.Server("--speed", "max", archive) as server:
        gone = served.Client(server, TARGET + "&speed=0.01")
        name = server.wait_state(lambda s: s["phase"] == "playing", "the start", "private-1")["session"]
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        server.wait_for("session %s: .*ended early" % name)
        expect(len(served.Client(server, TARGET).messages()) > 100, "others are served")
        server.stop()


def following(scratch):
    """History, then what is being recorded, to its end in order."""
    lines = rig.generate("--count", 3000, "--rate", 1000, "--symbols", "btcusdt", "--streams", "trade")
    archive = scratch / "live"
    with rig.Exchange(scratch / "livelog", "--lines", rig.write_lines(scratch / "live.txt", lines),
                      "--rate", 1500) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, archive, TRADES) as recorder:
            recorder.wait_until(lambda: (archive / "segments").is_dir() and
                                len(rig.play(archive, wanted=None).splitlines()) > 300, "some history")
            with served.Server("--follow", archive) as server:
                client = served.Client(server, TARGET)
                early = client.messages(200)
                exchange.wait_for("all sent")
                rest = client.messages(len(lines) - 200)
                recorder.stop(signal.SIGTERM)
                expect_equal(client.messages(), [], "nothing more")
                expect_equal(client.gone.code, 1000, "the recorder ended in order")
                server.stop()
        exchange.stop()
    expect_equal(early + rest, served.payloads(lines), "history and what followed")


def following_a_new_connection(scratch):
    """What is of a connection that came after the server's start, without a wrapper, has its stream's name, too."""
    depth = "btcusdt@depth@100ms"
    generated = rig.generate("--count", 400, "--rate", 1000, "--symbols", "btcusdt", "--streams", "depth@100ms")
    lines = [line.partition(b'"data":')[2][:-1] for line in served.payloads(generated)]
    archive = scratch / "redialled"
    with rig.Exchange(scratch / "redialledlog", "--lines",
                      rig.write_lines(scratch / "redialled.txt", [b"1 " + line for line in lines]), "--all",
                      "--rate", 400, "--cut-after", "300") as exchange:
        with rig.Recorder(scratch, "--url", exchange.url + "/public/ws", archive, depth) as recorder:
            recorder.wait_until(lambda: (archive / "segments").is_dir() and
                                len(rig.play(archive, wanted=None).splitlines()) > 20, "some history")
            with served.Server("--follow", archive) as server:
                client = served.Client(server, "/public/ws/" + depth)
                got = client.messages(50)
                while got[-1] != lines[-1]:
                    got += client.messages(1)
                recorder.stop(signal.SIGTERM)
                server.stop()
        exchange.stop()
    recorded = [line for line in rig.play(archive).splitlines() if b"depthUpdate" in line]
    expect(len(recorded) > 350, "messages of both connections: %d" % len(recorded))
    expect_equal(got, recorded, "what was recorded")


def several(scratch, lines):
    """Two recordings of one feed, each with a hole: together all of it, once."""
    one = served.import_lines(scratch, "one", lines[:2000] + lines[2500:])
    two = served.import_lines(scratch, "two", lines[1500:])
    streams = ["btcusdt@trade", "btcusdt@aggTrade", "btcusdt@bookTicker"]
    with served.Server("--speed", "max", "--unrouted", one, two) as server:
        found = served.Client(server, "/stream?streams=" + "/".join(streams)).messages()
        expect_equal(len(found), len(served.payloads(lines, streams)), "messages of both")
        expect_equal(found, served.payloads(lines, streams), "each once, in order")


def pings(archive):
    """Sent as often as asked for, while nothing else is."""
    with served.Server("--paused", "--ping", "30ms", archive) as server:
        client = served.Client(server, TARGET)
        seen = set()
        for _ in range(3):
            opcode, fin, payload, _ = client.any_frame()
            expect_equal((opcode, fin), (served.PING, 1), "a ping")
            client.send(payload, served.PONG)
            seen.add(payload)
        expect_equal(len(seen), 3, "each with a payload of its own")
        expect_equal(server.control()["clients"], 1, "it stays connected")


def no_venue(scratch, lines):
    path = rig.write_lines(scratch / "plain.txt", lines)
    rig.call("tape-record", "--import", path, scratch / "plain")
    with served.Server("--speed", "max", scratch / "plain") as server:
        server.wait_for("serving .* as no venue that is known at ws://")
        expect("does not say of which venue" in server.text(), "it is told")
        found = served.Client(server, "/market/ws/" + TRADES).messages()
        expect_equal(found, [served.inner(p) for p in served.payloads(lines, [TRADES])], "every path has all")
    with served.Server("--speed", "max", "--venue", "usdm", "--at-end", "hold", scratch / "plain") as server:
        client = served.Client(server, "/market/ws/" + TRADES)
        server.wait_state(lambda state: state["phase"] == "ended", "the end")
        expect(client.quiet(), "with a venue named, its routes hold")


def main(scratch):
    rig.make_certificates(scratch)
    lines = rig.generate("--count", 6000, "--rate", 2000, "--symbols", "btcusdt")
    archive = served.import_lines(scratch, "tape", lines)
    refusals(scratch, archive, lines)
    at_end(archive, lines)
    signals(archive)
    who_may(archive)
    receipts(scratch, archive, lines)
    receipts_go_on(scratch, archive, lines)
    lateness(archive)
    damage(scratch, lines * 1)
    clients_go(archive)
    following(scratch)
    following_a_new_connection(scratch)
    several(scratch, lines)
    no_venue(scratch, lines)
    pings(archive)


rig.run_main(main)
