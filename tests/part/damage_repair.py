#!/usr/bin/env python3
"""Archives cut and flipped anywhere, with and without index and ring, are taken up again by --repair and by
the next recording: each opens, keeps every good record and every byte that was cut off, gives no ordinal
twice, and verify, a second repair and a rebuilt index all agree afterwards. TAPE_EXHAUSTIVE=1 takes every
byte."""
import os
import pathlib
import random
import shutil
import sqlite3
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
from damage_archive import (EXHAUSTIVE, Original, expect, flipped, groups_of, in_parallel, make_killed, make_sealed,
                            play, replay, rig, run, segment_of, some_lines)  # noqa: E402
from rig import read_archive  # noqa: E402

CASES = 10 if "address" in str(rig.BUILD) or "asan" in str(rig.BUILD) else 30
MORE = [b"1795600009000000000 {\"stream\":\"more@trade\",\"data\":{\"e\":\"trade\",\"t\":1}}\n",
        b"1795600009000000001 {\"stream\":\"more@trade\",\"data\":{\"e\":\"trade\",\"t\":2}}\n"]


def record(*words, **more):
    return run("tape-record", "--quiet", *(() if "--repair" in words else ("--ring=1MiB", "--no-pack")), *words, **more)


def dump(path):
    with sqlite3.connect("file:%s/index.db?mode=ro" % path, uri=True) as index:
        return "\n".join(index.iterdump())


def known_to_index(path):
    with sqlite3.connect("file:%s/index.db?mode=ro" % path, uri=True) as index:
        return int(index.execute("SELECT value FROM meta WHERE key = 'next_ordinal'").fetchone()[0])


def ordinals(path):
    return [record.ordinal for record in read_archive.Archive(path).records()]


def is_subsequence(found, whole):
    rest = iter(whole)
    return all(item in rest for item in found)


def torn_of(path, name):
    kept = path / name.with_suffix(".torn")
    return kept.read_bytes() if kept.exists() else b""


def check_bytes(where, path, original, data):
    """What was cut off is kept beside; what was not is where it was."""
    torn = torn_of(path, original.name)
    hot = (path / original.name).read_bytes() if (path / original.name).exists() else b""
    left = data[:len(data) - len(torn)]
    expect(data.endswith(torn) and hot.startswith(left), "%s: %d bytes of %d are in .torn, and %d are elsewhere" %
           (where, len(torn), len(data), len(hot)))


def rebuild(path, wanted):
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (path / name).unlink(missing_ok=True)
    record("--repair", path, wanted=(wanted,))
    return dump(path)


def agree(where, path):
    """The archive as it is now: verify, repair and a rebuilt index say the same of it. The index of an archive
    that stays damaged knows of records that are gone: that one is compared with itself, made twice."""
    verified = replay("verify", path, wanted=(0, 3))
    again = record("--repair", path, wanted=(0, 3))
    expect(again.code == verified.code, "%s: a second repair and verify differ: %s\n%s" % (where, again, verified))
    before = dump(path) if verified.code == 0 else rebuild(path, 3)
    after = rebuild(path, verified.code)
    expect(before == after, "%s: the index is not what the segments give:\n%s" % (where, difference(before, after)))
    expect(replay("verify", "--reparse", path, wanted=(verified.code,)).code == verified.code, where)
    return verified


def difference(before, after):
    left, right = before.split("\n"), after.split("\n")
    return "\n".join(["- " + line for line in left if line not in right][:6] +
                     ["+ " + line for line in right if line not in left][:6])


def check(original, lines, name, data, good, how, index, ring):
    """good: the lines that must survive."""
    where = "%s, %s, %s, %s" % (name, how, "index" if index else "no index", "ring" if ring else "no ring")
    path = original.copy(name, data, (() if index else ("index.db",)) + (() if ring else ("ring",)))
    known = known_to_index(original.path) if index else 0
    wanted = good
    if how == "repair":
        repaired = record("--repair", path, wanted=(0, 3))
        expect(repaired.out.strip(), "%s: repair says nothing" % where)
        check_bytes(where, path, original, data)
        kept = play(path, wanted=(0, 3)).out.splitlines(keepends=True)
        expect(is_subsequence(good, kept) and is_subsequence(kept, lines),
               "%s: %d good lines, %d after the repair: %s" % (where, len(good), len(kept), repaired))
        wanted = kept
        verified = agree(where, path)
        expect(repaired.code == 3 or verified.code == 0, "%s: repair calls it whole: %s" % (where, verified))
    (path.parent / "more").write_bytes(b"".join(MORE))
    record("--import", path.parent / "more", path, wanted=(0,))
    check_bytes(where, path, original, data)
    kept = play(path, wanted=(0, 3)).out.splitlines(keepends=True)
    expect(kept[-2:] == MORE and is_subsequence(wanted, kept) and is_subsequence(kept[:-2], lines),
           "%s: %d lines after the next import, %d before" % (where, len(kept), len(wanted)))
    given = ordinals(path)
    expect(given == sorted(set(given)), "%s: ordinals do not rise" % where)
    expect(given[-4] >= known, "%s: ordinal %d is given again, the index knew all below %d" %
           (where, given[-4], known))
    agree(where, path)
    shutil.rmtree(path)


def check_all(original, lines, seed):
    dice = random.Random(seed)
    whole = range(len(original.data))
    for at in whole if EXHAUSTIVE else sorted(dice.sample(whole, CASES)):
        how, index, ring = dice.choice(["repair", "import"]), dice.randrange(3) > 0, dice.randrange(3) == 0
        if at % 2:
            data, good = original.data[:at], original.after_cut(at)
        else:
            data, good = flipped(original.data, at, 1 << dice.randrange(8)), original.after_flip(at)
        check(original, lines, "%s-%d" % ("cut" if at % 2 else "flip", at), data,
              good.splitlines(keepends=True), how, index, ring)


def main(scratch):
    lines = some_lines(24)
    for name in ("one", "two"):
        os.mkdir(scratch / name)
    sealed = Original(make_sealed(scratch / "sealed", groups_of(lines, 4)), scratch / "one")
    killed = Original(make_killed(scratch / "killed", groups_of(lines, 4)), scratch / "two")
    lines = [line + b"\n" for line in lines]
    expect((killed.path / "ring").exists() and segment_of(killed.path), "the dead recorder's ring")
    in_parallel([lambda: check_all(sealed, lines, 3), lambda: check_all(killed, lines, 4)])


rig.run_main(main)
