#!/usr/bin/env python3
"""Connections over time: routes and shards, paced requests, redials that ask again, renewal before the end of
life, a peer that stopped, the recorder's own goodbye, many connections at once, busy polling."""
import json
import signal
import subprocess
import sys
import threading
import time

import stranger
from stranger import CLOSE, PING, PONG, TEXT, Gone, close, frame
import rig
from rig import expect, expect_equal


def data(i, stream="btcusdt@trade"):
    return frame(TEXT, b'{"stream":"%s","data":{"e":"trade","n":%d}}' % (stream.encode(), i))


def read_request(peer):
    """The next SUBSCRIBE of the recorder, acknowledged: (id, streams)."""
    opcode, payload = peer.read_frame()
    expect_equal(opcode, TEXT, "opcode of a request")
    asked = json.loads(payload)
    expect_equal(asked["method"], "SUBSCRIBE", "method")
    peer.send(frame(TEXT, b'{"result":null,"id":%d}' % asked["id"]))
    return asked["id"], asked["params"]


def until_gone(peer):
    frames = []
    try:
        while True:
            frames.append(peer.read_frame())
            if frames[-1][0] == CLOSE:
                peer.send(frame(CLOSE, frames[-1][1]))
            elif frames[-1][0] == PING:
                peer.send(frame(PONG, frames[-1][1]))
    except (Gone, OSError):
        return frames


def profile(scratch, name, **limits):
    path = scratch / (name + ".json")
    path.write_text(json.dumps({
        "name": name, "symbols": "lower_case",
        "routes": [{"name": "all", "url": "wss://exchange.invalid/stream", "streams": ["*@trade"]}],
        "subscribe": {"method": "SUBSCRIBE", "params": "{streams}", "id": "{id}"},
        "limits": dict({"streams_per_connection": 100, "streams_per_request": 100, "messages_per_second": 10,
                        "first_message_seconds": 30, "connection_life_seconds": 86400}, **limits)}),
        encoding="utf-8")
    return path


# ---- what is asked, and where ----


def routes(scratch):
    """aggTrade and depth are on different routes: two connections, each on the path of its own."""
    asked = {}

    def script(peer, _):
        peer.upgrade()
        path = peer.request.split(b" ")[1].decode()
        asked[path] = read_request(peer)[1]
        until_gone(peer)

    def until(recorder):
        recorder.wait_until(lambda: len(asked) == 2, "two connections")

    streams = ("bnbusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@aggTrade")
    with stranger.Stranger(script, connections=2) as server:
        archive = scratch / "routes"
        with rig.Recorder(scratch, "--url", server.url, archive, *streams) as recorder:
            until(recorder)
            recorder.stop(signal.SIGTERM)
    expect_equal(asked, {"/market/stream": ["bnbusdt@aggTrade", "btcusdt@aggTrade"],
                         "/public/stream": ["btcusdt@depth@100ms"]}, "what was asked where")


def own_path(scratch):
    """A path in --url is used as it is."""
    paths = []

    def script(peer, _):
        peer.upgrade()
        paths.append(peer.request.split(b" ")[1].decode())
        read_request(peer)
        peer.send(data(1))
        until_gone(peer)

    with stranger.Stranger(script) as server:
        server.url += "/my/feed?a=b"
        stranger.record(scratch, server, "--frames", "2", streams=("btcusdt@trade",), stop=False)
    expect_equal(paths, ["/my/feed?a=b"], "path")


