#!/usr/bin/python3
"""A disk of 64 MB that is filled while lines come in and emptied again, several times: the recorder stays, goes
on by itself, and every line is in the archive afterwards; stopped while the disk is full it says where
the rest is, and the next start takes it over."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402

BUILD = pathlib.Path(os.environ["BUILD"])
SKIP = 77
PATIENCE_S = 60


def mount(scratch):
    disk = scratch / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tapedeck-test", str(disk)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print("no small disk can be mounted here: " + done.stdout.strip())
        sys.exit(SKIP)
    return disk


class Feed(threading.Thread):
    """Writes numbered lines that do not compress into a recorder's standard input."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.lines, self.ended = pipe, [], threading.Event()
        self.chance = random.Random(11)

    def run(self):
        number = 0
        try:
            while not self.ended.is_set():
                chunk = [b"%d {\"n\":%d,\"x\":\"%s\"}\n" % (number + i, number + i,
                                                       self.chance.randbytes(400).hex().encode())
                         for i in range(50)]
                self.pipe.write(b"".join(chunk))
                self.pipe.flush()
                self.lines += chunk
                number += 50
                time.sleep(0.01)
        except BrokenPipeError:
            pass
        finally:
            try:
                self.pipe.close()
            except BrokenPipeError:
                pass


def start(archive, *options):
    recorder = subprocess.Popen([str(BUILD / "tape-record"), "--log-format=text", *options, "--import", "-", str(archive)],
                                stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    said = []
    threading.Thread(target=lambda: said.extend(iter(recorder.stderr.readline, b"")), daemon=True).start()
    return recorder, said


def count_said(said, words, recorder):
    if recorder.poll() is not None:
        sys.exit("the recorder ended: %r" % b"".join(said))
    return sum(words in line for line in list(said))


def wait_until(truth, what):
    until = time.monotonic() + PATIENCE_S
    while not truth():
        if time.monotonic() > until:
            sys.exit("it never happens: " + what)
        time.sleep(0.02)


def wait_until_recording(archive):
    wait_until(lambda: any(path.stat().st_size > 1000 for path in archive.glob("segments/*/*/*/*.hot")),
               "recording")


def fill_until_told(disk, said, count, recorder):
    def told():
        rig.fill_disk(disk)
        return count_said(said, b"the ring holds what comes until the disk takes it", recorder) >= count
    wait_until(told, "the disk is full")


def play(archive):
    done = subprocess.run([str(BUILD / "tape-replay"), "play", "--speed", "max", "--format", "hft", str(archive)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit("play exits %d: %s" % (done.returncode, done.stderr.decode()))
    return done.stdout


def fills_and_empties(disk):
    archive = disk / "archive"
    recorder, said = start(archive)
    feed = Feed(recorder.stdin)
    feed.start()
    wait_until_recording(archive)
    for round_number in range(1, 4):
        fill_until_told(disk, said, round_number, recorder)
        (disk / "filler").unlink()
        again = b"the disk takes bytes again; 0 frames were lost"
        wait_until(lambda: count_said(said, again, recorder) >= round_number, "space again")
    feed.ended.set()
    feed.join()
    if recorder.wait() != 0:
        sys.exit("exit %d: %r" % (recorder.returncode, b"".join(said)))
    if play(archive) != b"".join(feed.lines):
        sys.exit("the lines that come back are not those that went in")
    verify(archive)
    shutil.rmtree(archive)
    return len(feed.lines)


def verify(archive):
    done = subprocess.run([str(BUILD / "tape-replay"), "verify", str(archive)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit("verify exits %d: %s" % (done.returncode, done.stdout))


def stopped_while_full(disk):
    archive = disk / "archive"
    recorder, said = start(archive)
    feed = Feed(recorder.stdin)
    feed.start()
    wait_until_recording(archive)
    fill_until_told(disk, said, 1, recorder)
    time.sleep(4)  # long enough that the last reserve cannot hold what came: not what is judged
    recorder.send_signal(signal.SIGTERM)
    feed.ended.set()
    if recorder.wait(PATIENCE_S) != 1:
        sys.exit("stopped on a full disk: exit %d: %r" % (recorder.returncode, b"".join(said)))
    feed.join()
    time.sleep(0.2)
    (disk / "filler").unlink()
    subprocess.run([str(BUILD / "tape-record"), "--quiet", "--import", "/dev/null", str(archive)], check=True)
    back, sent = play(archive), b"".join(feed.lines)
    if not back or not sent.startswith(back[:len(sent)]):
        sys.exit("what comes back is no beginning of what went in")
    verify(archive)
    return back.count(b"\n")


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tape-part-"))
    disk = mount(scratch)
    try:
        lines = fills_and_empties(disk)
        more = stopped_while_full(disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{lines} and {more} lines over a disk that was full four times, none lost")


if __name__ == "__main__":
    main()
