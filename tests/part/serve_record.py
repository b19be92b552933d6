#!/usr/bin/env python3
"""tape-record records from tape-replay serve what that archive holds: every frame with its bytes, fragments
and odd lengths too, in the order of each connection, on both routes of one session, at any speed, from hot
and from packed archives, and an acknowledged stream of another route stays silent."""
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rig  # noqa: E402
import served  # noqa: E402
import stranger  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

STREAMS = ["btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@markPrice@1s"]


def make_archive(scratch):
    """Recorded over two routes, every fifth message in fragments."""
    lines = rig.generate("--count", 4000, "--rate", 2000, "--symbols", "btcusdt",
                         "--streams", "aggTrade,depth@100ms,bookTicker,markPrice@1s")
    archive = scratch / "first"
    with rig.Exchange(scratch / "log", "--lines", rig.write_lines(scratch / "lines.txt", lines),
                      "--fragment", 5) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, archive, *STREAMS) as recorder:
            exchange.wait_for("all sent", 2)
            recorder.stop(signal.SIGTERM)
        exchange.stop()
    return archive


def record(scratch, server, name, streams, wanted, *words):
    """A second archive, up to so many data frames."""
    archive = scratch / name
    if "--url" not in words:
        words = ("--url", server.url, *words)
    with rig.Recorder(scratch, *words, archive, *streams) as recorder:
        server.wait_state(lambda state: state["phase"] == "ended", "the end of the replay")
        recorder.wait_until(lambda: sum(map(len, served.data_frames(archive).values())) >= wanted
                            if (archive / "segments").is_dir() else False, "%d frames in %s" % (wanted, name))
        recorder.stop(signal.SIGTERM)
    return archive


def compare(first, second, what):
    """Connections are the same when their first data frame behind the acknowledgement is."""
    left, right = served.data_frames(first), served.data_frames(second)
    expect_equal(sorted(len(frames) for frames in right.values()),
                 sorted(len(frames) for frames in left.values()), "%s: frames by connection" % what)
    for frames in left.values():
        twin = next((other for other in right.values() if other[1] == frames[1]), None)
        expect(twin is not None, "%s: no connection began with %r" % (what, frames[1][:80]))
        for i, (one, other) in enumerate(zip(frames, twin)):
            expect(one == other, "%s: frame %d is %r, not %r" % (what, i, other[:120], one[:120]))


def both_routes(scratch, archive):
    frames = served.data_frames(archive)
    expect_equal(len(frames), 2, "connections of the first archive")
    fragments = sum(1 for of in frames.values() for frame in of if not frame[0] & 0x80)
    expect(fragments > 100, "there are fragments: %d" % fragments)
    wanted = sum(map(len, frames.values()))
    digests = set()
    for speed in ("max", "10", "3"):
        with served.Server("--speed", speed, "--clients", 2, "--at-end", "hold", "--digest", archive) as server:
            again = record(scratch, server, "again-" + speed, STREAMS, wanted)
            said = server.stop()
        compare(archive, again, "speed " + speed)
        digests.add(said.partition("sha256 ")[2][:64])
    expect(len(digests) == 1 and len(digests.pop()) == 64, "one digest at any speed")
    rig.call("tape-record", "--pack", archive)
    with served.Server("--speed", "max", "--clients", 2, "--at-end", "hold", archive) as server:
        again = record(scratch, server, "packed", STREAMS, wanted)
    compare(archive, again, "packed")


def over_tls(scratch, archive):
    rig.make_certificates(scratch)
    wanted = sum(map(len, served.data_frames(archive).values()))
    with served.Server("--speed", "max", "--clients", 2, "--at-end", "hold", archive, tls=scratch) as server:
        again = record(scratch, server, "tls", STREAMS, wanted, "--ca", scratch / "ca.pem")
    compare(archive, again, "wss")


def without_wrappers(scratch, archive):
    """On /ws what the connection had asked for names its streams: one in the URL, or several of which only one is of
    a symbol and kind."""
    lines = rig.play(archive).splitlines()
    for path, streams, asked in (("/public/ws/btcusdt@depth@100ms", (), ("depth@100ms",)),
                                 ("/market/ws", ("btcusdt@aggTrade", "btcusdt@markPrice@1s"),
                                  ("aggTrade", "markPrice@1s"))):
        names = [b'{"stream":"btcusdt@%s"' % name.encode() for name in asked]
        wanted = sum(line.startswith(tuple(names)) for line in lines) + (1 if streams else 0)
        expect(wanted > 10, "messages of %s: %d" % (asked, wanted))
        made = [archive]
        for again in ("raw-%s" % asked[0], "raw-again-%s" % asked[0]):
            with served.Server("--speed", "max", "--at-end", "hold", made[-1]) as server:
                made.append(record(scratch, server, again, streams, wanted, "--url", server.url + path))
        compare(made[1], made[2], "without wrappers, %s" % path)


