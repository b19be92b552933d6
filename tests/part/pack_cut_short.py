#!/usr/bin/env python3
"""Packed segments of which a copy or a disk left a part: beside the file they were made from no record is lost,
whichever of the two is harmed; alone they are mended as far as they go, and packing and pruning go on behind them."""
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

HARMED = 1  # which of the segments


def files(archive, ending):
    return sorted(archive.glob("segments/*/*/*/*" + ending))


def lines_of(archive, wanted=0):
    return rig.play(archive, "--format", "hft", wanted=wanted)


def copy(archive, to):
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(archive, to)


def repair(archive, wanted=0):
    return rig.call("tape-record", "--repair", archive, wanted=wanted)[0].decode()


def flipped(data):
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


def footer_at(data):
    return int.from_bytes(data[-16:-8], "little")


def beside(hot, packed, scratch):
    """(what is done to the two files' bytes, endings that are left of the segment, what is said)"""
    removed = "it was packed: the file before is removed"
    kept = "the packed file does not hold what the other one does: kept as "
    unknown = "which of its two files is right cannot be told: both are kept"
    other = files(packed, ".tape")[HARMED + 1].read_bytes()
    cases = {
        "both whole": (lambda h, t: (h, t), [".tape"], removed),
        "a bit of the packed one": (lambda h, t: (h, flipped(t)), [".bad", ".hot"], kept),
        "the packed one without its end": (lambda h, t: (h, t[:-40]), [".bad", ".hot"], kept),
        "another segment's": (lambda h, t: (h, other), [".bad", ".hot"], kept),
        "nothing in the packed one": (lambda h, t: (h, b""), [".bad", ".hot"], kept),
        "a bit of the hot one": (lambda h, t: (flipped(h), t), [".tape"], removed),
        "the hot one cut": (lambda h, t: (h[:len(h) // 2], t), [".tape"], removed),
        "a hot one of somebody else": (lambda h, t: (b"x" * len(h), t), [".hot", ".tape"], unknown),
    }
    wanted = lines_of(hot)
    for name, (harm, left, said) in cases.items():
        archive = copy(hot, scratch / "beside")
        path = files(archive, ".hot")[HARMED]
        tape = files(packed, ".tape")[HARMED].read_bytes()
        bytes_hot, bytes_tape = harm(path.read_bytes(), tape)
        path.write_bytes(bytes_hot)
        path.with_suffix(".tape").write_bytes(bytes_tape)
        told = repair(archive)
        expect(said in told, "%s: %s" % (name, told))
        expect_equal([p.suffix for p in sorted(path.parent.glob(path.stem + ".*"))], left, name)
        expect(lines_of(archive) == wanted, "%s: other lines" % name)
        rig.verify(archive)


def alone(packed, scratch):
    """(what is left of the bytes, exit code of the repair, endings that are left)"""
    cases = {
        "no trailer": (lambda t: t[:-32], 0, [".tape", ".torn"]),
        "no footer": (lambda t: t[:footer_at(t)], 0, [".tape"]),
        "half a block": (lambda t: t[:footer_at(t) // 2], 3, [".tape", ".torn"]),
        "half a header": (lambda t: t[:40], 3, [".torn"]),
    }
    for name, (harm, code, left) in cases.items():
        archive = copy(packed, scratch / "alone")
        path = files(archive, ".tape")[HARMED]
        path.write_bytes(harm(path.read_bytes()))
        before = lines_of(archive, wanted=None)
        told = repair(archive, wanted=code)
        expect_equal([p.suffix for p in sorted(path.parent.glob(path.stem + ".*"))], left, name)
        expect((code == 0) == ("nothing is lost" in told), "%s: %s" % (name, told))
        expect(lines_of(archive, wanted=code) == before, "%s: other lines" % name)
        rig.verify(archive, wanted=code)
        rig.call("tape-record", "--quiet", "--pack", archive)
        rig.call("tape-record", "--quiet", "--prune", "--keep-bytes=1", archive)
        # the newest with frames and one of notes
        expect_equal(len(files(archive, ".tape")), 2, "%s: segments that pruning leaves" % name)


def gone(packed, scratch):
    """The oldest files: pruned they are missed by nobody, deleted by hand they are."""
    archive = copy(packed, scratch / "gone")
    rig.call("tape-record", "--quiet", "--prune", "--keep-bytes=40000", archive)
    expect(len(files(archive, ".tape")) < len(files(packed, ".tape")), "something is pruned")
    expect("nothing is lost" in repair(archive), "pruned files are no loss")
    files(archive, ".tape")[0].unlink()
    told = repair(archive, wanted=3)
    expect("are lost: the index knows of them, no segment has them" in told, told)
    rig.verify(archive, wanted=3)


def main(scratch):
    hot = scratch / "hot"
    lines = rig.write_lines(scratch / "lines", rig.generate("--seed", 3, "--count", 12000))
    rig.call("tape-record", "--quiet", "--no-pack", "--segment=512KiB", "--import", lines, hot)
    packed = copy(hot, scratch / "packed")
    rig.call("tape-record", "--quiet", "--pack", packed)
    expect(len(files(packed, ".tape")) > 3, "several segments")
    beside(hot, packed, scratch)
    alone(packed, scratch)
    gone(packed, scratch)


rig.run_main(main)
