#!/usr/bin/env python3
"""HTTP as the player's server speaks it: each exchange sent whole and byte by byte, over TCP and over TLS; what
is wrong gets its own status and the end of the connection, what is right keeps it."""
import subprocess
import sys
import threading

import echo
from echo import Raw, Server, upgrade
import rig
from rig import expect, expect_equal

HOST = b"Host: h\r\n"


def get(path, extra=b"", version=b"1.1"):
    return b"GET " + path + b" HTTP/" + version + b"\r\n" + HOST + extra + b"\r\n"


def post(path, body, extra=b""):
    return (b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % len(body) + extra + b"\r\n" + body)


# name: (request, [(status, body or None)], whether the connection goes on)
EXCHANGES = {
    "plain": (get(b"/plain"), [(200, b"plain\n")], True),
    "an empty line before it": (b"\r\n" + get(b"/plain"), [(200, b"plain\n")], True),
    "lines after a body": (post(b"/echo", b"abc") + b"\r\n" + get(b"/plain"), [(200, b"abc"), (200, b"plain\n")], True),
    "not there": (get(b"/nothing"), [(404, b"nothing is there\n")], True),
    "answered twice": (get(b"/twice"), [(200, b"first")], True),
    "1.0": (get(b"/plain", version=b"1.0"), [(200, b"plain\n")], False),
    "1.0 without Host": (b"GET /plain HTTP/1.0\r\n\r\n", [(200, b"plain\n")], False),
    "1.0 kept alive": (get(b"/plain", b"Connection: Keep-Alive\r\n", b"1.0"), [(200, b"plain\n")], True),
    "closing": (get(b"/plain", b"Connection: close\r\n") + get(b"/plain"), [(200, b"plain\n")], False),
    "pipelined": (get(b"/plain") + post(b"/echo", b"x" * 70) + get(b"/nothing") + get(b"/plain"),
                  [(200, b"plain\n"), (200, b"x" * 70), (404, None), (200, b"plain\n")], True),
    "fifty at once": (get(b"/plain") * 50, [(200, b"plain\n")] * 50, True),
    "all of it": (get(b"/request/%C3%A4?a=%20&b"),
                  ["GET|/request/ä|a=%20&b|h||0|".encode()], True),
    "origin": (get(b"/request", b"Origin: http://evil.example\r\n"), [b"GET|/request||h|http://evil.example|0|"], True),
    "absolute": (b"GET http://127.0.0.1:80/request?x HTTP/1.1\r\n" + HOST + b"\r\n",
                 [b"GET|/request|x|127.0.0.1:80||0|"], True),
    "delete": (b"DELETE /request HTTP/1.1\r\n" + HOST + b"\r\n", [b"DELETE|/request||h||0|"], True),
    "head is a get": (b"POST /request HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", [b"POST|/request||h||0|abc"],
                      True),
    "an empty body": (post(b"/echo", b""), [(200, b"")], True),
    "the largest body": (post(b"/echo", b"y" * 65536), [(200, b"y" * 65536)], True),
    "h2c is not taken": (get(b"/plain", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), [(200, b"plain\n")], True),
    "too large a body": (post(b"/echo", b"y" * 65537), [(413, b"the body is too long\n")], False),
    "chunked": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                [(501, b"a Transfer-Encoding is not understood here\n")], False),
    "both lengths": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
                     [(501, None)], False),
    "two lengths": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
                    [(400, None)], False),
    "folded": (b"GET /plain HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", [(400, b"a folded field\n")], False),
    "bare LF": (b"GET /plain HTTP/1.1\n" + HOST + b"\r\n", [(400, b"a line does not end in CR LF\n")], False),
    "NUL": (get(b"/plain", b"X: a\0b\r\n"), [(400, b"a control character in a field\n")], False),
    "NUL in the path": (get(b"/a%00b"), [(400, b"the path is not UTF-8 in percent-encoding\n")], True),
    "no Host": (b"GET /plain HTTP/1.1\r\n\r\n", [(400, None)], False),
    "version 2": (b"GET /plain HTTP/2.0\r\n" + HOST + b"\r\n", [(505, None)], False),
    "garbage": (b"\x00\x01\x02\x03garbage\r\n\r\n", [(400, b"the method is no token\n")], False),
    "good, then garbage": (get(b"/plain") + b"\xff\r\n", [(200, b"plain\n"), (400, None)], False),
    "a long target": (get(b"/" + b"a" * 8192), [(414, b"the target is too long\n")], False),
    "many fields": (get(b"/plain", b"X: y\r\n" * 100), [(431, b"too many fields\n")], False),
    "a long field": (get(b"/plain", b"X: " + b"y" * 16384 + b"\r\n"), [(431, b"the head is too long\n")], False),
    "not expected": (post(b"/echo", b"abc", b"Expect: gold\r\n"), [(417, None)], False),
    "upgrade by POST": (upgrade().replace(b"GET", b"POST"), [(405, b"an upgrade must be a GET\n")], False),
    "upgrade in 1.0": (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), [(400, None)], False),
    "upgrade without Connection": (upgrade().replace(b"Connection: Upgrade", b"Connection: x"), [(400, None)], False),
    "upgrade without a key": (upgrade().replace(b"Sec-WebSocket-Key", b"X"), [(400, None)], False),
    "upgrade with a bad key": (upgrade(key=b"AAAA"), [(400, None)], False),
    "upgrade without a version": (upgrade().replace(b"Sec-WebSocket-Version", b"X"), [(400, None)], False),
    "upgrade of version 8": (upgrade().replace(b"Version: 13", b"Version: 8"), [(426, None)], False),
    "upgrade with a body": (upgrade(extra=b"Content-Length: 1\r\n") + b"x", [(400, b"an upgrade has no body\n")], False),
    "upgrade refused": (upgrade("/refuse"), [(404, None)], True),
    "cut": (get(b"/cut"), [], False),
}


