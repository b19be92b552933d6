#!/usr/bin/env python3
"""tape-replay verify: every byte of a small archive flipped, and the segment cut at every length: always
exit code 3 or, where nothing is damaged by it, 0 with a note; never a crash, never a write. A missing, a
foreign and a moved segment, an index that says something else, a recorder at work and one that died."""
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
PROBES = 60 if rig.BUILD.name in ("address", "thread") else 400


def verify(archive, *words):
    done = subprocess.run([str(rig.BUILD / "tape-replay"), "verify", "--json", *words, str(archive)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100, check=False)
    expect(done.returncode in (0, 3), "exit code %d: %s" % (done.returncode, done.stderr))
    expect_equal(done.stderr, b"", "nothing on stderr")
    told = json.loads(done.stdout)
    expect_equal(told["damaged"], done.returncode == 3, "exit code and verdict")
    return told


def verdicts(told):
    return sorted({f["verdict"] for f in told["findings"]})


def texts(told):
    return [f["text"] for f in told["findings"]]


def state_of(archive):
    """Every file with its bytes; SQLite's own notes beside the index are not the archive's."""
    return {p.relative_to(archive): p.read_bytes() for p in sorted(archive.rglob("*"))
            if p.is_file() and not p.name.endswith(("-shm", "-wal"))}


def make_archive(scratch, name, lines=300, sessions=2):
    archive = scratch / name
    for session in range(sessions):
        text = [b'%d {"stream":"a%d@trade","data":{"n":%d}}' % (BEGIN + i, i % 3, i * 7919 % 1009 + session)
                for i in range(lines)]
        rig.call("tape-record", "--no-pack", "--import", rig.write_lines(scratch / "lines.txt", text), archive)
    return archive


def segments(archive):
    return sorted(archive.glob("segments/*/*/*/*.hot"))


def every_flip(archive):
    dice = random.Random(7)
    for path in [*segments(archive), archive / "LOCK"]:
        whole = path.read_bytes()
        places = range(len(whole))
        if len(whole) > PROBES:
            # ends and headers byte by byte, the rest by lot
            edges = sorted({*range(min(150, len(whole))), *range(max(0, len(whole) - 130), len(whole))})
            places = sorted(set(dice.sample(edges, min(len(edges), PROBES // 2)) +
                                dice.sample(range(len(whole)), PROBES // 2)))
        for at in places:
            changed = bytearray(whole)
            changed[at] ^= 1 << dice.randrange(8)
            path.write_bytes(changed)
            told = verify(archive)
            expect(told["damaged"], "%s, byte %d of %d was changed, and nothing was found" % (path.name, at, len(whole)))
        path.write_bytes(whole)
    expect(not verify(archive, "--reparse")["damaged"], "all is as before")


def every_cut(archive):
    """Cut anywhere: the index knows that the segment had been sealed, and what was in it."""
    path = segments(archive)[-1]
    whole = path.read_bytes()
    for cut in sorted(set(random.Random(8).sample(range(len(whole)), min(len(whole), PROBES)) + [0, 1, 63, 64])):
        path.write_bytes(whole[:cut])
        told = verify(archive)
        expect(told["damaged"], "cut at %d of %d, and nothing was found" % (cut, len(whole)))
        expect("torn" in verdicts(told), "cut at %d: %s" % (cut, told["findings"]))
    path.write_bytes(whole)


def without_index_a_whole_part_is_a_note(scratch, archive):
    """Cut exactly after a block, and no index: nothing tells that there was more."""
    copy = scratch / "whole part"
    shutil.copytree(archive, copy)
    for name in copy.glob("index.db*"):
        name.unlink()
    last = segments(copy)[-1]
    whole = last.read_bytes()
    stored = int.from_bytes(whole[64 + 12:64 + 16], "little")
    last.write_bytes(whole[:64 + 80 + stored])
    told = verify(copy)
    expect(not told["damaged"] and "whole and not sealed" in " ".join(texts(told)), told["findings"])


def segments_that_do_not_belong(scratch, archive):
    copy = scratch / "gone"
    shutil.copytree(archive, copy)
    # records 1..n of three sessions: the middle segment goes
    segments(copy)[1].unlink()
    told = verify(copy)
    expect("missing" in verdicts(told), told["findings"])
    expect(any(t.startswith("segments 000002 to 000002 are missing: records ") for t in texts(told)), texts(told))
    for name in copy.glob("index.db*"):
        name.unlink()
    told = verify(copy)
    expect_equal(verdicts(told), ["missing", "note"], "without the index too")
    other = make_archive(scratch, "other")
    shutil.copy(segments(other)[1], segments(archive)[1].as_posix().replace(str(archive), str(copy)))
    told = verify(copy)
    expect("foreign" in verdicts(told), told["findings"])
    (copy / "segments/notes.txt").write_text("x", encoding="ascii")
    os.symlink("/etc/passwd", copy / "segments/link")
    expect("2 names under segments/ are no part of the archive" in texts(verify(copy)), "foreign names are noted")


def an_index_that_differs(scratch, archive):
    for number, (sql, basic) in enumerate([
            ("update block set records = records + 1 where block_id = 0", True),
            ("update block set crc32c = 5 where block_id = 0", True),
            ("delete from block where block_id = 0", True),
            ("update segment set file_bytes = file_bytes + 1 where segment_id = 1", True),
            ("update stream set messages = messages + 1 where stream_id = 1", False),
            ("update connection set bytes = 0", False),
            ("delete from gap", False),
            ("delete from event", False)]):
        copy = scratch / ("index %d" % number)
        shutil.copytree(archive, copy)
        with sqlite3.connect(copy / "index.db") as database:
            database.execute(sql)
        database.close()
        expect_equal(verify(copy)["damaged"], basic, "verify after: " + sql)
        told = verify(copy, "--reparse")
        expect(told["damaged"] and set(verdicts(told)) <= {"index", "missing"}, "%s: %s" % (sql, told["findings"]))
    copy = scratch / "no index"
    shutil.copytree(archive, copy)
    for name in copy.glob("index.db*"):
        name.unlink()
    (copy / "index.db").write_bytes(b"not a database" * 100)
    told = verify(copy)
    expect_equal(verdicts(told), ["index"], told["findings"])
    expect_equal(json.loads(rig.call("tape-replay", "ls", "--json", copy)[0])["index"], "segments", "ls without its index")


def while_it_is_recorded(scratch):
    archive = scratch / "live"
    feed = subprocess.Popen([str(rig.BUILD / "tests/part/store_feed"), "feed", str(archive), "0", "50", "300"],
                            stdout=subprocess.PIPE)
    for _ in range(200):
        feed.stdout.read(8)
    try:
        for i in range(30):
            told = verify(archive, *(["--reparse"] if i % 5 == 0 else []))
            expect(not told["damaged"] and told["recording"], "while it is recorded: %s" % told["findings"])
            feed.stdout.read(80)
            listed = json.loads(rig.call("tape-replay", "ls", "--json", archive)[0])
            expect_equal((listed["recording"], listed["recorder"]["pid"]), (True, feed.pid), "ls names the recorder")
        feed.stdout.read(8 * 9000)  # its pipe is empty, so it goes on
    finally:
        feed.kill()
        feed.stdout.close()
        feed.wait()
    told = verify(archive)
    expect(not told["damaged"], "after kill -9: %s" % told["findings"])
    expect(any("run tape-record --repair or record again" in t for t in texts(told)), texts(told))
    # What it had not written yet is told; by chance that may have been nothing.
    left = json.loads(rig.call("tape-replay", "ls", "--json", archive)[0])["left_in_ring"]
    _, said = rig.call("tape-replay", "play", "--speed", "max", archive)
    expect_equal(said.splitlines()[0].startswith("tape-replay: the recorder died: %d records " % left), left > 0, said)
    several_recorders_died(scratch, archive)


def several_recorders_died(scratch, archive):
    """Copies name the same ring; without their segments all that is in it is in it only."""
    copies = [scratch / "died-1", scratch / "died-2"]
    for copy in copies:
        shutil.copytree(archive, copy)
        for path in [*copy.glob("index.db*"), *copy.glob("segments/*/*/*/*.hot")]:
            path.unlink()
    left = json.loads(rig.call("tape-replay", "ls", "--json", copies[0])[0])["left_in_ring"]
    expect(left > 0, "the ring is not empty")
    _, said = rig.call("tape-replay", "play", "--speed", "max", *copies, archive)
    expect_equal([line for line in said.splitlines() if "the recorder died" in line][:2],
                 ["tape-replay: %s: the recorder died: %d records are in its ring only; run tape-record --repair or "
                  "record again" % (copy, left) for copy in copies], "each is told")
    rig.call("tape-record", "--repair", archive)
    _, said = rig.call("tape-replay", "play", "--speed", "max", archive)
    expect(said.startswith("played "), said)
    told = verify(archive, "--reparse")
    expect_equal(told["findings"], [], "after the repair")


def text_output(archive):
    out = rig.call("tape-replay", "verify", "--reparse", archive)[0].decode()
    lines = out.splitlines()
    expect(len(lines) == 2 and lines[0].startswith("2 segments, ") and " MB/s" in lines[0], out)
    expect_equal(lines[1], "no damage", "the last line")
    path = segments(archive)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    out = rig.call("tape-replay", "verify", archive, wanted=3)[0].decode()
    expect(out.splitlines()[-1].startswith("damaged: "), out)
    path.write_bytes(whole)


def main(scratch):
    archive = make_archive(scratch, "tape")
    before = state_of(archive)
    expect_equal(verify(archive, "--reparse")["findings"], [], "a good archive")
    text_output(archive)
    every_flip(archive)
    every_cut(archive)
    expect(state_of(archive) == before, "verify changed the archive")
    without_index_a_whole_part_is_a_note(scratch, archive)
    segments_that_do_not_belong(scratch, make_archive(scratch, "three", sessions=3))
    an_index_that_differs(scratch, archive)
    while_it_is_recorded(scratch)


rig.run_main(main)
