#!/usr/bin/env python3
"""What RFC 6455 asks of a server, case by case as the public test suites have it: each sequence of frames sent
whole, in pieces and byte by byte, over TCP and over TLS, with all answers compared."""
import struct
import sys

import echo
from echo import BINARY, CLOSE, CONT, PING, PONG, TEXT, RANDOM, Raw, Server, close, frame
import rig
from rig import expect

LIMIT = 65536
HELLO = b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!"


def text(payload, **more):
    return frame(TEXT, payload, **more)


def lengths():
    for group, opcode in (("1.1", TEXT), ("1.2", BINARY)):
        for size in (0, 1, 125, 126, 127, 128, 65535, LIMIT):
            payload = b"*" * size if opcode == TEXT else RANDOM.randbytes(size)
            yield "%s of %d" % (group, size), frame(opcode, payload), [(opcode, payload)], None
        yield "%s above the limit" % group, frame(opcode, b"*" * (LIMIT + 1)), [], 1009
        yield ("%s above the limit in all" % group,
               frame(opcode, b"*" * LIMIT, fin=0) + frame(CONT, b"*"), [], 1009)
        yield ("%s two of them" % group, frame(opcode, b"*" * 65535) + frame(opcode, b"*" * LIMIT),
               [(opcode, b"*" * 65535), (opcode, b"*" * LIMIT)], None)


def pings():
    yield "2.1", frame(PING), [(PONG, b"")], None
    yield "2.2", frame(PING, b"Hello"), [(PONG, b"Hello")], None
    yield "2.3", frame(PING, b"\x00\xff\xfe\xfd"), [(PONG, b"\x00\xff\xfe\xfd")], None
    yield "2.4", frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)], None
    yield "2.5", frame(PING, b"\xfe" * 126), [], 1002
    yield "2.7", frame(PONG), [], None
    yield "2.8", frame(PONG, b"unsolicited"), [], None
    yield "2.9", frame(PONG, b"unsolicited") + frame(PING, b"x"), [(PONG, b"x")], None
    many = [b"payload-%d" % i for i in range(10)]
    yield "2.10", b"".join(frame(PING, p) for p in many), [(PONG, p) for p in many], None
    long = [b"%d" % i * 125 for i in range(10)]
    yield "2.10 long", b"".join(frame(PING, p) for p in long), [(PONG, p) for p in long], None


def reserved():
    for rsv in range(1, 8):
        yield "3.%d text" % rsv, text(b"x", rsv=rsv), [], 1002
        yield ("3.%d after a good one" % rsv, text(b"good") + text(b"x", rsv=rsv) + frame(PING),
               [(TEXT, b"good")], 1002)
        yield "3.%d ping" % rsv, frame(PING, b"x", rsv=rsv), [], 1002
        yield "3.%d close" % rsv, frame(CLOSE, b"\x03\xe8", rsv=rsv), [], 1002
        yield "3.%d continuation" % rsv, text(b"x", fin=0) + frame(CONT, b"y", rsv=rsv), [], 1002
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield "4 opcode %d" % opcode, frame(opcode), [], 1002
        yield "4 opcode %d with payload" % opcode, frame(opcode, b"reserved"), [], 1002
        yield ("4 opcode %d after a good one" % opcode, text(b"good") + frame(opcode) + frame(PING),
               [(TEXT, b"good")], 1002)
        yield "4 opcode %d unfinished" % opcode, frame(opcode, fin=0), [], 1002


