#!/usr/bin/env python3
"""Good messages of every awkward size and cut: the edges of the length forms, 16 MiB in one frame, 4 MiB in 64-byte
fragments, pings between fragments, arrivals in odd chops. All is kept byte for byte and the memory is given back."""
import sys
import tempfile
import pathlib

import stranger
from stranger import BINARY, CLOSE, PING, PONG, TEXT, close, frame
import rig
from rig import expect, expect_equal

EDGES = (0, 1, 125, 126, 127, 128, 1000, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20)


def text(size):
    return ("é" * (size // 2) + "x" * (size % 2)).encode()


def fragments(opcode, payload, size, between=b""):
    parts = [payload[i:i + size] for i in range(0, len(payload), size)]
    return b"".join(frame(opcode if i == 0 else 0, part, fin=i == len(parts) - 1) + (between if i % 7 == 3 else b"")
                    for i, part in enumerate(parts))


CASES = {
    "edges": (b"".join(frame(op, text(n)) for n in EDGES for op in (TEXT, BINARY)), None),
    "edges in 997-byte chops": (b"".join(frame(TEXT, text(n)) for n in EDGES[:-1]), 997),
    "edges in 64-byte chops": (b"".join(frame(TEXT, text(n)) for n in EDGES[:-1]), 64),
    "16 MiB": (frame(BINARY, bytes(16 << 20)) + frame(TEXT, b"after"), None),
    "1 MiB six times": (frame(TEXT, text(1 << 20)) * 6, None),
    "4 MiB in 64-byte fragments": (fragments(TEXT, text(4 << 20), 64), None),
    "pings between fragments": (fragments(TEXT, text(300000), 1300, frame(PING, b"between")), None),
    "characters cut by fragments": (fragments(TEXT, "aé€😀".encode() * 5000, 1), None),
}


def memory_kib(recorder):
    with open("/proc/%d/status" % recorder.process.pid, encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


def sizes(data, chop, secure, certificates, scratch):
    memory = []

    def script(peer, _):
        peer.upgrade()
        for i in range(0, len(data), chop or len(data)):
            peer.send(data[i:i + (chop or len(data))])
        peer.send(frame(TEXT, b"end") + frame(PING, b"last"))
        heard = []
        while not heard or heard[-1] != (PONG, b"last"):
            heard.append(peer.read_frame())
        memory.append(memory_kib(recorder))
        peer.send(close(1000))
        while heard[-1][0] != CLOSE:
            heard.append(peer.read_frame())
        return heard

    with stranger.Stranger(script, certificates=certificates if secure else None) as server:
        archive = pathlib.Path(tempfile.mkdtemp(dir=scratch)) / "tape"
        options = ("--ca", certificates / "ca.pem") if secure else ()
        with rig.Recorder(scratch, "--url", server.url, *options, archive) as recorder:
            heard = server.result()
            stranger.wait_for_close(archive, recorder)
            recorder.stop()
    tape = stranger.Tape(archive)
    expect_equal({flags for flags, _ in tape.frames}, {0}, "flags")
    wanted = data + frame(TEXT, b"end") + frame(PING, b"last") + close(1000)
    expect(tape.received() == wanted, "%d bytes were kept, %d sent, or not the same" %
           (len(tape.received()), len(wanted)))
    pings = data.count(frame(PING, b"between"))
    expect_equal([h for h in heard if h[0] == PONG], [(PONG, b"between")] * pings + [(PONG, b"last")], "pongs")
    if rig.BUILD.name not in ("address", "thread"):
        expect(memory[0] < 65536, "%d KiB of memory are held" % memory[0])


def main(scratch):
    certificates = rig.make_certificates(scratch / "certificates")
    cases = {"%s over %s" % (name, word): (data, chop, secure, certificates, scratch)
             for name, (data, chop) in CASES.items() for word, secure in (("ws", False), ("wss", True))}
    if len(sys.argv) > 1:
        cases = {name: case for name, case in cases.items() if sys.argv[1] in name}
    stranger.run_cases(cases, lambda _, *case: sizes(*case))


rig.run_main(main)
