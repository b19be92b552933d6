#!/usr/bin/env python3
"""`zstdcat FILE | tape-record --import - A; tape-replay play --format hft A` gives FILE back byte for byte,
for generated lines of every venue and every capture at hand; also from a .zst, from gzip through a pipe,
into an archive that has something already; the stand-alone reader agrees, also when all is packed."""
import gzip
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

ODD = [b"1795600000000000000 ", b"1795600000000000001 \xff\xfe no UTF-8", b"1795600000000000000 earlier",
       b"1795600000000000002  two blanks", b"1795600000000000003 \"quoted\" \\ \x00 zero byte",
       b'1795600000000000004 {"result":null,"id":1}', b"1795600000000000005 " + b"long" * 300000]


def through_pipe(lines, archive):
    """The lines by standard input, as zcat would give them."""
    done = subprocess.run([str(rig.BUILD / "tape-record"), "--import", "-", str(archive)], input=lines,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    expect_equal(done.returncode, 0, "import: %s" % done.stdout.decode("utf-8", "replace"))


def round_trip(scratch, name, lines, verified=True):
    archive = scratch / name.replace("/", "-")
    through_pipe(lines, archive)
    expect(rig.play(archive, "--format", "hft") == lines, name + ": the lines are not what they were")
    if verified:
        rig.verify(archive)
    return archive


def second_opinion(archive, lines):
    done = subprocess.run([rig.PYTHON, str(rig.ROOT / "samples/read_archive.py"), "hft", str(archive)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    expect_equal(done.returncode, 0, "read_archive.py: %s" % done.stderr.decode())
    expect(done.stdout == lines, "%s: read_archive.py gives other lines" % archive)


def packed_too(archive, lines):
    """The same lines out of packed segments, warm and then cold."""
    for words in ([], ["--level=cold"]):
        rig.call("tape-record", "--pack", *words, archive)
        expect(not list((archive / "segments").rglob("*.hot")), "%s: not all is packed" % archive)
        expect(rig.play(archive, "--format", "hft") == lines, "%s, packed %s: other lines" % (archive, words))
        second_opinion(archive, lines)
    rig.verify(archive)


AGAIN = ("lines of that time were imported before: these are appended; play --duplicates remove "
         "gives each once")


def check_again(scratch):
    """Only lines that begin within an earlier import are told of; without duplicates each is played once."""
    archive = scratch / "again"
    day = [b'%d {"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1","q":"1"}}'
           % (10**18 + i * 10**6, 10**12 + i, i) for i in range(30)]
    for lines, wanted in ((day[10:20], 0), (day[20:], 0), (day[:10], 0), (day[19:], 1), (day[10:20], 1)):
        (scratch / "part").write_bytes(b"".join(l + b"\n" for l in lines))
        _, said = rig.call("tape-record", "--import", scratch / "part", archive)
        expect_equal(said.count(AGAIN), wanted, "the part from %r: %s" % (lines[0][:19], said))
    once = rig.play(archive, "--format", "hft", "--duplicates", "remove").splitlines()
    expect_equal(sorted(once), day, "each once")


def main(scratch):
    odd = b"".join(line + b"\n" for line in ODD)
    second_opinion(round_trip(scratch, "odd", odd), odd)
    packed_too(scratch / "odd", odd)
    for venue in ("usdm", "spot", "coinm"):
        lines = b"".join(l + b"\n" for l in rig.generate("--venue", venue, "--count", 8000, "--seed", 4))
        second_opinion(round_trip(scratch, venue, lines), lines)
        packed_too(scratch / venue, lines)
    sample = rig.ROOT / "samples/usdm.txt.zst"
    lines = b"".join(l + b"\n" for l in rig.lines_of(sample))
    rig.call("tape-record", "--import", sample, scratch / "zst")
    expect(rig.play(scratch / "zst", "--format", "hft") == lines, "from a .zst")
    (scratch / "plain").write_bytes(lines)
    _, said = rig.call("tape-record", "--import", scratch / "plain", scratch / "zst")
    expect(rig.play(scratch / "zst", "--format", "hft") == lines + lines, "twice into one archive")
    expect_equal(said.count(AGAIN), 1, "told that they were imported before: " + said)
    check_again(scratch)
    rig.verify(scratch / "zst")
    (scratch / "day.gz").write_bytes(gzip.compress(lines))
    zcat = "zcat '%s' | '%s' --import - '%s'" % (scratch / "day.gz", rig.BUILD / "tape-record", scratch / "gz")
    expect_equal(os.system(zcat + " >/dev/null 2>&1"), 0, "zcat through a pipe")
    expect(rig.play(scratch / "gz", "--format", "hft") == lines, "from gzip through a pipe")
    files = sorted(rig.DATA.glob("*/*.txt.zst"))
    if not files:
        print("no captures in %s (TAPE_DATA): generated lines only" % rig.DATA)
    for path in files:
        lines = b"".join(line + b"\n" for line in rig.lines_of(path))
        archive = round_trip(scratch, path.name, lines, "ethusdt" not in path.name)
        if path.parent.name == "cryptofeed":
            second_opinion(archive, lines)
        if path.parent.name == "cryptofeed" or "spot" in path.name:
            packed_too(archive, lines)


rig.run_main(main)
