#!/usr/bin/env python3
"""What the system refuses: open files, file sizes, a disk without any room, one that may only be read, memory for
the ring, and kill -9 during --repair. Each ends by itself with one message, and what was good stays good. Disks
are mounted in a namespace of their own; where that is not allowed the rest is done."""
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from damage_archive import Original, groups_of, make_killed, play, replay, run, segment_of, some_lines  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

MEMORY_NEEDED = "address" in str(rig.BUILD) or "asan" in str(rig.BUILD)  # a sanitizer maps terabytes and opens files
INSIDE = "TAPE_INSIDE_NAMESPACE"


def record(*words, **more):
    return run("tape-record", "--quiet", *(() if "--repair" in words else ("--no-pack",)), *words, **more)


def limited(what, value):
    return lambda: resource.setrlimit(what, (value, value))


def last_line(result):
    lines = result.said.splitlines()
    expect(lines and lines[-1].startswith("tape-re"), "no message: %s" % result)
    return lines[-1]


def check_open_files(scratch, lines, wanted):
    """From none to enough: it works, or says what could not be opened; what it had taken is there."""
    worked = 0
    for files in range(3, 40, 3 if MEMORY_NEEDED else 1):
        path = scratch / ("files-%d" % files)
        done = record("--ring=1MiB", "--import", lines, path, wanted=(0, 1, 127),
                      preexec_fn=limited(resource.RLIMIT_NOFILE, files))
        if done.code == 127:  # the loader itself had no room
            continue
        if done.code == 1:
            expect("Too many open files" in done.said or "unable to open" in done.said, "%d files: %s" % (files, done))
        if path.exists():
            record("--ring=1MiB", "--import", lines, path, wanted=(0,))
            got = play(path, wanted=(0,)).out
            expect(got in (wanted, wanted + wanted), "%d files: %d bytes of %d" % (files, len(got), len(wanted)))
            replay("verify", "--reparse", path, wanted=(0,))
            for verb in (("ls",), ("verify",), ("play", "--speed", "max")):
                result = replay(*verb, path, wanted=(0, 1, 127), preexec_fn=limited(resource.RLIMIT_NOFILE, files))
                expect(result.code != 1 or last_line(result), "%d files" % files)
        worked += done.code == 0
    expect(worked > 0, "enough files were never allowed")


def check_file_size(scratch, lines, wanted):
    """SIGXFSZ kills nobody; a segment that may not grow is followed by another, or the reason is given."""
    for size in (0, 4096, 100_000, 1 << 20, 4 << 20):
        path = scratch / ("size-%d" % size)
        done = record("--ring=1MiB", "--import", lines, path, wanted=(0, 1),
                      preexec_fn=limited(resource.RLIMIT_FSIZE, size))
        expect(done.code == 0 or "File too large" in done.said or "index" in done.said, "size %d: %s" % (size, done))
        expect(done.code == 0 or size < 4 << 20, "size %d is enough: %s" % (size, done))
        again = record("--ring=1MiB", "--import", lines, path, wanted=(0,))
        got = play(path, wanted=(0,)).out
        expect(got.endswith(wanted) and wanted.startswith(got[:-len(wanted)]), "size %d: %s" % (size, again))
        replay("verify", "--reparse", path, wanted=(0,))
    receipt = scratch / "receipt"
    done = replay("play", "--speed", "max", "--receipt", receipt, path, wanted=(1,),
                  preexec_fn=limited(resource.RLIMIT_FSIZE, 10))
    expect(last_line(done) == "tape-replay: receipt %s: File too large" % receipt, str(done))


def kill_repair(original, everything, chance):
    """A repair that is killed again and again loses nothing and comes to an end."""
    for round_ in range(20):
        path = original.copy("killed-%d" % round_, original.data)
        for _ in range(chance.randrange(1, 5)):
            mender = subprocess.Popen([str(rig.BUILD / "tape-record"), "--repair", str(path)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.uniform(0, 0.25 if MEMORY_NEEDED else 0.03))
            mender.kill()
            mender.wait()
            expect(play(path, wanted=(0, 3)).out in everything, "lines are lost while it is mended")
        record("--repair", path, wanted=(0,))
        expect_equal(play(path, wanted=(0,)).out, everything[-1], "after %d rounds" % round_)
        replay("verify", "--reparse", path, wanted=(0,))
        shutil.rmtree(path)


# ---- in a namespace: disks of our own ----


def mount(where, *options):
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "none", str(where)], check=True)


def fill(disk, leave=0):
    """Writes until nothing fits, and gives back so many bytes."""
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            filler.truncate(max(0, filler.tell() - leave))