def fragments():
    yield "5.1", frame(PING, b"a", fin=0) + frame(CONT, b"b"), [], 1002
    yield "5.2", frame(PONG, b"a", fin=0) + frame(CONT, b"b"), [], 1002
    yield "5.1 close", frame(CLOSE, b"\x03\xe8", fin=0), [], 1002
    two = text(b"fragment1", fin=0) + frame(CONT, b"fragment2")
    yield "5.3", two, [(TEXT, b"fragment1fragment2")], None
    yield ("5.6", text(b"fragment1", fin=0) + frame(PING, b"ping") + frame(CONT, b"fragment2"),
           [(PONG, b"ping"), (TEXT, b"fragment1fragment2")], None)
    yield ("5.6 binary", frame(BINARY, b"\xff", fin=0) + frame(PONG, b"x") + frame(CONT, b"\xfe"),
           [(BINARY, b"\xff\xfe")], None)
    for fin in (0, 1):
        yield ("5.9 fin %d" % fin, frame(CONT, b"none", fin=fin) + text(b"Hello"), [], 1002)
        yield ("5.15 fin %d" % fin, two + frame(CONT, b"none", fin=fin) + text(b"Hello"),
               [(TEXT, b"fragment1fragment2")], 1002)
    yield "5.18", text(b"fragment1", fin=0) + text(b"fragment2"), [], 1002
    yield "5.18 binary", text(b"fragment1", fin=0) + frame(BINARY, b"fragment2"), [], 1002
    five = [text(b"1", fin=0), frame(CONT, b"2", fin=0), frame(PING, b"a"), frame(CONT, b"3", fin=0),
            frame(CONT, b"4", fin=0), frame(PING, b"b"), frame(CONT, b"5")]
    yield "5.19", b"".join(five), [(PONG, b"a"), (PONG, b"b"), (TEXT, b"12345")], None
    many = [RANDOM.randbytes(RANDOM.randrange(300)) for _ in range(200)]
    yield ("9.3", frame(BINARY, fin=0) + b"".join(frame(CONT, p, fin=0) for p in many) + frame(CONT),
           [(BINARY, b"".join(many))], None)
    whole = b"*" * LIMIT
    yield ("10.1.1", text(whole[:1300], fin=0) + b"".join(frame(CONT, whole[at:at + 1300], fin=0)
           for at in range(1300, LIMIT, 1300)) + frame(CONT), [(TEXT, whole)], None)


KUHN = [
    HELLO, "κόσμε".encode(), b"\x00", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xed\x9f\xbf", b"\xee\x80\x80",
    b"\xef\xbf\xbd", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf", b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80",
    bytes(range(0x80, 0xc0)), b" ".join(bytes([b]) for b in range(0xc0, 0xe0)) + b" ",
    b" ".join(bytes([b]) for b in range(0xe0, 0xf0)) + b" ", b"\xf0 ", b"\xf5 ", b"\xf8 ", b"\xfc ", b"\xc0",
    b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xc0\xe0\x80\xf0\x80\x80", b"\xfe",
    b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",
    b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe", b"\xf4\x8f\xbf\xbe", b"\xef\xb7\x90", b"\xe2\x82",
]


def utf8():
    yield "6.1.1", text(b""), [(TEXT, b"")], None
    yield "6.1.2", text(b"", fin=0) + frame(CONT, b"", fin=0) + frame(CONT), [(TEXT, b"")], None
    yield "6.1.3", text(b"", fin=0) + frame(CONT, b"middle", fin=0) + frame(CONT), [(TEXT, b"middle")], None
    yield "6.2.2", text(HELLO[:7], fin=0) + frame(CONT, HELLO[7:]), [(TEXT, HELLO)], None
    yield ("6.2.3", text(b"", fin=0) + b"".join(frame(CONT, HELLO[i:i + 1], fin=0) for i in range(len(HELLO))) +
           frame(CONT), [(TEXT, HELLO)], None)
    for number, payload in enumerate(KUHN):
        try:
            payload.decode("utf-8")
            wanted = [(TEXT, payload)], None
        except UnicodeDecodeError:
            wanted = [], 1007
        yield "6.5 row %d" % number, text(payload), *wanted
        yield ("6.5 row %d in fragments" % number, text(b"", fin=0) +
               b"".join(frame(CONT, payload[i:i + 1], fin=0) for i in range(len(payload))) + frame(CONT), *wanted)
        yield "6.5 row %d as binary" % number, frame(BINARY, payload), [(BINARY, payload)], None


def closes():
    ping = frame(PING, b"late")
    yield "7.1.1", text(b"Hello World!") + close(1000), [(TEXT, b"Hello World!")], 1000
    yield "7.1.2", close(1000) + close(1000), [], 1000
    yield "7.1.3", close(1000) + ping, [], 1000
    yield "7.1.4", close(1000) + text(b"late"), [], 1000
    yield "7.1.5", text(b"fragment1", fin=0) + close(1000) + frame(CONT, b"fragment2"), [], 1000
    yield ("7.1.6", b"".join(frame(BINARY, b"B" * LIMIT) for _ in range(4)) + close(1000) + ping, None, 1000)
    yield "7.1.7 garbage after it", close(1000) + b"\xff" * 100, [], 1000
    yield "7.3.1", close(), [], 1005
    yield "7.3.2", frame(CLOSE, b"a"), [], 1002
    yield "7.3.4", close(1000, b"Hello World!"), [], 1000
    yield "7.3.5", close(1000, b"x" * 123), [], 1000
    yield "7.3.6", frame(CLOSE, b"\x03\xe8" + b"x" * 124), [], 1002
    yield "7.5.1", close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"), [], 1007
    yield "7.5.1 cut", close(1000, b"\xce"), [], 1007
    for code in [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]:
        yield "7.7 code %d" % code, close(code), [], code
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield "7.9 code %d" % code, close(code), [], 1002


