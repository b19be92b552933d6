#!/usr/bin/env python3
"""What --import is given: each line that is none ends it with exit 1 and one message that names the line, and the
lines before it are in the archive, byte for byte, and told; packed input that is cut, damaged or of another
kind likewise; odd lines that are allowed come back as they were."""
import gzip
import os
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from damage_archive import play, replay, run  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

GOOD = b"".join(line + b"\n" for line in rig.generate("--seed", 8, "--count", 50))
NO_TIME, NO_BLANK = "it does not begin with a time in ns", "no blank follows the time"
TOO_LONG = "its payload is longer than 16 MiB"
LIMIT = 16 << 20

WRONG = [
    (b"1795600000000000000", NO_BLANK), (b"1", NO_BLANK), (b"1795600000000000000\tx", NO_BLANK),
    (b"1795600000000000000x", NO_BLANK), (b"1795600000000000000.5 x", NO_BLANK), (b"1\x00 x", NO_BLANK),
    (b"", NO_TIME), (b" 1 x", NO_TIME), (b"x 1", NO_TIME), (b"-", NO_TIME), (b"- 1", NO_TIME), (b"-0 x", NO_TIME),
    (b"--1 x", NO_TIME), (b"+1 x", NO_TIME), (b"01 x", NO_TIME), (b"00 x", NO_TIME), (b"-01 x", NO_TIME),
    (b"9223372036854775808 x", NO_TIME), (b"-9223372036854775809 x", NO_TIME), (b"18446744073709551616 x", NO_TIME),
    (b"99999999999999999999 x", NO_TIME), (b"1" * 400 + b" x", NO_TIME), (b"\r", NO_TIME), (b"\x00", NO_TIME),
    (b"\xef\xbb\xbf1 x", NO_TIME), (b"\xff\xfe\x00\x01", NO_TIME), (b"#comment", NO_TIME), (b"0x10 x", NO_BLANK),
    (b"1e9 x", NO_BLANK), (b"{\"e\":1}", NO_TIME), ("١ x".encode(), NO_TIME), (b"1 " + b"y" * (LIMIT + 1), TOO_LONG),
    (b"1 " + b"y" * (3 * LIMIT), TOO_LONG), (b"7" * (2 * LIMIT), NO_TIME), (b"\x00" * (2 * LIMIT), NO_TIME),
]

ODD = [b"0 zero", b"-1 before 1970", b"9223372036854775807 the last", b"-9223372036854775808 the first", b"5 ", b"5  ",
       b"5 \r", b"5 \x00\x00", b"5 \xff\xfe", b"5 5 5", b"5 " + b"\x00" * 70000, b"5 \x1b[31m", b"5 " + b"z" * LIMIT,
       b"5 {\"result\":null,\"id\":1}", b"5 " + b"[" * 100000]


class Archives:
    def __init__(self, scratch):
        self.scratch, self.number = scratch, 0

    def take(self, content, wanted, name="lines"):
        """Imports the bytes as a file into a new archive."""
        self.number += 1
        path, lines = self.scratch / ("archive-%d" % self.number), self.scratch / name
        lines.write_bytes(content)
        return path, run("tape-record", "--ring=64MiB", "--quiet", "--import", lines, path, wanted=(wanted,))

    def gives(self, path, wanted, what):
        played = play(path, wanted=(0,))
        expect(played.out == wanted, "%s: %d bytes come back, not %d" % (what, len(played.out), len(wanted)))
        replay("verify", "--reparse", path, wanted=(0,))
        shutil.rmtree(path)


def only_line(result):
    expect(result.said.startswith("tape-record: ") and result.said.count("\n") == 1, "not one line: %s" % result)
    return result.said[len("tape-record: "):-1]


def check_wrong_lines(archives):
    count = GOOD.count(b"\n")
    for bad, why in WRONG:
        what = "%r… (%d bytes)" % (bad[:30], len(bad))
        path, failed = archives.take(GOOD + bad + b"\n" + GOOD, 1)
        expect_equal(only_line(failed), "%s: line %d: %s; the first %d lines are imported" % (
            archives.scratch / "lines", count + 1, why, count), what)
        archives.gives(path, GOOD, what)
    path, failed = archives.take(b"x\n" + GOOD, 1)
    expect_equal(only_line(failed), "%s: line 1: %s; the first 0 lines are imported" % (
        archives.scratch / "lines", NO_TIME), "the first line")
    archives.gives(path, b"", "the first line")


