#!/usr/bin/env python3
"""Spot, COIN-M and USD-M each by its own rules: one connection or two, and of lines with some taken out a
gap row for each place, with the number that is missing where the venue's numbers tell it, and no other."""
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

CASES = (("usdm", "btcusdt", {"/market/stream", "/public/stream"}), ("spot", "btcusdt", {"/stream"}),
         ("coinm", "btcusd_perp", {"/stream"}))
KINDS = ("trade", "aggTrade", "depth@100ms", "bookTicker")


def take_out(lines, stream, first, count):
    """The lines without count messages of the stream, from its first-th on, and those messages."""
    own = [i for i, line in enumerate(lines) if b'"stream":"%s"' % stream.encode() in line]
    gone = set(own[first:first + count])
    data = [json.loads(lines[i].split(b" ", 1)[1])["data"] for i in sorted(gone)]
    return [line for i, line in enumerate(lines) if i not in gone], data


def record(scratch, venue, symbol, routes):
    streams = [symbol + "@" + kind for kind in KINDS]
    place = scratch / venue
    place.mkdir()
    lines = rig.generate("--venue", venue, "--symbols", symbol, "--streams", ",".join(KINDS), "--count", 8000,
                         "--rate", 2000, "--seed", 17)
    wanted = []
    for stream, first, count in ((streams[0], 100, 7), (streams[1], 20, 3), (streams[2], 5, 2),
                                 (streams[0], 400, 1), (streams[3], 50, 9)):
        lines, gone = take_out(lines, stream, first, count)
        if stream != streams[3]:  # of bookTicker nobody can tell
            wanted.append((stream, count if stream in streams[:2] else None, gone))
    rig.write_lines(place / "lines.txt", lines)
    with rig.Exchange(place / "log", "--venue", venue, "--lines", place / "lines.txt", certificates=scratch) as exchange:
        with rig.Recorder(place, "--venue", venue, "--url", exchange.url, "--ca", scratch / "ca.pem",
                          place / "tape", *streams) as recorder:
            exchange.wait_for("all sent", len(routes))
            recorder.stop()
        summary = exchange.stop()
    return place, streams, summary, wanted


def check(place, streams, summary, wanted, routes):
    archive = place / "tape"
    expect_equal({c["path"] for c in summary}, routes, "%s: routes" % place.name)
    expect_equal(len(summary), len(routes), "%s: connections" % place.name)
    for pair in rig.pair_connections(archive, summary, place / "log"):
        rig.check_pair(*pair)
    gaps = rig.query(archive, "select s.name, g.missing, g.from_id, g.to_id from gap g join stream s on"
                              " s.stream_id = g.stream_id where g.kind = 'sequence' order by g.from_ns")
    found = sorted((g["name"], g["missing"]) for g in gaps if g["name"] in streams[:2])
    expect_equal(found, sorted((name, count) for name, count, _ in wanted if count), "%s: gaps" % place.name)
    depth = [g for g in gaps if g["name"] == streams[2]]
    expect_equal(len(depth), 1, "%s: gaps of the depth stream: %r" % (place.name, gaps))
    expect_equal(len(gaps), len(wanted), "%s: gap rows: %r" % (place.name, gaps))
    for name, _, gone in wanted:
        first = gone[0].get("t") or gone[0].get("a") if name in streams[:2] else None
        if first:
            expect(any(g["from_id"] == first - 1 for g in gaps if g["name"] == name),
                   "%s: %s: no gap after %d: %r" % (place.name, name, first - 1, gaps))
    detectable = {r["name"]: r["loss_detectable"] for r in rig.query(archive, "select * from stream")}
    expect_equal(detectable, {s: int(s != streams[3]) for s in streams}, "%s: loss_detectable" % place.name)
    rig.verify(archive)


def main(scratch):
    rig.make_certificates(scratch)
    for venue, symbol, routes in CASES:
        check(*record(scratch, venue, symbol, routes), routes)


rig.run_main(main)