def paced_requests(scratch):
    """12 streams, 5 a connection, 2 a request, 6 messages a second (of which 2 are kept for pings)."""
    limits = profile(scratch, "paced", streams_per_connection=5, streams_per_request=2, messages_per_second=6)
    streams = ["s%d@trade" % i for i in range(12)]
    asked = {}

    def script(peer, number):
        peer.upgrade()
        asked[number] = []
        while sum(len(a) for _, a, _ in asked[number]) < (5 if number else 0):
            request_id, names = read_request(peer)
            asked[number].append((request_id, names, time.monotonic()))
            if names[-1] in (streams[4], streams[9], streams[11]):
                break
        until_gone(peer)

    def until(recorder):
        recorder.wait_until(lambda: sum(len(n) for a in asked.values() for _, n, _ in a) == 12, "all requests")

    with stranger.Stranger(script, connections=3) as server:
        archive = scratch / "paced"
        with rig.Recorder(scratch, "--profile", limits, "--url", server.url, archive, *streams) as recorder:
            until(recorder)
            recorder.stop()
    shards = sorted([n for _, names, _ in rows for n in names] for rows in asked.values())
    expect_equal(shards, sorted([streams[:5], streams[5:10], streams[10:]]), "shards")
    for rows in asked.values():
        expect_equal([i for i, _, _ in rows], list(range(1, len(rows) + 1)), "ids")
        expect(all(len(names) <= 2 for _, names, _ in rows), rows)
        if len(rows) == 3:
            expect(rows[2][2] - rows[0][2] >= 0.4, "three requests within %.3f s" % (rows[2][2] - rows[0][2]))
    told = rig.records_of(archive, "subscription_asked")
    expect_equal(sorted(s for row in told for s in row["streams"]), sorted(streams), "streams on record")


# ---- again and again ----


def redials(scratch):
    """Cut in four ways: each time it comes back, asks again and records on."""
    hows = ("fin", "rst", "close", "fault", "stay")

    def script(peer, number):
        peer.upgrade()
        expect_equal(read_request(peer), (1, ["btcusdt@trade"]), "request")
        peer.send(data(number))
        how = hows[number - 1]
        if how == "rst":
            time.sleep(0.2)
            peer.reset()
        elif how == "close":
            peer.send(close(1012))
            peer.read_frame()
        elif how == "fault":
            peer.send(b"\xff")
            peer.read_frame()
        elif how == "stay":
            until_gone(peer)

    with stranger.Stranger(script, connections=len(hows)) as server:
        archive, _ = stranger.record(scratch, server, "--frames", "10", streams=("btcusdt@trade",), stop=False)
        for number in range(1, len(hows)):
            server.result(number)
    for number in range(1, 6):
        kept = [body for flags, body in stranger.Tape(archive, number).frames if body[:1] == b"\x81" and not flags]
        expect_equal(kept[1:], [data(number)], "data of connection %d" % number)
    causes = [row["cause"] for row in rig.records_of(archive, "connection_close")]
    expect_equal(causes, ["peer_eof", "reset", "peer_close", "protocol", "shutdown"], "causes")


def renewal(scratch):
    """Before the end of a connection's life another one takes over: it delivers before the old one closes, and
    the frames of both are kept."""
    limits = profile(scratch, "renewal", connection_life_seconds=3)
    lock, counter = threading.Lock(), [0]

    def script(peer, _):
        peer.upgrade()
        read_request(peer)
        stopped = threading.Event()

        def feed():
            while not stopped.is_set():
                with lock:
                    counter[0] += 1
                    number = counter[0]
                try:
                    peer.send(data(number))
                except OSError:
                    return
                time.sleep(0.02)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            while peer.read_frame()[0] != CLOSE:
                pass
        except Gone:
            pass
        stopped.set()
        feeder.join()
        try:
            peer.send(close(1000))
        except OSError:
            pass

    def closed(archive):
        return stranger.ask(archive, "SELECT 1 FROM connection WHERE cause = 'renewal'")

    with stranger.Stranger(script, connections=9) as server:
        archive = scratch / "renewal"
        with rig.Recorder(scratch, "--profile", limits, "--url", server.url, archive, "btcusdt@trade") as recorder:
            recorder.wait_until(lambda: closed(archive), "a renewal")
            recorder.stop()
        server.result(1)
    first, second = stranger.Tape(archive, 1), stranger.Tape(archive, 2)
    expect_equal(first.event("connection_close")["cause"], "renewal", "cause")
    expect_equal(first.event("connection_close")["by"], "us", "by")
    opened = {row["connection_"]: row["ordinal_"] for row in rig.records_of(archive, "connection_open")}
    ended = {row["connection_"]: row["ordinal_"] for row in rig.records_of(archive, "connection_close")}
    expect(opened[2] < ended[1], "the new one opened before the old one was closed")
    numbers = sorted(json.loads(body[body.index(b"{"):])["data"]["n"]
                     for tape in (first, second) for _, body in tape.frames if b'"n":' in body)
    expect_equal(numbers[:-1], list(range(1, len(numbers))), "every number that was sent, once")


