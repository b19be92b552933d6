#!/usr/bin/env python3
"""The strategies of samples/, in C and in Python, on a feed while it is recorded and on the recording: the
same decisions on the same frames, whether the follower began before the messages, in their middle or after
them; every ordinal once, from segments and ring alike; two recorders of one feed are one; a start in the
middle has the books; a library or structure of another version is refused before the first call.
plain build only: Python loads the library, and knows no sanitizer."""
import atexit
import contextlib
import copy
import decimal
import http.server
import json
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

SAMPLES = rig.ROOT / "samples"
LIBRARY = rig.BUILD / "libtapedeck.so.0"
os.environ["TAPEDECK_LIBRARY"] = str(LIBRARY)
import tapedeck  # noqa: E402  pylint: disable=wrong-import-position

STREAMS = ["btcusdt@trade", "btcusdt@aggTrade", "btcusdt@depth@100ms", "btcusdt@bookTicker"]
COUNT = 6000


def compile_sample(scratch, name):
    program = scratch / name
    done = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-I", str(rig.BUILD),
                           "-o", str(program), str(SAMPLES / (name + ".c")), str(LIBRARY),
                           "-Wl,-rpath," + str(rig.BUILD)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    expect(done.returncode == 0, "%s.c: %s" % (name, done.stdout.decode()))
    return [str(program)]


