#!/usr/bin/python3
"""tape-replay serve --faults, to an outside client: connections end where they were recorded to end, with the
venue's code, with a close frame without one, or without a frame; every message comes, over as many connections;
injected faults come as play gives them, and injected cuts with their code; of two connections at a time, the
end of one concerns its own client."""
import asyncio
import json
import pathlib
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rig  # noqa: E402
import served  # noqa: E402
import stranger  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

try:
    import websockets
except ImportError as error:
    rig.skip("python3-websockets is not there (%s)" % error)

STREAM = "btcusdt@trade"
# how the venue ends a connection, and what a client is told of it
ENDS = ((stranger.close(1001, b"going away"), 1001), ("reset", None), (stranger.frame(stranger.CLOSE), 1005),
        ("end", None), (stranger.close(4003), 4003), (stranger.close(1000), 1000), ("stopped", 1000))
COUNT = 40


def payload(connection, number):
    return b'{"stream":"%s","data":{"e":"trade","s":"BTCUSDT","t":%d}}' % (STREAM.encode(), connection * 1000 + number)


def script(peer, number):
    peer.upgrade()
    peer.read_frame()
    peer.send(stranger.frame(1, b'{"result":null,"id":1}'))
    for i in range(COUNT):
        peer.send(stranger.frame(1, payload(number, i)))
    end = ENDS[number - 1][0]
    if end == "reset":
        # the pong says that all has arrived: a reset takes what is on the way with it
        peer.send(stranger.frame(stranger.PING, b"all?"))
        while peer.read_frame() != (stranger.PONG, b"all?"):
            pass
        peer.reset()
    elif end != "end":
        peer.send(b"" if end == "stopped" else end)
        peer.read_to_end()


def record_ends(scratch):
    """One archive whose connections end in all these ways, the last one because the recorder was stopped."""
    with stranger.Stranger(script, connections=len(ENDS)) as server:
        def all_came(recorder):
            recorder.wait_until(lambda: server_has(recorder), "the last connection's messages")

        def server_has(recorder):
            archives = list(scratch.glob("case-*/tape"))
            return archives and (archives[0] / "segments").is_dir() and \
                sum(map(len, served.data_frames(archives[0]).values())) >= (COUNT + 1) * len(ENDS)

        archive, _ = stranger.record(scratch, server, streams=(STREAM,), until=all_came)
    return archive


async def listen(url):
    """The messages of one connection, and the code it ended with; None: without a close frame."""
    found = []
    async with websockets.connect(url, max_queue=None) as client:
        try:
            while True:
                found.append(await asyncio.wait_for(client.recv(), rig.PATIENCE_S))
        except websockets.ConnectionClosed as end:
            return found, end.rcvd.code if end.rcvd else None


def url_of(server, query=""):
    return "%s/stream?streams=%s%s" % (server.url, STREAM, query)


def recorded_ends(archive):
    causes = [event["cause"] for event in rig.records_of(archive, "connection_close")]
    expect_equal(causes, ["peer_close", "reset", "peer_close", "peer_eof", "peer_close", "peer_close", "shutdown"],
                 "the ends that were recorded")
    for speed in ("max", "20"):
        with served.Server("--speed", speed, "--unrouted", "--faults=recorded", "--at-end", "exit", archive) as server:
            for number, (_, code) in enumerate(ENDS, 1):
                found, ended = asyncio.run(listen(url_of(server)))
                expect_equal(found, [payload(number, i).decode() for i in range(COUNT)],
                             "messages of connection %d at speed %s" % (number, speed))
                expect_equal(ended, code, "the end of connection %d (%s) at speed %s" % (number, causes[number - 1], speed))
                if number < len(ENDS):
                    expect_equal(server.control()["phase"], "waiting", "nobody is there")
            lines = server.wait().splitlines()
            expect_equal(lines.count("tape-replay: session main: its last client was cut; waits for the next"),
                         len(ENDS) - 1, "each wait is told: %r" % lines)
            expect("; %d cuts" % (len(ENDS) - 1) in lines[-1], "the receipt counts: " + lines[-1])
    with served.Server("--speed", "max", "--unrouted", "--at-end", "exit", archive) as server:
        found, ended = asyncio.run(listen(url_of(server)))
        expect_equal((len(found), ended), (COUNT * len(ENDS), 1000), "without --faults one connection has it all")


