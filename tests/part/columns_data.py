#!/usr/bin/env python3
"""Columns of real captures, in hot and in packed blocks: every field of every message is what the parser gives
for its text; of the venues that the parser knows nearly all messages need no text."""
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

ANSWER = re.compile(r"(\d+) messages, (\d+) without text, (\d+) levels\n")
LINES_MAX = 40000


def columns_of(form, lines):
    """(messages, of them without text, levels); columns_lines compares."""
    done = subprocess.run([str(rig.BUILD / "tests/part/columns_lines"), form], input=b"\n".join(lines) + b"\n",
                          stdout=subprocess.PIPE, check=False, timeout=rig.PATIENCE_S * 5)
    answer = ANSWER.fullmatch(done.stdout.decode("utf-8", "replace"))
    expect(done.returncode == 0 and answer, done.stdout.decode("utf-8", "replace")[-2000:])
    return [int(number) for number in answer.groups()]


def try_capture(path):
    lines = rig.lines_of(path, LINES_MAX)
    hot, warm, cold = (columns_of(form, lines) for form in ("hot", "warm", "cold"))
    for form in hot, warm, cold:
        expect_equal((form[0], form[2]), (len(lines), hot[2]), "%s: messages and levels" % path.name)
    expect_equal(hot[1], 0, "%s: messages without text in hot blocks" % path.name)
    for form in warm, cold:
        expect(form[1] >= len(lines) * 0.98, "%s: only %d of %d without text" % (path.name, form[1], len(lines)))


def main(_):
    captures = sorted(rig.DATA.glob("*/*.txt.zst"))
    if not captures:
        rig.skip("no captures in %s (TAPE_DATA)" % rig.DATA)
    for path in captures:
        try_capture(path)


rig.run_main(main)
