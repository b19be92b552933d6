#!/usr/bin/env python3
"""Frames that no server may send: each is refused with the right close code as early as it can be, the bytes
are kept and flagged, what was good before them is kept and answered, memory stays bounded."""
import struct
import sys

import stranger
from stranger import (AFTER, BAD, BINARY, CLOSE, PARTIAL, PING, PONG, TEXT, close, frame)
from rig import expect, expect_equal, run_main

GOOD = frame(TEXT, b'{"good":1}')
HELLO = frame(TEXT, b"Hello")


def until_close(peer, data, pieces):
    """Sends, byte by byte or whole, and gives the recorder's frames up to its close frame."""
    peer.upgrade()
    for piece in pieces(data):
        try:
            peer.send(piece)
        except OSError:
            break
    frames = []
    while not frames or frames[-1][0] != CLOSE:
        frames.append(peer.read_frame())
    return frames


def whole(data):
    return [data]


def bytewise(data):
    return [data[i:i + 1] for i in range(len(data))]


def code_of(frames):
    expect_equal(frames[-1][0], CLOSE, "the last frame's opcode")
    return struct.unpack(">H", frames[-1][1][:2])[0]


# name: (bytes, the close code owed, how many of them are good frames: as bytes, cause)
FAULTS = {
    "masked": (GOOD + frame(TEXT, b"x", mask=b"abcd"), 1002, GOOD),
    "masked with a zero key": (GOOD + frame(TEXT, b"x", mask=bytes(4)), 1002, GOOD),
    "16-bit length for 125": (GOOD + frame(TEXT, b"x" * 125, form=16), 1002, GOOD),
    "64-bit length for 65535": (GOOD + frame(BINARY, b"x" * 65535, form=64)[:99], 1002, GOOD),
    "length with its top bit": (GOOD + b"\x82\x7f" + b"\xff" * 8, 1002, GOOD),
    "length 2^63-1": (GOOD + b"\x82\x7f\x7f" + b"\xff" * 7 + b"data", 1009, GOOD),
    "length above the limit": (GOOD + b"\x82\x7f" + struct.pack(">Q", 1 << 30), 1009, GOOD),
    "ping of 126": (GOOD + b"\x89\x7e\x00\x7e" + b"x" * 126, 1002, GOOD),
    "fragmented ping": (GOOD + frame(PING, b"x", fin=0), 1002, GOOD),
    "continuation of nothing": (GOOD + frame(0, b"x"), 1002, GOOD),
    "message inside a message": (frame(TEXT, b"a", fin=0) + frame(TEXT, b"b"), 1002,
                                 frame(TEXT, b"a", fin=0)),
    "close of one byte": (GOOD + frame(CLOSE, b"\x03"), 1002, GOOD),
    "bad UTF-8": (GOOD + frame(TEXT, b"a\xc0\xafb"), 1007, GOOD),
    "surrogate over two fragments": (frame(TEXT, b"\xed", fin=0) + frame(0, b"\xa0\x80"), 1007,
                                     frame(TEXT, b"\xed", fin=0)),
    "text that ends in half a character": (GOOD + frame(TEXT, b"\xe2\x82"), 1007, GOOD),
    "close reason that is no UTF-8": (GOOD + close(1000, b"\xff"), 1007, GOOD),
}
FAULTS.update({"RSV %d on %s" % (rsv, word): (GOOD + frame(opcode, b"x", rsv=rsv), 1002, GOOD)
               for rsv in (1, 2, 4, 7) for opcode, word in ((TEXT, "text"), (0, "continuation"), (PING, "ping"))})
FAULTS.update({"opcode %d" % opcode: (GOOD + frame(opcode, b"x"), 1002, GOOD)
               for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)})
FAULTS.update({"close code %d" % code: (GOOD + close(code), 1002, GOOD)
               for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)})


def fault(name, data, code, good, scratch, pieces=whole):
    with stranger.Stranger(lambda peer, _: until_close(peer, data, pieces)) as server:
        archive, _ = stranger.record(scratch, server)
        frames = server.result()
    expect_equal(code_of(frames), code, "close code")
    tape = stranger.Tape(archive)
    flags = [f for f, _ in tape.frames]
    expect(flags[-1] & BAD, "the last piece is flagged bad: %s" % flags)
    expect(not any(f & BAD for f in flags[:-1]), "only the last is flagged bad: %s" % flags)
    kept = b"".join(body for f, body in tape.frames if not f & BAD)
    expect_equal(kept, good, "the good frames")
    if pieces is whole:
        expect_equal(tape.received(), data, "all bytes")
    expect(data.startswith(tape.received()), "the bytes are those that were sent")
    end = tape.event("connection_close")
    expect_equal(end["cause"], "limit" if code == 1009 else "protocol", "cause")
    expect_equal((end["by"], end["code"], end["opened"]), ("us", code, True), "by, code, opened")
    expect("the venue broke the protocol: " in end["detail"], end["detail"])
    expect(tape.sent, "%s: the close frame is recorded" % name)


