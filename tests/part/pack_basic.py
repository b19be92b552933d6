#!/usr/bin/env python3
"""--pack: what was recorded, packed, packed cold and both mixed play the same bytes and verify; index.db is what a
rebuild from the packed segments dumps; a second run has nothing to do; damaged segments stay as they are; what a
crash or somebody left is settled; an archive that is being recorded is refused."""
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import run as demo  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

STREAMS = ["btcusdt@aggTrade", "btcusdt@bookTicker", "btcusdt@depth@100ms"]
STORY = rig.BUILD / "tests/part/index_story"
LINES = [b'%d {"stream":"s%d@trade","data":{"e":"trade","E":%d,"t":%d,"p":"%d.%02d"}}' %
         (1795600000000000000 + i * 7919, i % 5, 1795600000000 + i // 100, i // 5, 60000 + i % 97, i % 100)
         for i in range(30000)]


# ---- archives ----


def files(archive, ending=""):
    return sorted(path for path in archive.glob("segments/*/*/*/*" + ending))


def states(archive):
    """Of the segments: a kill inside a write leaves a .torn beside one."""
    return {path.suffix for path in files(archive)} - {".torn"}


def recorded(scratch):
    """Sessions from an exchange, one of them killed, and imports: all of it hot."""
    archive = scratch / "hot"
    words = ["--no-pack", "--quiet", "--segment", "256KiB"]
    with rig.Exchange(scratch / "log", "--rate", 6000, "--symbols", "btcusdt") as exchange:
        for session in range(2):
            with rig.Recorder(scratch, *words, "--url", exchange.url, archive, *STREAMS) as recorder:
                demo.live(exchange, 2 * session + 2)
                recorder.wait_until(lambda: len(files(archive)) >= 3 * (session + 1), "three segments")
                if session == 0:
                    recorder.kill()
                else:
                    recorder.stop(signal.SIGTERM)
    rig.write_lines(scratch / "lines", LINES)
    rig.call("tape-record", *words, "--import", scratch / "lines", archive)
    # connections that go on over many segments, messages over the ends of some, sessions that die
    expect_equal(states(archive), {".hot"}, "states of what is recorded")
    return archive


def copy(archive, name):
    to = archive.parent / name
    shutil.copytree(archive, to)
    return to


def remove_index(archive):
    for path in archive.glob("index.db*"):
        path.unlink()


def pack(archive, *words, wanted=0):
    return [text.decode() if isinstance(text, bytes) else text
            for text in rig.call("tape-record", "--log-format=text", "--pack", *words, archive, wanted=wanted)]


def repair(archive, wanted=0):
    return rig.call("tape-record", "--repair", archive, wanted=wanted)[0].decode()


# ---- what must be the same ----


def digests(archive):
    """What the three readers give: the player in two formats, and the stand-alone one's records."""
    raw = rig.play(archive, "--format", "raw")
    all_of_it = rig.play(archive, "--format", "ndjson", "--all")
    late = rig.play(archive, "--format", "hft", "--stream", "s3@trade", "--from", LINES[len(LINES) // 2].split()[0].decode())
    expect(min(map(len, (raw, all_of_it, late))) > 10000, "too little is played")
    reader = read_archive.Archive(archive)
    records = [(r.ordinal, r.recv_ns, r.kind, r.flags, r.connection, bytes(r.body)) for r in reader.records()]
    expect(not reader.damaged(), "the stand-alone reader finds damage: %s %s" % (reader.places, reader.holes))
    return raw, all_of_it, late, records


def dump(archive):
    return subprocess.run(["sqlite3", "-readonly", str(archive / "index.db"), ".dump"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def check_index(archive):
    """The dump of index.db; it is that of a rebuild, and nothing had to be mended."""
    before = dump(archive)
    expect(repair(archive).startswith("%d records; 0 segments sealed" % len(digests(archive)[3])), "repair")
    expect_equal(dump(archive), before, "a start after packing changes the index")
    remove_index(archive)
    repair(archive)
    after = dump(archive)
    for one, other in zip(before.splitlines(), after.splitlines()):
        expect_equal(one, other, "a row of index.db against a rebuild's")
    expect_equal(len(before), len(after), "index.db against a rebuild")
    return before


def check_same(archive, truth, what):
    for found, wanted, name in zip(digests(archive), truth, ("raw", "ndjson --all", "one stream from a time", "records")):
        expect(found == wanted, "%s: %s differs" % (what, name))
    text = rig.verify(archive)
    expect(text.endswith("no damage\n") and "index" not in text, "verify of %s: %s" % (what, text))


# ---- cases ----


def packs(hot, truth, level):
    archive = copy(hot, level)
    names = [path.stem for path in files(archive)]
    heads = [path.read_bytes()[:64] for path in files(archive)]
    said, errors = pack(archive, "--level", level)
    expect(re.fullmatch(r"%d segments packed, %d records: \d+ bytes became \d+ \(\d+\.\d\d to 1\) in \d+\.\d s\n" %
                        (len(names), len(truth[3])), said), "what --pack says: %s" % said)
    expect_equal(errors, "", "what --pack says on stderr")
    expect_equal([path.name for path in files(archive)], [name + ".tape" for name in names], "names")
    expect_equal([path.read_bytes()[:64] for path in files(archive)], heads, "file headers")
    expect_equal({path.stat().st_mode & 0o777 for path in files(archive)}, {0o640}, "modes")
    check_same(archive, truth, level)
    check_index(archive)
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files(archive)]
    for again in ("warm", level):
        expect_equal(pack(archive, "--level", again), ["nothing to pack: %d segments are packed\n" % len(names), ""],
                     "a second --pack")
    expect_equal([(path.stat().st_ino, path.stat().st_mtime_ns) for path in files(archive)], before, "files")
    return archive


def warm_becomes_cold(warm, cold, truth):
    archive = copy(warm, "warm-cold")
    pack(archive, "--level=cold")
    expect_equal([p.read_bytes() for p in files(archive)], [p.read_bytes() for p in files(cold)], "hot or warm before")
    check_same(archive, truth, "warm, then cold")
    check_index(archive)


def mixed(hot, warm, cold, truth):
    archive = copy(hot, "mixed")
    for i, path in enumerate(files(archive)):
        if i % 3:
            shutil.copy((warm, cold)[i % 3 - 1] / path.relative_to(archive).with_suffix(".tape"), path.parent)
            path.unlink()
    # rows of packed segments were written when they were hot: verify only notes it, a start mends them
    text = rig.verify(archive)
    expect(text.count("packed, and the index not told yet; the recorder tells it\n") == len(files(archive, ".tape")) and
           text.endswith("no damage\n"), "verify of packed segments that the index does not know: %s" % text)
    with sqlite3.connect(archive / "index.db") as index:
        index.execute("INSERT INTO event(ordinal, day, ns, level, kind) VALUES(0x7fffffffffff, 1, 1, 'x', 'marker')")
    index.close()
    repair(archive)
    expect_equal(rig.query(archive, "SELECT count(*) n FROM event WHERE kind = 'marker'"), [{"n": 1}],
                 "rows of packed segments are mended without folding the archive anew: markers")
    with sqlite3.connect(archive / "index.db") as index:
        index.execute("DELETE FROM event WHERE kind = 'marker'")
    index.close()
    check_same(archive, truth, "mixed")
    check_index(archive)
    return archive


def index_of_something_else(hot, warm):
    """Sums that are not those of the records: then all of it is made anew."""
    archive = copy(hot, "wrong-sums")
    for path in files(archive):
        shutil.copy(warm / path.relative_to(archive).with_suffix(".tape"), path.parent)
        path.unlink()
    with sqlite3.connect(archive / "index.db") as index:
        index.execute("UPDATE segment SET messages = messages + 1 WHERE segment_id = 3")
    index.close()
    repair(archive)
    expect_equal(dump(archive), dump(warm), "the index of wrong sums")


def stories(scratch):
    """Fragments over the ends of segments, connections that open, close and go on, sessions that die."""
    unfinished = 0
    for seed in range(1, 9):
        archive = scratch / ("story%d" % seed)
        subprocess.run([str(STORY), "write", str(archive), str(seed), "6000", str(seed % 2)], check=True,
                       stdout=subprocess.DEVNULL)
        pack(archive)
        before = dump(archive)
        unfinished += rig.query(archive, "SELECT count(*) n FROM segment WHERE resume_ordinal < first_ordinal")[0]["n"]
        remove_index(archive)
        repair(archive)
        after = dump(archive)
        for one, other in zip(before.splitlines(), after.splitlines()):
            expect_equal(one, other, "story %d: a row of index.db against a rebuild's" % seed)
        expect_equal(len(before), len(after), "story %d" % seed)
        rig.verify(archive)
    expect(unfinished > 3, "messages over the end of a segment: %d" % unfinished)


def damaged(hot):
    archive = copy(hot, "damaged")
    paths = files(archive)
    segment = read_archive.Archive(archive)
    expect(len(list(segment.records())) > 1000, "records")
    for i, place in ((1, 64 + 80 + 10), (3, 64 + 20)):  # a payload; a block header, which the footer has again
        whole = bytearray(paths[i].read_bytes())
        whole[place] ^= 0x40
        paths[i].write_bytes(whole)
    before = {i: paths[i].read_bytes() for i in (1, 3)}
    played = rig.play(archive, wanted=None)
    said, errors = pack(archive, wanted=3)
    expect(said.endswith("2 segments are damaged and stay as they are\n"), "said: %s" % said)
    for i, words in ((1, "checksum"), (3, "its header is damaged")):
        line = [l for l in errors.splitlines() if "segment %06d: pack: block 0 at 0x40:" % (i + 1) in l]
        expect(len(line) == 1 and words in line[0] and line[0].startswith("tape-record: left as it is: "),
               "told of segment %d: %s" % (i + 1, errors))
        expect_equal(paths[i].read_bytes(), before[i], "the damaged file")
    expect_equal([path.suffix for path in files(archive)].count(".hot"), 2, "hot files left")
    expect_equal(rig.play(archive, wanted=None), played, "what is left of it")
    expect_equal(pack(archive, wanted=3)[0].split(":")[0], "0 segments packed, 0 records", "again")


def leftovers(hot, warm, truth):
    archive = copy(hot, "leftovers")
    paths = files(archive)
    tape = [warm / path.relative_to(archive).with_suffix(".tape") for path in paths]
    shutil.copy(tape[0], paths[0].parent)  # killed before the hot one was removed
    for i, cut in ((1, 100), (2, 0)):  # something else of that name
        (paths[i].with_suffix(".tape")).write_bytes(tape[i].read_bytes()[:-cut] if cut else tape[i + 1].read_bytes())
    paths[3].with_suffix(".packing").write_bytes(tape[3].read_bytes()[:5000])
    paths[4].with_suffix(".packing").write_bytes(tape[4].read_bytes())
    said = repair(archive)
    for words in ("segment 000001: it was packed: the file before is removed\n",
                  "segment 000002: the packed file does not hold what the other one does: kept as %s.bad\n" % paths[1].stem,
                  "segment 000003: the packed file does not hold what the other one does: kept as %s.bad\n" % paths[2].stem):
        expect(said.count(words) == 1, "repair says %s" % said)
    found = [path.suffix for path in files(archive)]
    expect_equal((found[:1], found.count(".bad"), found.count(".packing"), found.count(".tape")), ([".tape"], 2, 0, 1),
                 "files")
    check_same(archive, truth, "leftovers")
    check_index(archive)
    expect("it was packed" not in repair(archive), "a second repair")
    # --pack does the same first; what it cannot open it leaves
    shutil.copy(tape[5], paths[5].parent)
    pack(archive)
    expect_equal(sum(path.suffix == ".hot" for path in files(archive)), 0, "hot files left")
    check_same(archive, truth, "leftovers, packed")


def refused(scratch):
    with rig.Exchange(scratch / "log2", "--rate", 100, "--symbols", "btcusdt") as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, scratch / "busy", *STREAMS) as recorder:
            demo.live(exchange, 2)
            said, errors = pack(scratch / "busy", wanted=1)
            expect(said == "" and errors.count("\n") == 1 and "%d" % recorder.process.pid in errors, "refused: %s" % errors)
            recorder.stop()
    expect_equal(pack(scratch / "nothing", wanted=1)[0], "", "an archive that is not there")
    expect(not (scratch / "nothing").exists(), "a mistyped path became an archive")


def stopped(hot, truth):
    """SIGINT ends it between two blocks, without a trace; called again it goes on."""
    archive, dice = copy(hot, "stopped"), random.Random(5)
    codes = set()
    for _ in range(6):
        packer = subprocess.Popen([str(rig.BUILD / "tape-record"), "--pack", str(archive)], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        try:
            packer.wait(dice.uniform(0.01, 0.2))
        except subprocess.TimeoutExpired:
            packer.send_signal(signal.SIGINT)
        packer.communicate()
        codes.add(packer.returncode)
        expect(not files(archive, ".packing") or packer.returncode < 0, "a .packing is left")
    expect(codes <= {0, -signal.SIGINT}, "exit codes %s" % codes)
    pack(archive)
    check_same(archive, truth, "stopped")


def main(scratch):
    hot = recorded(scratch)
    repair(hot)
    truth = digests(hot)
    warm = packs(hot, truth, "warm")
    cold = packs(hot, truth, "cold")
    warm_becomes_cold(warm, cold, truth)
    mixed(hot, warm, cold, truth)
    index_of_something_else(hot, warm)
    leftovers(hot, warm, truth)
    damaged(hot)
    stopped(hot, truth)
    stories(scratch)
    refused(scratch)


rig.run_main(main)
