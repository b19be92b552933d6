#!/usr/bin/env python3
"""Answers to the upgrade that must not be taken, and those that must: each refusal has one clear text and its
cause on record; what a redial cannot mend ends the command at once, what it may mend is dialled again."""
import email.utils
import signal
import socket
import sys
import time

import stranger
from stranger import TEXT, Gone, frame
import rig
from rig import expect, expect_equal

GOOD = frame(TEXT, b'{"good":1}') + frame(TEXT, b'{"good":2}')


def after_request(make, pieces=None):
    """A script that reads the request and sends make(peer), whole or in pieces."""
    def script(peer, _):
        peer.read_request()
        data = make(peer)
        try:
            for piece in pieces(data) if pieces else [data]:
                peer.send(piece)
            while True:
                peer.more()
        except (Gone, OSError):
            return peer.request
    return script


def head(peer, extra=b"", **replace):
    text = peer.answer(extra)
    for old, new in replace.values():
        expect(old in text, old)
        text = text.replace(old, new)
    return text


# name: (answer of a peer, the text after "upgrade: ")
REFUSED = {
    "wrong accept": (lambda p: p.answer(accept=b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "the Sec-WebSocket-Accept of the"),
    "no accept": (lambda p: head(p, a=(b"Sec-WebSocket-Accept", b"X-Accept")), "the answer has no Sec-WebSocket-Accept"),
    "accept twice": (lambda p: p.answer(b"Sec-WebSocket-Accept: " + p.accept() + b"\r\n"),
                     "the answer has more than one Sec-WebSocket-Accept"),
    "accept in lower case": (lambda p: p.answer(accept=p.accept().lower()), "the Sec-WebSocket-Accept of the"),
    "extension": (lambda p: p.answer(b"Sec-WebSocket-Extensions: permessage-deflate\r\n"),
                  'the answer has Sec-WebSocket-Extensions: "permessage-deflate", which was not asked for'),
    "subprotocol": (lambda p: p.answer(b"Sec-WebSocket-Protocol: chat\r\n"),
                    'the answer has Sec-WebSocket-Protocol: "chat", which was not asked for'),
    "no Upgrade": (lambda p: head(p, a=(b"Upgrade: websocket\r\n", b"")), "the answer has no Upgrade: websocket"),
    "no Connection": (lambda p: head(p, a=(b"Connection: Upgrade\r\n", b"")), "the answer has no Connection: Upgrade"),
    "HTTP/1.0": (lambda p: head(p, a=(b"HTTP/1.1", b"HTTP/1.0")), "the server did not answer in HTTP/1.1 but with"),
    "garbage": (lambda p: b"\x00\xff garbage \r\n\r\n", "the server did not answer in HTTP/1.1 but with"),
    "terminal escapes": (lambda p: b"HTTP/1.1 503 \x1b[31mred\r\n\r\n", "the status line of the answer has"),
    "bare LF": (lambda p: head(p, a=(b"\r\n", b"\n")), "the status line of the answer has a bare LF"),
    "folded field": (lambda p: p.answer(b"X: a\r\n b\r\n"), "field line 5 of the answer is folded"),
    "body": (lambda p: p.answer(b"Content-Length: 5\r\n") + b"hello", "the answer has Content-Length"),
    "endless fields": (lambda p: b"HTTP/1.1 101 ok\r\n" + b"X: y\r\n" * 100000, "the answer has more than 64 field lines"),
    "endless field": (lambda p: b"HTTP/1.1 101 ok\r\nX: " + b"y" * 100000,
                      "the head of the answer is longer than 16384 bytes"),
    "a TLS alert": (lambda p: b"\x15\x03\x01\x00\x02\x02\x28", "the server answered with a TLS alert"),
    "500": (lambda p: b"HTTP/1.1 500 Oops\r\n\r\n", "the server answered 500 Oops"),
    "503": (lambda p: b"HTTP/1.1 503 Later\r\nRetry-After: 3600\r\n\r\n", "the server answered 503 Later"),
}


def refused(name, make, says, scratch, pieces=None):
    with stranger.Stranger(after_request(make, pieces)) as server:
        archive, text = stranger.record(scratch, server)
    tape = stranger.Tape(archive)
    end = tape.event("connection_close")
    wanted = "connect %s/: upgrade: %s" % (server.url, says)
    expect(end["detail"].startswith(wanted), "%s: %r does not begin with %r" % (name, end["detail"], wanted))
    status = {"500": 500, "503": 503, "terminal escapes": 503}.get(name, 0)
    expect_equal((end["cause"], end["code"], end["opened"]), ("http" if status else "protocol", status, False),
                 "cause, code, opened")
    expect_equal(tape.frames, [], "frames")
    answers = [body for kind, body in tape.events if kind == "handshake_response"]
    expect(len(answers) == 1 and answers[0], "the answer is on record")
    expect("\x1b" not in text, "escapes reach the terminal")
    expect(wanted[:80] in text, text)


def refused_bytewise(name, make, says, scratch):
    refused(name, make, says, scratch, lambda data: [data[i:i + 1] for i in range(min(len(data), 3000))])


# ---- answers that must be taken ----

TAKEN = {
    "frames in the same segment": (lambda p: p.answer() + GOOD),
    "much in the same segment": (lambda p: p.answer() + GOOD * 2000),
    "other case and order": (lambda p: b"HTTP/1.1 101\r\nconnection: keep-alive,  UPGRADE\r\nSEC-WEBSOCKET-ACCEPT:"
                             + p.accept() + b"  \r\nupgrade:\tWebSocket\r\nServer: x\r\n\r\n" + GOOD),
}


def taken(name, make, scratch, pieces=None):
    """All is kept from the first frame on, and not a byte of the head."""
    with stranger.Stranger(lambda peer, n: after_request(make, pieces)(peer, n)) as server:
        archive, _ = stranger.record(scratch, server, "--frames", "4000" if "much" in name else "2", stop=False)
        request = server.result()
    tape = stranger.Tape(archive)
    expect_equal(tape.received().replace(GOOD, b""), b"\x88\x02\x03\xe8" if tape.frames[-1][1][0] == 0x88 else b"",
                 "bytes beside the frames")
    kinds = [k for k in tape.kinds if k not in ("frame_in", "frame_out")]
    expect_equal(kinds, ["handshake_request", "handshake_response", "connection_open", "connection_close"], "events")
    expect_equal(tape.events[0][1], request + b"\r\n\r\n", "the request as sent")
    expect(tape.events[1][1].endswith(b"\r\n\r\n"), "the head as received")
    expect_equal(tape.event("connection_close")["cause"], "shutdown", "cause")


def taken_bytewise(name, make, scratch):
    taken(name, make, scratch, lambda data: [data[i:i + 1] for i in range(len(data))])


# ---- at the start: no redial mends these ----

HOPELESS = {
    "301": b"HTTP/1.1 301 Moved\r\nLocation: wss://elsewhere.example/x\r\n\r\n",
    "302": b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n",
    "400": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "401": b"HTTP/1.1 401 Unauthorized\r\n\r\n",
    "403": b"HTTP/1.1 403 Forbidden\r\nRetry-After: 1\r\n\r\n",
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
    "410": b"HTTP/1.1 410 Gone\r\n\r\n",
    "451": b"HTTP/1.1 451 Law\r\n\r\n",
}


def hopeless(name, answer, scratch):
    with stranger.Stranger(after_request(lambda _: answer)) as server:
        archive, text = stranger.record(scratch, server, stop=False, wanted=1)
    expect("connect %s/: upgrade: the server answered %s" % (server.url, name) in text, text)
    if name in ("301", "302"):
        expect("elsewhere.example/" in text and "a redirect is not followed" in text, text)
    end = stranger.Tape(archive).event("connection_close")
    expect_equal((end["cause"], end["code"], end["by"]), ("http", int(name), "venue"), "cause, code, by")


def hopeless_name(scratch):
    _, said = rig.call("tape-record", "--url", "wss://no-such-host.invalid", scratch / "name", wanted=1)
    expect('connect wss://no-such-host.invalid/: resolve "no-such-host.invalid": ' in said, said)


def usage(scratch):
    for url, why in (("ws://192.0.2.1", "plain ws:// is for this machine alone"),
                     ("ws://example.com/", "plain ws:// is for this machine alone"),
                     ("ftp://localhost", "it must begin with wss:// or ws://"),
                     ("wss://localhost:70000", "the port is not a number from 1 to 65535")):
        _, said = rig.call("tape-record", "--url", url, scratch / "usage", wanted=2)
        expect(why in said, said)
    _, said = rig.call("tape-record", "--url", "wss://localhost", "--ca", scratch / "absent.pem", scratch / "usage",
                       wanted=1)
    expect('CA file "%s": No such file or directory' % (scratch / "absent.pem") in said, said)
    expect(not (scratch / "usage").exists(), "no archive is made")


# ---- dialled again ----


def after_refusal(scratch, answer, least_s):
    """Refused once, taken the second time: not before the server wanted it."""
    times = []

    def script(peer, number):
        peer.read_request()
        times.append(time.monotonic())
        peer.send(answer() if number == 1 else peer.answer() + GOOD)
        try:
            while True:
                peer.more()
        except Gone:
            return None

    with stranger.Stranger(script, connections=2) as server:
        archive, text = stranger.record(scratch, server, "--frames", "2", stop=False)
    expect(times[1] - times[0] >= least_s, "it came back after %.3f s" % (times[1] - times[0]))
    expect_equal(stranger.Tape(archive, 2).received()[:len(GOOD)], GOOD, "frames of the second connection")
    return text


def retry_after_seconds(scratch):
    text = after_refusal(scratch, lambda: b"HTTP/1.1 429 Slow\r\nRetry-After: 2\r\n\r\n", 2)
    expect("the server answered 429 Slow: too many requests, retry after 2 s" in text, text)


def retry_after_date(scratch):
    def answer():
        when = email.utils.formatdate(time.time() + 3, usegmt=True).encode()
        return b"HTTP/1.1 418 Ban\r\nRetry-After: " + when + b"\r\n\r\n"
    after_refusal(scratch, answer, 1.5)


def no_answer_then_good(scratch):
    after_refusal(scratch, lambda: b"HTTP/1.1 500 Oops\r\n\r\n", 0.05)


def refused_port(scratch):
    """Nobody listens: it goes on dialling, and says so."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    archive = scratch / "refused"
    archive.mkdir()  # one that the run makes itself would be taken back
    with rig.Recorder(scratch, "--log-format", "text", "--url", "ws://127.0.0.1:%d" % port, archive) as recorder:
        recorder.wait_until(lambda: "Connection refused" in recorder.text(), "the refusal")
        recorder.stop(signal.SIGINT)
        text = recorder.text()
    expect("connect ws://127.0.0.1:%d/: 127.0.0.1:%d: Connection refused" % (port, port) in text, text)
    end = stranger.Tape(archive).event("connection_close")
    expect_equal((end["cause"], end["errno"], end["opened"]), ("refused", 111, False), "cause, errno, opened")


# ---- the deadline ----


def dribble(peer, _):
    """One byte now and then of an answer that would be good."""
    peer.read_request()
    for byte in peer.answer(b"X: " + b"y" * 9000 + b"\r\n"):
        try:
            peer.send(bytes([byte]))
        except OSError:
            return
        time.sleep(0.02)


def mute(peer, _):
    try:
        while True:
            peer.more()
    except Gone:
        return


def deadline(script, says, scratch):
    with stranger.Stranger(script) as server:
        archive, _ = stranger.record(scratch, server, "--handshake-timeout", "1s")
    end = stranger.Tape(archive).event("connection_close")
    expect_equal((end["cause"], end["opened"]), ("timeout", False), "cause, opened")
    expect_equal(end["detail"], "connect %s/: %s" % (server.url, says), "detail")


def closed_unanswered(scratch):
    with stranger.Stranger(lambda peer, _: peer.read_request()) as server:
        archive, _ = stranger.record(scratch, server)
    end = stranger.Tape(archive).event("connection_close")
    expect_equal((end["cause"], end["detail"]),
                 ("peer_eof", "connect %s/: the venue closed without a close frame" % server.url), "cause, detail")


SINGLE = (hopeless_name, usage, retry_after_seconds, retry_after_date, no_answer_then_good, refused_port,
          closed_unanswered)


def main(scratch):
    cases = {"refused: " + name: (refused, name, *row) for name, row in REFUSED.items()}
    cases.update({"refused in single bytes: " + name: (refused_bytewise, name, *row)
                  for name, row in REFUSED.items() if "endless" not in name and name != "a TLS alert"})
    cases.update({"taken: " + name: (taken, name, make) for name, make in TAKEN.items()})
    cases.update({"taken in single bytes: " + name: (taken_bytewise, name, make)
                  for name, make in TAKEN.items() if "much" not in name})
    cases.update({"hopeless: " + name: (hopeless, name, answer) for name, answer in HOPELESS.items()})
    cases["one byte now and then"] = (deadline, dribble, "no whole answer to the upgrade within 1 s")
    cases["a mute server"] = (deadline, mute, "no whole answer to the upgrade within 1 s")
    cases.update({test.__name__: (test,) for test in SINGLE})
    if len(sys.argv) > 1:
        cases = {name: case for name, case in cases.items() if sys.argv[1] in name}
    stranger.run_cases(cases, lambda _, test, *row: test(*row, scratch))


rig.run_main(main)