def check_no_room(scratch, lines, wanted):
    """From no byte to enough: a message that names the reason, and an archive that goes on when there is room."""
    disk = scratch / "disk"
    mount(disk, "-o", "size=8m")
    for leave in (0, 4096, 16384, 65536, 262144, 1 << 20, 4 << 20):
        path = disk / "archive"
        fill(disk, leave)
        done = record("--ring=1MiB", "--import", lines, path, wanted=(0, 1))
        expect(done.code == 0 or "No space left on device" in done.said or "full" in done.said,
               "%d bytes left: %s" % (leave, done))
        if path.exists() and segment_of(path):
            kept = play(path, wanted=(0, 3)).out
            expect(wanted.startswith(kept), "%d bytes left: other lines" % leave)
            replay("ls", path, wanted=(0, 1))
            replay("verify", path, wanted=(0, 3))
        (disk / "filler").unlink()
        record("--ring=1MiB", "--import", lines, path, wanted=(0,))
        got = play(path, wanted=(0,)).out
        expect(got.endswith(wanted) and wanted.startswith(got[:-len(wanted)]), "%d bytes left" % leave)
        expect(done.code == 1 or got == wanted + wanted, "%d bytes left, and it said that all is well" % leave)
        replay("verify", "--reparse", path, wanted=(0,))
        shutil.rmtree(path)
    subprocess.run(["umount", str(disk)], check=True)


def check_repair_without_room(scratch, original, everything):
    disk = scratch / "repair"
    mount(disk, "-o", "size=8m")
    keep = original.scratch
    original.scratch = disk
    for leave in (0, 4096, 8192, 65536):
        path = original.copy("archive", original.data[:-9])
        before = play(path, wanted=(3,)).out
        fill(disk, leave)
        done = record("--repair", path, wanted=(0, 1, 3))
        expect(done.code != 1 or "No space left on device" in done.said, "%d bytes left: %s" % (leave, done))
        expect(play(path, wanted=(0, 3)).out.startswith(before), "%d bytes left: lines are lost" % leave)
        (disk / "filler").unlink()
        record("--repair", path, wanted=(0, 3))
        # the ring gives back what was cut off only where that was not yet durable
        expect(play(path, wanted=(0, 3)).out in (everything[-1], before), "%d bytes left: after it" % leave)
        replay("verify", "--reparse", path, wanted=(0, 3))
        shutil.rmtree(path)
    original.scratch = keep
    subprocess.run(["umount", str(disk)], check=True)


def check_read_only(scratch, original, lines, everything):
    disk = scratch / "fixed"
    mount(disk, "-o", "size=8m")
    shutil.copytree(original.path, disk / "archive")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    path = disk / "archive"
    expect(play(path, wanted=(0,)).out in everything, "play from a disk that may only be read")
    replay("ls", path, wanted=(0,))
    replay("verify", path, wanted=(0,))
    for words in (["--import", lines, path], ["--repair", path]):
        said = last_line(record(*words, wanted=(1,)))
        expect_equal(said, "tape-record: record into %s: open LOCK: Read-only file system" % path, words[0])
    said = last_line(record("--import", lines, disk / "new", wanted=(1,)))
    expect_equal(said, "tape-record: record into %s: make the directory: Read-only file system" % (disk / "new"), "new")
    subprocess.run(["umount", str(disk)], check=True)


def check_shared_memory(scratch, lines, wanted):
    """No room in /dev/shm: the ring is a file in the archive; killed or not, nothing is lost."""
    mount(pathlib.Path("/dev/shm"), "-o", "size=64k")
    path = scratch / "no-shm"
    record("--ring=1MiB", "--import", lines, path, wanted=(0,))
    expect_equal(play(path, wanted=(0,)).out, wanted, "without shared memory")
    expect(not (path / "ring").exists(), "the ring stays")
    subprocess.run(["umount", "/dev/shm"], check=True)


def main(scratch):
    (scratch / "copies").mkdir()
    texts = some_lines(24)
    lines = rig.write_lines(scratch / "lines", texts)
    wanted = lines.read_bytes()
    original = Original(make_killed(scratch / "killed", groups_of(texts, 4)), scratch / "copies")
    everything = [b"".join(line + b"\n" for line in texts)]
    if os.environ.get(INSIDE):
        check_no_room(scratch, lines, wanted)
        check_repair_without_room(scratch, original, everything)
        check_read_only(scratch, original, lines, everything)
        check_shared_memory(scratch, lines, wanted)
        return
    check_open_files(scratch, lines, wanted)
    check_file_size(scratch, lines, wanted)
    kill_repair(original, everything, random.Random(9))
    inner = ["unshare", "-m", "--propagation", "private", sys.executable, __file__]
    if subprocess.run([*inner[:4], "mount", "-t", "tmpfs", "none", "/mnt"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        print("no disk can be mounted here: that part is left out")
        return
    done = subprocess.run(inner, env=dict(os.environ, TMPDIR="/tmp", **{INSIDE: "1"}), check=False)
    expect_equal(done.returncode, 0, "the part with disks of its own")


rig.run_main(main)
