#!/usr/bin/env python3
"""200,000 messages over TLS as fast as python3-websockets can send them: nothing is dropped, nothing is
out of order, neither in the archive nor for one who follows along while it is recorded
(plain build only: under sanitizers the sender is what is slow, and endtoend_basic runs)."""
import pathlib
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

COUNT = 200_000
STREAMS = ["btcusdt@bookTicker", "btcusdt@trade"]


def main(scratch):
    rig.make_certificates(scratch)
    lines = rig.generate("--symbols", "btcusdt", "--streams", "bookTicker,trade", "--count", COUNT,
                         "--rate", 5000)
    rig.write_lines(scratch / "lines.txt", lines)
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--lines", scratch / "lines.txt", certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", archive,
                          *STREAMS) as recorder:
            exchange.wait_for("request")
            recorder.wait_until((archive / "LOCK").exists, "the archive")
            with open(scratch / "followed", "wb") as out:
                follower = subprocess.Popen(
                    [str(rig.BUILD / "tape-replay"), "play", "--follow", "--speed", "max", "--format", "raw",
                     str(archive)], stdout=out, stderr=subprocess.PIPE)
            exchange.wait_for("all sent")
            recorder.stop(signal.SIGINT)
            said = follower.communicate(timeout=rig.PATIENCE_S)[1].decode("utf-8", "replace")
        summary = exchange.stop()
    expect_equal([c["ended"] for c in summary], ["in order"], "ends of the connections")
    wanted = b"".join(line.split(b" ", 1)[1] + b"\n" for line in lines)
    found = rig.play(archive, "--format", "raw")
    answer, _, rest = found.partition(b"\n")
    expect(b'"result":null' in answer, "the answer comes first: %r" % answer)
    expect_equal(follower.returncode, 0, "the follower's end: " + said)
    expect((scratch / "followed").read_bytes() == found, "the follower got other bytes:\n" + said)
    expect(rest == wanted, "what came back is not what was sent: %d of %d bytes" % (len(rest), len(wanted)))
    gaps = rig.query(archive, "select kind, cause from gap where kind in ('sequence', 'dropped', 'damaged')")
    expect_equal(gaps, [], "gap rows")
    rig.verify(archive)


rig.run_main(main)
