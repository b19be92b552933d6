#!/usr/bin/env python3
"""Clients that mean harm, or are merely broken, against the player's server: each is told or cut, memory stays
within its bound, and a well-behaved client beside them is served all the time."""
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import echo
from echo import CLOSE, CONT, PING, PONG, TEXT, RANDOM, Raw, Server, close, frame, upgrade
import rig
from rig import expect, expect_equal

MIB = 1024


class Good:
    """A client that asks and is answered, from beginning to end; .answers counts."""

    def __init__(self, server, tls=None):
        self.peer = Raw(server, tls).open("/good")
        self.answers, self.going, self.failed = 0, True, None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while self.going:
                sent = b"question %d" % self.answers
                self.peer.send(frame(TEXT, sent))
                got = self.peer.read_frame()
                if got is not None and got[0] == PING:
                    self.peer.send(frame(PONG, got[2]))
                    got = self.peer.read_frame()
                expect_equal(got, (TEXT, 1, sent), "the good client")
                self.answers += 1
                time.sleep(0.05)  # within what a client may ask
        except Exception as failure:  # pylint: disable=broad-except
            self.failed = failure

    def is_served(self, where):
        """It gets some more answers from now on."""
        wanted, end = self.answers + 5, time.monotonic() + echo.PATIENCE_S
        while self.answers < wanted:
            expect(self.failed is None, "%s: the good client: %s" % (where, self.failed))
            expect(time.monotonic() < end, "%s: the good client is not served" % where)
            time.sleep(0.005)

    def stop(self):
        self.going = False
        self.thread.join(echo.PATIENCE_S)
        expect(self.failed is None, self.failed)
        self.peer.send(close(1000))
        expect_equal(self.peer.frames()[-1][0], CLOSE, "the good client's end")


def closed_with(peer, code, what, words=None):
    frames = peer.frames()
    expect(frames and frames[-1][0] == CLOSE, "%s: no close frame: %s" % (what, str(frames)[-200:]))
    expect_equal(struct.unpack(">H", frames[-1][2][:2])[0], code, what)
    expect(words is None or frames[-1][2][2:] == words, "%s: closed for %r" % (what, frames[-1][2][2:]))
    return frames[:-1]


def reset(peer):
    with contextlib.suppress(OSError):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.shut()


# ---- one by one ----


def long_heads(server):
    for data, status in ((b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * (1 << 20), 431),
                         (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 200000, 431),
                         (b"GET /" + b"y" * (1 << 20), 414), (b"y" * (1 << 20), 400), (b"\r\n" * (1 << 19), 400),
                         (b"\0" * (1 << 20), 400)):
        peer = Raw(server)
        sender = threading.Thread(target=peer.send, args=(data,))
        sender.start()
        expect_equal(peer.response()[0], status, "a megabyte of %r" % data[:30])
        while peer.more():
            pass
        sender.join()
        peer.shut()


def too_many_messages(server):
    for what, sent in (("pings", frame(PING, b"x" * 125)), ("pongs", frame(PONG)), ("texts", frame(TEXT, b"x")),
                       ("empty continuations", frame(CONT, b"", fin=0))):
        peer = Raw(server).open()
        if what.startswith("empty"):
            peer.send(frame(TEXT, b"", fin=0))
        sender = threading.Thread(target=peer.send, args=(sent * 100000,))
        sender.start()
        answers = closed_with(peer, 1008, what, b"too many messages")
        expect(len(answers) <= 100, "%s: %d answers" % (what, len(answers)))
        sender.join()
        peer.shut()
    many = Raw(server).open()
    many.send(frame(TEXT, b"", fin=0) + b"".join(frame(CONT, b"%03d" % i, fin=0) for i in range(600)) + frame(CONT))
    expect_equal(many.read_frame(), (TEXT, 1, b"".join(b"%03d" % i for i in range(600))), "six hundred fragments")
    many.shut()