def check_odd_lines(archives):
    odd = b"".join(line + b"\n" for line in ODD)
    path, _ = archives.take(odd, 0)
    archives.gives(path, odd, "odd lines")
    path, _ = archives.take(GOOD[:-1], 0)
    archives.gives(path, GOOD, "no newline at the end")
    path, _ = archives.take(b"", 0)
    archives.gives(path, b"", "nothing at all")
    archives.take(b"\n", 1)


def zstd(data, *words):
    return subprocess.run(["zstd", "-qc", *words], input=data, stdout=subprocess.PIPE, check=True).stdout


def is_good_part(found):
    return GOOD.startswith(found) and (found == b"" or found.endswith(b"\n"))


def check_packed(archives):
    packed = zstd(GOOD)
    path, _ = archives.take(packed, 0)
    archives.gives(path, GOOD, "zstd")
    path, _ = archives.take(zstd(GOOD[:1000]) + zstd(GOOD[1000:]), 0)
    archives.gives(path, GOOD, "two zstd frames")
    path, _ = archives.take(zstd(b""), 0)
    archives.gives(path, b"", "an empty zstd frame")
    lines = str(archives.scratch / "lines")
    for at in sorted({4, 5, 9, len(packed) // 2, len(packed) - 5, len(packed) - 1}):
        path, failed = archives.take(packed[:at], 1)
        said = only_line(failed)
        expect(said.startswith(lines + ": the zstd data ends too early; the first "), "cut at %d: %s" % (at, said))
        given = play(path, wanted=(0,)).out
        expect(is_good_part(given) and "the first %d lines are imported" % given.count(b"\n") in said,
               "zstd cut at %d: %d bytes: %s" % (at, len(given), said))
    for at in (6, len(packed) // 3, len(packed) // 2, len(packed) - 2):
        broken = bytearray(packed)
        broken[at] ^= 0x40
        path, failed = archives.take(bytes(broken), 1)
        said = only_line(failed)
        expect(said.startswith(lines + ": ") and " lines are imported" in said, "flip at %d: %s" % (at, said))
        replay("verify", path, wanted=(0,))
    path, failed = archives.take(packed + b"rubbish after the frame\n", 1)
    expect("damaged zstd data: Unknown frame descriptor; the first 50 lines are imported" in only_line(failed),
           str(failed))
    archives.gives(path, GOOD, "rubbish after the frame")
    path, failed = archives.take(zstd(b"1 x\n" * 3_000_000, "--long=31", "--ultra", "-22", "--single-thread")
                                 if os.environ.get("TAPE_EXHAUSTIVE") else packed[:4] + b"\x00\xff" * 20, 1)
    expect(only_line(failed).startswith(lines + ": damaged zstd data: "), str(failed))
    _, failed = archives.take(gzip.compress(GOOD), 1)
    expect_equal(only_line(failed).split(";")[0], "%s is gzip: zcat %s | tape-record --import - ARCHIVE" % (lines, lines),
                 "gzip")


def check_no_files(archives):
    for place, why in (("/nowhere/at/all", "No such file or directory"), (str(archives.scratch), "Is a directory")):
        new = archives.scratch / "not-made"
        failed = run("tape-record", "--quiet", "--import", place, new, wanted=(1,))
        expect_equal(only_line(failed), "%s: open: %s" % (place, why), place)
        expect(not new.exists(), "%s: an archive was made" % place)


def check_stdin(archives):
    """A pipe that ends in the middle of a line, or in a line that is none."""
    for content, code, kept in ((GOOD + b"12", 1, GOOD), (GOOD + b"12 half", 0, GOOD + b"12 half\n"),
                                (GOOD + b"junk\n" + GOOD, 1, GOOD)):
        archives.number += 1
        path = archives.scratch / ("archive-%d" % archives.number)
        done = subprocess.run([str(rig.BUILD / "tape-record"), "--ring=1MiB", "--quiet", "--import", "-", str(path)],
                              input=content, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        expect_equal(done.returncode, code, "standard input: %s" % done.stderr)
        expect(code == 0 or done.stderr.startswith(b"tape-record: -: line 51: "), repr(done.stderr))
        archives.gives(path, kept, "standard input")


def main(scratch):
    archives = Archives(scratch)
    check_wrong_lines(archives)
    check_odd_lines(archives)
    check_packed(archives)
    check_no_files(archives)
    check_stdin(archives)


rig.run_main(main)
