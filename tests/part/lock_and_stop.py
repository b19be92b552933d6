#!/usr/bin/python3
"""A second recorder is refused at once and told who records; signals end the first in order; a second signal or
kill -9 leaves what the next start takes over: all of it by imports that wait on a pipe."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ["BUILD"])
RECORD, REPLAY = str(BUILD / "tape-record"), str(BUILD / "tape-replay")
PATIENCE_S = 60


def fail(*words):
    print(*words)
    sys.exit(1)


def start(archive):
    recorder = subprocess.Popen([RECORD, "--quiet", "--import", "-", str(archive)], stdin=subprocess.PIPE,
                                stderr=subprocess.PIPE)
    wait_until(lambda: b"ring=/" in lock_text(archive) or recorder.poll() is not None, "a recorder that has begun")
    return recorder


def lock_text(archive):
    try:
        return (archive / "LOCK").read_bytes()
    except OSError:
        return b""


def wait_until(truth, what):
    until = time.monotonic() + PATIENCE_S
    while not truth():
        if time.monotonic() > until:
            fail("it never happens:", what)
        time.sleep(0.01)


def play(archive):
    done = subprocess.run([REPLAY, "play", "--speed", "max", "--format", "hft", str(archive)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        fail("play:", done.stderr.decode())
    return done.stdout


def end_of(recorder):
    code = recorder.wait(PATIENCE_S)  # its input stays open: its end must not come before the signal
    said = recorder.stderr.read().decode()
    recorder.communicate()
    return code, said


def second_recorder(scratch):
    archive = scratch / "locked"
    first = start(archive)
    for arguments in (["--import", "/dev/null", str(archive)], ["--repair", str(archive)],
                      ["--url=ws://127.0.0.1:1/", str(archive)]):
        done = subprocess.run([RECORD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode != 1 or not done.stderr.startswith(
                "tape-record: record into %s: locked by process %d (since 20" % (archive, first.pid)):
            fail("second recorder", arguments, "exit", done.returncode, done.stderr)
        if done.stderr.count("\n") != 1:
            fail("more than one line:", done.stderr)
    first.stdin.close()
    if first.wait(PATIENCE_S) != 0:
        fail("the first recorder ends with", first.returncode)
    # a dead holder's LOCK text stops nobody
    dead = start(archive)
    dead.kill()
    dead.wait()
    subprocess.run([RECORD, "--quiet", "--import", "/dev/null", str(archive)], check=True)


def signals(scratch):
    for number, name in enumerate(("SIGINT", "SIGTERM", "SIGHUP")):
        archive = scratch / name
        recorder = start(archive)
        lines = b"".join(b"%d line %d\n" % (i, i) for i in range(2000))
        recorder.stdin.write(lines)
        recorder.stdin.flush()
        wait_until(lambda: following(archive) >= 2000, "2000 lines")
        recorder.send_signal(getattr(signal, name))
        code, said = end_of(recorder)
        if code != 1 or said != "tape-record: -: stopped; the first 2000 lines are imported\n":
            fail(name, "exit", code, said)
        if play(archive) != lines:
            fail(name, "loses lines")
        if any((archive / "segments").rglob("*.torn")) or b"ring=/" in lock_text(archive):
            fail(name, "did not end in order")


def following(archive):
    """How many lines the archive holds now, the ring's included."""
    done = subprocess.run([str(BUILD / "tests/part/store_feed"), "count", str(archive)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode == 2:
        fail("store_feed does not know count")
    return int(done.stdout or 0)


def second_signal(scratch):
    """The first one finds a recorder whose disk never syncs in time; what counts is that nothing is lost."""
    archive = scratch / "twice"
    for _ in range(5):
        recorder = start(archive)
        before = play(archive)
        more = b"".join(b"%d again\n" % i for i in range(3000))
        recorder.stdin.write(more)
        recorder.stdin.flush()
        wait_until(lambda: following(archive) >= (before + more).count(b"\n"), "3000 lines more")
        recorder.send_signal(signal.SIGTERM)
        recorder.send_signal(signal.SIGTERM)
        time.sleep(0.001)
        recorder.send_signal(signal.SIGTERM)
        code, said = end_of(recorder)
        if code != 1:
            fail("exit", code, said)
        subprocess.run([RECORD, "--quiet", "--import", "/dev/null", str(archive)], check=True)
        if play(archive) != before + more:
            fail("a second signal loses lines")


def killed_on_a_pipe(scratch):
    """Lines trickle in; what tape-replay could see before kill -9 must be there after it."""
    archive = scratch / "killed"
    chance = random.Random(5)
    sent = b""
    for round_number in range(20):
        recorder = start(archive)
        count = play(archive).count(b"\n")
        if play(archive) != sent[:len(play(archive))]:
            fail("round", round_number, "the archive is no beginning of what was sent")
        sent = play(archive)
        for _ in range(chance.randrange(1, 12)):
            lines = b"".join(b"%d round %d\n" % (chance.randrange(1 << 60), round_number)
                             for _ in range(chance.randrange(1, 400)))
            recorder.stdin.write(lines)
            recorder.stdin.flush()
            sent += lines
            time.sleep(chance.uniform(0, 0.02))
        seen = following(archive)
        recorder.kill()
        recorder.communicate()
        subprocess.run([RECORD, "--quiet", "--import", "/dev/null", str(archive)], check=True)
        back = play(archive)
        if back.count(b"\n") < max(seen, count):
            fail("round", round_number, "seen", seen, "kept", back.count(b"\n"))
        if back != sent[:len(back)]:
            fail("round", round_number, "what came back is not what was sent")
        sent = back


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tape-part-"))
    second_recorder(scratch)
    signals(scratch)
    second_signal(scratch)
    killed_on_a_pipe(scratch)
    shutil.rmtree(scratch)
    print("a second recorder, 3 signals, 5 double signals, 20 kills on a pipe")


if __name__ == "__main__":
    main()
