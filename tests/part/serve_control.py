#!/usr/bin/env python3
"""Control over HTTP while clients listen: pause, resume, steps, seek with the books, loop and unloop, speed; what
is refused, and requests that pages of other sites make a browser send."""
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

TRADES = "btcusdt@trade"


def pause_and_step(archive, lines):
    everything = [line.split(b" ", 1) for line in lines]
    with served.Server("--paused", archive) as server:
        client = served.Client(server, "/public/stream?streams=" + TRADES)
        server.wait_state(lambda state: state["phase"] == "paused", "the start")
        expect(client.quiet(), "paused: nothing comes")
        wanted = served.payloads(lines, [TRADES])
        for i in range(5):  # messages of other streams are stepped over
            state = server.control(do="step-frame")
            expect_equal(client.message()[0], wanted[i], "step %d" % i)
        expect(client.quiet(), "one step, one message")
        state = server.wait_state(lambda s: s["sent_messages"] == 5, "five")
        expect_equal(everything[int(state["ordinal"]) - first_ordinal(archive)][1], wanted[4], "the position")
        server.control(do="step-time")
        stamp = next(ns for ns, payload in everything if payload == wanted[5])
        same = [payload for ns, payload in everything if ns == stamp and payload in wanted]
        expect_equal(client.messages(len(same)), same, "all of one stamp")
        expect(client.quiet(), "and no more")
        server.control(do="speed", speed="max")
        server.control(do="resume")
        expect_equal(client.messages(), wanted[5 + len(same):], "all that is left")


def first_ordinal(archive):
    """Of the first data message: import writes events before it."""
    return min(r.ordinal for r in rig.read_archive.Archive(archive).records()
               if rig.read_archive.KINDS.get(r.kind) == "frame_in")


def seek_and_loop(archive, lines):
    times = [int(line.split(b" ", 1)[0]) for line in lines]
    low, high = times[1000], times[1400]
    part = served.payloads([l for l, ns in zip(lines, times) if low <= ns < high], [TRADES])
    rest = served.payloads([l for l, ns in zip(lines, times) if ns >= low], [TRADES])
    with served.Server("--paused", "--speed", "max", archive) as server:
        client = served.Client(server, "/public/stream?streams=" + TRADES)
        server.wait_state(lambda state: state["phase"] == "paused", "the start")
        server.control(do="step-frame")
        client.message()
        server.control(do="seek", to=str(low))
        expect(client.quiet(), "a paused one stays so")
        state = server.control(do="step-frame")
        expect_equal(client.message()[0], rest[0], "the first behind the time sought")
        expect_equal(state["seeks"], 1, "seeks")
        server.control(do="loop", **{"from": str(low), "to": str(high)})
        server.control(do="seek", to=str(low))
        server.control(do="resume")
        found = client.messages(3 * len(part) + 5)
        expect_equal(found, part * 3 + part[:5], "three times round and on")
        server.control(do="unloop")
        found += client.messages()
        expect(len(found) > 3 * len(part) + 5, "it goes on")
        tail = served.payloads([l for l, ns in zip(lines, times) if ns >= high], [TRADES])
        expect_equal(found[-len(tail):], tail, "and ends behind the loop")
        expect_equal((len(found) - len(tail)) % len(part), 0, "whole rounds before")
        expect_equal((client.gone.code, client.gone.reason), (1000, "end of replay"), "the end")


def hold(archive, lines):
    """--at-end hold: the client stays, and a seek begins again."""
    wanted = served.payloads(lines, [TRADES])
    with served.Server("--speed", "max", "--at-end", "hold", archive) as server:
        client = served.Client(server, "/public/stream?streams=" + TRADES)
        expect_equal(client.messages(len(wanted)), wanted, "all of it")
        server.wait_state(lambda state: state["phase"] == "ended", "the end")
        expect(client.quiet(), "nothing more")
        time = next(int(l.split(b" ", 1)[0]) for l in lines if wanted[-3] in l)
        server.control(do="seek", to=str(time))
        expect_equal(client.messages(3), wanted[-3:], "again from the time sought")
        expect_equal(client.ask(method="LIST_SUBSCRIPTIONS", id=1), {"result": [TRADES], "id": 1}, "it lives")


