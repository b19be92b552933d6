#!/usr/bin/env python3
"""Clients that mean no good beside one that does: half a handshake, heads without end, ping floods, requests by the
thousand, parameters by the megabyte, deep JSON, frames that no client may send, readers that never read. The
server stays small, and the good one gets every message."""
import contextlib
import json
import pathlib
import re
import socket
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

TARGET = "/public/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"
MEMORY_MAX = 200 << 20  # far above what it needs, far below what it is asked for


def plain(server, data=b""):
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=rig.PATIENCE_S)
    sock.sendall(data)
    return sock


def half_a_handshake(server):
    """Many of them, at every length; nobody answers them and nobody waits for them."""
    head = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return [plain(server, head[:i * 2]) for i in range(40)]


def endless_head(server):
    sock = plain(server, b"GET /ws HTTP/1.1\r\n")
    with contextlib.suppress(OSError):
        for i in range(1024):
            sock.sendall(b"X-%d: " % i + b"a" * 1000 + b"\r\n")
    return [sock]


def long_query(server):
    sock = plain(server)
    with contextlib.suppress(OSError):
        sock.sendall(b"GET /stream?streams=" + b"a@trade/" * 130000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    return [sock]


def until_closed(client, what, codes):
    """It is closed with one of these codes (None: cut)."""
    try:
        while True:
            client.frame()
    except served.Gone as end:
        expect(end.code in codes, "%s: closed with %s %s" % (what, end.code, end.reason))
    except OSError:
        pass
    client.close()
    return []


def ping_flood(server):
    client = served.Client(server, "/ws")
    with contextlib.suppress(OSError):
        for _ in range(3000):
            client.send(b"x" * 125, served.PING)
    return until_closed(client, "ping flood", (1008, None))


def many_requests(server):
    client = served.Client(server, "/ws")
    with contextlib.suppress(OSError):
        for i in range(2000):
            client.send(json.dumps({"method": "SUBSCRIBE", "params": ["a%d@trade" % i], "id": i}).encode())
    return until_closed(client, "2000 requests", (1008, None))


def many_streams(server):
    client = served.Client(server, "/ws")
    names = ["a%d@trade" % i for i in range(1025)]
    client.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}).encode())
    return until_closed(client, "1025 streams", (1008,))


def megabyte_of_params(server):
    client = served.Client(server, "/ws")
    with contextlib.suppress(OSError):
        client.send(json.dumps({"method": "SUBSCRIBE", "params": ["a" * 120 + "%d" % i for i in range(9000)],
                                "id": 1}).encode())
    return until_closed(client, "a megabyte of params", (1008, 1009, None))


def deep_json(server):
    client = served.Client(server, "/ws")
    client.send(b"[" * 30000)
    answer = json.loads(client.message()[0])
    expect_equal((answer["error"]["code"], answer["id"]), (3, None), "deep JSON")
    client.send(b'{"method":"SUBSCRIBE","params":' + b"[" * 20000 + b"]" * 20000 + b',"id":1}')
    expect_equal(json.loads(client.message()[0])["error"]["code"], 3, "deep params")
    client.send(b'{"method":"LIST_SUBSCRIPTIONS","id":1}', served.BINARY)
    expect_equal(json.loads(client.message()[0]), {"result": [], "id": 1}, "it is served on")
    return [client.socket]


def bad_frames(server):
    for data, codes in ((b"\x81\x05hello", (1002,)), (b"\x83\x80abcd", (1002,)), (b"\xff\xff\xff\xff\xff\xff", (1002,)),
                        (b"\x81\xff" + b"\x00" * 2 + b"\x10" * 6 + b"abcd", (1009,)), (b"\x88\x81abcdx", (1002,)),
                        (b"\x81\x82\x00\x00\x00\x00\xc0\xaf", (1007,)), (b"\x89\xfe\x01\x00abcd", (1002,))):
        client = served.Client(server, "/ws/btcusdt@none")
        client.socket.sendall(data)
        until_closed(client, repr(data[:12]), codes)
    return []


def never_reads(server):
    """In sessions of their own, so that only they wait for themselves."""
    return [served.Client(server, TARGET + "&speed=max", receive_bytes=4096).socket for _ in range(12)]


def many_connections(server):
    held = []
    with contextlib.suppress(OSError, served.Gone):
        for _ in range(1100):
            held.append(plain(server))
    return held


def memory_of(server):
    status = pathlib.Path("/proc/%d/status" % server.process.pid).read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


def main(scratch):
    lines = rig.generate("--count", 60000, "--rate", 20000, "--symbols", "btcusdt")
    archive = served.import_lines(scratch, "tape", lines)
    wanted = served.payloads(lines, TARGET.partition("=")[2].split("/"))
    with served.Server("--speed", "0.5", archive) as server:
        result, held = {}, []
        good = served.Client(server, TARGET)

        def listen():
            result["good"] = good.messages()

        thread = threading.Thread(target=listen)
        thread.start()
        for attack in (half_a_handshake, endless_head, long_query, ping_flood, many_requests, many_streams,
                       megabyte_of_params, deep_json, bad_frames, never_reads, many_connections):
            server.alive()
            held += attack(server)
        server.alive()
        for sock in held[-1000:]:
            sock.close()
        server.wait_state(lambda state: state["clients"] >= 1, "the good one is there")
        server.control(do="speed", speed="max")
        thread.join()
        expect_equal(len(result["good"]), len(wanted), "what the good one got")
        expect(result["good"] == wanted, "the good one's messages differ")
        expect_equal(good.gone.code, 1000, "its end")
        peak = memory_of(server)
        if b"__asan_init" not in (rig.BUILD / "tape-replay").read_bytes():
            expect(peak < MEMORY_MAX, "the server took %d MiB" % (peak >> 20))
        server.stop()
        for sock in held:
            sock.close()


rig.run_main(main)