def fault_bytewise(name, data, code, good, scratch):
    fault(name, data, code, good, scratch, bytewise)


# ---- what must be answered although something bad follows ----


def owed_answers(scratch):
    """Ten pings, then a fault, all in one segment: ten pongs in order, then the close frame."""
    pings = b"".join(frame(PING, b"number %d" % i) for i in range(10))
    data = GOOD + pings + frame(TEXT, b"x", rsv=4)
    with stranger.Stranger(lambda peer, _: until_close(peer, data, whole)) as server:
        archive, _ = stranger.record(scratch, server)
        frames = server.result()
    expect_equal(frames[:-1], [(PONG, b"number %d" % i) for i in range(10)], "pongs")
    expect_equal(code_of(frames), 1002, "close code")
    masks = [body[2:6] for _, body in stranger.Tape(archive).sent]
    expect_equal(len(masks), 11, "frames recorded as sent")
    expect(len(set(masks)) == 11 and bytes(4) not in masks, "a fresh mask for each frame: %s" % masks)


def fails_early(scratch):
    """A text of 100,000 bytes is announced, its sixth byte is bad, the rest never comes."""
    data = GOOD + b"\x81\x7f" + struct.pack(">Q", 100000) + b"hello\xff"
    with stranger.Stranger(lambda peer, _: until_close(peer, data, whole)) as server:
        archive, _ = stranger.record(scratch, server)
        expect_equal(code_of(server.result()), 1007, "close code")
    expect_equal(stranger.Tape(archive).frames[-1], (BAD, data[len(GOOD):]), "the bad bytes")


def limit_counts_fragments(scratch):
    part = b"x" * 60000
    data = frame(BINARY, part, fin=0) + frame(0, part, fin=0)
    with stranger.Stranger(lambda peer, _: until_close(peer, data, whole)) as server:
        archive, _ = stranger.record(scratch, server, "--message-limit", "100000")
        expect_equal(code_of(server.result()), 1009, "close code")
    expect_equal(stranger.Tape(archive).frames[0], (0, frame(BINARY, part, fin=0)), "the first fragment")


# ---- ends ----


def ended(peer, data, how):
    peer.upgrade(data)
    if how == "close":
        peer.read_frame()
    elif how == "rst":
        stranger.time.sleep(0.3)
        peer.reset()


# name: (bytes after the answer, what ends it, whole frames, partial frame, cause)
ENDS = {
    "FIN between frames": (GOOD + HELLO, "fin", [GOOD, HELLO], b"", "peer_eof"),
    "FIN in a header": (GOOD + b"\x81", "fin", [GOOD], b"\x81", "peer_eof"),
    "FIN in a long header": (GOOD + b"\x81\x7e\x01", "fin", [GOOD], b"\x81\x7e\x01", "peer_eof"),
    "FIN in a payload": (GOOD + HELLO[:-1], "fin", [GOOD], HELLO[:-1], "peer_eof"),
    "FIN at once": (b"", "fin", [], b"", "peer_eof"),
    "FIN inside a fragmented message": (frame(TEXT, b"a", fin=0), "fin", [frame(TEXT, b"a", fin=0)], b"",
                                        "peer_eof"),
    "RST between frames": (GOOD + HELLO, "rst", [GOOD, HELLO], b"", "reset"),
    "RST in a header": (GOOD + b"\x82\x7f\x00", "rst", [GOOD], b"\x82\x7f\x00", "reset"),
    "RST in a payload": (GOOD + HELLO[:3], "rst", [GOOD], HELLO[:3], "reset"),
    "close 1000": (GOOD + close(1000), "close", [GOOD, close(1000)], b"", "peer_close"),
    "close without a code": (GOOD + frame(CLOSE), "close", [GOOD, frame(CLOSE)], b"", "peer_close"),
    "close 1012 with a reason": (close(1012, "restart ü".encode()), "close",
                                 [close(1012, "restart ü".encode())], b"", "peer_close"),
}


def end(name, data, how, frames, partial, cause, scratch):
    with stranger.Stranger(lambda peer, _: ended(peer, data, how)) as server:
        archive, _ = stranger.record(scratch, server)
    tape = stranger.Tape(archive)
    wanted = [(0, f) for f in frames] + ([(PARTIAL, partial)] if partial else [])
    expect_equal(tape.frames, wanted, name)
    told = tape.event("connection_close")
    expect_equal((told["cause"], told["opened"]), (cause, True), "cause, opened")
    if "reason" in name:
        expect_equal((told["code"], told["reason"], told["by"]), (1012, "restart ü", "venue"), "close frame")
    if how == "rst":
        expect(told["errno"] == 104 and told["by"] == "network", told)


