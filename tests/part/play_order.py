#!/usr/bin/env python3
"""What play gives at any speed, from any kind of segment, out of any place: the same messages in the same
order with the same digest. Equal stamps, stamps that run back, a clock that was set back, files that end in
the middle, empty ranges, a start at every boundary, order by the venue's time, loops, damage."""
import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
MS = 10**6


def make_lines():
    """1,200 messages of 1.2 s: bursts with one stamp, a little back, and twice the clock set back by an hour."""
    dice, lines, ns = random.Random(5), [], BEGIN
    for i in range(1200):
        ns += 0 if i % 5 else 5 * MS
        if i in (400, 800):
            ns -= 3600 * 10**9
        stamp = ns - (2 * MS if i % 17 == 3 else 0)
        event = ns // MS - dice.randrange(40)
        lines.append(b'%d {"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1.0","q":"2","T":%d,"m":true}}'
                     % (stamp, event, i, event))
    return lines


def record(scratch, name, lines, *words):
    archive = scratch / name
    rig.call("tape-record", "--import", *words, rig.write_lines(scratch / (name + ".txt"), lines), archive)
    return archive


def told_of(archive, *words, wanted=0):
    out, said = rig.call("tape-replay", "play", "--json", "--format", "hft", *words, archive, wanted=wanted)
    told = json.loads(said.splitlines()[-1] if wanted == 0 else next(l for l in said.splitlines() if l.startswith("{")))
    expect_equal(told["sha256"], hashlib.sha256(out).hexdigest(), "digest")
    return out, told


def same_everywhere(scratch, lines):
    wanted = b"".join(line + b"\n" for line in lines)
    hot = record(scratch, "hot", lines)
    packed, cold = scratch / "packed", scratch / "cold"
    for archive, level in ((packed, "warm"), (cold, "cold")):
        shutil.copytree(hot, archive)
        rig.call("tape-record", "--pack", "--level=%s" % level, archive)
    for archive in (hot, packed, cold):
        for speed in ("max", "1000", "3", "0.9"):
            out, told = told_of(archive, "--speed", speed)
            expect(out == wanted, "%s at %s" % (archive.name, speed))
            # The clock was set back twice: no hour is waited for, and none is rushed through.
            if speed != "max":
                expect_equal(told["clock_steps"], 2, "steps of the clock")
            if speed in ("3", "0.9"):
                expect(int(told["wall_ns"]) >= 1180 * MS / float(speed), "not too fast: %s" % told["wall_ns"])
    return hot, packed


def every_start(archives, lines):
    """From each stamp on, and from just after it, until each end: what has a stamp in there, in order."""
    stamps = [int(line.split()[0]) for line in lines]
    dice = random.Random(9)
    for at in dice.sample(sorted(set(stamps)), 25) + [min(stamps), max(stamps)]:
        for low in (at, at + 1):
            high = low + dice.choice([1, 5 * MS, 500 * MS])
            between = b"".join(l + b"\n" for l, ns in zip(lines, stamps) if low <= ns < high)
            for archive in archives:
                out, told = told_of(archive, "--speed", "max", "--from", low, "--to", high)
                expect(out == between, "%s from %d to %d" % (archive.name, low, high))
                expect_equal(told["messages"], between.count(b"\n"), "messages")
    out, told = told_of(archives[0], "--speed", "1", "--from", max(stamps) + 1)
    expect_equal((out, told["messages"], told["end"]), (b"", 0, "archive"), "nothing, and no waiting for it")


def outside(archive):
    _, said = rig.call("tape-replay", "play", "--from", "2027-01-01", archive)
    expect("tape-replay: no message in the time asked for; tape-replay ls tells what there is\n"
           "tape-replay: that is outside of the archive, which reaches from 2026-11-22T" in said, said)
    _, said = rig.call("tape-replay", "play", "--to", "2026-01-01", archive)
    expect("tape-replay: that is outside of the archive" in said, said)
    _, said = rig.call("tape-replay", "play", "--speed", "max", "--stream", "none", archive)
    expect("tape-replay: no message of --stream none; tape-replay ls tells what there is\n" in said, said)


def split_files_keep_pace(scratch):
    """Several imports are several segments: the way from one to the next takes as long as it did."""
    archive, lines = scratch / "split", []
    for part in range(4):
        some = [b'%d {"n":%d}' % (BEGIN + (part * 100 + i) * MS, part * 100 + i) for i in range(0, 100, 10)]
        rig.call("tape-record", "--import", rig.write_lines(scratch / "part.txt", some), archive)
        lines += some
    expect(len(list(archive.glob("segments/*/*/*/*"))) >= 4, "four segments")
    out, told = told_of(archive, "--speed", "1")
    expect(out == b"".join(l + b"\n" for l in lines), "all of them")
    expect(int(told["wall_ns"]) >= 389 * MS, "split files at their pace: %s" % told["wall_ns"])
    expect_equal(told["clock_steps"], 0, "clock steps")


def by_event_time(scratch, lines):
    """Without the clock's steps; the same at any speed."""
    lines = lines[:400]
    archive = record(scratch, "event", lines)

    def event(line):
        return json.loads(line.split(b" ", 1)[1])["data"]["E"]
    wanted = b"".join(l + b"\n" for l in sorted(lines, key=event))
    expect(wanted != b"".join(l + b"\n" for l in lines), "the orders differ")
    for speed in ("max", "5", "1000"):
        out, told = told_of(archive, "--speed", speed, "--order", "event")
        expect(out == wanted, "by event time at %s" % speed)
        expect_equal(told["order"], "event", "the receipt says so")
    expect(told_of(archive, "--speed", "max", "--order", "received")[0] != wanted, "--order received")


def loops(archive, lines):
    """--loop goes round until it is stopped: the same bytes each time."""
    first = [l + b"\n" for l in lines[:400]]
    process = subprocess.Popen([str(rig.BUILD / "tape-replay"), "play", "--loop", "--speed", "max", "--format", "hft",
                                "--from", str(BEGIN), str(archive)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = [process.stdout.readline() for _ in range(1200)]
    process.stdout.close()
    said = process.stderr.read().decode()
    expect_equal(process.wait(rig.PATIENCE_S), 0, "exit code")
    expect(" loops" in said and "ended early: consumer" in said, said)
    expect(found == first * 3, "three times the first 400")


def damaged(scratch, lines):
    """A block that was changed: all around it is played, the gap is announced, exit code 3, at any speed."""
    archive = record(scratch, "damaged", lines * 40)
    segment = next(archive.glob("segments/*/*/*/*"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    out, told = told_of(archive, "--speed", "max", wanted=3)
    expect_equal((told["damages_total"], told["end"]), (1, "archive"), "the receipt")
    _, said = rig.call("tape-replay", "play", "--speed", "max", archive, wanted=3)
    expect(said.count("tape-replay: corrupt, passed over: ") == 1 and " are lost)\n" in said, said)
    expect("; 1 damaged place passed over\n" in said, said)
    whole = b"".join(line + b"\n" for line in lines * 40)
    same = 0
    while out[same] == whole[same]:
        same += 1
    gap = len(whole) - len(out)
    expect(gap > 0 and out[same:] == whole[same + gap:], "all of it but the one block")


def main(scratch):
    lines = make_lines()
    hot, packed = same_everywhere(scratch, lines)
    every_start((hot, packed), lines)
    outside(hot)
    split_files_keep_pace(scratch)
    by_event_time(scratch, lines)
    loops(hot, lines)
    damaged(scratch, lines)


rig.run_main(main)