def resets(server):
    started = len([s for s in server.said if s.startswith("closed")])
    for step in (b"", upgrade()[:40], upgrade(), upgrade() + frame(TEXT, b"x" * 60000)[:30000],
                 upgrade() + frame(TEXT, b"x" * 60000), upgrade() + close(1000), upgrade("/flood")):
        for _ in range(30):
            peer = Raw(server)
            peer.send(step)
            reset(peer)
    for _ in range(30):
        peer = Raw(server).open()
        reset(peer)
    server.wait_for(r"closed \d+ 1006", started + 30)


def half_closes(server):
    peer = Raw(server).open("/half")
    number = server.wait_for(r"open (\d+) /half")[1]
    peer.sock.shutdown(socket.SHUT_WR)
    expect(not peer.more(), "a half-closed WebSocket is gone")
    server.wait_for(r"closed %s 1006" % number)
    os.kill(server.pid, signal.SIGSTOP)  # so that the end arrives together with what came before it
    peer = Raw(server)
    peer.send(upgrade("/together"))
    peer.sock.shutdown(socket.SHUT_WR)
    os.kill(server.pid, signal.SIGCONT)
    server.wait_for(r"closed %s 1006" % server.wait_for(r"open (\d+) /together")[1])


def garbage(server, tls):
    for number in range(400):
        peer = Raw(server, tls if number % 10 == 0 else None)
        data = bytearray(upgrade("/garbage") + frame(TEXT, b"hello") + frame(PING, b"x") + close(1000))
        for _ in range(RANDOM.randrange(4)):
            data[RANDOM.randrange(len(data))] = RANDOM.randrange(256)
        if number % 4 == 0:
            data = bytearray(RANDOM.randbytes(RANDOM.randrange(1, 4000)))
        peer.send(bytes(data[:RANDOM.randrange(1, len(data) + 1)]))
        if number % 3 == 0:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_WR)
            while peer.more():
                pass
        if number % 7 == 0:
            reset(peer)
        peer.shut()


def key_updates(server, scratch):
    """Thousands of TLS key updates that ask for one in return."""
    client = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % server.port, "-CAfile",
                               str(scratch / "ca.pem"), "-tls1_3", "-quiet"], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with contextlib.suppress(OSError):
        client.stdin.write(b"K\n" * 3000)
        client.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(3)
    client.kill()
    client.wait()


def churn(server):
    for number in range(10000):
        sock = socket.socket()
        sock.settimeout(echo.PATIENCE_S)
        sock.connect((server.host, server.port))
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


# ---- those that never read ----


def never_reading(scratch, trust):
    """Floods, echoes, pongs and answers that nobody takes: the queues stop where they are said to."""
    bound = 48 * MIB  # 20 queues of at most 2 MiB; those of a flood share their bytes
    for options, tls in (([], None), (echo.secured(scratch), trust)):
        with Server("--rate", 100000000, "--queue", 1 << 20, *options, quarantine_mb=1) as server:
            good = Good(server, tls)
            good.is_served("before")
            before, peers = server.resident_kib(), []
            for number in range(20):
                peer = Raw(server, tls, receive_bytes=4096)
                peer.open("/" if number % 2 else "/flood")
                peers.append(peer)
                peer.sock.settimeout(0.1)
                what = [frame(PING, b"x" * 125) * 20000, frame(TEXT, b"x" * 65000) * 600,
                        frame(echo.BINARY, b"") * 300000][number % 3]
                with contextlib.suppress(OSError):
                    peer.sock.sendall(what)
                good.is_served("with %d that never read" % len(peers))
            asked = Raw(server, tls, receive_bytes=4096)
            asked.sock.settimeout(0.1)
            with contextlib.suppress(OSError):
                asked.sock.sendall(b"GET /large?5000000 HTTP/1.1\r\nHost: h\r\n\r\n" * 10000)
            good.is_served("with questions whose answers nobody takes")
            grown = server.resident_kib() - before
            expect(grown < bound, "memory grew by %d KiB" % grown)
            for peer in peers[::2]:
                reset(peer)
            good.is_served("after their end")
            good.stop()
            server.stop()
            for peer in peers + [asked]:
                peer.shut()


