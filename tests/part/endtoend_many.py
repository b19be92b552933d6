#!/usr/bin/env python3
"""Seven hundred streams: asked for in several requests, within the venue's limit of messages a second (the
exchange closes with 1008 who exceeds it), while pings are answered; each gets its row."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402


def main(scratch):
    rig.make_certificates(scratch)
    streams = ["coin%dusdt@%s" % (i, kind) for kind in ("aggTrade", "bookTicker") for i in range(350)]
    streams += ["btcusdt@aggTrade", "btcusdt@bookTicker"]
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--rate", 500, "--symbols", "btcusdt", "--ping-ms", 150,
                      certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", archive,
                          *streams) as recorder:

            def asked():
                return {s for e in exchange.drain() if e["event"] == "request" for s in e["streams"]}

            recorder.wait_until(lambda: len(asked()) == len(streams), "requests for every stream")
            log = {n: scratch / ("log/connection-%d.txt" % n) for n in (1, 2)}
            recorder.wait_until(lambda: all(p.stat().st_size > 5000 for p in log.values()), "messages")
            recorder.stop()
        summary = exchange.stop()
    expect_equal([c["ended"] for c in summary], ["in order", "in order"], "ends of the connections")
    for connection in summary:
        expect(connection["pings"] - connection["pongs"] <= 1, "pings unanswered: %r" % connection)
    for pair in rig.pair_connections(archive, summary, scratch / "log"):
        rig.check_pair(*pair)
    rows = rig.query(archive, "select s.name, u.acknowledged_ns, u.status from subscription u join stream s on"
                              " s.stream_id = u.stream_id")
    expect_equal(sorted(r["name"] for r in rows), sorted(streams), "subscriptions")
    expect(all(r["acknowledged_ns"] for r in rows), "all are acknowledged")
    expect_equal(sum(r["status"] == "live" for r in rows), 2, "live ones")
    rig.verify(archive)


rig.run_main(main)
