#!/usr/bin/python3
"""`make demo`: records from a local TLS exchange, breaks things on the way, and counts what is left.

The exchange cuts one connection in mid frame; the recorder is killed with SIGKILL and started again; at
the end it is stopped in order. Then three counts have to come out:
  - whatever had reached the ring when the recorder was killed is in the archive, byte for byte (the ring's
    own head says how far it had come; it is read before the restart);
  - what the archive holds of each connection is what the exchange sent on it, in order, from the first
    message on without a hole: all of it where the connection was closed in order, and where it was cut or
    killed, all up to there (the rest had been sent into a dead socket: "in flight", inside the gap rows);
  - the replay's bytes are those that were sent: their digest is compared.
Exit code 0 only when all of it holds.
"""
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import rig  # noqa: E402  pylint: disable=wrong-import-position
from rig import expect, read_archive  # noqa: E402  pylint: disable=wrong-import-position

SYMBOLS = ("ethusdt", "btcusdt", "bnbusdt")
STREAMS = [symbol + "@" + kind for symbol in SYMBOLS
           for kind in ("aggTrade", "bookTicker", "trade", "depth@100ms", "markPrice@1s")]
SHOWN = "bnbusdt btcusdt ethusdt @ aggTrade bookTicker trade depth@100ms markPrice"
ROUTES = 2
RATE = 3000
PHASES_S = (3, 3, 6.5)  # the tour in README.md goes to 3 s before the end


def step(words):
    print("  " + words, flush=True)


def row(name, words):
    print("  %-18s %s" % (name, words), flush=True)


def live(exchange, count):
    """Waits until so many connections were opened in all and each has subscribed."""
    exchange.wait_for("open", count)
    for number in range(1, count + 1):
        exchange.wait_for("request", connection=number)


def ring_at_the_kill(archive):
    """(next ordinal, {ordinal: record}) of what the dead recorder left in shared memory."""
    path = read_archive.find_ring(archive)
    expect(path, "the killed recorder left no ring")
    ring = read_archive.Ring(path)
    return ring.ordinal_at(ring.head), {r.ordinal: r for r in ring.records()}


def count_books(archive, since=0):
    """Order books in the archive that were fetched beside the feed."""
    return sum(read_archive.KINDS.get(r.kind) == "snapshot" and r.ordinal >= since
               for r in read_archive.Archive(archive).records())


def known_books(archive):
    """Of the books that a replay of the last moments begins with, those that it knows."""
    lines = rig.play(archive, "--format", "ndjson", "--from", "-100ms").splitlines()
    states = [json.loads(json.loads(line)["payload"]) for line in lines if b'"kind":"state"' in line]
    return sum(bool(state.get("bids")) for state in states)


def perform(scratch, archive, exchange):
    """The play in three acts; returns the ring's words at the kill."""
    words = ["--url", exchange.url, "--ca", scratch / "ca.pem", "--snapshots", exchange.rest, archive, *STREAMS]
    with rig.Recorder(scratch, *words) as recorder:
        live(exchange, ROUTES)
        time.sleep(PHASES_S[0])
        exchange.tell("cut /public/stream")
        live(exchange, ROUTES + 1)
        step("the exchange cut a connection inside a frame: redialled, resubscribed")
        time.sleep(PHASES_S[1])
        recorder.kill()
        head, tail = ring_at_the_kill(archive)
    step("the recorder got SIGKILL after %s records, %s of them only in the ring" %
         (format(head, ","), format(len(tail), ",")))
    time.sleep(0.5)
    with rig.Recorder(scratch, *words) as recorder:
        live(exchange, 2 * ROUTES + 1)
        step("started again: recovered, reconnected")
        time.sleep(PHASES_S[2])
        recorder.wait_until(lambda: count_books(archive, head) >= len(SYMBOLS), "the order books")
        time.sleep(0.5)
        recorder.stop(signal.SIGINT)
    step("stopped with SIGINT: sealed, exit code 0")
    return head, tail


def count_lost(archive, kills):
    """Records that had reached the ring at one of the kills and are not in the archive, byte for byte."""
    lost, expected, tails = 0, 0, {}
    for _, tail in kills:
        tails.update(tail)
    head = max(head for head, _ in kills)
    for record in read_archive.Archive(archive).records():
        if record.ordinal < head:
            lost += record.ordinal - expected
            expected = record.ordinal + 1
            lost += tails.get(record.ordinal, record) != record
    return lost + head - expected


def expected_digest(archive, pairs):
    """The digest of what was sent, in the order in which the archive's connections took turns."""
    _, keys = rig.kept_by_connection(archive)
    lines = {connection["key"]: iter(sent) for connection, sent, _ in pairs}
    digest = hashlib.sha256()
    for message in read_archive.messages(read_archive.Archive(archive)):
        digest.update(next(lines[keys[message.connection]]) + b"\n")
    return digest.hexdigest()


