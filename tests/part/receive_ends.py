#!/usr/bin/env python3
"""How TLS connections end, and what a receive stamp says: truncation, resets and stalls have their own names;
kernel stamps lie inside the sender's send call and say when they are shared."""
import ssl
import sys
import time

import stranger
from stranger import (KERNEL, PARTIAL, SHARED, TEXT, Gone, close, frame)
import rig
from rig import expect, expect_equal

GOOD = frame(TEXT, b'{"good":1}')
HALF = b"\x81\x7e\x10\x00" + b"half a message"


class Raw:
    """A TLS server end whose socket stays in our hands: OpenSSL works on memory."""

    def __init__(self, sock, context):
        self.sock, self.sent = sock, b""
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_side=True)
        self.call(self.tls.do_handshake)

    def call(self, function, *words):
        while True:
            try:
                result = function(*words)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(65536)
                if not data:
                    raise Gone() from None
                self.into.write(data)

    def flush(self):
        data = self.out.read()
        if data:
            self.sock.sendall(data)

    def recv(self, size):
        return self.call(self.tls.read, size)

    def sendall(self, data):
        self.call(self.tls.write, data)

    def sealed(self, data):
        """The TLS record of data, not sent."""
        self.tls.write(data)
        return self.out.read()

    def settimeout(self, _):
        pass


def end_with(context, how):
    """Sends good frames, then ends as the case says."""
    def script(peer, _):
        raw = Raw(peer.sock, context)
        inner = stranger.Peer(raw)
        inner.upgrade(GOOD)
        if how == "close_notify":
            try:
                raw.tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            raw.flush()
        elif how == "FIN in a TLS record":
            raw.sock.sendall(raw.sealed(GOOD)[:-5])
        elif how == "FIN in a TLS header":
            raw.sock.sendall(raw.sealed(GOOD)[:3])
        elif how == "RST":
            time.sleep(0.3)
            peer.reset()
        elif how == "RST in a frame":
            raw.sendall(HALF)
            time.sleep(0.3)
            peer.reset()
        elif how == "FIN in a frame":
            raw.sendall(HALF)
        elif how == "bad record":
            raw.sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            while raw.sock.recv(65536):
                pass
        elif how == "alert":
            raw.sock.sendall(b"\x15\x03\x03\x00\x02\x02\x28")
        return None
    return script


# how: (cause, by, errno, whole frames, partial bytes, words)
ENDS = {
    "close_notify": ("peer_eof", "venue", 0, b"", "the venue closed without a close frame"),
    "FIN": ("tls_truncated", "network", 0, b"", "the stream ended without TLS close_notify"),
    "FIN in a TLS record": ("tls_truncated", "network", 0, b"", "the stream ended without TLS close_notify"),
    "FIN in a TLS header": ("tls_truncated", "network", 0, b"", "the stream ended without TLS close_notify"),
    "FIN in a frame": ("tls_truncated", "network", 0, HALF, "the stream ended without TLS close_notify"),
    "RST": ("reset", "network", 104, b"", "receive: Connection reset by peer"),
    "RST in a frame": ("reset", "network", 104, HALF, "receive: Connection reset by peer"),
    "bad record": ("tls", "us", 0, b"", "tls: decryption failed or bad record mac"),
    "alert": ("tls", "us", 0, b"", "tls: "),
}


