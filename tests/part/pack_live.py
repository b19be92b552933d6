#!/usr/bin/env python3
"""Readers beside a packer that is killed (SIGKILL) and started anew, over and over, until all segments are packed and
then all are cold: each play gives the same bytes, ls the same figures, verify finds nothing. A follower goes through
segments that the recorder packs meanwhile into what it records."""
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import maker  # noqa: E402
import rig  # noqa: E402
from maker import frame, SegmentMaker  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

IN, OPEN, START = 1, 5, 12
SLOW = rig.BUILD.name in ("address", "thread")
SEGMENTS = 24 if SLOW else 120
RECORDS, BLOCK = 60, 20
LINE = re.compile(rb'\{"stream":"(.)","data":\{"n":(\d+),"x":"0*"\}\}\n')


def record(number):
    """Every seventh message has its end in the next record; with 60 of them in a segment some cross its end."""
    whole = frame(b'{"stream":"%c","data":{"n":%d,"x":"%s"}}' % (b"abc"[number % 3], number, b"0" * (number % 90)))
    if number % 7 == 1:
        return IN, 1, 2, frame(b'{"stream":"f","data":{"n":%d,' % number, 1, False)
    if number % 7 == 2:
        return IN, 1, 2, frame(b'"x":"%s"}}' % (b"0" * (number % 90)), 0, True)
    return IN, 1, 1, whole


def write_hot(path):
    """The first segment begins with what opens a session and its connections."""
    made, number = {}, 0
    head = [(START, 0, 0, b'{"session":1,"version":"0","pid":1,"host":"h","command":"c"}'),
            *[(OPEN, 0, c, b'{"session":1,"url":"wss://x/stream","venue":"binance-usdm"}') for c in (1, 2)]]
    at = 0
    for sequence in range(1, SEGMENTS + 1):
        segment = SegmentMaker(sequence, at)
        records = head if sequence == 1 else []
        records = records + [record(n) for n in range(number, number + RECORDS)]
        number += RECORDS
        for begin in range(0, len(records), BLOCK):
            part = records[begin:begin + BLOCK]
            segment.add([(maker.START_NS + (at + i) * 10**6, *r) for i, r in enumerate(part)])
            at += len(part)
        made[sequence] = segment.seal().data
    return maker.write_archive(path, made)


def figures(path):
    told = json.loads(rig.call("tape-replay", "ls", "--json", path)[0])
    return told["streams"], told["gaps"], told["records"], [
        (s["segment"], s["records"], s["messages"], s["first_ns"], s["last_ns"], s["damaged_places"]) for s in told["segments"]]


def verified(path):
    told = json.loads(rig.call("tape-replay", "verify", "--reparse", "--json", path)[0])
    return told["damages"], told["records"], told["next_ordinal"]


WINDOW = ("--from", maker.START_NS + SEGMENTS * 20 * 10**6, "--to", maker.START_NS + SEGMENTS * 25 * 10**6)
QUESTIONS = {
    "play": rig.play,
    "play of a stream": lambda path: rig.play(path, "--stream", "f"),
    "play of a window": lambda path: rig.play(path, "--format", "ndjson", "--all", *WINDOW),
    "ls": figures,
    "verify": verified,
}


class Reader(threading.Thread):
    """Asks the same over and over; all answers must be the first one."""

    def __init__(self, path, name, wanted):
        super().__init__(daemon=True)
        self.path, self.name, self.wanted, self.answers, self.stop, self.failed = path, name, wanted, 0, False, None
        self.start()

    def run(self):
        try:
            while not self.stop:
                found = QUESTIONS[self.name](self.path)
                expect(found == self.wanted, "%s: another answer than before packing: %s" % (self.name, self.differ(found)))
                self.answers += 1
        except Exception as failure:  # pylint: disable=broad-except
            self.failed = failure

    def differ(self, found):
        if isinstance(found, bytes):
            return "%d bytes, not %d" % (len(found), len(self.wanted))
        return str([(f, w) for f, w in zip(found, self.wanted) if f != w])[:2000]


def names(path, state):
    return list(path.glob("segments/*/*/*/*." + state))