def stopped_peer(scratch):
    """The server's process is stopped: the kernel goes on acknowledging, nothing else does."""
    archive = scratch / "stopped"
    with rig.Exchange(scratch / "log", "--rate", 50, "--symbols", "btcusdt") as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, archive, "btcusdt@trade") as recorder:
            exchange.wait_for("request", connection=1)
            recorder.wait_until(lambda: stranger.ask(archive, "SELECT 1 FROM connection WHERE messages > 5"), "data")
            exchange.process.send_signal(signal.SIGSTOP)
            recorder.wait_until(lambda: stranger.ask(archive, "SELECT 1 FROM connection WHERE cause IS NOT NULL"),
                                "the end of the silent connection")
            exchange.process.send_signal(signal.SIGCONT)
            recorder.stop()
    rows = rig.records_of(archive, "connection_close")
    expect_equal((rows[0]["cause"], rows[0]["by"]), ("silent_peer", "us"), "cause, by")
    expect("no byte for 1" in rows[0]["detail"] and "no answer to pings" in rows[0]["detail"], rows[0]["detail"])
    tape = stranger.Tape(archive, 1)
    silence = [body for _, body in tape.sent if body[0] == 0x89]
    expect(len(silence) >= 2, "pings were tried first")


def stopped_recorder(scratch):
    """It is the recorder that was stopped, for longer than a peer may be silent: no reason to hang up."""
    def script(peer, _):
        peer.upgrade(data(1))
        frames = [peer.read_frame()]
        peer.send(frame(PONG, frames[0][1]) + data(2))
        return frames + until_gone(peer)

    with stranger.Stranger(script) as server:
        archive = scratch / "paused"
        with rig.Recorder(scratch, "--url", server.url, "--frames", "2", archive) as recorder:
            recorder.wait_until(lambda: stranger.ask(archive, "SELECT 1 FROM connection WHERE messages > 0"), "data")
            recorder.process.send_signal(signal.SIGSTOP)
            time.sleep(17)
            recorder.process.send_signal(signal.SIGCONT)
            recorder.wait(0)
        frames = server.result()
    expect_equal([opcode for opcode, _ in frames], [PING, CLOSE], "the recorder's frames")
    expect_equal([row["cause"] for row in rig.records_of(archive, "connection_close")], ["shutdown"], "causes")


# ---- goodbye ----


def answered_goodbye(scratch):
    def script(peer, _):
        peer.upgrade(data(1))
        return until_gone(peer)

    with stranger.Stranger(script) as server:
        archive, _ = stranger.record(scratch, server, "--frames", "1", until=lambda _: None, stop=False)
        expect_equal(server.result(), [(CLOSE, b"\x03\xe8")], "the recorder's frames")
    told = stranger.Tape(archive).event("connection_close")
    expect_equal((told["cause"], told["by"], told["code"]), ("shutdown", "us", 1000), "cause, by, code")


def unanswered_goodbye(scratch):
    """A server that answers no close frame and goes on sending holds nobody up; what it sends is kept."""
    def script(peer, _):
        peer.upgrade()
        sent = 0
        try:
            while True:
                peer.send(data(sent) * 10)
                sent += 10
                time.sleep(0.005)
        except OSError:
            return sent

    with stranger.Stranger(script) as server:
        archive = scratch / "goodbye"
        with rig.Recorder(scratch, "--url", server.url, archive) as recorder:
            recorder.wait_until(lambda: stranger.ask(archive, "SELECT 1 FROM connection WHERE messages > 20"), "data")
            recorder.stop(signal.SIGTERM)
        sent = server.result()
    tape = stranger.Tape(archive)
    kept = [body for flags, body in tape.frames if not flags]
    expect(20 < len(kept) <= sent + 10, "%d kept of %d" % (len(kept), sent))
    expect_equal(kept, [data(i - i % 10) for i in range(len(kept))], "frames in order")
    expect_equal(tape.kinds[-1], "connection_close", "the last record")