def check(server, tls, name, step):
    request, wanted, goes_on = EXCHANGES[name]
    where = "%s in steps of %s%s" % (name, step, " over TLS" if tls else "")
    peer = Raw(server, tls)
    peer.send(request, step)
    for row in wanted:
        status, body = row if isinstance(row, tuple) else (200, row)
        got_status, fields, got_body = peer.response()
        expect_equal(got_status, status, where)
        if body is not None:
            expect_equal(got_body, body, where)
        expect("date" in fields and fields["cache-control"] == "no-store", "%s: %s" % (where, fields))
        if status == 426:
            expect(fields["sec-websocket-version"] == "13" and fields["upgrade"] == "websocket", fields)
            expect("upgrade" in fields["connection"].lower(), fields)
        if status == 405:
            expect("GET" in fields["allow"], fields)
        last = row is wanted[-1]
        expect(fields["connection"].endswith("keep-alive" if goes_on or not last else "close"), "%s: %s" % (where, fields))
    if goes_on:
        peer.send(get(b"/plain"))
        expect_equal(peer.response()[2], b"plain\n", where + ", and then")
    elif wanted:
        expect(peer.at_end(), "%s: not ended in order: %r, reset %s" % (where, peer.held[:100], peer.reset))
    else:
        expect(not peer.more() and not peer.held, where)
    peer.shut()


