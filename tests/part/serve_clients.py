#!/usr/bin/env python3
"""Clients that we did not write, unchanged but for the URL: python3-websockets and node's ws (where it is
installed), each over ws and wss, combined and plain, subscribing in the URL and by request."""
import asyncio
import hashlib
import json
import pathlib
import ssl
import subprocess
import sys

import websockets

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

STREAMS = ["btcusdt@trade", "btcusdt@depth@100ms"]
REQUEST = {"method": "SUBSCRIBE", "params": STREAMS, "id": "x1"}


def digest(payloads):
    return hashlib.sha256(b"".join(payload + b"\n" for payload in payloads)).hexdigest()


async def read_all(url, context, request):
    """(answer, payloads, close code)"""
    payloads, answer, code = [], None, None
    async with websockets.connect(url, ssl=context, max_size=None) as socket:
        if request:
            await socket.send(json.dumps(request))
            answer = json.loads(await socket.recv())
        try:
            while True:
                payloads.append((await socket.recv()).encode())
        except websockets.ConnectionClosed:
            code = socket.close_code if hasattr(socket, "close_code") else socket.protocol.close_code
    return answer, payloads, code


def targets(names):
    """(target, request, whether messages stand in the wrapper)"""
    return [("/public/stream?streams=" + "/".join(names), None, True), ("/public/stream", REQUEST, True),
            ("/stream?streams=" + "/".join(names), None, True), ("/public/ws/" + "/".join(names), None, False),
            ("/ws", REQUEST, False)]


def python_clients(server, wanted):
    for target, request, combined in targets(STREAMS):
        answer, found, code = asyncio.run(read_all(server.url + target, server.context(), request))
        expect_equal(answer, {"result": None, "id": "x1"} if request else None, "answer at " + target)
        expect_equal(code, 1000, "close code at " + target)
        expect_equal(len(found), len(wanted), "messages at " + target)
        expect(found == (wanted if combined else [served.inner(p) for p in wanted]), target + ": they differ")


def node_clients(server, wanted):
    """0 when node or its ws is not installed."""
    script = pathlib.Path(__file__).with_suffix(".js")
    for target, request, combined in targets(STREAMS):
        made = rig.node(script, server.url + target, server.tls / "ca.pem" if server.tls else "",
                        json.dumps(request) if request else "")
        if not made:
            return 0
        command, environment = made
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=rig.PATIENCE_S, check=True, env=environment)
        found = json.loads(done.stdout)
        expect_equal((found["count"], found["code"], found["reason"]), (len(wanted), 1000, "end of replay"),
                     "node's ws at " + target)
        expect_equal(found["extensions"], "", "node's ws: no extension is agreed on")
        expect_equal(found["sha256"], digest(wanted if combined else [served.inner(p) for p in wanted]),
                     "node's ws at " + target)
        expect_equal(found["answer"], '{"result":null,"id":"x1"}' if request else None, "node's ws: answer")
    return 1


def sample_client(server, lines):
    """samples/serve_client.py, with a session of its own."""
    trades = [json.loads(served.inner(p)) for p in served.payloads(lines, STREAMS[:1])]
    done = subprocess.run([sys.executable, str(rig.ROOT / "samples/serve_client.py"), server.url + "?speed=max",
                           "btcusdt"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=rig.PATIENCE_S,
                          check=True)
    expect_equal(done.stdout.decode().splitlines(), ["%d %s %s" % (t["T"], t["p"], t["q"]) for t in trades],
                 "what the sample prints")


def main(scratch):
    rig.make_certificates(scratch)
    lines = rig.generate("--count", 6000, "--rate", 3000)
    archive = served.import_lines(scratch, "tape", lines)
    wanted = served.payloads(lines, STREAMS)
    expect(len(wanted) > 500, "there is something to send")
    has_node = 1
    for tls in (None, scratch):
        with served.Server("--speed", "max", archive, tls=tls) as server:
            python_clients(server, wanted)
            if not tls:
                sample_client(server, lines)
            has_node &= node_clients(server, wanted)
            if tls:
                strict = ssl.create_default_context()
                try:
                    asyncio.run(read_all(server.url + "/ws", strict, None))
                    raise rig.Failed("a certificate of nobody was taken")
                except ssl.SSLCertVerificationError:
                    pass
            server.stop()
    if not has_node:
        print("without node's ws: node-ws is not installed")


rig.run_main(main)
