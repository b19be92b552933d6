#!/usr/bin/env python3
"""Files that do not belong, in an archive or where one is asked for: what is good is still given, nothing
strange is opened, written or removed, and the message says what and where. Also a LOCK and an index.db of
every wrong kind, and accounts that may not read or write."""
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
from damage_archive import (Original, expect, groups_of, in_parallel, make_sealed, play, replay, rig, run,  # noqa: E402
                            segment_of, some_lines)
from rig import expect_equal, read_archive  # noqa: E402

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def record(*words, **more):
    return run("tape-record", "--quiet", *(() if "--repair" in words else ("--ring=1MiB", "--no-pack")), *words, **more)


def import_lines(archive, lines, **more):
    (archive.parent / "lines").write_bytes(b"".join(line + b"\n" for line in lines))
    return record("--import", archive.parent / "lines", archive, **more)


def only_line(result):
    """A failure is one line, chained outermost first."""
    lines = result.said.splitlines()
    expect(len(lines) == 1, "not one line: %s" % result)
    return lines[0]


class Rig:
    def __init__(self, scratch):
        self.scratch, self.number = scratch, 0
        self.lines = some_lines(12)
        self.wanted = b"".join(line + b"\n" for line in self.lines)
        os.mkdir(scratch / "copies")
        self.original = Original(make_sealed(scratch / "good", groups_of(self.lines, 4)), scratch / "copies")
        self.other = make_sealed(scratch / "other", groups_of(some_lines(8, seed=5), 4))

    def copy(self):
        self.number += 1
        return self.original.copy("copy-%d" % self.number, self.original.data)

    def still_gives(self, path, what, code=0):
        played = play(path, wanted=(code,))
        expect(played.out == self.wanted, "%s: play gives %d bytes, not %d: %s" %
               (what, len(played.out), len(self.wanted), played))
        return replay("verify", path, wanted=(code,))

    def still_records(self, path, what):
        record("--repair", path, wanted=(0, 3))
        import_lines(path, [b"1 more"], wanted=(0,))
        played = play(path, wanted=(0, 3))
        expect(played.out == self.wanted + b"1 more\n", "%s: after the next import: %s" % (what, played))


# ---- below segments/ ----


def another_archives_segment(rig_):
    """Under every name it could have: it is told, never given, never taken for ours."""
    theirs = segment_of(rig_.other).read_bytes()
    for name, code in (("20261122T000000Z-000001.hot", 0), ("20361122T000000Z-000001.hot", 0),
                       ("20261122T000000Z-000002.hot", 3), ("20261122T000000Z-000002.tape", 3),
                       ("20261122T000000Z-000009.hot", 3), ("20261122T000000Z-4294967295.hot", 3),
                       ("20261122T000000Z-4294967296.hot", 0), ("readme.txt", 0)):
        path = rig_.copy()
        place = path / "segments" / name[:4] / name[4:6] / name[6:8]
        if not name[:4].isdigit():
            place = segment_of(path).parent
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(theirs)
        verified = rig_.still_gives(path, name, code)
        if code == 3:
            expect(b"foreign" in verified.out, "%s: verify does not say foreign: %s" % (name, verified))
        if "4294967295" not in name:
            rig_.still_records(path, name)
        else:
            refused = import_lines(path, [b"1 more"], wanted=(1,))
            expect("no number is left for a segment after 4294967295" in only_line(refused), "the last sequence is used up: %s" % refused)
        expect_equal((place / name).read_bytes(), theirs, "%s is as it was" % name)


def second_segment(path):
    first = segment_of(path)
    return first.with_name(first.name.replace("-000001.", "-000002."))


