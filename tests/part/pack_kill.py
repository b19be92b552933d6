#!/usr/bin/env python3
"""kill -9 while segments are packed: after each kill the archive verifies and plays the same bytes, nothing is
counted twice and nothing is missing. At each call that syncs, renames or removes a file in turn; at random moments of
--pack; and of recorders that pack while they record. KILLS says how many of the last two."""
import hashlib
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
import run as demo  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@aggTrade"]
KILLS = int(os.environ.get("KILLS", "15"))
SEED = int(os.environ.get("TAPE_SEED", random.SystemRandom().randrange(1 << 32)))
BUSY = ["--quiet", "--segment", "256KiB"]
SANITIZED = rig.BUILD.name in ("address", "thread")

DEADLY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
/* Call number KILL_AT / 2 is the last: killed before it, or, where KILL_AT is odd, after it. */
static atomic_int calls;
static void before(int call) { if (2 * call == atoi(getenv("KILL_AT"))) kill(getpid(), SIGKILL); }
static void after(int call) { if (2 * call + 1 == atoi(getenv("KILL_AT"))) kill(getpid(), SIGKILL); }
#define WRAP(name, parameters, arguments)                                                    \
    int name parameters                                                                      \
    {                                                                                        \
        int (*real) parameters = (int (*) parameters)dlsym(RTLD_NEXT, #name);                \
        int call = atomic_fetch_add(&calls, 1);                                              \
        before(call);                                                                        \
        int result = real arguments;                                                         \
        after(call);                                                                         \
        return result;                                                                       \
    }
WRAP(fsync, (int fd), (fd))
WRAP(fdatasync, (int fd), (fd))
WRAP(unlink, (const char *path), (path))
WRAP(unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
"""


def files(archive, ending):
    return sorted(archive.glob("segments/*/*/*/*" + ending))


def dump(archive):
    return subprocess.run(["sqlite3", "-readonly", str(archive / "index.db"), ".dump"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def digest(archive):
    return hashlib.sha256(rig.play(archive, "--format", "hft")).hexdigest()


def counted(archive):
    """Records by verify, which must find no damage."""
    text = rig.call("tape-replay", "verify", archive)[0].decode()
    expect(text.endswith("no damage\n"), "verify: %s" % text)
    return int(re.search(r", (\d+) records; ", text)[1])


def check_index(archive):
    before = dump(archive)
    for path in archive.glob("index.db*"):
        path.unlink()
    rig.call("tape-record", "--repair", archive)
    for one, other in zip(before.splitlines(), dump(archive).splitlines()):
        expect_equal(one, other, "a row of index.db against a rebuild's")
    expect_equal(len(before), len(dump(archive)), "index.db against a rebuild")


def lines_of(count):
    return [b'%d {"stream":"s%d@trade","data":{"e":"trade","E":%d,"t":%d,"p":"%d","r":"%x"}}' %
            (1795600000000000000 + i * 7919, i % 5, 1795600000000 + i // 100, i // 5, 60000 + i % 97,
             i * 0x9e3779b97f4a7c15 % (1 << 64)) for i in range(count)]


def hot_archive(scratch, name, count):
    archive = scratch / name
    lines = rig.write_lines(scratch / (name + ".txt"), lines_of(count))
    rig.call("tape-record", "--no-pack", *BUSY, "--import", lines, archive)
    return archive


# ---- each call in turn ----


def sweep(scratch):
    source, library = scratch / "deadly.c", scratch / "deadly.so"
    source.write_text(DEADLY, encoding="ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    hot = hot_archive(scratch, "few", 3600)
    truth, records = digest(hot), counted(hot)
    expect(len(files(hot, ".hot")) == 2, "segments")
    seen, calls = set(), 0
    for level in ("warm", "cold"):
        start, at = hot, 0
        while True:
            archive = scratch / "sweep"
            shutil.rmtree(archive, ignore_errors=True)
            shutil.copytree(start, archive)
            done = subprocess.run([str(rig.BUILD / "tape-record"), "--pack", "--level", level, str(archive)],
                                  env=dict(os.environ, LD_PRELOAD=str(library), KILL_AT=str(at)),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            if done.returncode == 0:
                break
            expect_equal(done.returncode, -signal.SIGKILL, "killed at %d: %s" % (at, done.stderr.decode()))
            left = tuple(len(files(archive, ending)) for ending in (".hot", ".packing", ".tape"))
            seen.add(left)
            expect_equal((counted(archive), digest(archive)), (records, truth), "killed at %d, %s left" % (at, left))
            rig.call("tape-record", "--pack", "--level", level, archive)
            expect(not files(archive, ".hot") and not files(archive, ".packing"), "killed at %d: not packed after" % at)
            expect_equal((counted(archive), digest(archive)), (records, truth), "killed at %d, packed again" % at)
            check_index(archive)
            at += 1
        calls += at // 2
        hot = archive.rename(scratch / level)
    every = len(files(hot, ".tape"))
    expect({(every, 1, 0), (every, 0, 1), (every - 1, 1, 1), (1, 0, every), (0, 1, every)} <= seen,
           "states met: %s" % sorted(seen))
    print("killed at each of %d calls, %d states" % (calls, len(seen)))


# ---- --pack ----


def kill_packing(scratch, dice, kills):
    hot = hot_archive(scratch, "many", 40000 if SANITIZED else 80000)
    truth, records = digest(hot), counted(hot)
    archive = scratch / "killed"
    shutil.copytree(hot, archive)
    began = time.monotonic()
    rig.call("tape-record", "--pack", archive)
    whole = time.monotonic() - began
    met, level = 0, "cold"
    for kill in range(kills):
        if level == "cold":
            shutil.rmtree(archive)
            shutil.copytree(hot, archive)
            level = "warm"
        packer = subprocess.Popen([str(rig.BUILD / "tape-record"), "--pack", "--level", level, str(archive)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            packer.wait(dice.uniform(0, 0.8 * whole))
            level = "cold"
        except subprocess.TimeoutExpired:
            packer.kill()
            packer.wait()
            met += 1
        expect_equal((counted(archive), digest(archive)), (records, truth), "after kill %d" % kill)
    rig.call("tape-record", "--pack", archive)
    expect(not files(archive, ".hot") and not files(archive, ".packing"), "not all is packed at last")
    expect_equal((counted(archive), digest(archive)), (records, truth), "at last")
    check_index(archive)
    expect(met > kills // 3, "only %d of %d kills met it at work" % (met, kills))
    print("%d kills of --pack" % met)


# ---- a recorder that packs ----


def check_pairs(archive, summary, log):
    """What each connection got is a prefix of what the exchange sent it; and how many there were."""
    kept, keys = rig.kept_by_connection(archive)
    payloads = {keys[connection]: kept[connection] for connection in kept if connection in keys}
    for connection in summary:
        rig.check_pair(connection, rig.sent_lines(log, connection["connection"]), payloads.pop(connection["key"], []))
    expect(not payloads, "connections in the archive that the exchange does not know: %s" % sorted(payloads))


def packing_seen(archive):
    """Waits until a segment is being packed. On a busy machine a thread of idle class may not run at all."""
    before, end = len(files(archive, ".tape")), time.monotonic() + 3
    while time.monotonic() < end:
        if files(archive, ".packing") or len(files(archive, ".tape")) > before:
            return 1
        time.sleep(0.002)
    return 0


def kill_recording(scratch, dice, kills):
    """On an archive with much to pack, so that the packer is at work when it is killed."""
    archive, heads = hot_archive(scratch, "live", 40000 if SANITIZED else 80000), []
    met = left = 0
    before = ["--format", "hft", "--stream", "s?@trade"]
    lines = rig.play(archive, *before)
    with rig.Exchange(scratch / "log", "--rate", 8000, "--symbols", "btcusdt") as exchange:
        words = [*BUSY, "--url", exchange.url, archive, *STREAMS]
        for kill in range(kills):
            with rig.Recorder(scratch, *words) as recorder:
                demo.live(exchange, 2 * kill + 2)
                recorder.wait_until(lambda: b"-%d\n" % recorder.process.pid in (archive / "LOCK").read_bytes(), "a ring")
                met += packing_seen(archive)
                time.sleep(dice.uniform(0, 0.1))
                recorder.kill()
                heads.append(demo.ring_at_the_kill(archive))
            left += len(files(archive, ".packing"))
            counted(archive)
            expect(rig.play(archive, *before) == lines, "what was there before, after kill %d" % kill)
        with rig.Recorder(scratch, *words) as recorder:
            demo.live(exchange, 2 * kills + 2)
            recorder.stop(signal.SIGTERM)
        summary = exchange.stop()
    expect(not files(archive, ".packing"), "a recorder that ended left a .packing")
    expect_equal(demo.count_lost(archive, heads), 0, "records lost")
    check_pairs(archive, summary, scratch / "log")
    rig.verify(archive)
    expect(rig.play(archive, *before) == lines, "what was there before, at last")
    check_index(archive)
    print("%d kills of a recorder, the packer was seen at work before %d and left a .packing at %d, %d segments packed" %
          (kills, met, left, len(files(archive, ".tape"))))


def main(scratch):
    dice = random.Random(SEED)
    print("seed %d" % SEED)
    if SANITIZED:
        print("the sweep needs a preloaded library: not under a sanitizer")
    else:
        sweep(scratch)
    kill_packing(scratch, dice, (KILLS + 1) // 2)
    kill_recording(scratch, dice, KILLS // 2)


rig.run_main(main)