# ---- frames that few venues send ----


def wrapped(data):
    return b'{"stream":"btcusdt@trade","data":' + data + b"}"


def odd_frames(scratch):
    """Recorded from a server that says what no library would, and sent again byte for byte."""
    frame, message = stranger.frame, wrapped(b'{"e":"trade","s":"BTCUSDT","t":1}')
    wire = [
        [frame(1, wrapped(b"1"))],
        [frame(1, b"", fin=0), frame(0, b"", fin=0), frame(0, message)],
        [frame(1, message[:3], fin=0), frame(0, message[3:4], fin=0), frame(9, b"ping"),
         frame(0, message[4:], fin=0), frame(0, b"")],
        [frame(1, wrapped(b'"' + b"x" * 90 + b'"'))],  # lengths around 126 and 65536
        [frame(1, wrapped(b'"' + b"x" * 91 + b'"'))],
        [frame(1, wrapped(b'"' + b"x" * 65499 + b'"'))],
        [frame(1, wrapped(b'"' + b"x" * 65500 + b'"'))],
        [frame(1, wrapped(b'"' + b"x" * 700000 + b'"'))],
        [frame(1, wrapped("\"\u5e01\U0001f600\"".encode()))],
        [frame(1, b' {"data" : [ ] , "stream" : "btcusdt@trade"} ')],
        [frame(2, wrapped(b"2"))],
        [frame(1, wrapped(b"3"))],
    ]

    def script(peer, _):
        peer.upgrade()
        peer.read_frame()
        peer.send(frame(1, b'{"result":null,"id":1}') + b"".join(b"".join(of) for of in wire))
        peer.send(stranger.close(1000))
        peer.read_to_end()

    with stranger.Stranger(script) as server:
        archive, _ = stranger.record(scratch, server, streams=("btcusdt@trade",))
    (kept,) = served.data_frames(archive).values()
    expect_equal(kept[1:], [one for of in wire for one in of if one[0] & 15 != 9], "what was recorded")
    wanted = [one for one in kept[1:] if one[0] & 15 != 2]  # a binary message names no stream
    for words in ((), ("--speed", "max")):
        with served.Server(*words, archive) as server:
            client = served.Client(server, "/public/stream?streams=btcusdt@trade")
            found = []
            try:
                while True:
                    found.append(client.frame()[3])
            except served.Gone as end:
                expect_equal((end.code, end.reason), (1000, "end of replay"), "the end")
            expect(found == wanted, "odd frames differ: %r" % [one[:60] for one in found])
            client = served.Client(server, "/ws/btcusdt@trade")
            got = client.messages()
            expect_equal([one[:20] for one in got[:5]],
                         [b"1", b'{"e":"trade","s":"BT', b'{"e":"trade","s":"BT', b'"' + b"x" * 19, b'"' + b"x" * 19],
                         "without the wrapper")
            expect_equal(got[9:], [b"[ ]", b"3"], "without the wrapper, behind")
            expect_equal([len(one) for one in got[3:9]], [92, 93, 65501, 65502, 700002, 9], "their lengths")
            server.wait_for("messages without a wrapper, whose stream their content does not tell, are not sent")


def silent_streams(scratch, archive):
    """aggTrade without a route, and depth on the other one: acknowledged, and nothing comes."""
    with served.Server("--speed", "max", "--at-end", "hold", archive) as server:
        for target, wanted in (("/ws", 0), ("/public/ws", 0), ("/market/ws", 1)):
            client = served.Client(server, target + "?session=a" + target.replace("/", "."))
            expect_equal(client.ask(method="SUBSCRIBE", params=["btcusdt@aggTrade"], id=7),
                         {"result": None, "id": 7}, "acknowledgement on " + target)
            expect_equal(client.ask(method="LIST_SUBSCRIPTIONS", id=8),
                         {"result": ["btcusdt@aggTrade"], "id": 8}, "list on " + target)
            server.wait_state(lambda state: state["phase"] == "ended", "the end", "a" + target.replace("/", "."))
            if wanted:
                expect(b'"aggTrade"' in client.message()[0], "messages on " + target)
            else:
                expect(client.quiet(), "silence on " + target)
            client.close()
    with served.Server("--speed", "max", "--unrouted", "--at-end", "hold", archive) as server:
        client = served.Client(server, "/ws/btcusdt@aggTrade")
        expect(b'"aggTrade"' in client.message()[0], "--unrouted sends it")
        client.close()


def main(scratch):
    archive = make_archive(scratch)
    both_routes(scratch, archive)
    over_tls(scratch, archive)
    silent_streams(scratch, archive)
    without_wrappers(scratch, archive)
    odd_frames(scratch)


rig.run_main(main)