def no_segments_at_all(rig_):
    """Empty, text, a directory, links, a FIFO, a socket's place, under a segment's name."""
    def directory(place):
        place.mkdir()

    def link(place):
        place.symlink_to(segment_of(rig_.original.path))

    def dangling(place):
        place.symlink_to("/nowhere/at/all")

    makers = [(directory, 0), (link, 0), (dangling, 0), (os.mkfifo, 0),
              (lambda place: place.write_bytes(b""), 3), (lambda place: place.write_bytes(b"hello\n"), 3),
              (lambda place: place.write_bytes(b"a text that is longer than a header\n" * 99), 3),
              (lambda place: place.write_bytes(bytes(5000)), 3),
              (lambda place: place.write_bytes(rig_.original.data[:64]), 3)]
    for number, (make, code) in enumerate(makers):
        path = rig_.copy()
        make(second_segment(path))
        rig_.still_gives(path, "strange file %d" % number, code)
        rig_.still_records(path, "strange file %d" % number)
    expect_equal(segment_of(rig_.original.path).read_bytes(), rig_.original.data, "what a link points to")


def links_instead_of_directories(rig_):
    """A link is never followed: nothing outside the archive is read, written or removed."""
    for place in ("segments", "segments/" + segment_of(rig_.original.path).parts[-4]):
        path, outside = rig_.copy(), rig_.scratch / ("outside-%s" % place.replace("/", "-"))
        shutil.move(str(path / place), str(outside))
        (path / place).symlink_to(outside)
        before = sorted(str(p) for p in outside.rglob("*"))
        played = play(path, wanted=(0, 1, 3))
        expect(played.out == b"", "%s: a link was followed: %s" % (place, played))
        refused = import_lines(path, [b"1 more"], wanted=(1,))
        expect("record into %s: " % path in only_line(refused), "%s: %s" % (place, refused))
        expect_equal(sorted(str(p) for p in outside.rglob("*")), before, "what a link leads to")


# ---- the archive itself ----


def no_archive(rig_):
    """Each has its message; nothing is made or changed."""
    text = rig_.scratch / "a file"
    text.write_text("text")
    full = rig_.scratch / "full"
    full.mkdir()
    (full / "homework.txt").write_text("text")
    empty = rig_.scratch / "empty"
    empty.mkdir()
    nowhere = rig_.scratch / "nowhere"
    for verb in ("ls", "play", "verify"):
        for place, words, code in ((text, "Not a directory", 1), (nowhere, "No such file or directory", 1),
                                   (full, "it is not an archive", 3), (empty, "it is not an archive", 3)):
            said = only_line(replay(verb, place, wanted=(code,)))
            expect(said.startswith("tape-replay: open %s: " % place) and said.endswith(words), "%s: %s" % (verb, said))
    for place, words, code in ((text, "Not a directory", 1), (nowhere, "No such file or directory", 1),
                               (full, "it is not an archive", 3)):
        said = only_line(record("--repair", place, wanted=(code,)))
        expect(said.endswith(words) and str(place) in said, "--repair: %s" % said)
    for place, words, code in ((text, "Not a directory", 1), (full, "neither empty nor an archive", 3),
                               (nowhere / "deep", "No such file or directory", 1)):
        said = only_line(import_lines(place if place != nowhere / "deep" else place, [b"1 x"], wanted=(code,))
                         if place.parent.exists() else
                         record("--import", text, place, wanted=(code,)))
        expect(said.startswith("tape-record: record into %s: " % place) and said.endswith(words), "import: %s" % said)
    expect(not nowhere.exists() and [p.name for p in full.iterdir()] == ["homework.txt"] and
           not list(empty.iterdir()), "nothing was made")