def check_head(server):
    peer = Raw(server)
    for _ in range(2):
        peer.send(b"HEAD /plain HTTP/1.1\r\n" + HOST + b"\r\n")
        status, fields, _ = peer.response(head_only=True)
        expect(status == 200 and fields["content-length"] == "6" and not peer.held, "HEAD: %s %r" % (fields, peer.held))
    peer.send(b"HEAD /request HTTP/1.1\r\n" + HOST + b"\r\n")
    wanted = str(len("GET|/request||h||0|"))
    expect_equal(peer.response(head_only=True)[1]["content-length"], wanted, "HEAD is as GET")
    peer.send(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n" + get(b"/plain"))
    status, fields, body = peer.response()
    expect(status == 204 and "content-length" not in fields and body == b"" and "GET" in fields["allow"], fields)
    expect("access-control-allow-origin" not in fields, fields)
    expect_equal(peer.response()[0], 200, "after OPTIONS")
    peer.shut()


def check_continue(server):
    """The body is asked for when it did not come by itself, and only then."""
    peer = Raw(server)
    whole = post(b"/echo", b"abc", b"Expect: 100-continue\r\n")
    peer.send(whole[:-3])
    expect_equal(peer.head()[0], 100, "asked to go on")
    peer.send(b"abc")
    expect_equal(peer.response()[2], b"abc", "after it")
    peer.send(whole)
    expect_equal(peer.response()[::2], (200, b"abc"), "not asked for what is there")
    peer.send(whole[:-2])
    other = Raw(server)
    other.send(get(b"/plain"))
    other.response()  # by now the server has seen the beginning of the body
    peer.send(whole[-2:])
    expect_equal(peer.response()[::2], (200, b"abc"), "not asked for what has begun")
    other.shut()
    peer.shut()


def check_half_closed(server):
    """Who has said all still gets all answers."""
    peer = Raw(server)
    peer.send(get(b"/plain") + get(b"/large?3000000") + get(b"/plain") * 40 + b"GET /half")
    peer.sock.shutdown(1)
    expect_equal(peer.response()[2], b"plain\n", "half closed")
    expect_equal(len(peer.response()[2]), 3000000, "half closed")
    for _ in range(40):
        expect_equal(peer.response()[2], b"plain\n", "half closed")
    expect(peer.at_end(), "half closed: not ended in order")
    peer.shut()


def check_large(server, tls):
    peer = Raw(server, tls)
    many = threading.Thread(target=peer.send, args=(get(b"/large?6000000") + get(b"/plain") * 5000,))
    many.start()
    expect_equal(len(peer.response()[2]), 6000000, "a large answer")
    for number in range(5000):  # more questions than a peer's share of memory holds
        expect_equal(peer.response()[2], b"plain\n", "%d behind a large answer" % number)
    many.join()
    peer.shut()


def check_frames_behind(server, tls):
    """Frames that come with the upgrade, and one that ends an HTTP conversation."""
    peer = Raw(server, tls)
    peer.send(get(b"/plain") + upgrade() + echo.frame(echo.TEXT, b"early") + echo.close(1000))
    expect_equal(peer.response()[2], b"plain\n", "before the upgrade")
    expect_equal(peer.head()[0], 101, "the upgrade")
    expect_equal(peer.frames(), [(1, 1, b"early"), (8, 1, b"\x03\xe8")], "frames behind the upgrade")
    peer.shut()
    peer = Raw(server, tls)
    peer.send(upgrade() + echo.frame(echo.PING, b"x") + echo.frame(echo.TEXT, b"early") + echo.frame(echo.PING, b"y") +
              echo.close(1000))
    expect_equal(peer.head()[0], 101, "the upgrade before any pong")
    found = peer.frames()
    expect_equal((sorted(found[:-1]), found[-1]), ([(1, 1, b"early"), (10, 1, b"x"), (10, 1, b"y")], (8, 1, b"\x03\xe8")),
                 "pongs behind the upgrade")
    peer.shut()


def check_tls_confusion(plain, secure):
    peer = Raw(plain)
    peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    expect_equal(peer.response()[::2], (400, b"this port speaks plain HTTP, not TLS\n"), "TLS to plain")
    peer = Raw(secure)
    peer.send(get(b"/plain"))
    expect_equal(peer.response()[::2], (400, b"this port speaks TLS only: use https:// or wss://.\n"), "plain to TLS")
    expect(peer.at_end() or peer.reset, "plain to TLS: not ended")
    peer.shut()


def main(scratch):
    tls = echo.trusting(scratch)
    with Server() as plain, Server(*echo.secured(scratch)) as secure:
        for name in EXCHANGES:
            check(plain, None, name, None)
            check(plain, None, name, 1 if len(EXCHANGES[name][0]) < 20000 else 1021)
            check(secure, tls, name, None)
        check_head(plain)
        check_continue(plain)
        check_half_closed(plain)
        check_large(plain, None)
        check_large(secure, tls)
        check_frames_behind(plain, None)
        check_frames_behind(secure, tls)
        check_tls_confusion(plain, secure)
        said = subprocess.run(["curl", "-sS", "--cacert", str(scratch / "ca.pem"), "--data-binary", "@-",
                               "https://localhost:%d/echo" % secure.port], input=b"by curl", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False) if rig.shutil.which("curl") else None
        expect(said is None or said.stdout == b"by curl", said)
        plain.stop()
        secure.stop()
    print("%d exchanges" % len(EXCHANGES))


if __name__ == "__main__":
    sys.exit(rig.run_main(main))