def slow_reader():
    """Who reads slowly gets all of it in order, and the close frame behind it."""
    with Server("--queue", 300000) as server:
        peer = Raw(server, receive_bytes=4096).open("/mixed")
        for number in range(2000):
            opcode, _, payload = peer.read_frame()
            expect(opcode == TEXT and payload.startswith(b'{"n":%d,' % number), "frame %d" % number)
        peer.send(frame(TEXT, b"close 4000 enough") + frame(TEXT, b"late") + frame(PING, b"late"))
        frames = closed_with(peer, 4000, "a slow reader")
        for at, (_, _, payload) in enumerate(frames):
            expect(payload.startswith(b'{"n":%d,' % (2000 + at)), "frame %d behind the close" % at)
        server.wait_for(r"drained 1")
        server.stop()


# ---- limits ----


def too_many_peers():
    with Server("--peers", 20) as server:
        good = Good(server)
        peers = [Raw(server).open() for _ in range(19)]
        refused = [Raw(server) for _ in range(70)]
        told = cut = 0
        for peer in refused:
            peer.send(upgrade())
            if peer.more():
                status, fields, _ = peer.response()
                expect(status == 503 and fields["retry-after"] == "1", fields)
                told += 1
            else:
                cut += 1
        expect(told >= 64 and told + cut == 70, "%d were told, %d cut" % (told, cut))
        for peer in refused:
            peer.shut()
        good.is_served("beside too many")
        peers.pop().shut()
        server.wait_for(r"closed \d+ 1006")
        Raw(server).open().shut()
        good.stop()
        server.stop()


def few_files():
    """Without files to open the rest goes on, and what waits is taken once there are some."""
    with Server(files=40) as server:
        good = Good(server)
        peers = [Raw(server) for _ in range(60)]
        good.is_served("short of files")
        for peer in peers[:50]:
            peer.shut()
        peers[-1].open()
        good.is_served("with files again")
        good.stop()
        server.stop()


def pings():
    with Server("--ping", 50, "--pong", 3000) as server:
        good = Good(server)
        silent, wrong = Raw(server).open("/silent"), Raw(server).open("/wrong")
        began_ms = int(time.time() * 1000)  # of 50 ms; other deadlines are 10 s away
        wrong.send(frame(PONG, b"1") * 20)
        for peer in (wrong, silent):
            opcode, _, payload = peer.read_frame()
            expect(opcode == PING and payload.isdigit() and len(payload) == 13, payload)
            expect(int(payload) - began_ms < 8000, "the first ping came after %d ms" % (int(payload) - began_ms))
            if peer is wrong:
                peer.send(frame(PONG, payload[:-1]) + frame(PONG, payload[:-1] + b"x"))
        for peer in (silent, wrong):
            expect_equal(closed_with(peer, 1008, "no pong", b"no pong"), [], "one ping at a time")
            peer.shut()
        good.is_served("who answers pings")
        good.stop()
        server.stop()


# ---- deadlines: all at the same time ----


