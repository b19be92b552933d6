#!/usr/bin/env python3
"""A client's usual procedure, snapshot by REST and diffs behind it, against a replay: the book that it ends with,
and each one that REST tells on the way, is that of a book kept here in Python."""
import json
import pathlib
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

START_NS, COUNT, SNAPSHOT_AT = 1795600000000000000, 900, 40


class Book:
    """Price text to quantity text, both sides."""

    def __init__(self):
        self.sides, self.last = ({}, {}), 0

    def load(self, snapshot):
        self.sides = tuple(dict(map(tuple, snapshot[side])) for side in ("bids", "asks"))
        self.last = snapshot["lastUpdateId"]

    def apply(self, event):
        for side, key in zip(self.sides, "ba"):
            for price, quantity in event[key]:
                if float(quantity) == 0:
                    side.pop(price, None)
                else:
                    side[price] = quantity
        self.last = event["u"]

    def levels(self, limit):
        bids = sorted(self.sides[0].items(), key=lambda level: -float(level[0]))
        asks = sorted(self.sides[1].items(), key=lambda level: float(level[0]))
        return [list(map(list, side[:limit])) for side in (bids, asks)]


def make_lines(venue):
    """Diffs of one symbol from before the snapshot on; [(ns, wrapper or snapshot)]"""
    dice, book, lines, last = random.Random(7), Book(), [], 5000
    for i in range(COUNT):
        ns = START_NS + i * 50_000_000
        if i == SNAPSHOT_AT:
            lines.append((ns - 1000, {"lastUpdateId": last, "E": ns // 10**6, "T": ns // 10**6,
                                      "bids": book.levels(None)[0], "asks": book.levels(None)[1]}))
        first, before = last + (1 if venue == "spot" else 3), last
        last = first + dice.randrange(9)
        event = {"e": "depthUpdate", "E": ns // 10**6, "s": "BTCUSDT", "U": first, "u": last}
        if venue != "spot":
            event.update(T=ns // 10**6, pu=before)
        for key, base in (("b", 9000), ("a", 9060)):
            event[key] = [["%d.%d0" % (base + dice.randrange(60), dice.randrange(10)),
                           "%d.%03d" % (dice.randrange(3), dice.randrange(2) * 7)]
                          for _ in range(dice.randrange(6))]
        book.apply(event)
        lines.append((ns, {"stream": "btcusdt@depth@100ms", "data": event}))
    return lines, book


def follow_procedure(client, server, path, venue, limit):
    """Buffers diffs, takes the snapshot, applies what follows it, up to the end."""
    book = Book()
    status, snapshot = server.http("%s?symbol=BTCUSDT&limit=%d" % (path, limit))
    expect_equal(status, 200, "snapshot")
    server.control(do="speed", speed="max")
    server.control(do="resume")
    book.load(snapshot)
    fresh = True
    for payload in client.messages():
        event = json.loads(payload)["data"]
        if event["u"] < book.last or (venue == "spot" and event["u"] <= book.last):
            continue
        if fresh:
            good = event["U"] <= book.last + 1 <= event["u"] + 1
            expect(good or event.get("pu") == book.last, "the first diff fits: %r on %d" % (event["U"], book.last))
        elif venue == "spot":
            expect_equal(event["U"], book.last + 1, "no gap")
        else:
            expect_equal(event["pu"], book.last, "no gap")
        fresh = False
        book.apply(event)
    return book


def check(scratch, venue, path):
    lines, final = make_lines(venue)
    text = [b"%d %s" % (ns, json.dumps(item, separators=(",", ":")).encode()) for ns, item in lines]
    rig.write_lines(scratch / (venue + ".txt"), text)
    rig.call("tape-record", "--import", scratch / (venue + ".txt"), scratch / venue, "--venue", venue)
    with served.Server("--paused", scratch / venue) as server:
        client = served.Client(server, "/stream?streams=btcusdt@depth@100ms")
        expect_equal(server.http(path + "?symbol=BTCUSDT")[0], 503, "before it began")
        server.wait_state(lambda state: state["phase"] == "paused", "the start")
        server.control(do="step-frame")
        client.message()
        status, answer = server.http(path + "?symbol=BTCUSDT")
        expect_equal((status, sorted(answer)), (503, ["code", "msg"]), "before the snapshot")
        mine = Book()
        for goal in (SNAPSHOT_AT + 3, 333, 334, 600):  # the books on the way
            ns = START_NS + goal * 50_000_000
            server.control(do="seek", to=str(ns))
            server.control(do="step-frame")
            expect_equal(json.loads(client.message()[0])["data"]["E"], ns // 10**6, "the diff stepped to")
            mine = Book()
            for _, item in lines:
                if "stream" not in item:
                    mine.load(item)
                elif item["data"]["E"] <= ns // 10**6:
                    mine.apply(item["data"])
            for limit in (5, 1000):
                answer = server.http("%s?symbol=btcusdt&limit=%d" % (path, limit))[1]
                expect_equal(answer["lastUpdateId"], mine.last, "id at %d" % goal)
                expect_equal([answer["bids"], answer["asks"]], mine.levels(limit), "levels at %d" % goal)
        found = follow_procedure(client, server, path, venue, 1000)
        expect_equal(found.last, final.last, "the last id")
        expect_equal(found.levels(None), final.levels(None), "the book in the end")
        status, answer = server.http(path + "?symbol=BTCUSDT&limit=1000")
        expect_equal((status, answer["msg"]), (503, "its connection ended, and no update has come since"), "after the end")
        for query, status, code in (("", 400, -1102), ("symbol=", 400, -1102), ("symbol=BTCUSDT&limit=0", 400, -1130),
                                    ("symbol=BTCUSDT&limit=5001", 400, -1130), ("symbol=XUSDT", 503, -1000),
                                    ("symbol=BTCUSDT&limit=x", 400, -1130),
                                    ("symbol=BTCUSDT&session=none", 404, -1000)):
            answer = server.http(path + "?" + query)
            expect_equal((answer[0], answer[1]["code"]), (status, code), query)


def main(scratch):
    check(scratch, "usdm", "/fapi/v1/depth")
    check(scratch, "spot", "/api/v3/depth")
    check(scratch, "coinm", "/dapi/v1/depth")


rig.run_main(main)
