#!/usr/bin/env python3
"""kill -9 in mid stream, over and over: what had reached the ring is in the archive afterwards, byte for
byte, what was received on each connection is a prefix of what was sent, and the archive opens every time."""
import pathlib
import random
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import run as demo  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@aggTrade"]
KILLS = 6


def main(scratch):
    rig.make_certificates(scratch)
    archive, dice = scratch / "tape", random.Random(3)
    heads = []
    with rig.Exchange(scratch / "log", "--rate", 8000, "--symbols", "btcusdt", certificates=scratch) as exchange:
        words = ["--url", exchange.url, "--ca", scratch / "ca.pem", archive, *STREAMS]
        for kill in range(KILLS):
            with rig.Recorder(scratch, *words) as recorder:
                demo.live(exchange, 2 * kill + 2)
                time.sleep(0.3 + dice.random())
                recorder.kill()
                heads.append(demo.ring_at_the_kill(archive))
                if kill % 2:
                    rig.play(archive, "--format", "raw", wanted=None)  # a reader in between changes nothing
        with rig.Recorder(scratch, *words) as recorder:
            demo.live(exchange, 2 * KILLS + 2)
            time.sleep(0.5)
            recorder.stop(signal.SIGTERM)
        summary = exchange.stop()
    expect_equal(demo.count_lost(archive, heads), 0, "records lost of %d" % heads[-1][0])
    expect(sum(len(tail) for _, tail in heads) > 0, "no kill left anything in the ring alone: too easy")
    for pair in rig.pair_connections(archive, summary, scratch / "log"):
        rig.check_pair(*pair)
    sessions = rig.query(archive, "select end_reason, recovered_records from session order by session_id")
    expect_equal([s["end_reason"] == "died" for s in sessions], [True] * KILLS + [False], "ends of the sessions")
    expect(any(s["recovered_records"] for s in sessions), "records were recovered from the ring: %r" % sessions)
    kinds = {g["kind"] for g in rig.query(archive, "select kind from gap")}
    expect("recorder" in kinds, "gap rows for the recorder's absence: %r" % kinds)
    rig.verify(archive)


rig.run_main(main)
