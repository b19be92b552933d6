#!/usr/bin/env python3
"""A start in the middle begins with the books: in ndjson always, in hft and raw with --state; each at the time
asked for, before what follows; again after a loop's end; the same bytes at any speed, hot or packed."""
import json
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
MS = 10**6
BIDS = [["9.%02d" % (90 - i), "2"] for i in range(30)]  # more than a partial depth stream has


def diff(number, bids, asks):
    return json.dumps({"stream": "btcusdt@depth@0ms", "data": {
        "e": "depthUpdate", "E": BEGIN // MS + number, "T": BEGIN // MS + number, "s": "BTCUSDT", "U": 100 + number,
        "u": 100 + number, "pu": 99 + number, "b": bids, "a": asks}}, separators=(",", ":")).encode()


def make_lines():
    snapshot = (b'{"lastUpdateId":105,"E":%d,"T":%d,"bids":%s,"asks":[["10.1","3"]]}' %
                (BEGIN // MS, BEGIN // MS, json.dumps(BIDS).encode()))
    lines = []
    for i in range(400):
        if i == 5:
            lines.append(b"%d %s" % (BEGIN + i * MS, snapshot))
        lines.append(b"%d %s" % (BEGIN + i * MS + 1, diff(i, [["9.90", str(i)]], [["10.1", "0"], ["10.%d" % (2 + i % 5), "7"]])))
    return lines


def run(archive, *words):
    out, said = rig.call("tape-replay", "play", "--json", *words, archive)
    return out.splitlines(), json.loads(said)


def main(scratch):
    lines = make_lines()
    hot, packed = scratch / "hot", scratch / "packed"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "lines.txt", lines), hot)
    shutil.copytree(hot, packed)
    rig.call("tape-record", "--pack", packed)
    start = BEGIN + 200 * MS
    book = {"state": True, "lastUpdateId": 299, "E": BEGIN // MS + 199, "T": BEGIN // MS + 199,
            "bids": [["9.90", "199"], *BIDS[1:]],
            "asks": [["10.%d" % (2 + i), "7"] for i in range(5)]}
    digests = set()
    for archive in (hot, packed):
        for speed in ("max", "2", "1000"):
            found, told = run(archive, "--speed", speed, "--format", "hft", "--state", "--from", start)
            ns, payload = found[0].split(b" ", 1)
            expect_equal((int(ns), json.loads(payload)), (start, book), "the book first")
            expect(found[1:] == lines[201:], "then what follows: %d lines" % len(found))
            expect_equal((told["messages"], told["state_messages"]), (200, 1), "counts")
            expect_equal(told["first_ns"], str(start + 1), "the first message is no state")
            digests.add(told["sha256"])
    expect_equal(len(digests), 1, "digests")
    expect(run(hot, "--speed", "max", "--format", "hft", "--from", start)[0] == lines[201:], "without --state: none")
    expect_equal(json.loads(run(hot, "--speed", "max", "--state", "--from", start)[0][0]), book, "raw")
    found = [json.loads(l) for l in run(hot, "--speed", "max", "--format", "ndjson", "--from", start)[0]]
    expect_equal((found[0]["kind"], found[0]["replay_ns"], found[0]["stream"], json.loads(found[0]["payload"])),
                 ("state", str(start), "btcusdt@depth@0ms", book), "ndjson")
    expect_equal([f["kind"] for f in found[1:]], ["data"] * 200, "the rest of ndjson")
    expect("replay_ns" not in found[1], "only where it differs")
    expect_equal(json.loads(run(hot, "--speed", "max", "--format", "ndjson")[0][0])["kind"], "data", "from the begin: none")
    # Before the snapshot it cannot be known, and says why.
    state = json.loads(run(hot, "--speed", "max", "--state", "--from", BEGIN + 3 * MS)[0][0])
    expect_equal((state["state"], state["known"]), (True, False), "unknown")
    expect(state["cause"], "why")
    # A loop begins with them each time.
    process = subprocess.Popen([str(rig.BUILD / "tape-replay"), "play", "--loop", "--speed", "max", "--format", "hft", "--state",
                                "--from", str(start), str(hot)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = [process.stdout.readline() for _ in range(3 * 201)]
    process.stdout.close()
    expect_equal(process.wait(rig.PATIENCE_S), 0, "exit code")
    expect(found[:201] * 3 == found, "each time around")


rig.run_main(main)
