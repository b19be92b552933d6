#!/usr/bin/env python3
"""Records over TLS from python3-websockets, aggTrade and depth together (so two connections), with pings
and fragments, until SIGTERM: every payload comes back byte for byte in order, by tape-replay in three
formats and by the stand-alone reader; archive, footers and index agree."""
import json
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

STREAMS = ["btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@markPrice@1s"]


def check_formats(archive, pairs):
    messages = list(read_archive.messages(read_archive.Archive(archive)))
    answers = [m for m in messages if read_archive.is_answer(m)]
    expect_equal(len(answers), 2, "answers to subscriptions")
    data = [m for m in messages if not read_archive.is_answer(m)]
    raw = rig.play(archive, "--format", "raw")
    expect(raw == b"".join(m.payload + b"\n" for m in messages), "play --format raw differs")
    hft = rig.play(archive, "--format", "hft")
    expect(hft == b"".join(b"%d %s\n" % (m.recv_ns, m.payload) for m in data), "play --format hft differs")
    lines = [json.loads(line) for line in rig.play(archive, "--format", "ndjson").splitlines()]
    for line, message in zip((l for l in lines if l.get("kind", "data") == "data"), data):
        expect_equal(line["recv_ns"], str(message.recv_ns), "ndjson recv_ns is a string")
        expect_equal(line["ordinal"], str(message.ordinal), "ndjson ordinal")
        expect_equal(line["connection"], message.connection, "ndjson connection")
        expect_equal(line["stream"], read_archive.stream_of(message), "ndjson stream")
        expect_equal(line["payload"], message.payload.decode(), "ndjson payload")
    one = rig.play(archive, "--format", "hft", "--stream", "*@aggTrade")
    expect(one == b"".join(b"%d %s\n" % (m.recv_ns, m.payload) for m in data
                           if b'"stream":"btcusdt@aggTrade"' in m.payload), "--stream differs")
    middle = data[len(data) // 2].recv_ns
    late = rig.play(archive, "--format", "hft", "--from", middle)
    expect(late == b"".join(b"%d %s\n" % (m.recv_ns, m.payload) for m in data if m.recv_ns >= middle),
           "--from differs")
    expect_equal(sum(len(payloads) for _, _, payloads in pairs), len(messages), "messages in all")


def check_index(archive, summary):
    rows = {r["name"]: r["messages"] for r in rig.query(archive, "select name, messages from stream")}
    wanted = {}
    for message in read_archive.messages(read_archive.Archive(archive)):
        if not read_archive.is_answer(message):
            name = read_archive.stream_of(message)
            wanted[name] = wanted.get(name, 0) + 1
    expect_equal(rows, wanted, "messages by stream in the index")
    expect_equal(rig.query(archive, "select count(*) n from connection")[0]["n"], len(summary), "connections")
    expect_equal(rig.query(archive, "select kind, cause from gap where kind <> 'recorder'"), [], "gaps")
    expect_equal({r["status"] for r in rig.query(archive, "select status from subscription")}, {"live"},
                 "states of the subscriptions")
    routes = {r["url"].rsplit("/", 2)[-2] for r in rig.query(archive, "select url from connection")}
    expect_equal(routes, {"market", "public"}, "routes")
    expect_equal({r["tls"] for r in rig.query(archive, "select tls from connection")}, {"TLSv1.3"}, "TLS")
    for event in rig.records_of(archive, "session_end"):
        expect(event["reason"], "the session's end has a reason")


def main(scratch):
    rig.make_certificates(scratch)
    lines = rig.generate("--symbols", "btcusdt", "--count", 12000, "--seed", 21, "--streams",
                         ",".join(s.partition("@")[2] for s in STREAMS))
    rig.write_lines(scratch / "lines.txt", lines)
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--lines", scratch / "lines.txt", "--fragment", 50, "--ping-ms", 100,
                      "--rate", 6000, certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", archive,
                          *STREAMS) as recorder:
            exchange.wait_for("all sent", 2)
            recorder.stop(signal.SIGTERM)
        summary = exchange.stop()
    expect_equal(len(summary), 2, "connections")
    for connection in summary:
        expect_equal(connection["ended"], "in order", "end of connection %d" % connection["connection"])
        expect(connection["pings"] > 0, "connection %d: pings" % connection["connection"])
        expect(connection["pings"] - connection["pongs"] <= 1, "pings unanswered: %r" % connection)
    pairs = rig.pair_connections(archive, summary, scratch / "log")
    for pair in pairs:
        rig.check_pair(*pair)
    kept = [payload for _, _, payloads in pairs for payload in payloads[1:]]
    expect_equal(sorted(kept), sorted(line.split(b" ", 1)[1] for line in lines), "all messages are kept")
    check_formats(archive, pairs)
    check_index(archive, summary)
    rig.verify(archive)
    done = rig.subprocess.run([rig.PYTHON, str(rig.ROOT / "samples/read_archive.py"), "check", str(archive)],
                              stdout=rig.subprocess.PIPE, stderr=rig.subprocess.STDOUT, check=False)
    expect_equal(done.returncode, 0, "read_archive.py check: %s" % done.stdout.decode())
    expect(not list(archive.rglob("*.torn")), "nothing was torn")
    expect(not read_archive.find_ring(str(archive)), "the ring is gone after an end in order")


rig.run_main(main)
