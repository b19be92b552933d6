#!/usr/bin/env python3
"""A sealed segment and one whose recorder was killed, cut at every byte and with every byte flipped: verify,
play and ls never crash, give every good line and no wrong one, and say that there is damage. TAPE_EXHAUSTIVE=1
takes every byte; otherwise all bytes of headers, footer and trailer are sampled more than payloads."""
import os
import pathlib
import random
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
from damage_archive import (EXHAUSTIVE, Original, expect, flipped, groups_of, in_parallel, make_killed, make_sealed,
                            play, replay, rig, segment_of, some_lines)  # noqa: E402

CASES = 60 if "address" in str(rig.BUILD) or "asan" in str(rig.BUILD) else 300


def interesting(original):
    """Offsets of everything but payloads."""
    found = list(range(64))
    for start, *_ in original.blocks:
        found += range(start, start + 80)
    return [at for at in found + list(range(original.blocks[-1][0], len(original.data)))
            if at < len(original.data)]


def offsets(original, dice, count):
    if EXHAUSTIVE:
        return list(range(len(original.data)))
    whole = list(range(len(original.data)))
    return sorted(set(dice.sample(interesting(original), count // 2)) | set(dice.sample(whole, count // 2)))


def check(original, name, data, wanted, always_damaged, index=True):
    path = original.copy(name, data, () if index else ("index.db",))
    where = "%s (%s)" % (name, "sealed" if original.sealed else "not sealed")
    played = play(path, wanted=(0, 3))
    expect(played.out == wanted, "%s: play gives %d bytes, not %d: %s" %
           (where, len(played.out), len(wanted), played.said))
    reparse = () if len(data) % 2 else ("--reparse",)
    verified = replay("verify", *reparse, path, wanted=(0, 3))
    if always_damaged:
        expect(verified.code == 3, "%s: verify finds nothing: %s" % (where, verified))
        expect(b"damaged: " in verified.out, "%s: verify does not say so: %s" % (where, verified))
    expect(verified.code == 3 or played.code == 0, "%s: play finds damage, verify does not: %s" % (where, verified))
    replay("ls", path, wanted=(0, 3))
    shutil.rmtree(path)
    return played


def check_flip(original, at, dice):
    bits = 1 << dice.randrange(8) if dice.randrange(4) else dice.randrange(1, 256)
    played = check(original, "flip-%d-%02x" % (at, bits), flipped(original.data, at, bits),
                      original.after_flip(at), True, bits % 3 > 0)
    expect(played.code == 3, "byte %d flipped, and play says nothing: %s" % (at, played))


def check_cut(original, at):
    whole = at in {end for _, end, *_ in original.data_blocks} or at == 64
    # the index of a sealed segment knows all its blocks
    always = original.sealed or not whole
    played = check(original, "cut-%d" % at, original.data[:at], original.after_cut(at), always)
    check(original, "bare-%d" % at, original.data[:at], original.after_cut(at), not whole, False)
    expect(played.code == (0 if whole else 3), "cut at byte %d: %s" % (at, played))


def check_all(original, seed):
    dice = random.Random(seed)
    for at in offsets(original, dice, CASES // 2):
        check_flip(original, at, dice)
    for at in offsets(original, dice, CASES // 3):
        check_cut(original, at)


def check_whole(original, lines):
    """The undamaged archive gives its lines, or the rest would prove nothing."""
    expect(len(original.data_blocks) >= 5, "only %d blocks" % len(original.data_blocks))
    wanted = b"".join(line + b"\n" for line in lines)
    expect(b"".join(sum(original.lines, [])) == wanted, "by block: other lines than were given")
    expect(play(original.path, wanted=(0,)).out == wanted, "the undamaged archive")
    replay("verify", original.path, wanted=(0,))


def main(scratch):
    lines = some_lines(24)
    for name in ("one", "two"):
        os.mkdir(scratch / name)
    sealed = Original(make_sealed(scratch / "sealed", groups_of(lines, 4)), scratch / "one")
    killed = Original(make_killed(scratch / "killed", groups_of(lines, 4)), scratch / "two")
    expect(sealed.sealed and not killed.sealed, "one sealed, one not")
    check_whole(sealed, lines)
    check_whole(killed, lines)
    print("%d and %d bytes" % (len(sealed.data), len(killed.data)), segment_of(killed.path).name)
    in_parallel([lambda: check_all(sealed, 1), lambda: check_all(killed, 2)])


rig.run_main(main)