def is_done(path, words):
    if names(path, "hot"):
        return False
    if not words:
        return True
    told = json.loads(rig.call("tape-replay", "ls", "--json", path)[0])
    return told["segments_cold"] == SEGMENTS


def pack_with_kills(path, words, dice):
    """Returns how often it was killed. Its time grows: however slow the machine is, it comes to an end."""
    kills, most_s = 0, 0.2
    while not is_done(path, words):
        packer = subprocess.Popen([str(rig.BUILD / "tape-record"), "--quiet", "--pack", *words, str(path)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            said = packer.communicate(timeout=dice.uniform(0.02, most_s))[0]
        except subprocess.TimeoutExpired:
            packer.kill()
            packer.communicate()
            kills, most_s = kills + 1, most_s * 1.08
            continue
        expect_equal(packer.returncode, 0, "the packer's exit code: %s" % said.decode())
    return kills


def beside_the_packer(hot, scratch, dice):
    wanted = {name: ask(hot) for name, ask in QUESTIONS.items()}
    expect_equal(len(LINE.findall(wanted["play"])), SEGMENTS * RECORDS - len(range(1, SEGMENTS * RECORDS, 7)), "messages")
    path = scratch / "packed"
    shutil.copytree(hot, path)
    rig.call("tape-record", "--quiet", "--repair", path)
    readers = [Reader(path, name, wanted[name]) for name in QUESTIONS]
    kills = [pack_with_kills(path, words, dice) for words in ((), ("--level=cold",))]
    for reader in readers:
        reader.stop = True
    for reader in readers:
        reader.join()
    for reader in readers:
        expect(reader.failed is None, "%s: %s" % (reader.name, reader.failed))
        expect(reader.answers > 0, "%s: asked too seldom" % reader.name)
    for name, ask in QUESTIONS.items():
        expect(ask(path) == wanted[name], "%s: another answer after packing" % name)
    expect_equal(len(names(path, "tape")), SEGMENTS, "packed files")
    print("killed %s times; asked %s" % (kills, {r.name: r.answers for r in readers}))


def beside_a_recorder(hot, scratch):
    """The recorder packs what is there as soon as it starts; a follower reads it from the beginning."""
    path, out, said = scratch / "followed", scratch / "follow.out", scratch / "follow.err"
    shutil.copytree(hot, path)
    recorder = subprocess.Popen([str(rig.BUILD / "tape-record"), "--quiet", "--ring=1MiB", "--import", "-", str(path)],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 2 * rig.PATIENCE_S
    while len(names(path, "hot")) == SEGMENTS and not names(path, "packing"):
        expect(time.monotonic() < end and recorder.poll() is None, "the recorder does not begin to pack")
        time.sleep(0.001)
    with open(out, "wb") as to, open(said, "wb") as complaints:
        follower = subprocess.Popen([str(rig.BUILD / "tape-replay"), "play", "--follow", "--format", "raw", str(path)],
                                    stdin=subprocess.DEVNULL, stdout=to, stderr=complaints)
    number = SEGMENTS * RECORDS
    while len(names(path, "hot")) > 1 or number < SEGMENTS * RECORDS + 50:
        expect(time.monotonic() < end, "not all was packed")
        recorder.stdin.write(b'%d {"stream":"a","data":{"n":%d,"x":""}}\n' % (maker.START_NS + 10**12 + number, number))
        recorder.stdin.flush()
        number += 1
        time.sleep(0.01)
    recorder.stdin.close()
    expect_equal(recorder.wait(rig.PATIENCE_S), 0, "the recorder's exit code")
    expect_equal(follower.wait(rig.PATIENCE_S), 0, "the follower's exit code (%s)" % said.read_text())
    found = out.read_bytes()
    numbers = [int(n) for _, n in LINE.findall(found)]
    expect_equal(numbers, [n for n in range(number) if n % 7 != 2 or n >= SEGMENTS * RECORDS], "what was followed")
    expect_equal(found, rig.play(path, "--format", "raw"), "followed and played afterwards")
    rig.verify(path)


def main(scratch):
    hot = write_hot(scratch / "hot")
    rig.call("tape-record", "--quiet", "--repair", hot)
    beside_the_packer(hot, scratch, random.Random(5))
    beside_a_recorder(hot, scratch)


rig.run_main(main)