def beyond():
    """What those suites never ask."""
    yield "not masked", text(b"x", masked=False), [], 1002
    yield "not masked after a good one", text(b"good") + text(b"x", masked=False), [(TEXT, b"good")], 1002
    yield "a ping not masked", frame(PING, masked=False), [], 1002
    yield "length in 16 bits for 125", text(b"x" * 125, form=16), [], 1002
    yield "length in 64 bits for 125", text(b"x" * 125, form=64), [], 1002
    yield "length in 64 bits for 65535", text(b"x" * 65535, form=64), [], 1002
    yield "the top bit of a length", b"\x81\xff\x80" + bytes(11), [], 1002
    yield "2^63 - 1 bytes", b"\x81\xff\x7f" + b"\xff" * 7 + bytes(4), [], 1009
    yield "a ping with a long length", b"\x89\xfe\x00\x05" + bytes(9), [], 1002
    yield "a close after a ping", frame(PING, b"p") + close(4000, b"x"), [(PONG, b"p")], 4000


def split(frames):
    data = [(opcode, payload) for opcode, _, payload in frames if opcode < 8]
    pongs = [(opcode, payload) for opcode, _, payload in frames if opcode == PONG]
    return data, pongs


def check(server, tls, case, step):
    name, sent, wanted, code = case
    peer = Raw(server, tls).open()
    if code is None:
        sent, code = sent + close(1000), 1000
    peer.send(sent, step)
    found = peer.frames()
    where = "%s in steps of %s%s" % (name, step, " over TLS" if tls else "")
    expect(not peer.reset, "%s: reset after %s" % (where, str(found)[:200]))
    expect(found and found[-1][0] == CLOSE, "%s: no close frame, but %s" % (where, str(found)[:200]))
    expect(all(fin for _, fin, _ in found), "%s: a fragment" % where)
    payload = found.pop()[2]
    got = struct.unpack(">H", payload[:2])[0] if payload else 1005
    expect(got == code, "%s: closed with %d %r, not %d" % (where, got, payload[2:], code))
    payload[2:].decode("utf-8")
    if wanted is None:
        return
    data, pongs = split(found)
    expect(len(data) + len(pongs) == len(found), "%s: other frames: %s" % (where, str(found)[:200]))
    expect(data == [w for w in wanted if w[0] != PONG], "%s: found %s" % (where, str(data)[:200]))
    expect(pongs == [w for w in wanted if w[0] == PONG], "%s: found %s" % (where, str(pongs)[:200]))
    if step == 1 and any(w[0] == PONG for w in wanted):
        expect([(o, p) for o, _, p in found] == wanted, "%s: in another order: %s" % (where, str(found)[:200]))
    peer.shut()


def check_early(server, sent, code):
    """Found out from these bytes alone: nothing more is sent until the close frame is there."""
    peer = Raw(server).open()
    peer.send(sent)
    got = peer.read_frame()
    expect(got is not None and got[0] == CLOSE and struct.unpack(">H", got[2][:2])[0] == code,
           "early: %r was answered with %r" % (sent[:40], got))
    peer.shut()


def main(scratch):
    tls = echo.trusting(scratch)
    cases = [case for group in (lengths, pings, reserved, fragments, utf8, closes, beyond) for case in group()]
    with Server("--rate", 10000000) as server:
        for case in cases:
            size = len(case[1])
            for step in (None, 1 if size < 2000 else 997, 7 if size < 20000 else 16385):
                check(server, None, case, step)
        bad = "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited"
        check_early(server, text(bad[:15], fin=0), 1007)
        check_early(server, text(bad)[:6 + 13], 1007)
        check_early(server, text(bad[:11], fin=0) + frame(CONT, bad[11:15], fin=0), 1007)
        check_early(server, b"\x83", 1002)
        check_early(server, b"\x81\x05", 1002)
        check_early(server, b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01" + bytes(4), 1009)
        check_early(server, frame(CLOSE, b"\x03\xec\xff")[:8], 1002)
        server.stop()
    with Server("--rate", 10000000, *echo.secured(scratch)) as server:
        for case in cases[::3]:
            check(server, tls, case, None)
            check(server, tls, case, 997 if len(case[1]) > 500 else 1)
        server.stop()
    print("%d cases" % len(cases))


if __name__ == "__main__":
    sys.exit(rig.run_main(main))
