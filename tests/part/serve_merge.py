#!/usr/bin/env python3
"""tape-replay serve A B: two recordings of one feed are one to a client, and the receipt says what each gave,
was late with and missed, which of them is damaged, and what came too late to be put in order."""
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
MS = 10**6
TARGET = "/stream?streams=btcusdt@trade"


def line(ns, number, event=None):
    event = number if event is None else event
    return (b'%d {"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"1.0","q":"2","T":%d,"m":true}}'
            % (ns, BEGIN // MS + event, 1000 + number, BEGIN // MS + event))


def record(scratch, name, lines):
    archive = scratch / name
    rig.call("tape-record", "--import", rig.write_lines(scratch / (name + ".txt"), lines), archive)
    return archive


def serve(scratch, *words, code=0):
    """(what a client was sent, the receipt, what the server said)"""
    path = scratch / "receipt.json"
    path.unlink(missing_ok=True)
    with served.Server("--speed", "max", "--at-end", "exit", "--receipt", path, *words) as server:
        found = served.Client(server, TARGET).messages()
        said = server.wait(code)
    return found, json.loads(path.read_text(encoding="utf-8")), said


def counted(receipt):
    return [(s["stream"], s["archive"], s["given"], s["late"], s["missed"]) for s in receipt["shares"]]


def shares(scratch):
    first = [line(BEGIN + i * MS, i) for i in range(100) if i != 40]
    second = [line(BEGIN + i * MS + 1000, i) for i in range(100) if not 60 <= i < 63]
    a, b = record(scratch, "a", first), record(scratch, "b", second)
    found, receipt, said = serve(scratch, a, b)
    expect(found == [line(0, i).split(b" ", 1)[1] for i in range(100)], "each of them once")
    expect_equal(counted(receipt), [("btcusdt@trade", 0, 99, 0, 1), ("btcusdt@trade", 1, 1, 96, 3)], "shares")
    expect_equal((receipt["duplicates_removed"], receipt["shares"][1]["late_max_ns"]), (96, "1000"), "late by")
    expect("tape-replay: %s: 99 messages first, 0 later, 1 missed\n" % a in said + "\n", said)
    expect("tape-replay: %s: 1 messages first, 96 later by up to 1.0 µs, 3 missed" % b in said, said)
    _, receipt, said = serve(scratch, a)
    expect_equal((receipt["duplicates_removed"], receipt["shares"]), (0, []), "of one archive")
    expect("missed" not in said, said)


def damaged(scratch):
    """Of two, the one that is damaged is named, by play, too."""
    lines = [line(BEGIN + i * MS, i) for i in range(30000)]
    whole, hurt = record(scratch, "whole", lines), record(scratch, "hurt", lines)
    segment = next(hurt.glob("segments/*/*/*/*"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    found, receipt, said = serve(scratch, whole, hurt, code=3)
    expect_equal(len(found), len(lines), "the other one has it")
    (damage,) = receipt["damages"]
    lost = " (records %s to %d are lost)" % (damage["from_ordinal"], int(damage["to_ordinal"]) - 1)
    words = "corrupt, passed over: %s: %s%s" % (hurt, damage["text"], lost)
    expect_equal((damage["verdict"], damage["archive"]), ("corrupt", 1), "in the receipt")
    expect("tape-replay: session main: " + words + "\n" in said, said)
    _, said = rig.call("tape-replay", "play", "--speed", "max", whole, hurt, wanted=3)
    expect("tape-replay: " + words + "\n" in said, said)
    _, said = rig.call("tape-replay", "play", "--speed", "max", hurt, wanted=3)
    expect("tape-replay: corrupt, passed over: " + damage["text"] + lost + "\n" in said, said)


def too_late_for_order(scratch):
    """What comes after the look ahead has passed its place is told."""
    lines = [line(BEGIN + i * 1000 * MS, i, 1000 * (10 if i == 40 else i)) for i in range(60)]
    archive = record(scratch, "event", lines)
    words = "; 1 message behind a later event: too late to be put in order\n"
    _, receipt, said = serve(scratch, "--order", "event", archive)
    expect_equal(receipt.get("event_late"), 1, "serve's receipt")
    expect(words in said + "\n", said)
    _, said = rig.call("tape-replay", "play", "--speed", "max", "--order", "event", archive)
    expect(words in said, said)
    _, said = rig.call("tape-replay", "play", "--speed", "max", "--order", "event", "--json", archive)
    expect_equal(json.loads(said).get("event_late"), 1, "play's receipt")
    _, said = rig.call("tape-replay", "play", "--speed", "max", "--json", archive)
    expect("event_late" not in json.loads(said), "in the order of receipt: none")


def main(scratch):
    shares(scratch)
    damaged(scratch)
    too_late_for_order(scratch)


rig.run_main(main)
