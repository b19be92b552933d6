#!/usr/bin/env python3
"""A connection is reset inside a frame, one is closed by the venue with 1001: each is redialled and
resubscribed, nothing that came is lost, and the hole is a gap row with its cause."""
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"]


def arrive(recorder, exchange, number):
    """Until the exchange has sent messages on its connection of that number and they were kept."""
    exchange.wait_for("request", connection=number)
    log = exchange.log / ("connection-%d.txt" % number)
    recorder.wait_until(lambda: log.stat().st_size > 20000 and all(
        b'"stream":"%s"' % stream.encode() in log.read_bytes() for stream in STREAMS),
        "messages of every stream on connection %d" % number)


def main(scratch):
    rig.make_certificates(scratch)
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--rate", 2000, "--symbols", "btcusdt", "--ping-ms", 100,
                      certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", archive,
                          *STREAMS) as recorder:
            arrive(recorder, exchange, 1)
            exchange.tell("cut")
            arrive(recorder, exchange, 2)
            exchange.tell("close 1001")
            arrive(recorder, exchange, 3)
            recorder.stop(signal.SIGINT)
            said = recorder.text()
        summary = exchange.stop()
    expect_equal([c["ended"] for c in summary], ["cut", "closed by us", "in order"], "ends of the connections")
    for connection in summary:
        expect_equal(connection["streams"], STREAMS, "subscribed again")
    pairs = rig.pair_connections(archive, summary, scratch / "log")
    for pair in pairs:
        rig.check_pair(*pair)
        expect(len(pair[2]) > 20, "connection %d: messages were kept" % pair[0]["connection"])
    rows = rig.query(archive, "select cause, closed_by, close_code, close_reason from connection order by 1")
    found = sorted((r["cause"], r["closed_by"], r["close_code"]) for r in rows)
    expect_equal([f[0] for f in found], ["peer_close", "reset", "shutdown"], "causes of the ends")
    expect(("peer_close", "venue", 1001) in found, "the venue's close code: %r" % found)
    gaps = rig.query(archive, "select g.*, s.name from gap g join stream s on s.stream_id = g.stream_id"
                              " where g.kind = 'disconnect'")
    expect_equal(sorted({g["name"] for g in gaps}), sorted(STREAMS), "streams with a gap")
    expect_equal(len(gaps), 2 * len(STREAMS), "gap rows: %r" % gaps)
    for gap in gaps:
        expect(gap["cause"], "a gap without a cause: %r" % gap)
        expect(gap["to_ns"] > gap["from_ns"], "a gap's times: %r" % gap)
    partial = [r for r in read_archive.Archive(archive).records() if r.flags & read_archive.PARTIAL]
    expect_equal(len(partial), 1, "the frame that was cut is kept, flagged")
    expect(b'"cut@here"' in partial[0].body, "its bytes are those that came")
    expect("reset" in said.lower(), "the recorder says why it redialled:\n" + said)
    rig.verify(archive)


rig.run_main(main)