def end(how, cause, by, errno, partial, words, folder, scratch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with stranger.Stranger(end_with(context, how)) as server:
        server.url = server.url.replace("ws://", "wss://")
        archive, _ = stranger.record(scratch, server, "--ca", folder / "ca.pem")
    tape = stranger.Tape(archive)
    expect_equal(tape.frames, [(0, GOOD)] + ([(PARTIAL, partial)] if partial else []), how)
    told = tape.event("connection_close")
    expect_equal((told["cause"], told["by"], told["errno"], told["opened"]), (cause, by, errno, True), how)
    expect(told["detail"].startswith("%s/: %s" % (server.url, words)), told["detail"])


def mute_in_handshake(folder, scratch):
    """TCP is accepted, TLS never answers."""
    def script(peer, _):
        try:
            while True:
                peer.more()
        except Gone:
            return None
    with stranger.Stranger(script) as server:
        server.url = server.url.replace("ws://", "wss://")
        archive, _ = stranger.record(scratch, server, "--ca", folder / "ca.pem", "--handshake-timeout", "1s")
    told = stranger.Tape(archive).event("connection_close")
    expect_equal((told["cause"], told["detail"]),
                 ("timeout", "connect %s/: the TLS handshake did not end within 1 s" % server.url), "cause, detail")


def no_tls_there(folder, scratch):
    """A plain HTTP server on the port."""
    def script(peer, _):
        peer.more()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with stranger.Stranger(script) as server:
        server.url = server.url.replace("ws://", "wss://")
        archive, _ = stranger.record(scratch, server, "--ca", folder / "ca.pem")
    told = stranger.Tape(archive).event("connection_close")
    expect_equal((told["cause"], told["detail"]),
                 ("tls", "connect %s/: tls: wrong version number" % server.url), "cause, detail")


def closed_in_handshake(folder, scratch):
    with stranger.Stranger(lambda peer, _: peer.more()) as server:
        server.url = server.url.replace("ws://", "wss://")
        archive, _ = stranger.record(scratch, server, "--ca", folder / "ca.pem")
    told = stranger.Tape(archive).event("connection_close")
    expect(told["cause"] in ("tls", "reset"), told)


# ---- stamps ----


def stamps(secure, folder, scratch):
    """One frame at a time, drained: a kernel stamp of its own for each, not before the send began and (unless
    the machine was busy elsewhere) not after it returned."""
    count, spans = 300, []

    def script(peer, _):
        peer.upgrade()
        time.sleep(0.3)
        for i in range(count):
            began = time.time_ns()
            peer.send(frame(TEXT, b'{"number":%d}' % i))
            spans.append((began, time.time_ns()))
            time.sleep(0.002)
        peer.send(close(1000))
        peer.read_frame()

    with stranger.Stranger(script, certificates=folder if secure else None) as server:
        archive, _ = stranger.record(scratch, server, "--ca", folder / "ca.pem")
    tape = stranger.Tape(archive)
    found = tape.stamps[:count]
    expect(all(flags & KERNEL for flags, _ in found), "every frame has a kernel stamp")
    early = [i for i in range(count) if found[i][1] < spans[i][0]]
    expect_equal(early, [], "frames stamped before they were sent")
    inside = sum(found[i][1] <= spans[i][1] for i in range(count))
    shared = sum(bool(flags & SHARED) for flags, _ in found)
    print("%s: %d of %d stamps inside the send call, %d shared" % ("wss" if secure else "ws", inside, count, shared))
    expect(inside > count / 2, "only %d of %d stamps are inside the send call" % (inside, count))
    equal = sum(found[i][1] == found[i - 1][1] for i in range(1, count))
    expect(shared >= equal, "%d equal stamps, %d flagged" % (equal, shared))


def shared_stamps(folder, scratch):
    """Three frames in one TLS record came together, and say so."""
    def script(peer, _):
        peer.upgrade()
        time.sleep(0.3)
        peer.send(GOOD * 3)
        time.sleep(0.3)
        peer.send(GOOD + close(1000))
        peer.read_frame()

    with stranger.Stranger(script, certificates=folder) as server:
        archive, _ = stranger.record(scratch, server, "--ca", folder / "ca.pem")
    found = stranger.Tape(archive).stamps
    expect_equal([bool(flags & SHARED) for flags, _ in found], [False, True, True, False, True], "shared")
    expect_equal(len({at for _, at in found}), 2, "different stamps")


SINGLE = (mute_in_handshake, no_tls_there, closed_in_handshake, shared_stamps)


def main(scratch):
    folder = rig.make_certificates(scratch / "certificates")
    cases = {"end: " + how: (end, how, *row) for how, row in ENDS.items()}
    cases.update({test.__name__: (test,) for test in SINGLE})
    cases.update({"stamps over " + word: (stamps, secure) for word, secure in (("wss", True), ("ws", False))})
    if len(sys.argv) > 1:
        cases = {name: case for name, case in cases.items() if sys.argv[1] in name}
    stranger.run_cases(cases, lambda _, test, *row: test(*row, folder, scratch))


rig.run_main(main)
