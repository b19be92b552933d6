#!/usr/bin/env python3
"""play's --from, --to and --stream against a plain reading of the lines: before, after and between, on equal
stamps, with stamps that run backwards, relative and at the ends of time; and an empty answer is told."""
import fnmatch
import pathlib
import random
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from damage_archive import make_sealed, groups_of, play, run  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BASE = 1795600000_000_000_000
LAST_NS = (1 << 63) - 1


def made_lines(dice):
    """Several blocks' worth, with equal stamps, steps back and forth, and lines without a stream."""
    lines, now = [], BASE
    for number in range(3000):
        now += dice.choice([0, 0, 1, 1000, 1000_000, -1000_000, 10**9 if number % 500 == 0 else 5])
        name = dice.choice(["btcusdt@trade", "ethusdt@trade", "btcusdt@bookTicker", "a[b]@trade", "x*y@trade"])
        body = '{"stream":"%s","data":{"e":"trade","t":%d}}' % (name, number)
        lines.append(b"%d %s" % (now, body.encode() if number % 97 else b"no stream %d" % number))
    return lines


def stamp(line):
    return int(line.split(b" ", 1)[0])


def stream(line):
    found = re.match(rb'-?\d+ \{"stream":"([^"]*)"', line)
    return found[1].decode() if found else ""


def wanted(lines, first, end, globs):
    """What must come; fnmatch knows the same globs, but for a set that is not closed."""
    return b"".join(line + b"\n" for line in lines
                    if (first is None or stamp(line) >= first) and (end is None or stamp(line) < end)
                    and (globs is None or any(fnmatch.fnmatchcase(stream(line), glob) for glob in globs.split(","))))


def check(archive, lines, words, first, end, globs=None):
    options = [*(["--from=%s" % words[0]] if words[0] is not None else []),
               *(["--to=%s" % words[1]] if words[1] is not None else []),
               *(["--stream", globs] if globs is not None else [])]
    must = wanted(lines, first, end, globs)
    played = play(archive, *options, wanted=(0,))
    expect(played.out == must, "%s: %d lines, not %d" % (options, played.out.count(b"\n"), must.count(b"\n")))
    told = [line for line in played.said.splitlines() if line.startswith("tape-replay: no message")]
    expect_equal(len(told), int(must == b"" and options != []), "%s: an empty answer is told: %s" % (options, played.said))


def check_times(archive, lines, dice):
    stamps = sorted(map(stamp, lines))
    first, last = stamp(lines[0]), stamp(lines[-1])
    edges = [stamps[0] - 1, stamps[0], stamps[0] + 1, stamps[-1] - 1, stamps[-1], stamps[-1] + 1, BASE - 10**15,
             BASE + 10**17, 10**17, LAST_NS]
    for one in edges:
        check(archive, lines, (one, None), one, None)
        check(archive, lines, (None, one), None, one)
    for _ in range(25):
        low, high = sorted(dice.choice(stamps) + dice.choice([-1, 0, 0, 1]) for _ in "ab")
        if low < high:
            check(archive, lines, (low, high), low, high)
    check(archive, lines, ("@0", None), 0, None)
    for zero in ("@0", "1970-01-01", "1970-01-01T00:00Z", "1970-01-01T01:00+01:00"):
        check(archive, lines, (None, zero), None, 0)
    check(archive, lines, ("+0s", None), stamps[0], None)
    check(archive, lines, ("+1s", None), stamps[0] + 10**9, None)
    check(archive, lines, (None, "-0s"), None, stamps[-1])
    check(archive, lines, ("-1s", None), stamps[-1] - 10**9, None)
    check(archive, lines, ("+36500d", None), LAST_NS, None)
    check(archive, lines, (None, "-36500d"), None, -LAST_NS)
    check(archive, lines, ("2026-11-25T09:46:41Z", "2026-11-25T10:46:42+01:00"), BASE + 10**9, BASE + 2 * 10**9)
    check(archive, lines, ("2262-04-11T23:47:16Z", None), LAST_NS - 854775807, None)
    expect(first >= stamps[0] and last <= stamps[-1], "the ends")


def check_streams(archive, lines, dice):
    names = sorted(set(map(stream, lines)))
    for globs in [*filter(None, names), "*", "*@trade", "btc*", "?tcusdt@trade", "[be]*@trade", "[!b]*", "nothing@x",
                  "btcusdt@trad", "BTCUSDT@trade", "btcusdt@trade,ethusdt@trade", ",", "*,nothing", "a[[]b]@trade",
                  "x[*]y@trade", "?", "*" * 5000 + "e", "*?" * 2000, "\x1b[31m", " btcusdt@trade"]:
        check(archive, lines, (None, None), None, None, globs)
    middle = sorted(map(stamp, lines))[len(lines) // 2]
    check(archive, lines, (middle, middle + 10**6), middle, middle + 10**6, "btc*")
    check(archive, lines, (middle, middle + 1), middle, middle + 1, dice.choice(names) or "*")
    said = play(archive, "--stream", "nothing@x", "--from", str(middle), wanted=(0,)).said
    expect("tape-replay: no message of --stream nothing@x in the time asked for; tape-replay ls tells what there is\n"
           in said, said)


def check_formats(archive, lines):
    """The same cut in every format, and the same digest at every speed."""
    low, high = sorted(map(stamp, lines))[100], sorted(map(stamp, lines))[400]
    words = ["--from", str(low), "--to", str(high)]
    hft = play(archive, *words).out
    raw = run("tape-replay", "play", "--speed", "max", *words, archive, wanted=(0,)).out
    ndjson = run("tape-replay", "play", "--speed", "max", "--format", "ndjson", *words, archive, wanted=(0,)).out
    expect_equal(raw, b"".join(line.split(b" ", 1)[1] + b"\n" for line in hft.splitlines()), "raw")
    expect_equal(ndjson.count(b"\n"), hft.count(b"\n"), "ndjson")


def main(scratch):
    dice = random.Random(21)
    lines = made_lines(dice)
    archive = make_sealed(scratch / "archive", groups_of(lines, 500))
    check_times(archive, lines, dice)
    check_streams(archive, lines, dice)
    check_formats(archive, lines)
    old = [b"-5 before", b"-1 just before", b"0 at", b"1 after", b"9223372036854775807 last"]
    ancient = make_sealed(scratch / "ancient", [old])
    check(ancient, old, ("@0.000000001", None), 1, None)
    check(ancient, old, (None, "@0.000000001"), None, 1)
    check(ancient, old, (LAST_NS, None), LAST_NS, None)
    check(ancient, old, (None, LAST_NS), None, LAST_NS)
    empty = scratch / "empty"
    run("tape-record", "--ring=1MiB", "--quiet", "--import", "/dev/null", empty, wanted=(0,))
    for words in ((BASE, None), (None, BASE), ("+1s", None), (None, "-1s")):
        check(empty, [], words, None, None)


rig.run_main(main)
