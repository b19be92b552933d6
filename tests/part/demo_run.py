#!/usr/bin/env python3
"""`make demo` itself, without installing and building: exit code 0, and a report that fits a terminal."""
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402


def main(_scratch):
    done = subprocess.run([rig.PYTHON, str(rig.ROOT / "tests/demo/run.py")], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=120, check=False)
    text = done.stdout.decode()
    expect_equal(done.returncode, 0, "exit code; it said:\n" + text)
    lines = text.splitlines()
    expect(len(lines) <= 25, "the report has %d lines:\n%s" % (len(lines), text))
    own = [line for line in lines if "/demo/tape" not in line]  # that path's length is not ours
    expect(max(map(len, own)) <= 80, "the report is wider than 80 columns:\n" + text)
    for word in ("lost               0 of", "as sent", "gap rows", "gzip -6"):
        expect(word in text, "the report lacks '%s':\n%s" % (word, text))
    expect((rig.BUILD / "demo/tape/index.db").is_file(), "the archive is left for a look")


rig.run_main(main)
