#!/usr/bin/env python3
"""How tape-replay ends: usage errors word by word, damage, a full disk, a reader that leaves, signals, a
terminal; and that --help, the manual and the program agree."""
import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
REPLAY = str(rig.BUILD / "tape-replay")

USAGE = [
    ([], "no command; see tape-replay --help"),
    (["show", "A"], '"show" is not a command; there are: ls play serve verify'),
    (["play"], "no archive; write: tape-replay play ARCHIVE"),
    (["ls", "A", "B"], 'one archive at a time: "B" is one too many'),
    (["play", "--follow", "A", "B"], "--follow goes with one archive"),
    (["play", "--order", "size", "A"], '--order: "size" is none of: received, event'),
    (["play", "--duplicates", "some", "A"], '--duplicates: "some" is none of: keep, remove'),
    (["play", "--listen", "127.0.0.1:1", "A"], "play has no option --listen"),
    (["play", "--max-late", "1s", "--speed", "max", "A"], "--max-late needs a pace: --speed max has none"),
    (["play", "--loop", "--follow", "A"], "--loop does not go with --follow: what is recorded has no end"),
    (["play", "--sped", "1", "A"], "unknown option --sped (did you mean --speed?)"),
    (["play", "--frobnicate", "A"], "unknown option --frobnicate"),
    (["play", "-x", "A"], "unknown option -x"),
    (["play", "A", "--speed"], "--speed needs a value: --speed N"),
    (["play", "--speed", "fast", "A"],
     '--speed: "fast" is not a speed: write max or a number from 0.001 to 1000000'),
    (["play", "--speed", "1", "--speed", "2", "A"], "--speed is given twice"),
    (["play", "--follow=1", "A"], "--follow takes no value"),
    (["play", "--format", "csv", "A"], '--format: "csv" is not a format; there are: raw ndjson hft'),
    (["play", "--from", "1795334400", "A"],
     '--from: "1795334400" has 10 digits: a plain number is nanoseconds since 1970, which have 19; '
     "seconds are written @1795334400"),
    (["play", "--spin", "60", "A"],
     '--spin: "60" is not a duration: write a number and a unit, as in 90s, 1h30m, 250ms or 60us'),
    (["play", "--max-late", "0", "A"], "--max-late: must be above 0"),
    (["serve", "--gather", "0ms", "A"], "--gather: must be above 0"),
    (["play", "--all", "A"], "--all needs --format ndjson"),
    (["ls", "--speed", "1", "A"], "ls has no option --speed"),
    (["verify", "--follow", "A"], "verify has no option --follow"),
    (["play", "--from", "@20", "--to", "@10", "A"], "--from is not before --to: nothing lies between"),
]


def usage_errors():
    for words, text in USAGE:
        out, said = rig.call("tape-replay", *words, wanted=2)
        expect_equal((out, said), (b"", "tape-replay: %s\n" % text), "tape-replay %s" % " ".join(words))


def help_and_manual():
    manual = (rig.ROOT / "replay/tape-replay.1").read_text(encoding="utf-8")
    listed = set(re.findall(r"^  --([a-z-]+)", rig.call("tape-replay", "--help")[0].decode(), re.M))
    expect_equal(set(re.findall(r"^\.It Fl Fl ([a-z-]+)", manual, re.M)), listed, "options in the manual and in --help")
    for verb in ("ls", "play", "serve", "verify"):
        text = rig.call("tape-replay", verb, "--help")[0].decode()
        expect(text.startswith("tape-replay %s: " % verb), text)
        expect("example: tape-replay %s" % verb in text, text)
        expect(max(map(len, text.splitlines())) <= 80, "--help fits 80 columns:\n" + text)
    expect(re.fullmatch(rb"tape-replay \d+\.\d+\.\d+\n", rig.call("tape-replay", "--version")[0]), "--version")


def not_an_archive(scratch):
    for verb in ("ls", "play", "verify"):
        _, said = rig.call("tape-replay", verb, scratch / "none", wanted=1)
        expect(said.startswith("tape-replay: open %s: " % (scratch / "none")) and said.count("\n") == 1, said)
        (scratch / "file").write_text("x", encoding="ascii")
        rig.call("tape-replay", verb, scratch / "file", wanted=None)
        (scratch / "folder").mkdir(exist_ok=True)
        (scratch / "folder/x").write_text("x", encoding="ascii")
        _, said = rig.call("tape-replay", verb, scratch / "folder", wanted=3)
        expect(said.count("\n") == 1 and "folder" in said, said)


