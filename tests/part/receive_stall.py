#!/usr/bin/env python3
"""A disk that is slow to sync fills the ring: nothing is dropped, the socket waits, pings that were heard are
answered, the stall is on record, and the recorder can still be stopped. (plain build only: a library is preloaded
that makes fdatasync slow, and the sanitizers want to be first.)"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import stranger
from stranger import CLOSE, PING, PONG, TEXT, close, frame
import rig
from rig import expect, expect_equal

SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    usleep(700000);
    return real(fd);
}
"""


def slow_disk(scratch):
    source, library = scratch / "slow.c", scratch / "slow.so"
    source.write_text(SLOW, encoding="ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    os.environ["LD_PRELOAD"] = str(library)


def numbered(i):
    return frame(TEXT, b'{"n":%d,"pad":"%s"}' % (i, b"." * 480))


def flood(count):
    def script(peer, _):
        peer.upgrade()
        for first in range(0, count, 100):
            peer.send(b"".join(numbered(i) for i in range(first, first + 100)))
            if first % 2000 == 0:
                peer.send(frame(PING, b"%d" % first))
        peer.send(close(1000))
        heard = []
        while not heard or heard[-1][0] != CLOSE:
            heard.append(peer.read_frame())
        return heard
    return script


def record(scratch, name, url, *options):
    archive = pathlib.Path(tempfile.mkdtemp(prefix=name, dir=scratch)) / "tape"
    return archive, rig.Recorder(scratch, "--ring", "1MiB", "--url", url, *options, archive)


def nothing_is_dropped(scratch, secure):
    count = 20000
    certificates = rig.make_certificates(scratch / "certificates") if secure else None
    options = ["--ca", certificates / "ca.pem"] if secure else []
    with stranger.Stranger(flood(count), certificates=certificates) as server:
        archive, recorder = record(scratch, "stall", server.url, *options)
        with recorder:
            heard = server.result()
            stranger.wait_for_close(archive, recorder)
            recorder.stop()
    tape = stranger.Tape(archive)
    kept = [body for flags, body in tape.frames if body[0] == 0x81 and not flags]
    expect_equal(len(kept), count, "frames")
    expect(all(body == numbered(i) for i, body in enumerate(kept)), "every frame, in order")
    pongs = [payload for opcode, payload in heard if opcode == PONG]
    expect_equal(pongs, [b"%d" % i for i in range(0, count, 2000)], "pongs")
    notes = [row for row in rig.records_of(archive, "note") if row["kind"] == "stall"]
    expect(notes, "the stalls are on record")
    print("%s: %d stalls, the first: %s" % ("wss" if secure else "ws", len(notes), json.dumps(notes[0])))


def stop_while_stalled(scratch):
    """A server that never ends, a ring that is always full: SIGINT ends it, in order."""
    def script(peer, _):
        peer.upgrade()
        sent = 0
        try:
            while True:
                peer.send(b"".join(numbered(i) for i in range(sent, sent + 100)))
                sent += 100
        except OSError:
            return sent

    with stranger.Stranger(script) as server:
        archive, recorder = record(scratch, "stop", server.url)
        with recorder:
            recorder.wait_until(lambda: stranger.ask(archive, "SELECT 1 FROM connection WHERE messages > 3000"),
                                "data")
            recorder.stop(signal.SIGINT)
        sent = server.result()
    kept = [body for flags, body in stranger.Tape(archive).frames if body[0] == 0x81 and not flags]
    expect(3000 < len(kept) <= sent + 100, "%d kept of %d" % (len(kept), sent))
    expect(all(body == numbered(i) for i, body in enumerate(kept)), "what is kept is a prefix, in order")
    expect_equal(stranger.Tape(archive).event("connection_close")["cause"], "shutdown", "cause")


def main(scratch):
    if rig.BUILD.name in ("address", "thread"):
        rig.skip("a preloaded library and a sanitizer do not go together")
    slow_disk(scratch)
    cases = {"wss": (nothing_is_dropped, True), "ws": (nothing_is_dropped, False), "stop": (stop_while_stalled,)}
    if len(sys.argv) > 1:
        cases = {name: case for name, case in cases.items() if sys.argv[1] in name}
    stranger.run_cases(cases, lambda _, test, *row: test(scratch, *row))


rig.run_main(main)