def closes(peer, data, extra):
    peer.upgrade(data)
    frames = [peer.read_frame()]
    peer.send(extra)
    return frames + peer.read_to_end()


def after_close(scratch):
    """After its close frame the server goes on: kept and flagged, answered no more, and dropped in the end
    although the server never closes."""
    late = frame(TEXT, b"late") + frame(PING, b"late") + b"\xff\xff no frame"
    with stranger.Stranger(lambda peer, _: closes(peer, GOOD + close(1001, b"bye"), late)) as server:
        archive, text = stranger.record(scratch, server)
        expect_equal(server.result(), [(CLOSE, struct.pack(">H", 1001))], "the recorder's frames")
    tape = stranger.Tape(archive)
    expect_equal([f for f, _ in tape.frames], [0, 0, AFTER, AFTER, AFTER | BAD], "flags")
    expect_equal(tape.received(), GOOD + close(1001, b"bye") + late, "bytes")
    expect("closed by the venue with code 1001: bye" in text, text)


# ---- floods ----


def anonymous_kib(recorder):
    with open("/proc/%d/status" % recorder.process.pid, encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


def ping_flood(scratch, secure=False):
    """Pings by the ten thousand from a server that reads nothing until the end."""
    certificates = stranger.rig.make_certificates(scratch / "certificates") if secure else None
    options = ("--ca", certificates / "ca.pem") if secure else ()
    count, pad = 60000, b"." * 100
    sent = stranger.threading.Event()
    memory = []

    def flood(peer, _):
        peer.upgrade()
        for first in range(0, count, 1000):
            peer.send(b"".join(frame(PING, b"%06d" % i + pad) for i in range(first, first + 1000)))
        sent.set()
        pongs = []
        while not pongs or pongs[-1] != b"%06d" % (count - 1):
            opcode, payload = peer.read_frame()
            expect_equal(opcode, PONG, "opcode")
            pongs.append(payload[:6])
        return pongs

    def until(recorder):
        sent.wait(stranger.PATIENCE_S)
        memory.append(anonymous_kib(recorder))
        server.result()

    with stranger.Stranger(flood, certificates=certificates) as server:
        archive, _ = stranger.record(scratch, server, *options, until=until)
        pongs = server.result()
    expect_equal(pongs, sorted(set(pongs)), "pongs in order, none twice")
    expect(len(pongs) < count, "the server's not reading was felt: %d pongs" % len(pongs))
    expect_equal(len(stranger.Tape(archive).frames), count, "pings recorded")
    if stranger.rig.BUILD.name not in ("address", "thread"):
        expect(memory[0] < 65536, "%d KiB of memory" % memory[0])


def ping_flood_over_tls(scratch):
    """The same where a write that was cut must be repeated as it was."""
    ping_flood(scratch, secure=True)


def empty_continuations(scratch):
    """A message of a million empty fragments."""
    count = 1000000
    data = frame(TEXT, b"", fin=0) + frame(0, b"", fin=0) * count + frame(0, b"end") + close(1000)
    memory = []

    def flood(peer, _):
        peer.upgrade(data)
        return peer.read_frame()

    def until(recorder):
        server.result()
        memory.append(anonymous_kib(recorder))

    with stranger.Stranger(flood) as server:
        archive, _ = stranger.record(scratch, server, until=until)
        expect_equal(server.result(), (CLOSE, b"\x03\xe8"), "the answer")
    expect_equal(stranger.rig.query(archive, "SELECT sum(records) AS n FROM segment")[0]["n"] > count, True,
                 "records")
    expect_equal(stranger.rig.play(archive, "--format", "raw"), b"end\n", "the message")
    if stranger.rig.BUILD.name not in ("address", "thread"):
        expect(memory[0] < 65536, "%d KiB of memory" % memory[0])


SINGLE = (owed_answers, fails_early, limit_counts_fragments, after_close, ping_flood, ping_flood_over_tls,
          empty_continuations)


def main(scratch):
    cases = {"fault: " + name: (fault, name, *row) for name, row in FAULTS.items()}
    cases.update({"fault in single bytes: " + name: (fault_bytewise, name, *row)
                  for name, row in FAULTS.items() if len(row[0]) < 200})
    cases.update({"end: " + name: (end, name, *row) for name, row in ENDS.items()})
    cases.update({test.__name__: (test,) for test in SINGLE})
    if len(sys.argv) > 1:
        cases = {name: case for name, case in cases.items() if sys.argv[1] in name}
    stranger.run_cases(cases, lambda _, test, *row: test(*row, scratch))


run_main(main)
