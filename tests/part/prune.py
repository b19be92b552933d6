#!/usr/bin/env python3
"""Pruning an archive, by age, size and free disk, by hand and while recording, killed in the middle: the oldest
files go, each with one durable note and one row of index.db (asked by the sqlite3 shell); what is left plays as
before; verify finds nothing wrong; an index made anew equals the old one to the byte of its dump.

KILLS is how often pruning is killed (default 10)."""
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

KILLS = int(os.environ.get("KILLS", "10"))
DAY_NS = 86400 * 10**9


def import_lines(scratch, name, count=12000, days=40, first_ns=None):
    """An archive whose records lie evenly in the last days (or from first_ns on)."""
    archive = scratch / name
    began = first_ns if first_ns is not None else time.time_ns() - days * DAY_NS
    step = days * DAY_NS // (count + 100)
    lines = [b"%d %s" % (began + i * step, line.partition(b" ")[2])
             for i, line in enumerate(rig.generate("--count", count, "--seed", 5))]
    path = rig.write_lines(scratch / (name + ".txt"), lines)
    rig.call("tape-record", "--quiet", "--no-pack", "--segment=256KiB", "--import", path, archive)
    return archive


def prune(archive, *limits, wanted=0):
    return rig.call("tape-record", "--prune", *limits, archive, wanted=wanted)


def files_of(archive):
    return {int(path.stem[17:]): path for path in archive.glob("segments/*/*/*/*.*")
            if path.suffix in (".hot", ".tape")}


def bytes_of(archive):
    return sum(path.stat().st_size for path in files_of(archive).values())


