#!/usr/bin/env python3
"""Sessions: sockets that begin together and stay in step, one that stops reading and is waited for, private and
named ones by the URL, who joins later, who comes after the end, and bounds."""
import json
import pathlib
import re
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

TRADES, BOOKS = "btcusdt@trade", "btcusdt@bookTicker"


def all_of(server, target, result, name):
    result[name] = served.Client(server, target).messages()


def together(archive, lines):
    """Two sockets, of which the second comes later: both get all from the first message on."""
    with served.Server("--speed", "20", "--clients", 2, archive) as server:
        result = {}
        first = served.Client(server, "/public/stream?streams=" + TRADES)
        expect(first.quiet(), "one of two waits")
        expect_equal(server.control()["phase"], "waiting", "phase")
        thread = threading.Thread(target=all_of, args=(server, "/public/ws/" + BOOKS, result, "second"))
        thread.start()
        result["first"] = first.messages()
        thread.join()
        expect(result["first"] == served.payloads(lines, [TRADES]), "the first gets all")
        expect(result["second"] == [served.inner(p) for p in served.payloads(lines, [BOOKS])], "so does the second")
        said = server.stop()
        expect("to 2 clients" in said, "receipt: " + said)


def many(archive, lines):
    """Eight of the same and of different subscriptions, at full speed."""
    sets = [[TRADES], [BOOKS], [TRADES, BOOKS], [BOOKS, TRADES]]
    with served.Server("--speed", "max", "--clients", 8, archive) as server:
        result = {}
        threads = [threading.Thread(target=all_of, args=(
            server, "/public/stream?streams=" + "/".join(sets[i % 4]), result, i)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(8):
            expect(result[i] == served.payloads(lines, sets[i % 4]), "client %d" % i)
        state = json.loads(json.dumps(server.http("/control")[1]))
        expect_equal([one["session"] for one in state["sessions"]], ["main"], "sessions")


def slow(scratch):
    """One stops reading: the other waits, nothing is lost, and the receipt tells the stretching."""
    lines = rig.generate("--count", 60000, "--rate", 60000, "--symbols", "btcusdt", "--streams",
                         "depth@100ms,trade,bookTicker")
    lines = [line[:-2] + b',"pad":"' + b"x" * 600 + b'"}}' for line in lines]
    archive = served.import_lines(scratch, "slow", lines)
    target = "/public/stream?streams=%s/%s/btcusdt@depth@100ms" % (TRADES, BOOKS)
    with served.Server("--speed", "10", "--clients", 2, archive) as server:
        result = {}
        lazy = served.Client(server, target, receive_bytes=4096)
        thread = threading.Thread(target=all_of, args=(server, target, result, "quick"))
        thread.start()
        server.wait_state(lambda state: state["phase"] == "playing", "the start")
        before = -1
        while True:  # until it stands still: the lazy one's queue is full
            now = server.control()["sent_messages"]
            if now == before and now > 0:
                break
            before = now
            threading.Event().wait(0.5)
        expect(0 < now < len(lines), "it waits in the middle: %d" % now)
        result["lazy"] = lazy.messages()
        thread.join()
        wanted = served.payloads(lines)
        expect_equal(len(result["quick"]), len(wanted), "the quick one's messages")
        expect(result["quick"] == wanted, "the quick one lost nothing")
        expect(result["lazy"] == wanted, "the lazy one lost nothing")
        expect("time stretched by" in server.stop(), "the receipt tells it")


def private(archive, lines):
    """from, to and speed in the URL: a session of one's own; the shared one is not touched."""
    times = [int(line.split(b" ", 1)[0]) for line in lines]
    low, high = times[len(times) // 3], times[2 * len(times) // 3]
    wanted = [line for line, ns in zip(lines, times) if low <= ns < high]
    with served.Server("--speed", "0.01", archive) as server:
        for query in ("from=%d&to=%d&speed=max" % (low, high),
                      "from=%%2B%dns&to=%d&speed=max" % (low - times[0], high)):
            found = served.Client(server, "/public/stream?streams=%s&%s" % (TRADES, query)).messages()
            expect(found == served.payloads(wanted, [TRADES]), "range %s: %d messages" % (query, len(found)))
        expect_equal([one["session"] for one in server.http("/control")[1]["sessions"]], ["main"],
                     "private ones end with their connection")
        expect_equal(server.control()["phase"], "waiting", "the shared one")
        for query, words in (
                ("from=%d" % (times[-1] + 1), "from is after the last message"),
                ("to=%d" % times[0], "to is not after the first message"),
                ("from=%d&to=%d" % (high, low), "from is not before to: nothing lies between"),
                ("speed=fast", "speed= in the URL"), ("from=soon", "from= in the URL"),
                ("session=private-1", "session names that begin with private- are taken"),
                ("session=a/b", "session= in the URL"), ("clients=0", "clients= in the URL")):
            refused = served.Client(server, "/ws/a@trade?" + query)
            expect_equal(refused.status, 400, query)
            expect(words in refused.body()["error"], "%s: %r" % (query, refused.data))
            expect_equal(server.wait_for(r"refused .*" + re.escape(words)),
                         "tape-replay: a client is refused with 400: " + refused.body()["error"], "the server's words")
        expect_equal(served.Client(server, "/nowhere").status, 404, "unknown path")


def named(archive, lines):
    """A named session is made by its first client; the second waits with it, though not asked to."""
    with served.Server("--speed", "0.01", archive) as server:
        result = {}
        one = served.Client(server, "/public/stream?streams=%s&session=mine&clients=2&speed=max" % TRADES)
        expect(one.quiet(), "it waits for two")
        thread = threading.Thread(target=all_of, args=(
            server, "/public/stream?session=mine&streams=" + TRADES, result, "two"))
        thread.start()
        expect(one.messages() == served.payloads(lines, [TRADES]), "the first of it")
        thread.join()
        expect(result["two"] == served.payloads(lines, [TRADES]), "the second of it")
        server.wait_for(r"session mine: \d+ messages in \d+ frames")
        again = served.Client(server, "/public/stream?streams=%s&session=mine" % TRADES)
        two = served.Client(server, "/public/stream?streams=%s&session=mine" % TRADES)
        expect(again.messages() == served.payloads(lines, [TRADES]), "after its end it begins anew")
        two.close()


def ignored(archive):
    """What of a URL does nothing is told, once a session."""
    with served.Server("--paused", archive) as server:
        for query in ("sped=5", "sped=6&speed=3&session=main&x%1b[2J", "session=main&speed=4&clients=2&from=+1s&sped",
                      "streams=a@trade&state=1&session=mine&speed=2", "session=mine&state=1"):
            expect_equal(served.Client(server, "/ws/a@trade?" + query).status, 101, query)
        for _ in range(30):
            served.Client(server, "/ws/a@trade?speed=fast")
        said = [line for line in server.stop().splitlines() if "ignored" in line or "refused" in line]
        expect_equal(said[:5], ["tape-replay: session main: " + words for words in (
            '"sped" in a client\'s URL is not known and ignored',
            "speed= in a client's URL is ignored: the session is there already",
            '"x%1b[2J" in a client\'s URL is not known and ignored',
            "clients= in a client's URL is ignored: the session is there already",
            "from= in a client's URL is ignored: the session is there already")], "notes")
        expect_equal((len(said), said[-1].count("(more in this minute are not told)")), (25, 1), "refusals told")


def missing(archive):
    """Streams that a client will never get are told, a few a client."""
    with served.Server("--paused", archive) as server:
        served.Client(server, "/ws/BTCUSDT@trade/btcusdt@trade/btcusdt@aggTrade/nobody@trade")
        one = served.Client(server, "/market/stream")
        one.ask(method="SUBSCRIBE", params=["btcusdt@aggTrade"], id=1)
        one.ask(method="SUBSCRIBE", params=[TRADES, "x@%d" % 0], id=2)
        one.ask(method="SUBSCRIBE", params=["y\u202e@%d" % i for i in range(50)], id=2)
        said = [line.partition(" client ")[2] for line in server.stop().splitlines() if "client asked for" in line]
        expect_equal(said[:5], ['asked for "BTCUSDT@trade": not in this archive (did you mean btcusdt@trade?)',
                                'asked for "btcusdt@aggTrade": a stream of /market: nothing is sent on /ws (--unrouted)',
                                'asked for "nobody@trade": not in this archive',
                                'asked for "btcusdt@trade": a stream of /public: nothing is sent on /market/stream '
                                '(--unrouted)', 'asked for "x@0": not in this archive'], "what is told")
        expect_equal((len(said), said[5]), (11, 'asked for "y\\xe2\\x80\\xae@0": not in this archive'), "no more of one")
    with served.Server("--paused", "--unrouted", archive) as server:
        expect_equal(served.Client(server, "/ws/btcusdt@aggTrade").status, 101, "unrouted")
        server.control()
        expect("asked for" not in server.stop(), "all is sent")


def late(archive, lines):
    """Who joins later stands where the session stands; without anybody it waits."""
    wanted = served.payloads(lines, [TRADES])
    with served.Server("--paused", archive) as server:
        one = served.Client(server, "/public/stream?streams=" + TRADES)
        server.wait_state(lambda state: state["phase"] == "paused", "the start")
        for i in range(3):
            server.control(do="step-frame")
            expect_equal(one.message()[0], wanted[i], "step %d" % i)
        two = served.Client(server, "/public/stream?streams=" + TRADES)
        server.wait_state(lambda state: state["clients"] == 2, "the second")
        server.control(do="step-frame")
        expect_equal(one.message()[0], wanted[3], "the first goes on")
        expect_equal(two.message()[0], wanted[3], "the second begins here")
        server.control(do="speed", speed="max")
        one.close(), two.close()
        server.wait_state(lambda state: state["clients"] == 0, "nobody")
        expect_equal(server.control(do="resume")["phase"], "waiting", "nobody: nothing moves")
        expect_equal(server.control()["sent_messages"], 4, "nothing is sent to nobody")
        three = served.Client(server, "/public/stream?streams=" + TRADES)
        expect(three.messages() == wanted[4:], "the third gets the rest")


def subscriptions(archive, lines):
    """Changed while it plays: unsubscribed streams end, new ones begin, the form changes."""
    with served.Server("--paused", archive) as server:
        one = served.Client(server, "/public/ws")
        expect_equal(one.ask(method="SUBSCRIBE", params=[TRADES], id=1), {"result": None, "id": 1}, "answer")
        server.wait_state(lambda state: state["phase"] == "paused", "the start")
        wanted = served.payloads(lines, [TRADES, BOOKS])
        trades = [i for i, p in enumerate(wanted) if b"@trade" in p[:40]]
        server.control(do="step-frame")
        expect_equal(one.message()[0], served.inner(wanted[trades[0]]), "a trade")
        expect_equal(one.ask(method="SET_PROPERTY", params=["combined", True], id=2), {"result": None, "id": 2}, "")
        server.control(do="step-frame")
        expect_equal(one.message()[0], wanted[trades[1]], "the next in a wrapper")
        one.ask(method="SUBSCRIBE", params=[BOOKS], id=3)
        one.ask(method="UNSUBSCRIBE", params=[TRADES], id=4)
        expect_equal(one.ask(method="LIST_SUBSCRIPTIONS", id=5), {"result": [BOOKS], "id": 5}, "the list")
        server.control(do="step-frame")
        expect_equal(one.message()[0], next(p for p in wanted[trades[1]:] if b"@bookTicker" in p[:40]), "a book")


def bounds(archive):
    """At most 64 sessions; a named one that nobody is in makes room."""
    with served.Server("--paused", archive) as server:
        held = [served.Client(server, "/ws/a@trade?session=s%d" % i) for i in range(63)]
        expect_equal({one.status for one in held}, {101}, "63 beside main")
        refused = served.Client(server, "/ws/a@trade?session=more")
        expect_equal((refused.status, refused.body()["error"]), (503, "there are 64 sessions already: no more"),
                     "one more")
        expect_equal(served.Client(server, "/ws/a@trade?speed=2").status, 503, "nor a private one")
        expect_equal(served.Client(server, "/ws/a@trade?session=s5").status, 101, "those there can be joined")
        held.pop(7).close()
        server.wait_state(lambda state: state["clients"] == 0, "it is empty", "s7")
        expect_equal(served.Client(server, "/ws/a@trade?session=more").status, 101, "now there is room")
        expect_equal(server.http("/control/s7")[0], 404, "for that one")


def main(scratch):
    lines = rig.generate("--count", 4000, "--rate", 2000, "--symbols", "btcusdt,ethusdt")
    archive = served.import_lines(scratch, "tape", lines)
    together(archive, lines)
    many(archive, lines)
    private(archive, lines)
    named(archive, lines)
    ignored(archive)
    missing(archive)
    late(archive, lines)
    subscriptions(archive, lines)
    bounds(archive)
    slow(scratch)


rig.run_main(main)