def wrong_locks(rig_):
    good = (rig_.original.path / "LOCK").read_bytes()
    theirs = (rig_.other / "LOCK").read_bytes()
    for what, content in (("missing", None), ("empty", b""), ("garbage", os.urandom(3000)), ("cut", good[:50]),
                          ("huge", b"x" * 10_000_000), ("zeros", bytes(4096)), ("flipped", good.replace(b"1", b"2", 1)),
                          ("longer", good + b"pid=99999999999999999999\n" * 400),
                          ("no end", good[:good.rindex(b"end")])):
        path = rig_.copy()
        (path / "LOCK").unlink()
        if content is not None:
            (path / "LOCK").write_bytes(content)
        played = play(path, wanted=(0,))
        expect(played.out == rig_.wanted, "LOCK %s: %s" % (what, played))
        replay("verify", path, wanted=(0, 3))
        replay("ls", path, wanted=(0,))
        rig_.still_records(path, "LOCK " + what)
        replay("verify", path, wanted=(0,))
    path = rig_.copy()
    (path / "LOCK").write_bytes(theirs)
    played = play(path, wanted=(3,))
    expect(played.out == b"" and "foreign" in played.said, "another archive's LOCK: %s" % played)
    for make in (os.mkdir, os.mkfifo, lambda place: os.symlink("/etc/passwd", place)):
        path = rig_.copy()
        (path / "LOCK").unlink()
        make(path / "LOCK")
        played = play(path, wanted=(0, 1))
        expect(played.out in (b"", rig_.wanted), "LOCK of another kind: %s" % played)
        said = only_line(import_lines(path, [b"1 x"], wanted=(1,)))
        expect("LOCK" in said, said)


# ---- index.db ----


def strange_index(place, what):
    if what == "directory":
        place.mkdir()
        return
    if what == "fifo":
        os.mkfifo(place)
        return
    if what in ("garbage", "empty", "text"):
        place.write_bytes({"garbage": os.urandom(90000), "empty": b"", "text": b"hello\n" * 999}[what])
        return
    if what == "sqlite and garbage":
        place.write_bytes(b"SQLite format 3\0" + os.urandom(40000))
        return
    with sqlite3.connect(place) as index:
        index.execute("CREATE TABLE photos(a, b)")
        index.execute("INSERT INTO photos VALUES(1, 2)")
    index.close()


def change_index(place, sql):
    index = sqlite3.connect(place)
    index.executescript(sql)
    index.commit()
    index.close()


CHANGES = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON block BEGIN DELETE FROM segment; DELETE FROM meta; END;",
    "trigger that fails": "CREATE TRIGGER t BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'no'); END;",
    "view for a table": "DROP TABLE event; CREATE VIEW event AS SELECT 1;",
    "a table missing": "DROP TABLE block_stream;",
    "a row missing": "DELETE FROM block WHERE block_id > 0;",
    "meta gone": "DELETE FROM meta;",
    "meta far ahead": "UPDATE meta SET value = '4611686018427387904' WHERE key LIKE '%ordinal';",
    "meta nonsense": "UPDATE meta SET value = 'x' WHERE key = 'next_ordinal';",
    "huge sequence": "UPDATE segment SET segment_id = 4294967295;",
    "huge connection": "UPDATE connection SET connection_id = 4294967295;",
    "huge session": "UPDATE session SET session_id = 4294967295;",
    "other archive": "UPDATE meta SET value = '00000000000000000000000000000000' WHERE key = 'archive_id';",
    "newer version": "UPDATE meta SET value = '99' WHERE key = 'format_version'; PRAGMA user_version = 99;",
}


UNSEEN = ("huge connection", "huge session", "huge sequence")  # only reading all segments again contradicts them


def wrong_indexes(rig_):
    kinds = ["garbage", "empty", "text", "sqlite and garbage", "photos", "directory", "fifo"]
    for what in kinds + sorted(CHANGES):
        path = rig_.copy()
        if what in CHANGES:
            change_index(path / "index.db", CHANGES[what])
        else:
            for name in ("index.db", "index.db-wal", "index.db-shm"):
                (path / name).unlink(missing_ok=True)
            strange_index(path / "index.db", what)
        played = play(path, wanted=(0,))
        expect(played.out == rig_.wanted, "index.db: %s: %s" % (what, played))
        replay("ls", path, wanted=(0,))
        replay("verify", path, wanted=(0, 3))
        import_lines(path, [b"1 more"], wanted=(0,))
        played = play(path, wanted=(0, 3))
        expect(played.out == rig_.wanted + b"1 more\n", "index.db: %s: the next import: %s" % (what, played))
        record("--repair", path, wanted=(0,))
        ordinals = [r.ordinal for r in read_archive.Archive(path).records()]
        expect(ordinals == sorted(set(ordinals)) and ordinals[-1] < 1 << 40, "index.db: %s: %s" % (what, ordinals[-3:]))
        if what not in ("directory", "fifo"):
            replay("verify", "--reparse", path, wanted=(0, 3) if what in UNSEEN else (0,))


