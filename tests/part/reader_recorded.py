#!/usr/bin/env python3
"""The stand-alone reader against tape-replay on archives that tape-record made: sealed, unsealed after
kill -9, growing while both look, of many segments, packed, packed cold, some of each; and on copies that
were damaged at random. Same messages in all three formats, same opinion whether it is damaged."""
import base64
import collections
import io
import json
import pathlib
import random
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import maker  # noqa: E402
import rig  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"]
DAMAGES = 60


def mine(command, archive):
    reader, lines, told = read_archive.Archive(archive), [], io.StringIO()
    read_archive.COMMANDS[command](reader, lines.append)
    reader.tell_damage(told)
    return b"".join(line + b"\n" for line in lines), 3 if reader.damaged() else 0, told.getvalue()


def theirs(form, archive):
    done = subprocess.run([str(rig.BUILD / "tape-replay"), "play", "--speed", "max", "--format", form,
                           str(archive)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.stdout, done.returncode, done.stderr.decode("utf-8", "replace")


def compare(archive, what, wanted=None, forms=("hft", "raw")):
    for form in forms:
        a, b = mine(form, archive), theirs(form, archive)
        expect(a[0] == b[0], "%s: %s differs: %d bytes, tape-replay %d\n%s\n%s" %
               (what, form, len(a[0]), len(b[0]), a[2], b[2]))
        expect(a[1] == b[1] and (wanted is None or a[1] == wanted),
               "%s: exit codes %d, tape-replay %d\n%s\n%s" % (what, a[1], b[1], a[2], b[2]))
    return a[0]


def compare_ndjson(archive, what):
    ours = [json.loads(line) for line in mine("messages", archive)[0].splitlines()]
    lines = [json.loads(line) for line in theirs("ndjson", archive)[0].splitlines()]
    ours = [m for m in ours if not is_answer(m)]
    lines = [m for m in lines if m.get("kind", "data") == "data"]
    expect_equal(len(lines), len(ours), what + ": lines of ndjson")
    for one, other in zip(ours, lines):
        if "payload_base64" in other:
            other["payload"] = base64.b64decode(other["payload_base64"]).decode("utf-8", "replace")
        other.setdefault("stream", "")
        for key in ("ordinal", "recv_ns", "connection", "stream", "payload"):
            expect_equal(other[key], one[key], "%s: ndjson %s" % (what, key))


def is_answer(line):
    return read_archive.is_answer(read_archive.Message(
        0, 0, 0, 4 if "imported" in line["flags"] else 0, 1, line["payload"].encode()))


def recorded(scratch):
    """Growing, then unsealed, then recovered and sealed."""
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--rate", 3000, "--symbols", "btcusdt") as exchange:
        words = ["--url", exchange.url, archive, *STREAMS]
        with rig.Recorder(scratch, *words) as recorder:
            log = scratch / "log/connection-1.txt"
            recorder.wait_until(lambda: log.is_file() and log.stat().st_size > 300000, "messages")
            before = mine("raw", archive)
            expect_equal(before[1], 0, "a growing archive is whole: " + before[2])
            after = theirs("raw", archive)
            expect_equal(after[1], 0, "a growing archive is whole: " + after[2])
            expect(len(before[0]) > 100000 and after[0].startswith(before[0]), "what is there stays as it is")
            recorder.kill()
        unsealed = compare(archive, "unsealed")
        expect(unsealed.startswith(before[0]), "unsealed: what was there is there")
        shutil.copytree(archive, scratch / "unsealed")
        with rig.Recorder(scratch, *words) as recorder:
            exchange.wait_for("request", connection=2)
            recorder.stop()
        exchange.stop()
    sealed = compare(archive, "recovered", 0)
    expect(sealed.startswith(unsealed), "recovered: what was there is there")
    compare_ndjson(archive, "recovered")
    expect_equal(mine("check", archive)[1], 0, "the footers' counts")
    return archive


def segmented(scratch):
    lines = rig.generate("--count", 6000, "--rate", 2000, "--seed", 9)
    rig.write_lines(scratch / "lines.txt", lines)
    archive = scratch / "segments"
    rig.call("tape-record", "--import", scratch / "lines.txt", "--segment", "256KiB", "--no-pack", archive)
    count = len(list((archive / "segments").rglob("*.hot")))
    expect(count > 3, "many segments: %d" % count)
    found = compare(archive, "many segments", 0)
    expect(found == b"".join(line.split(b" ", 1)[1] + b"\n" for line in lines), "many segments: the lines")
    compare_ndjson(archive, "many segments")
    said = mine("check", archive)
    expect_equal(said[1], 0, "the footers' counts: " + said[2])
    return archive


def odd_value(dice, depth):
    """JSON as no venue would send it, and some that is none."""
    kind = dice.randrange(12 if depth < 4 else 9)
    if kind > 8:
        inner = (odd_value(dice, depth + 1) for _ in range(dice.randrange(4)))
        if kind == 9:
            return b"{" + b",".join(b'"%c": ' % dice.choice(b"aab\"") + one for one in inner) + b"}"
        return b"[" + dice.choice((b",", b" , ")).join(inner) + b"]"
    numbers = (b"%d" % dice.randrange(-10**dice.randrange(1, 31), 10**30), b"-0", b"-0.0",
               b"1e%d" % dice.randrange(-9, 400), b"00%d.%d0" % (dice.randrange(9), dice.randrange(999)),
               b"%.9f" % dice.random())
    return numbers[kind] if kind < 6 else (
        b'"\\u00e9\\"\xc3\xa9"', b'"%s"' % dice.randbytes(4).hex().encode(),
        dice.choice((b"null", b"", b"\xff\x00", b'"', b"true")))[kind - 6]


def odd_lines():
    dice = random.Random(12)
    return [b"%d %s" % (maker.START_NS + i * dice.randrange(10**6), odd_value(dice, 0)) for i in range(12000)]


def packed(scratch, archive, name):
    """Warm, cold, and some segments of each: the same to both readers as it was when it was hot."""
    shapes = {"warm": [], "cold": ["--level=cold"]}
    for shape, words in shapes.items():
        shutil.copytree(archive, scratch / name / shape)
        rig.call("tape-record", "--pack", *words, scratch / name / shape)
        left = list((scratch / name / shape / "segments").rglob("*.hot"))
        expect(not left, "%s %s: not packed: %s" % (name, shape, left))
    mixed = scratch / name / "mixed"
    shutil.copytree(archive, mixed)
    hot = sorted((mixed / "segments").rglob("*.hot"))
    for i, path in enumerate(hot):
        shape = ("hot", *shapes)[i % 3]
        if shape != "hot":
            packed_path = path.relative_to(mixed).with_suffix(".tape")
            shutil.copy(scratch / name / shape / packed_path, mixed / packed_path)
            path.unlink()
    for shape in (*shapes, "mixed"):
        copy, what = scratch / name / shape, "%s, %s" % (name, shape)
        for form in ("hft", "raw"):
            expect(compare(copy, what, 0, (form,)) == mine(form, archive)[0], "%s: other than hot" % what)
        expect(mine("records", copy)[0] == mine("records", archive)[0], "%s: other records than hot" % what)
        compare_ndjson(copy, what)
        expect(theirs("ndjson", copy)[0] == theirs("ndjson", archive)[0], "%s: other ndjson than hot" % what)
        said = mine("check", copy)
        expect_equal(said[1], 0, "%s: the footers' counts: %s" % (what, said[2]))
    return mixed


def codecs_of(archive):
    found = set()
    reader = read_archive.Archive(archive)
    reader.on_block = lambda segment, index, records: found.add(segment.blocks[index][1].codec)
    collections.deque(reader.records(), 0)
    return found


def odd(scratch):
    rig.write_lines(scratch / "odd.txt", odd_lines())
    archive = scratch / "odd-lines"
    rig.call("tape-record", "--import", scratch / "odd.txt", "--segment", "256KiB", "--no-pack", archive)
    compare(archive, "odd lines", 0)
    return archive


def damaged(scratch, archive, name, count=DAMAGES):
    """Copies with a few bytes changed, cut off, zeroed, or a file gone."""
    dice = random.Random(name)
    for number in range(count):
        copy = scratch / "damaged"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(archive, copy)
        files = [path for path in sorted((copy / "segments").rglob("*")) if path.is_file()]
        path, kind = dice.choice(files), dice.choice(("flip", "cut", "zero", "noise", "gone"))
        data = bytearray(path.read_bytes())
        at = dice.choice((dice.randrange(len(data)), dice.randrange(min(len(data), 400)),
                          len(data) - 1 - dice.randrange(min(len(data), 600))))
        if kind == "flip":
            data[at] ^= 1 << dice.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "zero":
            start = at // 512 * 512
            data[start:start + 512] = bytes(len(data[start:start + 512]))
        elif kind == "noise":
            data[at:at + 40] = dice.randbytes(len(data[at:at + 40]))
        path.write_bytes(data)
        if kind == "gone":
            path.unlink()
        compare(copy, "%s, damage %d: %s at %d of %s" % (name, number, kind, at, path.name),
                forms=("raw",))


def main(scratch):
    archive = recorded(scratch)
    damaged(scratch, archive, "recorded")
    packed(scratch, archive, "live")
    damaged(scratch, scratch / "unsealed", "unsealed")
    segments = segmented(scratch)
    damaged(scratch, segments, "segments")
    mixed = packed(scratch, segments, "packed")
    expect(3 in codecs_of(mixed) and 1 in codecs_of(mixed), "codecs of the mixed archive: %s" % codecs_of(mixed))
    damaged(scratch, mixed, "mixed", DAMAGES // 2)
    packed(scratch, odd(scratch), "odd")


rig.run_main(main)
