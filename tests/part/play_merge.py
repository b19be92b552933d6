#!/usr/bin/env python3
"""tape-replay play A B: two recordings of one feed become one, the earliest arrival of each message, and the
receipt says what each gave, was late with and missed; the same at any speed; --duplicates keep."""
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
MS = 10**6
COUNT = 600


def line(ns, number):
    return (b'%d {"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1.0","q":"2","T":%d,"m":true}}'
            % (ns, BEGIN // MS + number, 1000 + number, BEGIN // MS + number))


def main(scratch):
    # a comes first with even numbers, b with odd ones, half a ms apart; a lacks 100..199, b 300..399.
    first, second, wanted = [], [], []
    for i in range(COUNT):
        early, late = BEGIN + i * MS, BEGIN + i * MS + MS // 2
        in_a, in_b = not 100 <= i < 200, not 300 <= i < 400
        ns_a, ns_b = (early, late) if i % 2 == 0 else (late, early)
        if in_a:
            first.append(line(ns_a, i))
        if in_b:
            second.append(line(ns_b, i))
        wanted.append(min([(ns_a, 0, line(ns_a, i))] * in_a + [(ns_b, 1, line(ns_b, i))] * in_b))
    wanted.sort(key=lambda one: one[0])
    archives = []
    for name, lines in (("a", first), ("b", second)):
        archives.append(scratch / name)
        rig.call("tape-record", "--import", rig.write_lines(scratch / (name + ".txt"), lines), archives[-1])
    text = b"".join(one[2] + b"\n" for one in wanted)
    digest = None
    for speed in ("max", "100", "2"):
        out, said = rig.call("tape-replay", "play", "--json", "--format", "hft", "--speed", speed, *archives)
        told = json.loads(said)
        expect(out == text, "the earliest of each, at %s: %d lines" % (speed, out.count(b"\n")))
        expect_equal(digest or told["sha256"], told["sha256"], "digest")
        digest = told["sha256"]
    expect_equal(told["archives"], [str(a) for a in archives], "archives")
    expect_equal((told["messages"], told["duplicates_removed"]), (COUNT, 400), "counts")
    shares = {(s["stream"], s["archive"]): s for s in told["shares"]}
    expect_equal(sorted(shares), [("btcusdt@trade", 0), ("btcusdt@trade", 1)], "rows")
    for archive in (0, 1):
        share = shares["btcusdt@trade", archive]
        expect_equal((share["given"], share["late"], share["missed"]), (300, 200, 100), "archive %d: %s" % (archive, share))
        expect_equal(share["late_max_ns"], str(MS // 2), "how late: %s" % share)
    _, said = rig.call("tape-replay", "play", "--speed", "max", *archives)
    for archive in archives:
        expect("%s: 300 messages first, 200 later by up to 500.0 µs, 100 missed\n" % archive in said, said)
    found = [json.loads(l) for l in rig.call("tape-replay", "play", "--speed", "max", "--format", "ndjson", *archives)[0].splitlines()]
    expect_equal([f["archive"] for f in found], [one[1] for one in wanted], "which archive each is of")
    both = rig.call("tape-replay", "play", "--speed", "max", "--format", "hft", "--duplicates", "keep", *archives)[0]
    expect_equal(both.count(b"\n"), 1000, "--duplicates keep")
    expect_equal(sorted(both.splitlines()), sorted(first + second), "all of both")
    out = rig.call("tape-replay", "play", "--speed", "max", "--format", "hft", "--from", "+200ms", "--to", "-100ms", *archives)[0]
    expect_equal(out, b"".join(o[2] + b"\n" for o in wanted if BEGIN + 200 * MS <= o[0] < wanted[-1][0] - 100 * MS + MS // 2),
                 "a part of it")
    check_parts(archives, text)
    check_apart(scratch)


def check_parts(archives, text):
    """Cut in two anywhere, also between a message and its copy, it is the same: what had come before a start is
    no news there. The shares count from the start on."""
    for after in (0, 1, MS // 4, 150 * MS + MS // 4, 299 * MS + 1, 350 * MS + MS // 4, 599 * MS):
        parts = [rig.call("tape-replay", "play", "--json", "--speed", "max", "--format", "hft", word, BEGIN + after, *archives)
                 for word in ("--to", "--from")]
        expect(parts[0][0] + parts[1][0] == text, "cut at %d" % after)
        behind = json.loads(parts[1][1])["shares"]
        expect_equal(sum(s["given"] for s in behind), parts[1][0].count(b"\n"), "given behind %d" % after)
    late = {s["archive"]: s for s in json.loads(rig.call(
        "tape-replay", "play", "--json", "--speed", "max", "--from", BEGIN + 500 * MS + 1, *archives)[1])["shares"]}
    expect_equal([(late[a]["given"], late[a]["late"], late[a]["missed"]) for a in (0, 1)], [(49, 50, 0), (50, 50, 0)],
                 "one of the late ones had come first before the start")


def check_apart(scratch):
    """Nothing to compare is told; archives whose times meet are compared, though nothing came twice."""
    archives = {}
    for name, begin in (("early", 0), ("late", 10), ("between", 9)):
        lines = [line(BEGIN + (begin + i) * MS, 100 * begin + i) for i in range(10)]
        archives[name] = scratch / name
        rig.call("tape-record", "--import", rig.write_lines(scratch / (name + ".txt"), lines), archives[name])
    notice = "tape-replay: the archives share no time: nothing could be compared\n"
    for second, wanted in (("late", 1), ("between", 0)):
        words = ["tape-replay", "play", "--speed", "max", archives["early"], archives[second]]
        said = rig.call(*words)[1]
        expect_equal(said.count(notice), wanted, said)
        for archive in words[-2:]:
            expect("%s: 10 messages first, 0 later, 0 missed\n" % archive in said, said)
        told = json.loads(rig.call(*words, "--json")[1])
        expect_equal(told.get("archives_share_no_time", False), bool(wanted), "in the receipt: %s" % told)
    said = rig.call("tape-replay", "play", "--speed", "max", "--duplicates", "keep", archives["early"], archives["late"])[1]
    expect(notice not in said, said)


rig.run_main(main)