def injected(scratch, archive):
    faults = scratch / "faults.json"
    faults.write_text(json.dumps({"seed": 3, "rules": [
        {"drop": {"probability": 0.1}}, {"duplicate": {"probability": 0.1}},
        {"reorder": {"probability": 0.2, "by": 2}}, {"delay": {"probability": 0.2, "max": "500ms"}}]}))
    wanted = [line for line in rig.play(archive, "--faults=%s" % faults, "--stream", STREAM).decode().split("\n") if line]
    plain = [payload(number, i).decode() for number in range(1, len(ENDS) + 1) for i in range(COUNT)]
    expect(wanted != plain and len(set(wanted)) < len(plain) and len(set(wanted)) < len(wanted), "play's faults")
    for speed in ("max", "20"):
        with served.Server("--speed", speed, "--unrouted", "--faults=%s" % faults, archive) as server:
            found, ended = asyncio.run(listen(url_of(server)))
            expect_equal((found, ended), (wanted, 1000), "injected faults at speed %s" % speed)
            middle = json.loads(rig.play(archive, "--format", "ndjson", "--stream", STREAM).split(b"\n")[100])["recv_ns"]
            found, ended = asyncio.run(listen(url_of(server, "&from=" + middle)))
            late = rig.play(archive, "--faults=%s" % faults, "--stream", STREAM, "--from", middle).decode().split("\n")[:-1]
            expect_equal((found, ended), (late, 1000), "from the middle at speed %s" % speed)
            expect(0 < len(late) < len(wanted) and set(late) < set(wanted), "the middle is no end")


def injected_cuts(scratch, archive):
    faults = scratch / "cuts.json"
    faults.write_text('{"seed": 9, "rules": [{"cut": {"probability": 0.05, "code": 1012}}]}')
    _, said = rig.call("tape-replay", "play", "--speed", "max", "--json", "--faults=%s" % faults, archive)
    cuts = int(json.loads(said)["faults"]["cuts"])
    expect(cuts > 3, "%d cuts" % cuts)
    found, ends = [], []
    with served.Server("--speed", "max", "--unrouted", "--faults=%s" % faults, "--at-end", "exit", archive) as server:
        while not ends or ends[-1] != 1000:
            some, end = asyncio.run(listen(url_of(server)))
            found += some
            ends.append(end)
        server.wait()
    expect_equal(found, [payload(number, i).decode() for number in range(1, len(ENDS) + 1) for i in range(COUNT)],
                 "nothing is lost between connections")
    expect_equal(ends, [1012] * cuts + [1000], "the ends")


def one_of_two(scratch):
    """Two connections at a time, one of them ends: only the client that had its messages from there is cut."""
    names, again = {b"/market": "btcusdt@aggTrade", b"/public": "btcusdt@bookTicker"}, threading.Event()

    def say(peer, name, first):
        for i in range(first, first + COUNT):
            peer.send(stranger.frame(1, b'{"stream":"%s","data":{"n":%d}}' % (name.encode(), i)))

    def two(peer, number):
        peer.upgrade()
        route = peer.request.split(b" ")[1][:7]
        peer.read_frame()
        peer.send(stranger.frame(1, b'{"result":null,"id":1}'))
        if number == 3:
            again.set()
            peer.send(stranger.frame(1, b'{"stream":"%s","data":{"n":99}}' % names[route].encode()))
        else:
            say(peer, names[route], 0)
        if number < 3 and route == b"/market":
            peer.send(stranger.close(1001))
        elif number < 3:
            again.wait(rig.PATIENCE_S)
            say(peer, names[route], COUNT)
        peer.read_to_end()

    archive = scratch / "two"
    with stranger.Stranger(two, connections=3) as server:
        with rig.Recorder(scratch, "--url", server.url, archive, *names.values()) as recorder:
            recorder.wait_until(lambda: (archive / "segments").is_dir() and
                                sum(map(len, served.data_frames(archive).values())) >= 3 * COUNT + 4, "all messages")
            recorder.stop()
    with served.Server("--speed", "max", "--clients", 2, "--faults=recorded", "--at-end", "exit", archive) as server:
        async def both():
            return await asyncio.gather(*(listen("%s%s/stream?streams=%s" % (server.url, route.decode(), name))
                                          for route, name in names.items()))
        (market, code), (public, end) = asyncio.run(both())
        server.wait()
    expect_equal(([json.loads(text)["data"]["n"] for text in market], code), (list(range(COUNT)), 1001), "the one")
    expect_equal(([json.loads(text)["data"]["n"] for text in public], end), (list(range(2 * COUNT)), 1000), "the other")


def main(scratch):
    archive = record_ends(scratch)
    recorded_ends(archive)
    injected(scratch, archive)
    injected_cuts(scratch, archive)
    one_of_two(scratch)


rig.run_main(main)
