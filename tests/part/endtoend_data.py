#!/usr/bin/env python3
"""Real captures sent over TLS by python3-websockets, every line as it is: every payload comes back byte
for byte in order. Without a subscription (--url alone records whatever comes)."""
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

FILES = (("hftbacktest/usdm_btcusdt_20240808.txt.zst", 30000), ("cryptofeed/KRAKEN.ws.50.0.txt.zst", None),
         ("cryptofeed/OKX.ws.1.0.txt.zst", None), ("cryptofeed/DERIBIT.ws.1.0.txt.zst", None))


def record(scratch, name, count):
    lines = rig.lines_of(rig.real_data(name), count)
    place = scratch / name.split("/")[1]
    place.mkdir()
    rig.write_lines(place / "lines.txt", lines)
    archive = place / "tape"
    with rig.Exchange(place / "log", "--lines", place / "lines.txt", "--unasked", certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url + "/stream", "--ca", scratch / "ca.pem",
                          archive) as recorder:
            exchange.wait_for("all sent")
            recorder.stop(signal.SIGINT)
        summary = exchange.stop()
    wanted = b"".join(line.split(b" ", 1)[1] + b"\n" for line in lines)
    expect_equal(len(summary), 1, name + ": connections")
    expect(rig.play(archive, "--format", "raw") == wanted, name + ": play --format raw is not what was sent")
    pairs = rig.pair_connections(archive, summary, place / "log")
    for pair in pairs:
        rig.check_pair(*pair)
    rig.verify(archive)


def main(scratch):
    if not rig.real_data(FILES[0][0]):
        rig.skip("no captures in %s (TAPE_DATA)" % rig.DATA)
    rig.make_certificates(scratch)
    for name, count in FILES:
        record(scratch, name, count)


rig.run_main(main)
