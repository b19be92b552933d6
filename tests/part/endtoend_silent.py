#!/usr/bin/env python3
"""Acknowledged and silent: a stream on the wrong route and one that does not exist are named, with the
likely reason, on standard error and as rows; refusals in both shapes are told; the others go on."""
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402


def silent(scratch):
    """The unrouted path acknowledges aggTrade and sends public streams alone."""
    archive = scratch / "silent"
    with rig.Exchange(scratch / "log-silent", "--rate", 2000, "--symbols", "btcusdt",
                      certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url + "/stream", "--ca", scratch / "ca.pem", "--deadline",
                          "1s", archive, "btcusdt@aggTrade", "btcusdt@trade", "nosuchusdt@trade") as recorder:
            recorder.wait_until(lambda: "btcusdt@aggTrade" in recorder.text() and
                                "nosuchusdt@trade" in recorder.text(), "the names of the silent streams")
            recorder.stop(signal.SIGINT)
            said = recorder.text()
        exchange.stop()
    for line in said.splitlines():
        if "btcusdt@aggTrade" in line:
            expect("/market" in line, "the likely reason, the route, is not named: " + line)
    rows = {r["name"]: r["status"] for r in rig.query(
        archive, "select s.name, u.status from subscription u join stream s on s.stream_id = u.stream_id")}
    expect_equal(rows, {"btcusdt@aggTrade": "silent", "btcusdt@trade": "live", "nosuchusdt@trade": "silent"},
                 "states of the subscriptions")
    gaps = {g["name"] for g in rig.query(archive, "select s.name from gap g join stream s on"
                                                  " s.stream_id = g.stream_id where g.kind = 'not_delivered'")}
    expect_equal(gaps, {"btcusdt@aggTrade", "nosuchusdt@trade"}, "gap rows")
    rig.verify(archive)


def refused(scratch, shape):
    archive = scratch / shape
    with rig.Exchange(scratch / ("log-" + shape), "--rate", 500, "--symbols", "btcusdt", "--refuse",
                      "btcusdt@depth", "--errors", shape, certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", archive,
                          "btcusdt@depth", "btcusdt@aggTrade") as recorder:
            recorder.wait_until(lambda: "unknown stream" in recorder.text(), shape + ": the refusal's words")
            recorder.stop(signal.SIGINT)
        exchange.stop()
    told = [e for e in rig.records_of(archive, "subscription_acked") if not e["ok"]]
    expect_equal([(e["error_code"], e["error"]) for e in told], [(2, "Invalid request: unknown stream")],
                 shape + ": the refusal as a record")
    rows = rig.query(archive, "select s.name, u.status, u.error from subscription u join stream s on"
                              " s.stream_id = u.stream_id where u.status = 'refused'")
    expect_equal([r["name"] for r in rows], ["btcusdt@depth"], shape + ": the refusal as a row")


def main(scratch):
    rig.make_certificates(scratch)
    silent(scratch)
    refused(scratch, "nested")
    refused(scratch, "flat")


rig.run_main(main)