def exact_count(scratch):
    """--frames takes exactly so many, however much comes at once."""
    def script(peer, _):
        peer.upgrade(b"".join(data(i) for i in range(5000)))
        until_gone(peer)

    with stranger.Stranger(script) as server:
        archive, _ = stranger.record(scratch, server, "--frames", "1234", until=lambda _: None, stop=False)
    kept = [body for _, body in stranger.Tape(archive).frames if body[0] == 0x81]
    expect_equal(kept, [data(i) for i in range(1234)], "frames")


# ---- many, and spinning ----


def many_connections(scratch):
    """200 connections on one thread, each with a message larger than any read."""
    count, big = 200, frame(TEXT, b"x" * 70000)

    def script(peer, number):
        peer.upgrade(data(number))
        for _ in range(5):
            peer.send(big + data(number))
        until_gone(peer)

    with stranger.Stranger(script, connections=count) as server:
        archive, _ = stranger.record(scratch, server, "--connections", count, "--frames", count * 11,
                                     until=lambda _: None, stop=False)
    kept = {}
    for record in stranger.read_archive.Archive(archive).records():
        if stranger.read_archive.KINDS.get(record.kind) == "frame_in" and record.body[0] == 0x81:
            kept.setdefault(record.connection, []).append(record.body)
    expect_equal(len(kept), count, "connections")
    for bodies in kept.values():
        expect_equal(bodies, [bodies[0]] + [big, bodies[0]] * 5, "frames of one connection")
    expect_equal(sorted(bodies[0] for bodies in kept.values()), sorted(data(i + 1) for i in range(count)), "all")


def few_descriptors(scratch):
    """More connections than descriptors: those that fit are recorded, and the archive still gets its files."""
    def script(peer, number):
        peer.upgrade(data(number))
        until_gone(peer)

    with stranger.Stranger(script, connections=1000) as server:
        archive = scratch / "few"
        subprocess.run(["sh", "-c", 'ulimit -n 60; exec "$@"', "sh", str(rig.BUILD / "tape-record"), "--quiet",
                        "--url", server.url, "--connections", "80", "--for", "2s", str(archive)], check=True,
                       stderr=subprocess.DEVNULL)
    rows = rig.query(archive, "SELECT cause, count(*) AS n, max(detail) AS detail, sum(messages) AS messages "
                              "FROM connection GROUP BY cause ORDER BY cause")
    expect_equal([row["cause"] for row in rows], ["connect", "shutdown"], "causes")
    expect("Too many open files" in rows[0]["detail"], rows)
    expect(rows[1]["messages"] > 10, rows)
    rig.verify(archive)


def busy_poll(scratch):
    certificates = rig.make_certificates(scratch / "certificates")

    def script(peer, _):
        peer.upgrade()
        for i in range(3000):
            peer.send(data(i))
            if i % 100 == 0:
                peer.send(frame(PING, b"%d" % i))
        return until_gone(peer)

    with stranger.Stranger(script, certificates=certificates) as server:
        archive, _ = stranger.record(scratch, server, "--ca", certificates / "ca.pem", "--busy-poll", "--frames",
                                     "3000", until=lambda _: None, stop=False)
        pongs = [payload for opcode, payload in server.result() if opcode == PONG]
    kept = [body for _, body in stranger.Tape(archive).frames if body[0] == 0x81]
    expect_equal(kept, [data(i) for i in range(3000)], "frames")
    expect_equal(pongs, [b"%d" % i for i in range(0, 3000, 100)], "pongs")


TESTS = (stopped_peer, stopped_recorder, renewal, redials, routes, own_path, paced_requests, answered_goodbye, unanswered_goodbye,
         exact_count, many_connections, few_descriptors, busy_poll)


def main(scratch):
    chosen = [t for t in TESTS if len(sys.argv) < 2 or sys.argv[1] in t.__name__]
    stranger.run_cases({test.__name__: (test,) for test in chosen}, lambda _, test: test(scratch))


rig.run_main(main)