class Strategy:
    """One of them, following; its lines and what it said go to files."""

    def __init__(self, scratch, name, command, *words):
        self.out, self.said = scratch / (name + ".out"), scratch / (name + ".err")
        with open(self.out, "wb") as out, open(self.said, "wb") as said:
            self.process = subprocess.Popen([*command, *map(str, words)], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=said)
        atexit.register(self.process.kill)  # one that was left behind would follow for ever

    def lines(self):
        try:
            code = self.process.wait(rig.PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise rig.Failed("%s never ended" % self.out.name) from None
        expect_equal((code, self.said.read_text()), (0, ""), self.out.name)
        return self.out.read_text().splitlines()


def decide(command, *words, wanted=0):
    done = subprocess.run([*command, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=rig.PATIENCE_S, check=False)
    expect_equal((done.returncode, done.stderr.decode()) if wanted == 0 else done.returncode,
                 (0, "") if wanted == 0 else wanted, " ".join(map(str, command)))
    return done.stdout.decode().splitlines()


def averages_by_hand(archive):
    """The moving average once more, on what the stand-alone reader finds, by floats of nothing: Fractions of
    whole sums. Neither library nor samples are asked."""
    trades, found = {}, []
    for message in rig.read_archive.messages(rig.read_archive.Archive(archive)):
        if not re.search(rb'"e":"(?:trade|aggTrade)"', message.payload):
            continue
        text = re.search(rb'"p":"(\d+)\.(\d+)"', message.payload)
        stream = rig.read_archive.stream_of(message)
        prices, sides = trades.setdefault(stream, ([], [0]))
        prices.append(int(text[1] + text[2].ljust(8, b"0")))
        if len(prices) < 64:
            continue
        apart = sum(prices[-8:]) - sum(prices[-64:]) // 8
        side = (apart > 0) - (apart < 0) or sides[-1]
        if sides[-1] and side != sides[-1]:
            found.append("%d %d %s %s %s.%s" % (message.recv_ns, message.ordinal, stream, "BUY" if side > 0 else "SELL",
                                                text[1].decode(), text[2].decode()))
        sides.append(side)
    return found


def read(archive, **options):
    """What Python's source gives: [(ordinal, payload)]."""
    with tapedeck.Source(archive, **options) as source:
        return [(message.ordinal, message.payload) for message in source]


def depth_updates(lines):
    """Payloads of the diffs among these lines, as JSON."""
    return [json.loads(line.split(b" ", 1)[1])["data"] for line in lines if b'"depthUpdate"' in line]


class Rest(http.server.ThreadingHTTPServer):
    """Answers every request with one book: as of the third update, so that the recorder has it when it asks."""
    daemon_threads = True

    def __init__(self, lines):
        third = depth_updates(lines)[2]
        prices = [int(level[0].replace(".", "")) for level in third["b"] + third["a"]]
        middle = sum(prices) // len(prices)
        bids, asks = ([["%d.%08d" % divmod(middle + way * i * 10**6, 10**8), "%d.00000000" % (1 + i % 3)]
                       for i in range(1, 40)] for way in (-1, 1))
        self.body = json.dumps({"lastUpdateId": third["u"], "bids": bids, "asks": asks}).encode()
        super().__init__(("127.0.0.1", 0), RestAnswer)
        self.url = "http://localhost:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class RestAnswer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)


class Followers:
    """The strategies, started again and again beside a recorder."""

    def __init__(self, scratch, programs, archive):
        self.scratch, self.programs, self.archive, self.all = scratch, programs, archive, []

    def start(self, when):
        for name, command in self.programs.items():
            self.all.append((name, Strategy(self.scratch, "%s-%s" % (name, when), command, "--follow", self.archive)))

    def output(self, name):
        return next(strategy.out for of, strategy in self.all if of == name).read_text()


def record_and_follow(scratch, programs, lines):
    """Followers from before the first message, from the middle, and from after the last one."""
    archive = scratch / "tape"
    followers = Followers(scratch, programs, archive)
    with Rest(lines) as rest, rig.Exchange(scratch / "log", "--lines", scratch / "lines.txt", "--venue", "spot",
                                           "--rate", 1000, "--wait-ms", 500) as exchange:
        with rig.Recorder(scratch, "--venue", "spot", "--url", exchange.url, "--snapshots", rest.url, archive,
                          *STREAMS) as recorder:
            recorder.wait_until(lambda: "recording" in rig.call("tape-replay", "ls", archive, wanted=None)[0].decode(),
                                "the archive")
            followers.start("before")
            counter = Strategy(scratch, "ordinals", [rig.PYTHON, __file__, "ordinals"], archive)
            recorder.wait_until(lambda: followers.output("moving_average") and "BOUGHT" in
                                followers.output("market_maker"), "decisions")
            followers.start("middle")
            middle = followers.output("market_maker").splitlines()[-1].split()[0]
            from_there = Strategy(scratch, "market_maker-from", programs["market_maker"], "--follow", "--from", middle,
                                  archive)
            exchange.wait_for("all sent")
            followers.start("after")
            recorder.stop(signal.SIGTERM)
        exchange.stop()
    expect_equal(from_there.lines(), decide(programs["market_maker"], "--from", middle, archive),
                 "the market maker begun in the middle: live, and on the recording")
    return archive, followers.all, counter.lines()


def live_and_replay(scratch, programs):
    lines = rig.generate("--venue", "spot", "--symbols", "btcusdt", "--count", COUNT, "--seed", 5, "--streams",
                         ",".join(s.partition("@")[2] for s in STREAMS))
    rig.write_lines(scratch / "lines.txt", lines)
    archive, followers, followed = record_and_follow(scratch, programs, lines)
    told = {name: decide(command, archive) for name, command in programs.items()}
    for name, strategy in followers:
        expect_equal(strategy.lines(), told[name], "%s: live, and on the recording" % strategy.out.name)
    expect_equal(told["moving_average"], averages_by_hand(archive), "the averages, calculated in another way")
    expect_equal(told["moving_average.py"], told["moving_average"], "Python and C")
    for name, lines_told in told.items():
        expect(len(lines_told) > 20, "%s: few decisions: %r" % (name, lines_told))
    kept = ["%d %d" % (ordinal, len(payload)) for ordinal, payload in read(archive, events=True)]
    expect_equal(followed, kept, "ordinals and lengths, followed and read afterwards")
    numbers = [int(line.split()[0]) for line in followed]
    expect_equal(numbers, sorted(set(numbers)), "each ordinal once, in order")
    expect_equal(numbers, [r.ordinal for r in rig.read_archive.Archive(archive).records()], "every ordinal")
    return archive, told


class BookByHand:
    """Levels of a diff stream by a dictionary: what tapedeck.Book has to come to."""

    def __init__(self, snapshot):
        self.sides = {side: {level[0]: level[1] for level in snapshot[side]} for side in ("bids", "asks")}

    def apply(self, update):
        for side, key in (("bids", "b"), ("asks", "a")):
            for price, quantity in update[key]:
                self.sides[side][price] = quantity
                if not quantity.strip("0."):
                    del self.sides[side][price]

    def levels(self, side):
        found = [(decimal.Decimal(price), decimal.Decimal(quantity)) for price, quantity in self.sides[side].items()]
        return sorted(found, reverse=side == "bids")


def snapshot_of(archive):
    for record in rig.read_archive.Archive(archive).records():
        if rig.read_archive.KINDS.get(record.kind) == "snapshot":
            return json.loads(record.body.partition(b"\n")[2])
    raise rig.Failed("the recorder fetched no snapshot")


def expect_book(book, wanted, what):
    expect_equal((book.state, book.cause), ("known", ""), what)
    expect_equal((book.bids(), book.asks()), (wanted.levels("bids"), wanted.levels("asks")), what)


def books(archive):
    """Rebuilt from the recorder's snapshot and the diffs; and, from a time in the middle, from the state."""
    snapshot, stream = snapshot_of(archive), "btcusdt@depth@100ms"
    whole, started = tapedeck.Book(stream), tapedeck.Book(stream, venue="spot")
    by_hand, stamps = BookByHand(snapshot), []
    with tapedeck.Source(archive, events=True) as source:
        for message in source:
            tick = message.snapshot() if message.record_kind == "snapshot" else message.tick()
            if message.stream == stream and tick.last_id > snapshot["lastUpdateId"]:
                by_hand.apply(json.loads(message.payload)["data"])
                stamps.append(message.recv_ns)
            if message.record_kind == "snapshot" or message.stream == stream:
                whole.apply(tick)
    expect(len(stamps) > 30, "only %d updates after the snapshot" % len(stamps))
    middle = stamps[19]
    expect_book(whole, by_hand, "the book at the end")
    expect_equal(json.loads(whole.json(3))["bids"], [[format(p, "f"), format(q, "f")] for p, q in whole.bids(3)], "JSON")
    with tapedeck.Source(archive, from_=middle, stream=stream) as source:
        kinds = []
        for message in source:
            kinds.append(message.kind)
            expect(message.kind != "state" or message.replay_ns == middle, "the state is of the time asked for")
            expect(source.now_ns == message.replay_ns >= middle, "the clock")
            (started.restore if message.kind == "state" else started.apply)(message.tick())
            if message.kind == "state":
                then = started.json()
                expect_equal((started.state, json.loads(message.payload)["lastUpdateId"]), ("known", started.last_id), "at once")
        source.seek(middle)  # back: the book is that of then, not the newer one
        message = source.next()
        expect(not started.apply(message.tick()), "an old snapshot changes nothing")
        expect(started.restore(message.tick()) and started.json() == then, "the book after a seek back")
        for message in source:
            started.apply(message.tick())
    expect_equal((kinds[0], set(kinds[1:])), ("state", {"data"}), "what a start in the middle gives")
    expect_equal(len(kinds) - 1, sum(stamp >= middle for stamp in stamps), "updates from the middle on")
    expect_book(started, by_hand, "the book at the end, begun in the middle")


def from_the_middle(archive, program, told):
    """The market maker started in the middle quotes at once, from the books as they were; its lots are others, for it
    has not traded before."""
    middle = int(told[len(told) // 2].split()[0])
    lines = decide(program, "--from", middle, archive)
    expect(lines, "no decision")
    expect(all(int(line.split()[0]) >= middle for line in lines), "a decision before its time: %s" % lines[0])
    first = next(line.split() for line in lines if " QUOTE " in line)
    expect_equal(int(first[0]), middle, "it quotes from the books that come first")


def no_book(scratch, program):
    """What never quoted says why."""
    for name, lines, words in (
            ("diffs", rig.generate("--symbols", "btcusdt", "--streams", "depth@100ms", "--count", 50),
             "btcusdt: no book was ever known: no snapshot was recorded before this time"),
            ("trades", rig.generate("--symbols", "btcusdt", "--streams", "trade", "--count", 50),
             "btcusdt: no book was ever known: no depth stream came"),
            ("other", [b"1795334400000000000 {}"], "no book was ever known: no stream with a symbol came")):
        rig.call("tape-record", "--import", rig.write_lines(scratch / ("none-%s.txt" % name), lines),
                 scratch / ("none-" + name))
        done = subprocess.run([*program, str(scratch / ("none-" + name))], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=rig.PATIENCE_S, check=False)
        expect_equal((done.returncode, done.stdout, done.stderr.decode()), (0, b"", "market_maker: %s\n" % words), name)


def merged(scratch, archive, programs, told):
    """The same feed recorded twice, each with holes of its own: the decisions of the whole one."""
    payloads = [m.payload for m in rig.read_archive.messages(rig.read_archive.Archive(archive))
                if not rig.read_archive.is_answer(m)]
    data = [(1795334400 * 10**9 + i * 10000, payload) for i, payload in enumerate(payloads)]
    halves = []
    for way in (0, 1):
        lines = [b"%d %s" % (ns + way * 1000, payload) for i, (ns, payload) in enumerate(data)
                 if i % 7 != way * 3]
        halves.append(scratch / ("half-%d" % way))
        rig.call("tape-record", "--import", rig.write_lines(scratch / ("half-%d.txt" % way), lines), halves[-1])
    wanted = [line.split()[2:] for line in told["moving_average"]]
    for name in ("moving_average", "moving_average.py"):
        lines = decide(programs[name], *halves)
        expect_equal([line.split()[2:] for line in lines], wanted, "%s on two halves" % name)
    with tapedeck.Source(halves) as source:
        given = [(message.archive, message.payload) for message in source]
        shares = source.shares
    expect_equal(given, [(int(i % 7 == 0), payload) for i, payload in enumerate(payloads)], "messages of two halves")
    expect_equal(sum(share.given for share in shares), len(data), "shares")
    missed = 0  # by the second, between its own first and last of each stream
    for stream in STREAMS:
        places = [i for i, (_, payload) in enumerate(data) if payload.startswith(b'{"stream":"%s"' % stream.encode())]
        kept = [i for i in places if i % 7 != 3]
        missed += sum(i % 7 == 3 and kept[0] < i < kept[-1] for i in places)
    expect_equal(sum(share.missed for share in shares if share.archive == 1), missed, "missed by the second")


def words_of_times(archive):
    """As on the command line: from either end of the archives."""
    with tapedeck.Source(archive) as source:
        stamps = [message.recv_ns for message in source if message.kind == "data"]
    expect_equal(tapedeck.nanoseconds("+0", archive), min(stamps), "the first message")
    expect_equal(tapedeck.nanoseconds("-0", [archive]), max(stamps), "the last message")
    expect_equal(tapedeck.nanoseconds("+1s5ms", archive), min(stamps) + 1005000000, "after the start")
    expect_equal(tapedeck.nanoseconds("@1795334400.5", archive), 1795334400500000000, "seconds")
    played = rig.call("tape-replay", "play", "--speed", "max", "--from", "+300ms", "--to", "-200ms", archive)[0]
    with tapedeck.Source(archive, from_="+300ms", to="-200ms", state=-1) as source:
        expect_equal(b"".join(m.payload + b"\n" for m in source if m.kind == "data"), played, "from and to")
        source.seek("-300ms")
        expect(next(source).recv_ns >= max(stamps) - 300000000, "a seek")
    try:
        tapedeck.nanoseconds("+1s", str(archive) + "-not")
    except tapedeck.TapeError as error:
        expect(str(error).startswith("open %s-not: " % archive), str(error))
    else:
        raise rig.Failed("the span of no archive")


def stale_and_kept(archive):
    with tapedeck.Source(archive, stream="*@trade") as source:
        first = next(source)
        kept, tick, price = first.keep(), first.tick(), first.tick().price
        second = next(source)
        for late in (lambda: first.payload, lambda: tick.price, first.keep, first.tick):
            try:
                late()
            except tapedeck.Stale:
                continue
            raise rig.Failed("a message was read after the next one")
        expect_equal((kept.tick().price, kept.stream, kept.tick().kind), (price, "btcusdt@trade", "trade"), "kept")
        expect(kept.ordinal < second.ordinal and kept.payload in kept.frame, "kept frame")
        source.seek(kept.recv_ns)
        expect_equal(next(m for m in source if m.kind == "data").payload, kept.payload, "after a seek back")
        expect_equal((source.damages, source.state.live), ([], False), "damages, live")
    for words, wanted in (("2026-11-22T08:00Z", 1795334400 * 10**9), ("1795334400000000001", 1795334400000000001),
                          ("2026-11-22T09:00:00.000000007+01:00", 1795334400000000007), (None, 0),
                          ("2026-11-22", 1795305600 * 10**9), ("2026-11-22T08:00", 1795334400 * 10**9)):
        expect_equal(tapedeck.nanoseconds(words), wanted, words)
    for words in ("+10m", "-10m", "2026-02-31", "tomorrow", "1795334400", "2026\0"):
        expect_refused(ValueError, lambda words=words: tapedeck.nanoseconds(words), words)
    words_of_times(archive)
    expect_equal(repr(tick), "Tick(stale)", "a stale tick's repr")
    shown = kept.tick()
    expect(repr(shown).startswith("Tick(kind='trade', symbol='BTCUSDT', event_ns=") and
           "price=%s, quantity=%s" % (shown.price, shown.quantity) in repr(shown), repr(shown))


def interrupted(scratch, archive):
    """Ctrl-C ends a Python follower that waits, while a recorder holds the archive. What it recorded meanwhile came
    in fragments: such a message has a first ordinal and a last one, and all of its frames."""
    live = scratch / "live"
    shutil.copytree(archive, live)
    with rig.Exchange(scratch / "silent", "--lines", scratch / "half-0.txt", "--venue", "spot", "--rate", 100,
                      "--fragment", 3, "--ping-ms", 60000) as exchange:
        with rig.Recorder(scratch, "--venue", "spot", "--url", exchange.url, live, STREAMS[0]) as recorder:
            exchange.wait_for("request")
            strategy = Strategy(scratch, "interrupted", [rig.PYTHON, "-B", str(SAMPLES / "moving_average.py")],
                                "--follow", live)
            waits = time.monotonic() + rig.PATIENCE_S
            while not strategy.out.stat().st_size and time.monotonic() < waits:
                time.sleep(0.05)
            strategy.process.send_signal(signal.SIGINT)
            expect(strategy.lines(), "its decisions until then")
            exchange.drain()
            recorder.wait_until(lambda: any(m.first_ordinal < m.ordinal for m in tapedeck.Source(live)), "fragments")
            recorder.stop()
    with tapedeck.Source(live) as source:
        for message in source:
            fragments = message.ordinal - message.first_ordinal
            # of three, python3-websockets ends with an empty one; a record of the clock may come between
            expect((fragments == 0 or 3 <= fragments < 6) and
                   (message.payload in message.frame) == (fragments == 0),
                   "a frame of %d fragments: %r" % (fragments + 1, message.frame))


def expect_refused(error, call, what):
    try:
        call()
    except error:
        return
    raise rig.Failed("%s was taken" % what)


def misused(archive):
    """What would be freed twice, used after it was freed, or be another thing to C than it is here."""
    with tapedeck.Source(archive) as source:
        for what, call in (("a copy", copy.copy), ("a deep copy", copy.deepcopy), ("a pickle", pickle.dumps)):
            expect_refused(TypeError, lambda call=call: call(source), what + " of a source")
            expect_refused(TypeError, lambda call=call: call(tapedeck.Book("btcusdt@depth")), what + " of a book")
    for when in (10**30, -10**30, 2**63, -2**63, str(2**63)):
        expect_refused(ValueError, lambda when=when: tapedeck.Source(archive, from_=when), "the time %s" % when)
    expect_refused(ValueError, lambda: tapedeck.Source(str(archive) + "\0"), "a path with a NUL")
    expect_refused(ValueError, lambda: tapedeck.Source(archive, stream="*@trade\0"), "a glob with a NUL")


def read_until_closed(archive):
    """Run by itself, since what is wrong here ends the process: a source is closed while another thread reads."""
    for wait_ms in range(30):
        source, begun = tapedeck.Source(archive, order="event"), threading.Event()  # one that reads far ahead

        def use(source=source, begun=begun):
            begun.set()
            with contextlib.suppress(ValueError):  # it is closed
                while True:
                    for _ in range(100):
                        next(source, None)
                    source.seek(0)

        reader = threading.Thread(target=use)
        reader.start()
        begun.wait()
        time.sleep(wait_ms / 1000)
        source.close()
        reader.join()


def closed_by_another(archive):
    done = subprocess.run([rig.PYTHON, "-B", __file__, "read-until-closed", str(archive)], stderr=subprocess.PIPE,
                          timeout=rig.PATIENCE_S, check=False)
    expect_equal((done.returncode, done.stderr), (0, b""), "a source closed while another thread reads it")


def wrong_versions(scratch):
    """Nothing is called in a library that lays its structures out otherwise, has no such call, or is none."""
    path = scratch / "other.so"
    for source, words in (
            ("int nothing;", "no libtapedeck, or one that is older than this tapedeck.py"),
            ("unsigned long long tape_source_layout(const char *s) { (void)s; return 1; }",
             "struct tape_slice is laid out otherwise there: take tapedeck.py and the library of one version")):
        (scratch / "other.c").write_text(source)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(scratch / "other.c")], check=True)
        done = subprocess.run([rig.PYTHON, "-B", str(SAMPLES / "moving_average.py"), str(scratch)], check=False,
                              env=dict(os.environ, TAPEDECK_LIBRARY=str(path)), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        expect_equal((done.returncode, done.stdout.decode()), (1, "moving_average.py: %s: %s\n" % (path, words)),
                     "a foreign library")
        path = scratch / "another.so"  # the loader knows the first by its name
    (scratch / "text.so").write_text("no library")
    try:
        tapedeck.load(str(scratch / "text.so"))
        raise rig.Failed("text was loaded")
    except tapedeck.TapeError as error:
        expect(str(error).startswith("libtapedeck is not to be found: "), str(error))


def members():
    """Every structure of tapedeck.py has the members of tape.h, in its order."""
    text = re.sub(r"/\*.*?\*/", "", (rig.BUILD / "tape.h").read_text(encoding="utf-8"), flags=re.S)
    for structure in tapedeck._STRUCTURES:
        body = re.search(r"struct %s \{(.*?)\};" % structure.__name__, text, re.S)[1]
        names = [re.search(r"(\w+)(?:\[\w+\])?$", part.strip())[1] for part in re.split("[,;]", body) if part.strip()]
        expect_equal([name for name, _ in structure._fields_], names, "struct %s" % structure.__name__)


def print_ordinals(archive):
    with tapedeck.Source(archive, follow=True, events=True) as source:
        for message in source:
            print(message.ordinal, len(message.payload))


def main(scratch):
    programs = {name: compile_sample(scratch, name) for name in ("moving_average", "market_maker")}
    programs["moving_average.py"] = [rig.PYTHON, "-B", str(SAMPLES / "moving_average.py")]
    archive, told = live_and_replay(scratch, programs)
    books(archive)
    from_the_middle(archive, programs["market_maker"], told["market_maker"])
    no_book(scratch, programs["market_maker"])
    merged(scratch, archive, programs, told)
    stale_and_kept(archive)
    interrupted(scratch, archive)
    misused(archive)
    closed_by_another(archive)
    wrong_versions(scratch)
    members()


if sys.argv[1:2] == ["ordinals"]:
    print_ordinals(sys.argv[2])
elif sys.argv[1:2] == ["read-until-closed"]:
    read_until_closed(sys.argv[2])
else:
    rig.run_main(main)
