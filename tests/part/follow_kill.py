#!/usr/bin/env python3
"""tape-replay play --follow beside a recorder that is killed (SIGKILL) and started anew, over and over, and
beside one that goes flat out: every number once, in order, from segments and ring alike; it says what it
waits for, and ends when the last recorder ends in order."""
import pathlib
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

FEED = str(rig.BUILD / "tests/part/store_feed")
ROUNDS = 4
MANY = 100000 if rig.BUILD.name in ("address", "thread") else 400000


class Feed:
    """A store that is filled with numbers from first on until it is killed."""

    def __init__(self, archive, first, burst, pause_us):
        self.process = subprocess.Popen([FEED, "feed", str(archive), str(first), str(burst), str(pause_us)],
                                        stdout=subprocess.PIPE)
        self.last = first - 1
        self.read()

    def read(self):
        data = self.process.stdout.read(8)
        if len(data) == 8:
            self.last = int.from_bytes(data, "little")
        return len(data) == 8

    def run_until(self, number):
        while self.last < number:
            expect(self.read(), "the feed ended by itself")

    def kill(self):
        """Returns the last number that is known to be in the ring."""
        self.process.kill()
        while self.read():
            pass
        self.process.wait()
        return self.last


class Follower:
    def __init__(self, scratch, archive, *words):
        self.out, self.said = scratch / "follow.out", scratch / "follow.err"
        self.process = subprocess.Popen(
            [str(rig.BUILD / "tape-replay"), "play", "--follow", *words, str(archive)],
            stdin=subprocess.DEVNULL, stdout=open(self.out, "wb"), stderr=open(self.said, "wb"))

    def numbers(self):
        text = self.out.read_bytes()
        return [int(n) for n in re.findall(rb'"n":(\d+)\}', text[:text.rfind(b"\n") + 1])]

    def wait_for(self, truth, what):
        end = time.monotonic() + rig.PATIENCE_S
        while not truth():
            expect(self.process.poll() is None, "%s: the follower ended with %s:\n%s" %
                   (what, self.process.poll(), self.said.read_text()))
            expect(time.monotonic() < end, "%s never came:\n%s" % (what, self.said.read_text()))
            time.sleep(0.02)

    def wait_number(self, number):
        self.wait_for(lambda: (self.numbers() or [-1])[-1] >= number, "number %d" % number)

    def end(self):
        code = self.process.wait(rig.PATIENCE_S)
        expect_equal(code, 0, "the follower's exit code (%s)" % self.said.read_text())


def kept_numbers(archive):
    return [int(n) for n in re.findall(rb'"n":(\d+)\}', rig.play(archive, "--format", "raw"))]


def killed_and_restarted(scratch):
    archive, follower, first = scratch / "tape", None, 0
    for turn in range(ROUNDS):
        feed = Feed(archive, first, 20, 2000)
        if not follower:
            feed.run_until(400)  # some of it lies in segments already
            follower = Follower(scratch, archive, "--format", "raw")
        feed.run_until(first + 1500)
        follower.wait_number(first + 1200)
        last = feed.kill()
        follower.wait_number(last)
        follower.wait_for(lambda: follower.said.read_text().count("the recorder died") == turn + 1,
                          "the notice of its death")
        first = last + 1
        # what it had published and not told us is in the ring, too
        first = max(first, follower.numbers()[-1] + 1)
    lines = rig.write_lines(scratch / "last.txt", [b'1795334400000000000 {"n":%d}' % first])
    rig.call("tape-record", "--import", lines, archive)
    follower.end()
    expect_equal(follower.numbers(), list(range(first + 1)), "numbers that were followed")
    expect_equal(kept_numbers(archive), follower.numbers(), "numbers in the archive")
    expect_equal(follower.out.read_bytes(), rig.play(archive, "--format", "raw"), "followed and played")
    said = follower.said.read_text()
    expect_equal(said.count("recording goes on"), ROUNDS - 1 + said.count("goes on\nplayed"), "notices: " + said)
    expect("sha256 " in said, "a receipt: " + said)
    rig.verify(archive)


def flat_out(scratch):
    """Faster than a follower that prints JSON can be: where the ring goes round it, segments serve."""
    archive = scratch / "fast"
    feed = Feed(archive, 0, 2000, 0)
    follower = Follower(scratch, archive, "--format", "ndjson", "--all")
    feed.run_until(MANY)
    last = feed.kill()
    lines = rig.write_lines(scratch / "end.txt", [b'1795334400000000000 {"end":1}'])
    rig.call("tape-record", "--import", lines, archive)
    follower.end()
    expect_equal(follower.out.read_bytes(),
                 rig.call("tape-replay", "play", "--speed", "max", "--format", "ndjson", "--all", archive)[0],
                 "followed and played afterwards")
    expect(last >= MANY, "too few")


def nobody_records(scratch):
    archive = scratch / "still"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "a.txt", [b"1795334400000000000 {}"]), archive)
    out, said = rig.call("tape-replay", "play", "--follow", archive)
    expect_equal(out, b"{}\n", "what it gave")
    expect(said.startswith("tape-replay: nothing records into this archive: it ends where it ends\n"), said)


def main(scratch):
    killed_and_restarted(scratch)
    flat_out(scratch)
    nobody_records(scratch)


rig.run_main(main)