# ---- accounts ----


def as_nobody(program, *words, wanted):
    words = [*NOBODY, str(rig.BUILD / program), *map(os.fspath, words)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode("utf-8", "replace")
    expect(done.returncode in wanted and "Sanitizer" not in said, "%s: exit %d\n%s" % (words, done.returncode, said))
    return done.stdout, said


def accounts(rig_):
    """Another account that may read plays and lists; one that may not is told so; none may write."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("not root: accounts are left out")
        return
    path = rig_.copy()
    for place in [rig_.scratch, path.parent, path, *path.rglob("*")]:
        place.chmod(0o755 if place.is_dir() else 0o644)
    try:
        subprocess.run([*NOBODY, str(rig.BUILD / "tape-replay"), "--version"], check=True, stdout=subprocess.DEVNULL)
    except (subprocess.CalledProcessError, OSError):
        print("another account may not run the programs here: accounts are left out")
        return
    for name in ("index.db-wal", "index.db-shm"):
        (path / name).unlink(missing_ok=True)
    out, said = as_nobody("tape-replay", "play", "--speed", "max", "--format", "hft", path, wanted=(0,))
    expect(out == rig_.wanted, "read by another account: %s" % said)
    as_nobody("tape-replay", "ls", path, wanted=(0,))
    as_nobody("tape-replay", "verify", path, wanted=(0,))
    _, said = as_nobody("tape-record", "--import", rig_.scratch / "copies" / "lines", path, wanted=(1,))
    expect_equal(said, "tape-record: record into %s: open LOCK: Permission denied\n" % path, "not writable")
    _, said = as_nobody("tape-record", "--repair", path, wanted=(1,))
    expect_equal(said, "tape-record: record into %s: open LOCK: Permission denied\n" % path, "repair, not writable")
    new = rig_.scratch / "new"
    _, said = as_nobody("tape-record", "--import", rig_.scratch / "copies" / "lines", new, wanted=(1,))
    expect_equal(said, "tape-record: record into %s: make the directory: Permission denied\n" % new, "no new one")
    segment_of(path).chmod(0o600)
    out, said = as_nobody("tape-replay", "play", "--speed", "max", path, wanted=(1,))
    expect("segment 000001" in said and "Permission denied" in said, "a segment not readable: %s" % said)
    _, said = as_nobody("tape-replay", "verify", path, wanted=(1,))
    expect("segment 000001" in said and "Permission denied" in said, "a segment not readable: %s" % said)
    path.chmod(0o700)
    for verb in ("ls", "play", "verify"):
        _, said = as_nobody("tape-replay", verb, path, wanted=(1,))
        expect_equal(said, "tape-replay: open %s: open the directory: Permission denied\n" % path, verb)


def main(scratch):
    scratch.chmod(0o755)
    tests = [[another_archives_segment, no_segments_at_all, links_instead_of_directories, no_archive],
             [wrong_locks, wrong_indexes, accounts]]

    def some(number):
        place = scratch / ("half-%d" % number)
        place.mkdir(mode=0o755)
        rig_ = Rig(place)
        (place / "copies" / "lines").write_bytes(b"1 x\n")
        for test in tests[number]:
            if len(sys.argv) < 2 or test.__name__ in sys.argv[1:]:
                test(rig_)

    in_parallel([lambda: some(0), lambda: some(1)])


rig.run_main(main)