def dump(archive):
    done = subprocess.run(["sqlite3", "-readonly", str(archive / "index.db"), ".dump"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    expect(done.returncode == 0 and not done.stderr, "the shell cannot dump the index: %r" % done.stderr)
    return done.stdout


def notes_of(archive):
    return [note for note in rig.records_of(archive, "note") if note["kind"] == "pruned"]


def check(archive, before, what):
    """What holds after any pruning. before: playback, and the segments' rows by number."""
    played, rows = before
    found = rig.verify(archive)
    expect("no damage" in found and "index" not in found, "%s: verify says %s" % (what, found))
    now = rig.play(archive, "--format", "hft")
    expect(played.endswith(now), "%s: what is left does not play as before" % what)
    pruned = {row["segment_id"]: row for row in rig.query(archive, "select * from pruned")}
    there = files_of(archive)
    expect(not set(pruned) & set(there), "%s: pruned, and there: %s" % (what, set(pruned) & set(there)))
    oldest = min(there)
    expect_equal(sorted(set(pruned)), [n for n in range(1, oldest)], what + ": the rows of what is gone")
    for number, row in pruned.items():
        if number not in rows:
            continue  # a segment of notes
        wanted = rows[number]
        for key in ("name", "first_ordinal", "next_ordinal", "records", "messages", "file_bytes", "first_ns",
                    "last_ns"):
            expect_equal(row[key], wanted[key], "%s: segment %d: %s" % (what, number, key))
    expect_equal(rig.query(archive, "select count(*) n from block where segment_id < %d" % oldest)[0]["n"], 0,
                 what + ": blocks of pruned segments in the index")
    expect_equal(rig.query(archive, "select sum(messages) - sum(pruned_messages) n from stream"),
                 rig.query(archive, "select sum(messages) n from v_coverage"), what + ": messages that are left")
    reader = read_archive.Archive(archive)
    count = sum(1 for _ in reader.records())
    expect(not reader.damaged(), "%s: the stand-alone reader finds damage" % what)
    expect_equal(rig.query(archive, "select sum(records) n from segment")[0]["n"], count, what + ": records")
    check_rebuilt(archive, what)
    return pruned


def check_rebuilt(archive, what):
    copy = archive.parent / "rebuilt"
    shutil.copytree(archive, copy)
    live = dump(archive)
    for path in copy.glob("index.db*"):
        path.unlink()
    rig.call("tape-record", "--repair", copy)
    expect(dump(copy) == live, "%s: an index made anew differs" % what)
    shutil.rmtree(copy)


def state_of(archive):
    rows = rig.query(archive, "select * from segment")
    return rig.play(archive, "--format", "hft"), {row["segment_id"]: row for row in rows}


# ---- by hand ----


def by_age(scratch):
    archive = import_lines(scratch, "age", count=24000)
    before = state_of(archive)
    # the first one holds the import's session_start: it is of today
    expect_equal(prune(archive, "--keep-age=15d")[0], b"0 segments deleted: 0 records, 0 bytes\n", "none is old")
    prune(archive, "--keep-bytes=%d" % (bytes_of(archive) - 1))
    expect_equal(sorted(check(archive, before, "one by size")), [1], "the first went by size")
    edge = time.time_ns() - 15 * DAY_NS
    wanted = [n for n, row in sorted(before[1].items()) if row["last_ns"] < edge]
    expect(5 < len(wanted) < len(before[1]) - 3, "the days are badly chosen: %d" % len(wanted))
    names = sorted(str(path) for path in archive.rglob("*"))
    told = prune(archive, "--keep-age=15d", "--dry-run")[0].decode()
    expect_equal([int(n) for n in re.findall(r"^segment (\d+) ", told, re.M)], wanted, "dry run")
    expect(told.endswith("%d segments would be deleted: %d records, %d bytes\n" % (
        len(wanted), sum(before[1][n]["records"] for n in wanted),
        sum(before[1][n]["file_bytes"] for n in wanted))), "dry run's sum: %s" % told)
    expect_equal(sorted(str(path) for path in archive.rglob("*")), names, "files after a dry run")
    said = prune(archive, "--keep-age=15d")[0].decode()
    expect_equal([int(n) for n in re.findall(r"^segment (\d+) .*: --keep-age=15d: deleted$", said, re.M)], wanted,
                 "told by --prune")
    pruned = check(archive, before, "by age")
    expect_equal(sorted(pruned), [1, *wanted], "rows")
    expect_equal({pruned[n]["rule"] for n in wanted}, {"age"}, "rule")
    notes = notes_of(archive)
    expect_equal([note["segment"] for note in notes], [1, *wanted], "notes")
    for note in notes[1:]:
        row = before[1][note["segment"]]
        expect_equal((note["from_ordinal"], note["to_ordinal"], note["records"], note["bytes"], note["from_ns"],
                      note["to_ns"]),
                     tuple(str(row[key]) for key in ("first_ordinal", "next_ordinal", "records", "file_bytes",
                                                     "first_ns", "last_ns")), "note of %d" % note["segment"])
        expect_equal((note["cause"], note["rule"], note["name"]), ("--keep-age=15d", "age", row["name"]), "note")
    table = rig.call("tape-replay", "ls", archive)[0].decode()
    expect(re.search(r"^pruned +%d files, .*%d records; last 20" % (
        len(wanted) + 1, sum(before[1][n]["records"] for n in (1, *wanted))), table, re.M), "ls says %s" % table)
    # nothing more to do: no note, no segment
    there = files_of(archive)
    expect_equal(prune(archive, "--keep-age=15d")[0], b"0 segments deleted: 0 records, 0 bytes\n", "again")
    expect_equal(files_of(archive), there, "files after pruning nothing")
    # all of it is old one day; the newest with frames stays, and so do the notes behind it
    prune(archive, "--keep-age=1ns")
    check(archive, before, "everything is old")
    newest = max(before[1])
    stay = list(range(newest, newest + 4))  # and three files of notes
    expect_equal(sorted(files_of(archive)), stay, "what stays whatever the age")
    prune(archive, "--keep-age=1ns", "--keep-bytes=1B")
    expect_equal(sorted(files_of(archive)), stay, "what stays whatever the size")


def by_size(scratch):
    archive = import_lines(scratch, "size")
    before = state_of(archive)
    for part in (0.8, 0.5, 0.1):
        limit = int(bytes_of(archive) * part)
        prune(archive, "--keep-bytes=%d" % limit)
        check(archive, before, "by size")
        largest = max(row["file_bytes"] for row in before[1].values())
        # the notes take their place, too
        expect(limit - largest - 4096 <= bytes_of(archive) <= limit + 4096 or len(files_of(archive)) < 6,
               "%d bytes after --keep-bytes=%d" % (bytes_of(archive), limit))
    # recorded into again, and pruned again: numbers go on
    path = rig.write_lines(scratch / "more.txt", [b"%d %s" % (time.time_ns(), line.partition(b" ")[2])
                                                  for line in rig.generate("--count", 3000, "--seed", 6)])
    rig.call("tape-record", "--quiet", "--no-pack", "--segment=256KiB", "--import", path, archive)
    rig.call("tape-record", "--pack", archive)
    sessions = [row["session_id"] for row in rig.query(archive, "select session_id from session")]
    expect_equal(sessions, [1, 2], "sessions")
    before = (rig.play(archive, "--format", "hft"), {})
    prune(archive, "--keep-bytes=%d" % (bytes_of(archive) // 2))
    pruned = check(archive, before, "packed")
    expect(any(row["name"].endswith(".tape") for row in pruned.values()), "no packed segment was pruned")
    expect_equal([row["session_id"] for row in rig.query(archive, "select session_id from session")], [2],
                 "the session that is left")


def by_free_disk(scratch):
    archive = import_lines(scratch, "free", count=4000)
    before = state_of(archive)
    expect_equal(prune(archive, "--keep-free=1B")[0], b"0 segments deleted: 0 records, 0 bytes\n", "enough is free")
    prune(archive, "--keep-free=1000TB")
    pruned = check(archive, before, "by free disk")
    expect_equal({row["rule"] for row in pruned.values()}, {"free"}, "rule")
    expect_equal(sorted(pruned), list(range(1, max(before[1]))), "all but the newest")


# ---- what must not be ----


def clock_is_behind(scratch):
    archive = import_lines(scratch, "future", count=3000, days=40, first_ns=time.time_ns() - 20 * DAY_NS)
    names = sorted(files_of(archive))
    for words in ((), ("--dry-run",)):
        said = prune(archive, "--keep-age=1d", *words, wanted=1)[1]
        expect(said.startswith("tape-record: prune ") and "one of the two is wrong" in said,
               "a clock that is behind: %s" % said)
    expect_equal(sorted(files_of(archive)), names, "files after a refusal")
    prune(archive, "--keep-bytes=%d" % (bytes_of(archive) // 2))
    expect(len(files_of(archive)) < len(names), "by size it goes all the same")


def cannot_be_deleted(scratch):
    """Two days' directories, the older of which holds what the kernel will not give up."""
    archive = import_lines(scratch, "stuck", count=6000)
    before = state_of(archive)
    old = archive / "segments/2020/10/10"
    old.mkdir(parents=True)
    moved = {}
    for number, path in sorted(files_of(archive).items())[:3]:
        moved[number] = path.rename(old / ("20201010T000000Z-%06d.hot" % number))
    rig.call("tape-record", "--repair", archive)
    (old / "20201010T000000Z-000001.torn").write_bytes(b"kept by a recovery")
    os.symlink("/etc/passwd", old / "20201010T000000Z-000002.torn")
    with contextlib.ExitStack() as stack:
        if subprocess.run(["chattr", "+i", str(moved[2])], stderr=subprocess.DEVNULL, check=False).returncode:
            print("skipped: a file that cannot be deleted: chattr does not work here")
        else:
            stack.callback(subprocess.run, ["chattr", "-i", str(moved[2])], check=True)
            for _ in range(2):
                said = prune(archive, "--keep-bytes=1B", wanted=1)[1]
                expect("segment 000002: delete 20201010T000000Z-000002.hot: " in said, "told: %s" % said)
                expect_equal(sorted(files_of(archive))[0], 2, "what stands in the way stays, and all behind it")
                expect("no damage" in rig.verify(archive), "verify after a refused deletion")
                expect(before[0].endswith(rig.play(archive, "--format", "hft")), "play after a refused deletion")
            expect_equal([note["segment"] for note in notes_of(archive)], [1, 2], "a note each, also after two tries")
    prune(archive, "--keep-bytes=1B")
    before = (before[0], {n: row for n, row in before[1].items() if n > 3})
    (old / "20201010T000000Z-000002.torn").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        old.rmdir()
    check(archive, before, "after the way was free")
    expect(not old.exists(), "the empty day's directory is still there: %s" % list(old.glob("*")))
    expect(pathlib.Path("/etc/passwd").exists(), "a link was followed")


def strangers(scratch):
    """A file of another archive in front, and a lost base: told or passed over, never deleted."""
    archive = import_lines(scratch, "strange", count=5000)
    other = import_lines(scratch, "other", count=500)
    before = state_of(archive)
    day = archive / "segments/2019/01/01"
    day.mkdir(parents=True)
    os.symlink(files_of(other)[1], day / "20190101T000000Z-000001.hot")
    (day / "20190102T000000Z-000001.hot").write_bytes(b"of another day")
    own = files_of(archive)
    prune(archive, "--keep-bytes=%d" % (bytes_of(archive) * 3 // 4))
    expect_equal(len(list(day.iterdir())), 2, "names that are none of a segment")
    shutil.rmtree(day)
    check(archive, before, "strange names in front")
    expect(not own[1].exists(), "nothing was deleted")
    day.mkdir(parents=True)
    foreign = day / "20190101T000000Z-000001.tape"
    shutil.copy(files_of(other)[1], foreign)
    second = sorted(files_of(archive))[1]
    prune(archive, "--keep-bytes=%d" % (bytes_of(archive) * 3 // 4))
    expect(foreign.exists(), "another archive's file was deleted")
    expect(second not in files_of(archive), "nothing was deleted behind another archive's file")
    foreign.unlink()
    # without a good pruned.db an index made anew knows less; that stops nobody
    (archive / "pruned.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    said = prune(archive, "--keep-bytes=1B")[0].decode()
    expect("what was pruned before is forgotten by the index" in said, "a damaged pruned.db: %s" % said)
    expect("no damage" in rig.verify(archive), "verify")
    check_rebuilt(archive, "after a damaged pruned.db")
    expect(before[0].endswith(rig.play(archive, "--format", "hft")), "play")


def locked(scratch):
    archive = scratch / "locked"
    with subprocess.Popen([str(rig.BUILD / "tape-record"), "--quiet", "--import", "-", str(archive)],
                          stdin=subprocess.PIPE) as recorder:
        end = time.monotonic() + rig.PATIENCE_S
        while not files_of(archive) and time.monotonic() < end:
            time.sleep(0.02)
        said = prune(archive, "--keep-age=1d", wanted=1)[1]
        expect(re.fullmatch(r"tape-record: prune: record into %s: locked by process %d \(since .*\)\n" % (
            re.escape(str(archive)), recorder.pid), said), "an archive that is recorded: %r" % said)
        prune(archive, "--keep-age=1d", "--dry-run")
        recorder.stdin.close()
        expect_equal(recorder.wait(), 0, "the recorder")


# ---- a full disk ----


def full_disk(scratch):
    """By hand it says what to do; a recorder prunes all the same, and goes on."""
    disk = scratch / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tapedeck-test", str(disk)],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        print("skipped: a full disk: no small disk can be mounted here")
        return
    try:
        full_disk_by_hand(disk)
        (disk / "filler").unlink()
        full_disk_while_recording(scratch, disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def full_disk_by_hand(disk):
    archive = import_lines(disk, "hand", count=8000)
    before = state_of(archive)
    names = sorted(files_of(archive))
    rig.fill_disk(disk)
    said = prune(archive, "--keep-bytes=1B", wanted=1)[1]
    expect("no room for the note of what is deleted (some 4 MiB have to be free; ARCHIVE/index.db may be deleted, "
           "it is made again): " in said, "told: %s" % said)
    expect_equal(sorted(files_of(archive)), names, "files after a refusal")
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - (5 << 20))
    prune(archive, "--keep-bytes=1B")
    pruned = check(archive, before, "with little room")
    expect_equal(sorted(pruned), names[:-1], "rows")


def full_disk_while_recording(scratch, disk):
    archive = disk / "live"
    feed = Feed(scratch, "full", 30000)
    words = ["--log-format=text", "--no-pack", "--url", feed.url, "--segment=256KiB", "--keep-free=3MiB", archive,
             "btcusdt@aggTrade"]
    with feed.exchange, rig.Recorder(scratch, *words) as recorder:
        recorder.wait_until(lambda: len(files_of(archive)) >= 4, "segments")
        recorder.wait_until(lambda: rig.fill_disk(disk) or ": --keep-free=3MiB: deleted" in recorder.text(), "pruning")
        os.truncate(disk / "filler", (disk / "filler").stat().st_size // 2)
        recorder.stop()
    pruned = rig.query(archive, "select * from pruned")
    expect(pruned, "no row")
    start = suffix_of(archive, feed.lines, "full")
    if all(row["messages"] is not None for row in pruned):  # the index may not have got that far
        expect_equal(start, sum(row["messages"] for row in pruned), "messages that went")
    found = rig.verify(archive)
    expect("no damage" in found, "verify says %s" % found)
    rig.call("tape-record", "--repair", archive)  # the index may have had no room
    shutil.copytree(archive, scratch / "full")
    check_rebuilt(scratch / "full", "recorded on a full disk")


# ---- killed ----


def killed(scratch):
    whole = import_lines(scratch, "whole", count=9000)
    before = state_of(whole)
    limit = "--keep-bytes=%d" % (bytes_of(whole) // 4)
    chance = random.Random(7)
    took, kills, worst = 1.0, 0, 0
    for turn in range(KILLS + 1):
        archive = scratch / "killed"
        shutil.rmtree(archive, ignore_errors=True)
        shutil.copytree(whole, archive)
        began = time.monotonic()
        for _ in range(3 if turn else 0):
            with subprocess.Popen([str(rig.BUILD / "tape-record"), "--prune", limit, str(archive)],
                                  stdout=subprocess.DEVNULL) as process:
                time.sleep(chance.uniform(0.01, took))
                process.kill()
                kills += process.wait() == -signal.SIGKILL
            # the segment that was begun for the notes may end in the middle of one, and be the only trouble
            found = rig.call("tape-replay", "verify", archive, wanted=None)[0].decode()
            newest = re.compile("note |torn +segment %06d: " % max(files_of(archive)))
            trouble = [line for line in found.splitlines()[:-2] if not newest.match(line)]
            expect(not trouble, "killed: verify says %s" % found)
            expect(before[0].endswith(rig.play(archive, "--format", "hft", wanted=None)),
                   "killed: what is left plays otherwise")
            there, noted = files_of(archive), {note["segment"] for note in notes_of(archive)}
            gone = set(before[1]) - set(there)
            expect(gone <= noted, "deleted without a note: %s" % (gone - noted))
            expect(not gone or max(gone) < min(there), "a hole in the middle: %s" % sorted(gone))
            worst = max(worst, len(noted - gone))
        prune(archive, limit)
        if not turn:
            took = time.monotonic() - began
        check(archive, before, "killed, and ended")
        numbers = [note["segment"] for note in notes_of(archive)]
        expect_equal(len(numbers), len(set(numbers)), "notes of one segment")
    expect(kills > KILLS // 2, "only %d kills" % kills)
    print("%d kills; at most %d notes ahead of the deletion" % (kills, worst))


# ---- while recording ----


class Feed:
    """An exchange that sends many lines once they are asked for."""

    def __init__(self, scratch, name, count, *options):
        (scratch / (name + ".log")).mkdir()
        lines = rig.generate("--count", count, "--seed", 9, "--streams", "aggTrade", "--symbols", "btcusdt")
        self.lines = [line.partition(b" ")[2] for line in lines]
        path = rig.write_lines(scratch / (name + ".txt"), lines)
        self.exchange = rig.Exchange(scratch / (name + ".log"), "--lines", path, "--rate", 6000, "--no-payloads",
                                     *options)
        self.url = self.exchange.url


def suffix_of(archive, lines, what):
    """The payloads that are left are a run of those that were sent; how many come before it."""
    left = [m.payload for m in read_archive.messages(read_archive.Archive(archive)) if not read_archive.is_answer(m)]
    expect(left, what + ": nothing is left")
    start = lines.index(left[0])
    expect(lines[start:start + len(left)] == left, what + ": what is left is not what was sent")
    return start


def while_recording(scratch):
    archive = scratch / "live"
    # every message in pieces: the ends of segments cut some of them
    feed = Feed(scratch, "live", 40000, "--fragment", 1)
    words = ["--log-format=text", "--url", feed.url, "--segment=512KiB", "--keep-bytes=100KiB", archive,
             "btcusdt@aggTrade"]
    with feed.exchange, rig.Recorder(scratch, *words) as recorder:
        recorder.wait_until(lambda: recorder.text().count(": --keep-bytes=100KiB: deleted") >= 2, "pruning")
        for _ in range(3):  # readers beside it
            rig.call("tape-replay", "verify", archive)
            rig.call("tape-replay", "ls", archive)
        recorder.stop()
    pruned = {row["segment_id"]: row for row in rig.query(archive, "select * from pruned")}
    expect(len(pruned) >= 2, "rows: %s" % sorted(pruned))
    start = suffix_of(archive, feed.lines, "recorded")
    # (one that the end of the recording left between its note and its deletion is there)
    expect_equal(start, sum(row["messages"] for n, row in pruned.items() if n not in files_of(archive)),
                 "messages of the pruned segments")
    found = rig.verify(archive)
    expect("no damage" in found, "verify says %s" % found)
    expect_equal([note["segment"] for note in notes_of(archive)], sorted(
        n for n in pruned if pruned[n]["ordinal"] >= rig.query(archive, "select min(block_id) n from block")[0]["n"]),
        "notes that are left")
    venue = rig.query(archive, "select venue, name from stream")
    expect_equal(venue, [{"venue": "binance-usdm", "name": "btcusdt@aggTrade"}],
                 "the stream of a connection that was opened in a pruned segment")
    check_rebuilt(archive, "recorded")
    print("%d segments pruned while recording" % len(pruned))


def killed_while_recording(scratch):
    archive = scratch / "shot"
    kills = 0
    for turn in range(max(2, KILLS // 4)):
        feed = Feed(scratch, "shot%d" % turn, 20000)
        words = ["--log-format=text", "--url", feed.url, "--segment=256KiB", "--keep-bytes=60KiB", archive,
                 "btcusdt@aggTrade"]
        with feed.exchange, rig.Recorder(scratch, *words) as recorder:
            recorder.wait_until(lambda: ": deleted" in recorder.text(), "pruning")
            time.sleep(random.uniform(0, 0.3))
            recorder.kill()
            kills += 1
        found = rig.call("tape-replay", "verify", archive, wanted=None)[0].decode()
        expect("missing" not in found and "corrupt" not in found, "killed while recording: %s" % found)
        rig.call("tape-record", "--repair", archive)
        found = rig.verify(archive)
        expect("no damage" in found, "repaired: %s" % found)
        numbers = [note["segment"] for note in notes_of(archive)]
        expect_equal(len(numbers), len(set(numbers)), "notes of one segment")
    check_rebuilt(archive, "killed while recording")
    print("%d recorders killed while they pruned" % kills)


def main(scratch):
    for part in (by_age, by_size, by_free_disk, clock_is_behind, cannot_be_deleted, strangers, locked, full_disk, killed,
                 while_recording, killed_while_recording):
        part(scratch)


if __name__ == "__main__":
    rig.run_main(main)
