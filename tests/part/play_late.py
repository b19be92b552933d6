#!/usr/bin/env python3
"""A consumer that stops reading: without a word time stretches; --max-late fails the run and says how much,
how many and which; --drop-late drops what is too late, counts it, and keeps the rest in order."""
import array
import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
COUNT = 2000


def make_lines():
    """2 s, a message a millisecond, of 300 bytes; the last one 2 s later, when all is well again."""
    return [b'%d {"stream":"btcusdt@trade","data":{"n":%d,"x":"%s"}}' %
            (BEGIN + (i + 2000 * (i == COUNT - 1)) * 1000000, i, b"x" * 250) for i in range(COUNT)]


def stalled(archive, *words):
    """Its reader takes nothing until the pipe of one page takes no more, and a second more: (lines, exit code, said).
    How much the pipe holds then hangs on how the bytes came: a write that does not fit the page waits whole."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
    process = subprocess.Popen([str(rig.BUILD / "tape-replay"), "play", "--format", "hft", *words, str(archive)],
                               stdout=writing, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    os.close(writing)
    waiting, before = array.array("i", [0]), -1
    while process.poll() is None and (waiting[0] == 0 or waiting[0] != before):
        before = waiting[0]
        time.sleep(1)
        fcntl.ioctl(reading, termios.FIONREAD, waiting)
    with open(reading, "rb") as pipe:
        out = pipe.read().split(b"\n")[:-1]
    said = process.communicate(timeout=rig.PATIENCE_S)[1].decode()
    return out, process.returncode, said


def stretched(archive, lines):
    out, code, said = stalled(archive, "--json")
    told = json.loads(said)
    expect_equal((code, out), (0, lines), "nothing is lost")
    expect(int(told["stretched_ns"]) > 500 * 10**6, "time was stretched: %s" % told)
    expect_equal((told["dropped_late"], told["too_late"]), (0, 0), "counts")


def max_late(archive, lines, scratch):
    receipt = scratch / "receipt"
    out, code, said = stalled(archive, "--max-late", "300ms", "--receipt", str(receipt))
    expect_equal((code, out), (1, lines), "it fails, and loses nothing")
    told = json.loads(receipt.read_text(encoding="utf-8"))
    found = re.search(r"\ntape-replay: --max-late: later than 300\.0 ms: (\d+) messages?, by up to ([0-9.]+) (ms|s); "
                      r"the first was (\d+) of 2026-11-22T08:00:0[0-9.]+Z\n$", said)
    expect(found, said)
    expect_equal(int(found[1]), told["too_late"], "how many")
    expect(float(found[2]) * (1000 if found[3] == "s" else 1) >= 500, "how much: %s" % said)
    expect(int(found[4]) < COUNT, "which: %s" % said)
    _, said = rig.call("tape-replay", "play", "--speed", "1", "--max-late", "1h", "--json", archive)
    expect_equal(json.loads(said)["too_late"], 0, "an hour is never reached")


def drop_late(archive, lines):
    out, code, said = stalled(archive, "--drop-late", "100ms", "--json")
    told = json.loads(said)
    expect_equal(code, 0, "exit code")
    expect(told["dropped_late"] > 300, "dropped: %s" % told)
    expect_equal(told["messages"] + told["dropped_late"], COUNT, "every one is counted")
    expect_equal(told["messages"], len(out), "what was emitted")
    places = {line: i for i, line in enumerate(lines)}
    order = [places[line] for line in out]
    expect_equal(order, sorted(set(order)), "order")
    expect_equal(order[-1], COUNT - 1, "it has caught up")
    expect_equal(told["stretched_ns"], "0", "time is not stretched")
    _, code, said = stalled(archive, "--drop-late", "100ms", "--max-late", "200ms")
    expect_equal(code, 1, "both: what was dropped was late")
    expect(re.search(r"; \d+ messages dropped as too late", said), said)


def usage(archive):
    for word in ("--max-late", "--drop-late"):
        _, said = rig.call("tape-replay", "play", "--speed", "max", word, "1s", archive, wanted=2)
        expect_equal(said, "tape-replay: %s needs a pace: --speed max has none\n" % word, word)
    _, said = rig.call("tape-replay", "play", "--loop", "--follow", archive, wanted=2)
    expect_equal(said, "tape-replay: --loop does not go with --follow: what is recorded has no end\n", "--loop --follow")


def main(scratch):
    lines = make_lines()
    archive = scratch / "tape"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "lines.txt", lines), archive)
    stretched(archive, lines)
    max_late(archive, lines, scratch)
    drop_late(archive, lines)
    usage(archive)


rig.run_main(main)