def with_state(archive, lines):
    """?state=1: books first, after a start in the middle and after seeks; those who did not ask get none."""
    times = [int(line.split(b" ", 1)[0]) for line in lines]
    middle = times[len(times) // 2]
    stream = "btcusdt@depth@100ms"
    target = "/public/stream?streams=%s&from=%d&speed=max&session=books&clients=2" % (stream, middle)
    with served.Server(archive) as server:
        asks = served.Client(server, target + "&state=1")
        other = served.Client(server, target)
        plain = served.payloads([l for l, ns in zip(lines, times) if ns >= middle], [stream])
        expect_equal(other.messages(), plain, "without state")
        found = asks.messages()
        first = json.loads(found[0])
        expect_equal((first["stream"], first["data"]["state"]), (stream, True), "the book comes first")
        expect_equal(found[1:], plain, "and the messages behind it")
    with served.Server("--paused", archive) as server:
        one = served.Client(server, "/public/ws/btcusdt@trade?state=1")
        server.wait_state(lambda state: state["phase"] == "paused", "the start")
        server.control(do="seek", to=str(middle))
        server.control(do="step-frame")
        one.message()
        expect_equal(one.ask(method="SUBSCRIBE", params=[stream], id=1), {"result": None, "id": 1}, "answer")
        expect_equal(json.loads(one.message()[0])["state"], True, "a stream asked for later brings its book")


def refusals(archive):
    with served.Server(archive) as server:
        for path, body, status, words in (
                ("/control/nobody", None, 404, 'there is no session "nobody"'),
                ("/control/main", b"{", 400, None), ("/control/main", {"do": "fly"}, 400, None),
                ("/control/main", {"do": "seek", "to": "2001-01-01"}, 400, None),
                ("/control/main", {"do": "step-frame"}, 400, None), ("/elsewhere", None, 404, None),
                ("/control", {"do": "pause"}, 405, None)):
            found, answer = server.http(path, body)
            expect_equal(found, status, "%s %r: %r" % (path, body, answer))
            expect(answer["error"] and "\n" not in answer["error"], "one line: %r" % answer)
            expect(words is None or answer["error"] == words, "%r" % answer)
        for headers in ({"Origin": "http://evil.test"}, {"Host": "evil.test"}, {"Origin": "null"}):
            expect_equal(server.http("/control", None, headers)[0], 403, "%r" % headers)
            expect_equal(server.http("/control/main", {"do": "pause"}, headers)[0], 403, "%r" % headers)
            expect_equal(server.http("/fapi/v1/depth?symbol=BTCUSDT", None, headers)[0], 403, "%r" % headers)
        expect_equal(server.control()["phase"], "waiting", "nothing was commanded")
        page = served.Client(server, "/ws/a@trade", ["Origin: http://evil.test"])
        expect_equal(page.status, 403, "a page of another site")
        for origin in ("http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"):
            page = served.Client(server, "/ws/a@trade", ["Origin: " + origin])
            expect_equal(page.status, 101, origin)
        page = served.Client(server, "/ws/a@trade", ["Origin: http://localhost.evil.test"])
        expect_equal(page.status, 403, "a name that begins as ours does")


def main(scratch):
    lines = rig.generate("--count", 4000, "--rate", 2000, "--symbols", "btcusdt,ethusdt")
    archive = served.import_lines(scratch, "tape", lines)
    pause_and_step(archive, lines)
    seek_and_loop(archive, lines)
    hold(archive, lines)
    with_state(archive, lines)
    refusals(archive)


rig.run_main(main)