def reader_that_leaves(archive):
    process = subprocess.Popen([REPLAY, "play", "--speed", "max", "--json", archive], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    got = process.stdout.read(1000)
    process.stdout.close()
    told = json.loads(process.stderr.read())
    expect_equal(process.wait(), 0, "exit code when the reader left")
    expect_equal(told["end"], "consumer", "why it ended")
    expect(told["bytes"] >= len(got), "bytes in the receipt")
    # and while it waits for a message that is due in an hour
    process = subprocess.Popen([REPLAY, "play", "--from", str(BEGIN + 99000), "--json", archive],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    expect_equal(json.loads(process.stderr.read())["end"], "consumer", "while waiting")
    expect_equal(process.wait(), 0, "exit code")


def signals(archive, scratch):
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen([REPLAY, "play", "--receipt", str(scratch / "receipt"), archive],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = [process.stdout.readline() for _ in range(100)]
        process.send_signal(number)
        rest, said = process.communicate(timeout=rig.PATIENCE_S)
        expect_equal((process.returncode, rest), (0, b""), "an interrupted replay")
        expect(b"ended early: signal" in said, said)
        told = json.loads((scratch / "receipt").read_text())
        expect_equal((told["end"], told["messages"], told["sha256"]),
                     ("signal", 100, hashlib.sha256(b"".join(lines)).hexdigest()), "the receipt")


def nowhere_to_write(archive, scratch):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([REPLAY, "play", "--speed", "max", archive], stdout=full, stderr=subprocess.PIPE, check=False)
        expect_equal(done.returncode, 1, "a full disk")
        expect(done.stderr.endswith(b"tape-replay: standard output: No space left on device\n"), done.stderr)
        for verb in ("ls", "verify"):
            done = subprocess.run([REPLAY, verb, archive], stdout=full, stderr=subprocess.PIPE, check=False)
            expect_equal(done.returncode, 1, "%s on a full disk" % verb)
    done = subprocess.run(["sh", "-c", '"$0" play --speed max --receipt "$1" "$2" >&-', REPLAY, str(scratch / "shut"),
                           str(archive)], stderr=subprocess.PIPE, check=False)
    expect_equal((done.returncode, done.stderr.splitlines()[-1]),
                 (1, b"tape-replay: standard output: Bad file descriptor"), "a closed standard output")
    expect_equal(json.loads((scratch / "shut").read_text())["end"], "failure", "its receipt")
    out, said = rig.call("tape-replay", "play", "--speed", "max", "--receipt", scratch / "no/such/file", archive, wanted=1)
    expect_equal((out, said), (b"", "tape-replay: receipt %s: No such file or directory\n" % (scratch / "no/such/file")),
                 "a receipt that cannot be written is told before anything is played")


def nothing_there(scratch):
    """Segments that are gone, as with the disk that they were on; those that may not be read."""
    archives = []
    for name in ("gone", "barred"):
        archives.append(scratch / name)
        rig.call("tape-record", "--import", rig.write_lines(scratch / (name + ".txt"), [b"%d {}" % BEGIN]), archives[-1])
    gone, barred = archives
    shutil.rmtree(gone / "segments")
    _, said = rig.call("tape-replay", "play", gone)
    expect("tape-replay: there is no message; tape-replay verify tells whether any is missing\n" in said, said)
    if os.geteuid() != 0:
        os.chmod(barred / "segments", 0)
        _, said = rig.call("tape-replay", "play", barred, gone, wanted=1)
        os.chmod(barred / "segments", 0o700)
        expect_equal(said, "tape-replay: %s: open segments: Permission denied\n" % barred, "which of them")


def on_a_terminal(scratch):
    archive = scratch / "wild"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "wild.txt", [b"%d a\x1b[31mb\xff" % BEGIN]), archive)
    primary, secondary = pty.openpty()
    process = subprocess.Popen([REPLAY, "play", archive], stdout=secondary, stderr=subprocess.PIPE)
    os.close(secondary)
    shown = os.read(primary, 1000)
    expect_equal(process.wait(rig.PATIENCE_S), 0, "exit code")
    expect_equal(shown, b"a\\x1b[31mb\\xff\r\n", "what a terminal gets")
    process.stderr.close()
    os.close(primary)
    expect_equal(rig.play(archive), b"a\x1b[31mb\xff\n", "what a pipe gets")


def damaged(scratch, lines):
    """A block that was changed is told and passed over; everything else is played; exit code 3."""
    archive = scratch / "damaged"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "many.txt", lines), archive)
    segment = next(archive.glob("segments/*/*/*/*.hot"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    out, said = rig.call("tape-replay", "play", "--speed", "max", "--format", "hft", archive, wanted=3)
    played = out.split(b"\n")[:-1]
    expect(0 < len(played) < len(lines), "a part was played: %d of %d" % (len(played), len(lines)))
    start = next(i for i, line in enumerate(lines) if line != played[i])
    expect_equal(played, lines[:start] + lines[start + len(lines) - len(played):], "what was played")
    told = re.search(r"tape-replay: corrupt, passed over: segment 000001: block \d+ at 0x[0-9a-f]+: checksum mismatch "
                     r"\(records (\d+) to (\d+) are lost\)\n", said)
    expect(told, said)
    expect_equal(int(told[2]) - int(told[1]) + 1, len(lines) - len(played), "records lost")
    expect("; 1 damaged place passed over" in said, said)
    _, said = rig.call("tape-replay", "play", "--speed", "max", "--json", archive, wanted=3)
    told = json.loads(said.splitlines()[-1])
    expect_equal((told["damages_total"], told["damages"][0]["verdict"]), (1, "corrupt"), "damage in the receipt")


def main(scratch):
    lines = [b'%d {"n":%d}' % (BEGIN + i * 1000, i) for i in range(100)]
    lines += [b'%d {"n":%d}' % (BEGIN + 3600 * 10**9 + i, i) for i in range(20000)]
    archive = scratch / "tape"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "lines.txt", lines), archive)
    usage_errors()
    help_and_manual()
    not_an_archive(scratch)
    reader_that_leaves(archive)
    signals(archive, scratch)
    nowhere_to_write(archive, scratch)
    nothing_there(scratch)
    on_a_terminal(scratch)
    damaged(scratch, [b'%d {"n":%d}' % (BEGIN + i, i * 7919 % 100003) for i in range(60000)])


rig.run_main(main)
