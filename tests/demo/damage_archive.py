"""Small archives to be damaged, for the scripts damage_*.py: made by tape-record itself, block by block, and
what must hold of any run of the two programs whatever an archive holds. Not a test."""
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

import rig
from rig import expect

EXHAUSTIVE = os.environ.get("TAPE_EXHAUSTIVE") == "1"
HEADER_BYTES = 80
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
if os.access("/dev/shm", os.W_OK) and "TMPDIR" not in os.environ:
    tempfile.tempdir = "/dev/shm"  # thousands of archives are written and synced


class Result:
    """One run of a program: code, out (bytes), said (text)."""

    def __init__(self, words, done):
        self.words, self.code, self.out = words, done.returncode, done.stdout
        self.said = done.stderr.decode("utf-8", "replace")

    def __str__(self):
        return "%s: exit %s\n%s%s" % (" ".join(self.words), self.code, self.said[-3000:],
                                      self.out[-600:].decode("utf-8", "replace"))


def run(program, *words, wanted=(0, 1, 2, 3), stdin=subprocess.DEVNULL, **more):
    """Runs a program that must end by itself with one of these codes, unharmed, and say only lines that a
    terminal can show."""
    words = [str(rig.BUILD / program), *map(os.fspath, words)]
    try:
        done = subprocess.run(words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=rig.PATIENCE_S, check=False, **more)
    except subprocess.TimeoutExpired:
        raise rig.Failed("%s: no end" % " ".join(map(str, words))) from None
    result = Result([str(w) for w in words], done)
    expect("Sanitizer" not in result.said and "runtime error:" not in result.said, "harmed: %s" % result)
    expect(result.code in wanted, "not one of %s: %s" % (wanted, result))
    for line in result.said.splitlines():
        expect(len(line) < 1300 and line.isprintable(), "a line that cannot be shown: %r" % line[:400])
    return result


def replay(*words, **more):
    return run("tape-replay", *words, **more)


def play(archive, *words, **more):
    return run("tape-replay", "play", "--speed", "max", "--format", "hft", *words, archive, **more)


def segment_of(archive, number=-1):
    """Path of a segment, by its place in the order of sequences."""
    found = sorted((archive / "segments").glob("*/*/*/*-??????.hot"), key=lambda path: path.name[-10:])
    return found[number] if found else None


def blocks_of(data):
    """[(offset, end, first ordinal, records, codec)] of whole blocks, walked as FORMAT.md says."""
    found, at = [], 64
    while at + HEADER_BYTES <= len(data) and data[at:at + 4] == b"TBK1":
        stored, _, records, ordinal = struct.unpack_from("<IIIQ", data, at + 12)
        end = at + HEADER_BYTES + stored
        if end > len(data):
            break
        found.append((at, end, ordinal, records, data[at + 68]))
        at = end
    return found


class Feeder:
    """tape-record --import - with lines given in groups, each of which becomes a block of its own."""

    def __init__(self, archive, *options):
        self.archive = archive
        self.process = subprocess.Popen(
            [str(rig.BUILD / "tape-record"), "--ring=1MiB", "--no-pack", *options, "--import", "-", str(archive)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def size(self):
        path = segment_of(self.archive)
        return path.stat().st_size if path else 0

    def give(self, lines):
        before = self.size()
        self.process.stdin.write(b"".join(line + b"\n" for line in lines))
        self.process.stdin.flush()
        end = time.monotonic() + rig.PATIENCE_S
        while self.size() <= max(before, 64):
            expect(self.process.poll() is None and time.monotonic() < end, "tape-record wrote no block")
            time.sleep(0.01)

    def finish(self):
        said = self.process.communicate(timeout=rig.PATIENCE_S)[1]
        expect(self.process.returncode == 0, "import: %s" % said.decode("utf-8", "replace"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def some_lines(count, seed=11):
    """Short lines with times that vary, also backwards."""
    lines = rig.generate("--seed", seed, "--count", count, "--streams", "trade,bookTicker,aggTrade")
    lines[3] = b"1795600000000000000 a plain line"
    lines[4] = b"1795599999000000007 back in time"
    return lines


def groups_of(lines, size):
    return [lines[i:i + size] for i in range(0, len(lines), size)]


def make_sealed(path, groups):
    with Feeder(path) as feeder:
        for group in groups:
            feeder.give(group)
        feeder.finish()
    return path


def make_killed(path, groups, in_ring=()):
    """A recorder killed after the groups were written; what in_ring holds got to its ring at most. Its ring
    lies in the archive afterwards, where the next recorder looks for it as well."""
    with Feeder(path) as feeder:
        for group in groups:
            feeder.give(group)
        if in_ring:
            feeder.process.send_signal(signal.SIGSTOP)  # reads nothing: these lines are lost with the pipe
        feeder.kill()
        for ring in pathlib.Path("/dev/shm").glob("tapedeck-*-%d" % feeder.process.pid):
            shutil.move(str(ring), str(path / "ring"))
    return path


class Original:
    """An archive of one segment, what it gives, and copies of it with other segment bytes."""

    def __init__(self, path, scratch):
        self.path, self.scratch = path, scratch
        self.name = segment_of(path).relative_to(path)
        self.data = segment_of(path).read_bytes()
        self.blocks = blocks_of(self.data)
        self.sealed = self.data[-32:-24] == b"TAPE_END"
        self.data_blocks = [block for block in self.blocks if block[4] != 4]
        self.lines = self.lines_by_block()

    def lines_by_block(self):
        """[lines] of each block, from archives that end after it."""
        found, before = [], 0
        for _, end, *_ in self.data_blocks:
            copy = self.copy("by-block", self.data[:end])
            lines = play(copy, wanted=(0,)).out.splitlines(keepends=True)
            found.append(lines[before:])
            before = len(lines)
        return found

    def copy(self, name, data, leave=()):
        """Where index.db is kept, so is what the recorder had in its log."""
        path = self.scratch / name
        log = ("index.db-wal", "index.db-shm") if "index.db" in leave else ()
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns(*leave, *log))
        (path / self.name).write_bytes(data)
        return path

    def block_at(self, offset):
        """The index of the data block that a byte lies in, or None."""
        for i, (start, end, *_) in enumerate(self.data_blocks):
            if start <= offset < end:
                return i
        return None

    def after_flip(self, offset):
        """The lines that must still come when the byte at the offset is wrong."""
        hit = self.block_at(offset)
        if hit is not None and self.sealed and offset < self.data_blocks[hit][0] + HEADER_BYTES:
            hit = None  # the footer holds a copy of the header
        return b"".join(line for i, lines in enumerate(self.lines) if i != hit for line in lines)

    def after_cut(self, size):
        return b"".join(line for (_, end, *_), lines in zip(self.data_blocks, self.lines) if end <= size
                        for line in lines)


def in_parallel(tasks, workers=2):
    """Runs one function a worker; the first failure counts."""
    failures = []

    def guarded(task):
        try:
            task()
        except BaseException as failure:  # pylint: disable=broad-except
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks[:workers]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def flipped(data, at, bits):
    changed = bytearray(data)
    changed[at] ^= bits
    return bytes(changed)
