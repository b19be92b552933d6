"""100 rounds of kill -9 in the middle of recording: every frame that had reached the ring comes back.

A feeder publishes numbered frames straight into a store and tells, by a pipe, the last number it has
published. It is killed at a random moment; the next round's store recovers the archive. After each round
the numbers in the archive must be 0, 1, 2 ... without a hole or a repetition, at least to the last one told.
"""
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.environ["BUILD"]
FEED = os.path.join(BUILD, "tests/part/store_feed")
RECORD = os.path.join(BUILD, "tape-record")
ROUNDS = int(os.environ.get("TAPE_KILL_ROUNDS", "20" if BUILD.endswith(("address", "thread")) else "100"))
SEED = int(os.environ.get("TAPE_SEED", random.SystemRandom().randrange(1 << 32)))


def last_told(pipe):
    data = pipe.read()
    whole = len(data) // 8
    return struct.unpack_from("<Q", data, 8 * (whole - 1))[0] if whole else -1


def one_round(archive, first, chance):
    burst, pause = chance.choice([(1, 300), (20, 1000), (200, 2000), (1000, 5000), (64, 0)])
    command = [FEED, "feed", archive, str(first), str(burst), str(pause)]
    if chance.random() < 0.2:
        command.append("sync")
    feeder = subprocess.Popen(command, stdout=subprocess.PIPE)
    time.sleep(chance.uniform(0.0, 0.15))
    feeder.send_signal(signal.SIGKILL)
    told = last_told(feeder.stdout)
    feeder.wait()
    if feeder.returncode != -signal.SIGKILL:
        sys.exit(f"the feeder ended by itself with {feeder.returncode}")
    return told


def repair(archive, chance):
    """Recovery itself is killed a few times before it may end."""
    for _ in range(chance.randrange(3)):
        mender = subprocess.Popen([RECORD, "--repair", archive], stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.0, 0.02))
        mender.kill()
        mender.wait()
    done = subprocess.run([RECORD, "--repair", archive], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"--repair exits {done.returncode}:\n{done.stdout}")
    again = subprocess.run([RECORD, "--repair", archive], stdout=subprocess.PIPE, text=True)
    if again.returncode != 0 or "; 0 segments sealed" not in again.stdout.replace("records; ", "; "):
        sys.exit(f"a second --repair found something to do:\n{again.stdout}")


def read_back(archive):
    done = subprocess.run([FEED, "read", archive], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"reading back: {done.stdout}")
    return int(done.stdout.split()[1])


def main():
    chance = random.Random(SEED)
    scratch = tempfile.mkdtemp(prefix="tapedeck-kill-")
    archive = os.path.join(scratch, "archive")
    subprocess.run([RECORD, "--quiet", "--import", "/dev/null", archive], check=True)
    last = -1
    try:
        for number in range(ROUNDS):
            told = one_round(archive, last + 1, chance)
            if chance.random() < 0.5:
                repair(archive, chance)
                found = read_back(archive)
                if found < max(told, last):
                    sys.exit(f"round {number}: {max(told, last)} was published, the archive ends at {found}")
                last = found
            else:
                # the next feeder's store recovers: it must begin where this one ended, so ask first
                subprocess.run([RECORD, "--quiet", "--import", "/dev/null", archive], check=True)
                found = read_back(archive)
                if found < max(told, last):
                    sys.exit(f"round {number}: {max(told, last)} was published, the archive ends at {found}")
                last = found
        rings = [name for name in os.listdir("/dev/shm") if name.startswith("tapedeck-" + archive_id(archive))]
        if rings:
            sys.exit(f"rings are left: {rings}")
        if last < ROUNDS:
            sys.exit(f"only {last + 1} frames in {ROUNDS} rounds: nothing was tested")
        print(f"{ROUNDS} kills, {last + 1} frames, none lost")
    except SystemExit as wrong:
        print(f"seed {SEED}, archive kept in {scratch}")
        raise wrong
    shutil.rmtree(scratch)


def archive_id(archive):
    with open(os.path.join(archive, "LOCK"), encoding="ascii") as lock:
        return lock.readline().split()[2]


if __name__ == "__main__":
    main()