def report_gaps(archive):
    gaps = rig.query(archive, "select kind, cause, count(*) n, max(to_ns - from_ns) ns from gap"
                              " group by kind, cause, to_ns is null order by min(from_ns)")
    for gap in gaps:
        length = "from the end on" if gap["ns"] is None else "up to %.2f s" % (gap["ns"] / 1e9)
        words = gap["cause"].split(": ")
        cause = words[0] + (" (%s)" % words[-1] if len(words) > 1 else "")
        row("  " + gap["kind"], "%d rows, %s: %s" % (gap["n"], length, cause[:40]))
    kinds = {gap["kind"] for gap in gaps}
    expect("disconnect" in kinds, "no gap row for the connection that was cut")
    expect("recorder" in kinds, "no gap row for the time between kill and restart")


def count_frames(archive):
    return sum(r.kind == read_archive.FRAME_IN for r in read_archive.Archive(archive).records())


def count_disk(folder):
    return sum(p.stat().st_size for p in (folder / "segments").rglob("*") if p.is_file())


def report(scratch, archive, summary, head, tail):
    lost = count_lost(archive, [(head, tail)])
    pairs = rig.pair_connections(archive, summary, scratch / "log")
    for pair in pairs:
        rig.check_pair(*pair)
    kept = sum(len(payloads) for _, _, payloads in pairs)
    flight = sum(len(sent) - len(payloads) for _, sent, payloads in pairs)
    pings = sum(connection["pings"] for connection in summary)
    pongs = sum(connection["pongs"] for connection in summary)
    lines = rig.play(archive, "--format", "hft")
    raw, told = rig.call("tape-replay", "play", "--speed", "max", "--format", "raw", archive)
    digest, wanted = hashlib.sha256(raw).hexdigest(), expected_digest(archive, pairs)
    print()
    row("frames recorded", "%s, %s of them messages, in %d connections" %
        (format(count_frames(archive), ","), format(kept, ","), len(summary)))
    row("pings answered", "%d of %d, the payload copied" % (pongs, pings))
    row("lost", "%d of %s that had reached the ring at the kill" % (lost, format(head, ",")))
    row("in flight", "%d sent into sockets that were dead, inside the gap rows" % flight)
    row("gap rows", "one a stream, with the cause:")
    report_gaps(archive)
    stored, packed = count_disk(archive), len(gzip.compress(lines, 6))
    known = known_books(archive)
    row("order books", "%d fetched beside the feed, %d of %d known at the end" %
        (count_books(archive), known, len(SYMBOLS)))
    expect(known == len(SYMBOLS), "an order book does not fit its stream")
    row("size", "%s B in segments, gzip -6 of the lines %s B" % (format(stored, ","), format(packed, ",")))
    row("replay digest", "%s… %s" % (digest[:32], "as sent" if digest == wanted else "NOT AS SENT"))
    row("verify", rig.verify(archive).strip().splitlines()[-1][:58])
    expect(lost == 0, "%d records that had reached the ring are lost" % lost)
    expect(digest == wanted, "the replay's bytes are not those that were sent")
    expect(digest in told, "the receipt's digest is not that of the bytes:\n" + told)
    expect(pings - pongs <= len(summary), "pings went unanswered")


def main():
    began = time.monotonic()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tape-demo-"))
    archive = rig.BUILD / "demo" / "tape"
    shutil.rmtree(archive.parent, ignore_errors=True)
    os.makedirs(archive.parent)
    rig.make_certificates(scratch)
    with rig.Exchange(scratch / "log", "--rate", RATE, "--symbols", ",".join(SYMBOLS), "--seed", 5,
                      certificates=scratch) as exchange:
        print("Tapedeck demo: a local TLS exchange (python3-websockets), %s" % exchange.url)
        step(SHOWN)
        head, tail = perform(scratch, archive, exchange)
        summary = exchange.stop()
    report(scratch, archive, summary, head, tail)
    inside = pathlib.Path.cwd() in archive.parents
    shown = os.path.relpath(archive) if inside else str(archive)
    print("\n  It took %.0f s. The archive is %s; try:" % (time.monotonic() - began, shown))
    program = os.path.relpath(rig.BUILD / "tape-replay") if inside else rig.BUILD / "tape-replay"
    print("    %s ls %s" % (program, shown))
    print("    %s play --format ndjson %s | head -3" % (program, shown))
    print("    sqlite3 -readonly -box %s/index.db 'select * from v_gap'" % shown)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    try:
        main()
    except (rig.Failed, read_archive.Damage, json.JSONDecodeError) as failure:
        sys.exit("\nDEMO FAILED: %s" % failure)
