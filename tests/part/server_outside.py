#!/usr/bin/env python3
"""Clients that are not ours against the player's server, over TCP and TLS: python3-websockets, node's ws (where it
is installed), the openssl command; what they send comes back, a flood arrives in order, ends are in order."""
import asyncio
import json
import pathlib
import ssl
import subprocess
import sys

import echo
from echo import Server
import rig
from rig import expect, expect_equal

try:
    import websockets
except ImportError as error:
    rig.skip("python3-websockets is not there (%s)" % error)


async def echoes(url, tls):
    async with websockets.connect(url + "/", ssl=tls, max_size=None) as client:
        expect(not client.extensions, "an extension was negotiated")
        for message in ["hello", "", "ä€😀" * 1000, "x" * 65536, b"", b"\xff" * 65535]:
            await client.send(message)
            expect_equal(await client.recv(), message, "echo")
        await client.send(["in ", "three ", "fragments"])
        expect_equal(await client.recv(), "in three fragments", "fragments")
        await asyncio.wait_for(await client.ping(b"x" * 125), echo.PATIENCE_S)
        many = ["message %d" % i for i in range(3000)]
        sending = asyncio.ensure_future(asyncio.gather(*(client.send(m) for m in many)))
        expect_equal([await client.recv() for _ in many], many, "three thousand")
        await sending
    expect_equal((client.close_code, client.close_reason), (1000, ""), "our close")


async def ends(url, tls):
    for words, code, reason in (("close 1000 ", 1000, ""), ("close 4999 " + "ä" * 100, 4999, "ä" * 61),
                                ("close 3000 " + "x" * 200, 3000, "x" * 123), ("close 1005 ", 1005, ""),
                                ("close 1001 gone", 1001, "gone"), ("close 1006 x", 1006, ""), ("cut", 1006, "")):
        async with websockets.connect(url + "/", ssl=tls) as client:
            await client.send(words)
            try:
                expect(False, "%s: got %r" % (words, await client.recv()))
            except websockets.ConnectionClosed:
                pass
            expect_equal((client.close_code, client.close_reason), (code, reason), words)


async def refusals(url, tls):
    try:
        async with websockets.connect(url + "/refuse", ssl=tls):
            expect(False, "the upgrade was not refused")
    except websockets.InvalidStatusCode as refused:
        expect_equal(refused.status_code, 404, "refused")


async def flood(url, tls, path, count, shared):
    numbers = []
    async with websockets.connect(url + path, ssl=tls, max_size=None, max_queue=None, close_timeout=60) as client:
        while len(numbers) < count:
            numbers.append(json.loads(await client.recv())["n"])
    expect_equal(numbers, list(range(numbers[0], numbers[0] + count)), "the order of " + path)
    expect(shared or numbers[0] == 0, "the start of " + path)


async def all_of(url, tls):
    await echoes(url, tls)
    await ends(url, tls)
    await refusals(url, tls)
    await asyncio.gather(*(flood(url, tls, "/flood", 20000, True) for _ in range(3)), flood(url, tls, "/mixed", 6000, False))


def node(url, *words):
    made = rig.node(pathlib.Path(__file__).with_suffix(".js"), url, *words)
    if not made:
        return "node-ws is not installed"
    command, environment = made
    done = subprocess.run(command, check=False, env=environment, timeout=120, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    expect(done.returncode == 0 and done.stdout == b"ok\n", "node's ws: %s" % done.stdout.decode("utf-8", "replace"))
    return None


def check_tls(server, scratch):
    """Versions below 1.2 are refused, those from there on are spoken; HTTP/1.1 is chosen from what is offered."""
    for version, good in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        done = subprocess.run(["openssl", "s_client", version, "-connect", "127.0.0.1:%d" % server.port, "-CAfile",
                               str(scratch / "ca.pem"), "-verify_return_error", "-alpn", "h2,http/1.1", "-servername",
                               "localhost", "-cipher", "ALL:@SECLEVEL=0"], input=b"", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=echo.PATIENCE_S)
        text = done.stdout.decode("utf-8", "replace")
        expect((done.returncode == 0) == good, "%s: %s" % (version, text[-1500:]))
        if good:
            expect("ALPN protocol: http/1.1" in text and "Verify return code: 0 (ok)" in text, text[-1500:])
            expect("TLS session ticket" not in text, "a ticket was sent")
    offers = ssl.create_default_context(cafile=str(scratch / "ca.pem"))
    offers.set_alpn_protocols(["h2"])
    peer = echo.Raw(server, offers)
    peer.send(b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n")
    expect_equal(peer.response()[2], b"plain\n", "who offers h2 only is still heard")
    peer.shut()


def main(scratch):
    trust = echo.trusting(scratch)
    missing = None
    for scheme, tls, options in (("ws", None, []), ("wss", trust, echo.secured(scratch))):
        with Server("--rate", 1000000, *options) as server:
            url = "%s://127.0.0.1:%d" % (scheme, server.port)
            asyncio.run(all_of(url, tls))
            missing = node(url, *([scratch / "ca.pem"] if tls else []))
            if tls:
                check_tls(server, scratch)
            server.stop()
    if missing:
        print("without node's ws: %s" % missing)


if __name__ == "__main__":
    sys.exit(rig.run_main(main))