def deadlines(scratch, tls):
    with Server() as server, Server(*echo.secured(scratch)) as secure:
        body = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"
        told = [Raw(server), Raw(server), Raw(server)]
        told[0].send(b"GET / HTTP/1.1\r\n")
        told[1].send(body)
        silent = [Raw(server), Raw(secure), Raw(secure), Raw(secure, tls)]
        silent[2].send(b"\x16\x03\x01\x02\x00\x01")
        unanswered, deaf = Raw(server).open("/unanswered"), Raw(server, receive_bytes=4096).open("/flood")
        unanswered.send(frame(TEXT, b"close 4002 x"))
        deaf_number = server.wait_for(r"open (\d+) /flood")[1]
        open_after = Raw(server).open("/after")
        open_after.send(close(4004))
        good = Good(server)  # last, with no deadline of its own
        drip = upgrade()[:-2] + b"X: " + b"y" * 4000
        dripped = 0
        while select_empty(told[2]) and dripped < len(drip):
            told[2].send(drip[dripped:dripped + 1])
            dripped += 1
            time.sleep(0.01)
        deaf.send(frame(TEXT, b"close 4003 x"))  # its queue is full by now
        expect(100 < dripped < len(drip), "the dripping head was cut after %d bytes" % dripped)
        for peer in told:
            expect_equal(peer.response()[0], 408, "not in time")
            expect(peer.at_end(), "not in time: no end")
        for peer in silent:
            expect(not peer.more() and not peer.held, "silence was answered: %r" % peer.held)
        good.is_served("after those that were not in time")
        expect_equal(closed_with(unanswered, 4002, "unanswered"), [], "unanswered")
        expect_equal(closed_with(open_after, 4004, "open after the close"), [], "open after the close")
        server.wait_for(r"closed \d+ 4002")
        server.wait_for(r"closed %s 1006" % deaf_number)  # 4003 never left: its queue was full
        server.wait_for(r"closed \d+ 4004")
        good.stop()
        server.stop()
        secure.stop()


def select_empty(peer):
    """True when nothing is there to read yet."""
    peer.sock.setblocking(False)
    try:
        return peer.sock.recv(1, socket.MSG_PEEK) is None
    except BlockingIOError:
        return True
    finally:
        peer.sock.settimeout(echo.PATIENCE_S)


def one_by_one(scratch, tls):
    with Server(quarantine_mb=1) as server, Server(*echo.secured(scratch), quarantine_mb=1) as secure:
        good, good_too = Good(server), Good(secure, tls)
        good.is_served("before")
        good_too.is_served("before")
        before = server.resident_kib(), secure.resident_kib()
        for attack in (long_heads, too_many_messages, resets, half_closes, churn):
            attack(server)
            good.is_served(attack.__name__)
        garbage(server, None)
        garbage(secure, tls)
        key_updates(secure, scratch)
        good.is_served("garbage")
        good_too.is_served("garbage and key updates")
        grown = server.resident_kib() - before[0], secure.resident_kib() - before[1]
        expect(max(grown) < 48 * MIB, "memory grew by %s KiB" % (grown,))
        good.stop()
        good_too.stop()
        server.stop()
        secure.stop()


def at_the_end(scratch, trust):
    """A server that finishes says so to all, and does not wait for ever for those who do not listen."""
    for options, tls in (([], None), (echo.secured(scratch), trust)):
        with Server("--finish", 1500, *options) as server:
            listening, mute = Raw(server, tls).open(), Raw(server, tls, receive_bytes=4096).open("/flood")
            idle = Raw(server, tls)
            idle.send(b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n")
            idle.response()
            server.process.terminate()
            got = listening.read_frame()
            expect_equal(got, (CLOSE, 1, struct.pack(">H", 1001) + b"going away"), "at the end")
            listening.send(frame(CLOSE, got[2]))
            expect(listening.at_end(), "at the end: no end")
            expect(idle.at_end(), "at the end: an idle one stays")
            expect_equal(server.process.wait(echo.PATIENCE_S), 0, "at the end")
            server.wait_for(r"closed 1 1001")
            server.wait_for(r"left 0")
            mute.shut()


def main(scratch):
    tls = echo.trusting(scratch)
    pings()
    too_many_peers()
    few_files()
    slow_reader()
    at_the_end(scratch, tls)
    one_by_one(scratch, tls)
    never_reading(scratch, tls)
    deadlines(scratch, tls)


if __name__ == "__main__":
    sys.exit(rig.run_main(main))
