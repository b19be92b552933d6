#!/usr/bin/env python3
"""What lies beside the segments, flipped and cut anywhere: the ring that a killed recorder left with records that
nothing else has, index.db and its log, LOCK. Reading is never harmed, every line of the segments stays, no line
is made up, and the next recording goes on. TAPE_EXHAUSTIVE=1 takes fifty times as many places."""
import os
import pathlib
import random
import shutil
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from damage_archive import (EXHAUSTIVE, Feeder, flipped, groups_of, in_parallel, play, replay, run,  # noqa: E402
                            segment_of, some_lines)
from rig import expect, expect_equal, read_archive  # noqa: E402

SLOW = "address" in str(rig.BUILD) or "asan" in str(rig.BUILD)
CASES = (8 if SLOW else 25) * (50 if EXHAUSTIVE else 1)
MORE = b"1795600009000000000 more\n"


def record(*words, **more):
    return run("tape-record", "--quiet", *(() if "--repair" in words else ("--no-pack",)), *words, **more)


def ring_of(process):
    found = list(pathlib.Path("/dev/shm").glob("tapedeck-*-%d" % process.pid))
    return found[0] if found else None


def head_of(ring):
    with open(ring, "rb") as file:
        return struct.unpack("<Q", file.read(72)[64:72])[0]


def make_left(path, lines):
    """Killed with the last lines in the ring alone. Returns how many lines the segments have."""
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        with Feeder(path) as feeder:
            for group in groups_of(lines[:16], 8):
                feeder.give(group)
            ring = ring_of(feeder.process)
            before, size = head_of(ring), feeder.size()
            feeder.process.stdin.write(b"".join(line + b"\n" for line in lines[16:]))
            feeder.process.stdin.flush()
            while head_of(ring) < before + sum(map(len, lines[16:])):
                time.sleep(0.0005)
            feeder.kill()
            whole = segment_of(path).stat().st_size == size
            shutil.move(str(ring), str(path / "ring"))
        if whole:
            return
    raise rig.Failed("the last lines never stayed in the ring alone")


def is_subsequence(found, whole):
    rest = iter(whole)
    return all(item in rest for item in found)


class Attack:
    def __init__(self, scratch, name, lines):
        self.scratch, self.name = scratch / name, name
        self.lines = [line + b"\n" for line in lines]
        self.path = self.scratch / "left"
        self.scratch.mkdir()
        make_left(self.path, lines)
        self.kept = play(self.path, wanted=(0,)).out.splitlines(keepends=True)
        expect_equal(self.kept, self.lines[:16], "what the segments have")

    def copy(self, name, content):
        path = self.scratch / "copy"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.path, path)
        (path / name).write_bytes(content)
        return path

    def go_on(self, path, where, changed=0):
        """Both ways back into recording; every line of the segments is there after them. changed: so many lines
        of the ring may be other lines: memory has no checksums, only its structure is checked."""
        for verb in (("ls",), ("verify",)):
            replay(*verb, path, wanted=(0, 3))
        expect(is_subsequence(self.kept, play(path, wanted=(0, 3)).out.splitlines(keepends=True)), where)
        done = record("--repair", path, wanted=(0, 3))
        found = play(path, wanted=(0, 3)).out.splitlines(keepends=True)
        made_up = [line for line in found if line not in self.lines]
        expect(is_subsequence(self.kept, found) and len(made_up) <= changed and len(found) <= len(self.lines),
               "%s: after the repair: %d lines\n%s" % (where, len(found), done))
        (self.scratch / "more").write_bytes(MORE)
        record("--ring=1MiB", "--import", self.scratch / "more", path, wanted=(0,))
        again = play(path, wanted=(0, 3)).out.splitlines(keepends=True)
        expect_equal(again, found + [MORE], "%s: after the next recording" % where)
        ordinals = [one.ordinal for one in read_archive.Archive(path).records()]
        expect(ordinals == sorted(set(ordinals)) and ordinals[-1] < 1 << 40, "%s: %s" % (where, ordinals[-2:]))
        return done, found

    def whole(self):
        done, found = self.go_on(self.copy("LOCK", (self.path / "LOCK").read_bytes()), "undamaged")
        expect_equal((done.code, found), (0, self.lines), "the undamaged ring gives all: %s" % done)

    def ring(self, dice):
        ring = (self.path / "ring").read_bytes()
        used = 4096 + head_of(self.path / "ring")
        for _ in range(CASES):
            at = dice.choice([dice.randrange(136), dice.randrange(4096, used), dice.randrange(used, used + 64)])
            bits = dice.choice([1, 0x80, 0xff, 1 << dice.randrange(8)])
            kind = dice.choice(["flip", "flip", "flip", "cut", "zeros", "noise"])
            content = {"flip": flipped(ring, at, bits), "cut": ring[:at],
                       "zeros": ring[:at] + bytes(len(ring) - at),
                       "noise": ring[:at] + dice.randbytes(256) + ring[at + 256:]}[kind]
            self.go_on(self.copy("ring", content), "ring: %s at %d (%02x)" % (kind, at, bits),
                       {"flip": 1, "noise": 3, "zeros": 1, "cut": 0}[kind])

    def index(self, dice):
        for number in range(CASES):
            name = "index.db" if number % 3 else "index.db-wal"
            data = (self.path / name).read_bytes()
            content = bytearray(data)
            for _ in range(dice.choice([1, 5, 100])):
                content[dice.choice([dice.randrange(len(data)), dice.randrange(100)])] ^= dice.randrange(1, 256)
            if dice.randrange(5) == 0:
                content = content[:dice.randrange(len(data))]
            self.go_on(self.copy(name, bytes(content)), "%s: case %d" % (name, number))

    def lock(self, dice):
        data = (self.path / "LOCK").read_bytes()
        for at in dice.sample(range(len(data)), min(CASES, len(data))):
            content = data[:at] if at % 2 else flipped(data, at, 1 << dice.randrange(8))
            self.go_on(self.copy("LOCK", content), "LOCK: byte %d" % at)


def main(scratch):
    lines = some_lines(24)
    one, two = Attack(scratch, "one", lines), Attack(scratch, "two", lines)
    one.whole()

    def first():
        one.ring(random.Random(31))
        one.lock(random.Random(32))

    in_parallel([first, lambda: two.index(random.Random(33))])


rig.run_main(main)
