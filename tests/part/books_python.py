#!/usr/bin/env python3
"""Books as of any time: what the library rebuilds from a recording with --snapshots is, before and after each
message, snapshot and end of a connection, what a second implementation makes of the same records, read by
the stand-alone reader. The recording has losses, a book that is late, connections that break.

(plain build only: Python cannot load a library that brings a sanitizer.)"""
import concurrent.futures
import ctypes
import decimal
import http.server
import json
import pathlib
import random
import re
import signal
import ssl
import sys
import threading
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import generate  # noqa: E402
import read_archive  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

STREAMS = {"usdm": ("btcusdt@depth@100ms", "ethusdt@depth@100ms", "btcusdt@depth20@100ms"),
           "spot": ("btcusdt@depth@100ms", "ethusdt@depth@100ms")}
RATE, LINES, CUTS, LOST = 300, 1600, "500,250", 4


# ---- the second implementation ------------------------------------------------------------------


class Side(dict):
    """price -> (price, quantity), as written."""

    def put(self, levels):
        for price, quantity in levels:
            key = decimal.Decimal(price)
            if decimal.Decimal(quantity):
                self[key] = [price, quantity]
            else:
                self.pop(key, None)


class Book:
    """One stream, by the words of the venue's documentation. What is known is in .told()."""

    def __init__(self, partial):
        self.partial, self.waiting, self.carriers, self.doubt = partial, [], set(), False
        self.forget()

    def forget(self):
        self.bids, self.asks, self.last, self.joined, self.times = Side(), Side(), None, False, {}

    def replace(self, number, data, bids, asks):
        self.forget()
        self.put(number, data, bids, asks)

    def put(self, number, data, bids, asks):
        self.bids.put(bids)
        self.asks.put(asks)
        self.last, self.times = number, {key: data[key] for key in "ET" if key in data}

    def snapshot(self, data):
        if self.last is not None and data["lastUpdateId"] < self.last:
            return
        same = self.joined and data["lastUpdateId"] == self.last
        self.replace(data["lastUpdateId"], data, data["bids"], data["asks"])
        self.joined = same
        waiting, self.waiting = self.waiting, []
        for diff in waiting:
            self.diff(diff)

    def diff(self, data):
        """True when it was applied."""
        first, last, previous = data["U"], data["u"], data.get("pu")
        if self.last is None:
            self.waiting.append(data)
            return False
        if last < self.last or self.joined and last == self.last:
            return False
        if previous is None and last == self.last:  # spot: all of it is in the snapshot
            self.joined = True
            return True
        if previous is None:
            follows = first <= self.last + 1
        else:
            follows = previous == self.last or not self.joined and first <= self.last
        if not follows:
            self.forget()
            self.waiting.append(data)
            return False
        self.put(last, data, data["b"], data["a"])
        self.joined = True
        return True

    def whole(self, data):
        if "b" in data:
            self.replace(data["u"], data, data["b"], data["a"])
        else:
            self.replace(data["lastUpdateId"], data, data["bids"], data["asks"])
        self.joined = True

    def told(self):
        if not self.joined or self.doubt:
            return None
        told = dict({"lastUpdateId": self.last}, **self.times)
        told["bids"] = [self.bids[key] for key in sorted(self.bids, reverse=True)]
        told["asks"] = [self.asks[key] for key in sorted(self.asks)]
        return told


class Books:
    def __init__(self):
        self.of, self.joiner = {}, read_archive.Messages()

    def push(self, record):
        kind = read_archive.KINDS.get(record.kind)
        message = self.joiner.push(record)
        if message and message.payload.startswith(b'{"stream":"'):
            self.update(record.connection, json.loads(message.payload))
        elif kind == "snapshot":
            line, _, body = record.body.partition(b"\n")
            self.find(json.loads(line)["stream"]).snapshot(json.loads(body))
        elif kind in ("connection_close", "session_start", "session_end"):
            for book in self.of.values():
                kept = {c for c in book.carriers if kind == "connection_close" and c != record.connection}
                book.doubt = book.doubt or bool(book.carriers) and not kept
                book.carriers = kept

    def find(self, stream):
        return self.of.setdefault(stream, Book(bool(re.search(r"@depth\d", stream))))

    def update(self, connection, wrapped):
        stream, data = wrapped["stream"], wrapped["data"]
        book = self.find(stream)
        book.carriers.add(connection)
        if book.partial:
            book.whole(data)
            book.doubt = False
        elif book.diff(data):
            book.doubt = False

    def told(self):
        return {stream: book.told() for stream, book in self.of.items()}


# ---- the venue: its lines, and its REST ---------------------------------------------------------


class Market:
    """Lines that are sent, and books at each of their updates. Some lines are lost on the way."""

    def __init__(self, venue, seed):
        dice = random.Random(seed)
        kinds = sorted({stream.partition("@")[2] for stream in STREAMS[venue]})
        made = generate.Market(venue, ["btcusdt", "ethusdt"], kinds, seed, 400, generate.DEFAULT_START_NS)
        self.lines, self.steps, self.first = [], {"BTCUSDT": [], "ETHUSDT": []}, {}
        for _, stream, payload in made.messages():
            if stream not in STREAMS[venue]:
                continue
            self.lines.append(payload)
            if "@depth@" in stream:
                data = json.loads(payload)["data"]
                self.steps[data["s"]].append(data)
            if len(self.lines) == LINES:
                break
        lost = set(dice.sample([i for i in range(100, LINES) if "@depth@" in self.lines[i]], LOST))
        self.kept = [line for i, line in enumerate(self.lines) if i not in lost]

    def snapshot(self, symbol, last):
        """As REST answers once the update of that number was sent: it has deep levels that no diff tells."""
        steps = self.steps[symbol]
        bids, asks = Side(), Side()
        bids.put([["%d.50" % price, "1.000"] for price in range(1, 40)])
        asks.put([["%d.50" % price, "2.000"] for price in range(900000, 900040)])
        number = steps[0].get("pu", steps[0]["U"] - 1)
        times = {}
        for data in steps:
            if data["u"] > last:
                break
            bids.put(data["b"])
            asks.put(data["a"])
            number = data["u"]
            times = {key: data[key] + 1 for key in "ET" if key in data and "pu" in data}
        answer = dict({"lastUpdateId": number}, **times)
        answer["bids"] = [bids[key] for key in sorted(bids, reverse=True)][:1000]
        answer["asks"] = [asks[key] for key in sorted(asks)][:1000]
        return json.dumps(answer, separators=(",", ":")).encode()


class Rest(http.server.ThreadingHTTPServer):
    """Answers with the book as of what the exchange has written to its logs; now and then an older one."""
    daemon_threads = True

    def __init__(self, folder, market, log, seed):
        self.market, self.log, self.dice = market, log, random.Random(seed)
        super().__init__(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = "https://localhost:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def sent(self, symbol):
        """The numbers of the updates sent so far."""
        found = []
        for path in self.log.glob("connection-*.txt"):
            text = path.read_text(encoding="utf-8")
            text = text[:text.rfind("\n") + 1]
            found += [int(n) for n in re.findall(r'@depth@.*"s":"%s".*?"u":(\d+)' % symbol, text)]
        return sorted(found) or [0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        symbol = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["symbol"][0]
        numbers = self.server.sent(symbol)
        back = self.server.dice.choice((1, 1, 2, 6))
        body = self.server.market.snapshot(symbol, numbers[-min(back, len(numbers))])
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)


def record(scratch, venue, seed):
    market = Market(venue, seed)
    lines, log, archive = (scratch / (name + venue) for name in ("lines-", "log-", "archive-"))
    log.mkdir()
    rig.write_lines(lines, [(b"%d " % i) + line.encode() for i, line in enumerate(market.kept)])
    with Rest(scratch, market, log, seed) as rest, \
            rig.Exchange(log, "--venue", venue, "--lines", lines, "--rate", RATE, "--wait-ms", 1500,
                         "--cut-after", CUTS, certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--venue", venue, "--url", exchange.url, "--ca", scratch / "ca.pem",
                          "--snapshots", rest.url, archive, *STREAMS[venue]) as recorder:
            exchange.wait_for("all sent")
            recorder.stop(signal.SIGINT)
        exchange.stop()
    rig.verify(archive)
    return archive


# ---- the library --------------------------------------------------------------------------------


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class Library:
    def __init__(self):
        self.c = ctypes.CDLL(str(rig.BUILD / "libtapedeck.so"))
        self.c.tape_source_books_build.restype = ctypes.c_void_p
        self.c.tape_source_books_book.restype = ctypes.c_void_p
        self.c.tape_book_print.restype = ctypes.c_int64
        self.room = ctypes.create_string_buffer(1 << 20)

    def build(self, archive, ns):
        error = Error()
        paths = (ctypes.c_char_p * 1)(str(archive).encode())
        books = self.c.tape_source_books_build(paths, 1, None, ctypes.c_int64(ns), ctypes.byref(error))
        expect(books, "books of %s: %s" % (archive, error.text.decode()))
        return books

    def advance(self, books, ns):
        error = Error()
        done = self.c.tape_source_books_advance(ctypes.c_void_p(books), ctypes.c_int64(ns), ctypes.byref(error))
        expect_equal(done, 0, "advance: " + error.text.decode())

    def told(self, books, stream):
        book = self.c.tape_source_books_book(ctypes.c_void_p(books), stream.encode(), None)
        if not book:
            return None
        size = self.c.tape_book_print(ctypes.c_void_p(book), ctypes.c_size_t(0), self.room,
                                      ctypes.c_size_t(len(self.room)))
        expect(size > 0, "print: %d" % size)
        return json.loads(self.room.raw[:size])

    def free(self, books):
        self.c.tape_source_books_free(ctypes.c_void_p(books))


def check(library, books, wanted, ns):
    for stream, told in wanted.items():
        found = library.told(books, stream)
        expect(found == told, "%s before %d: %s\ninstead of %s" %
               (stream, ns, json.dumps(found)[:400], json.dumps(told)[:400]))


def is_frame(record):
    return record.kind in (read_archive.FRAME_IN, read_archive.FRAME_OUT)


def moments(archive):
    """[(ns, books as of it)] for the stamp of each record, and the nanosecond after it. Stamps may run back a
    little where two clocks meet: what counts is all that stands before the first frame that is not before
    ns, but for events at its end that are themselves not before ns."""
    records = list(read_archive.Archive(archive).records())
    books, found, at, frame = Books(), [], 0, 0
    for ns in sorted({record.recv_ns + more for record in records for more in (0, 1)}):
        while frame < len(records) and not (is_frame(records[frame]) and records[frame].recv_ns >= ns):
            frame += 1
        while at < frame and (records[at].recv_ns < ns or any(map(is_frame, records[at:frame]))):
            books.push(records[at])
            at += 1
        found.append((ns, books.told()))
    return found


def try_played(archive, times):
    """The same through `play`, which begins with the state."""
    for ns, wanted in times:
        said, _ = rig.call("tape-replay", "play", "--format", "ndjson", "--speed", "max", "--from", ns, "--to",
                           ns + 1, archive)
        found = {}
        for line in said.decode().splitlines():
            message = json.loads(line)
            if message["kind"] == "state":
                found[message["stream"]] = message["payload"]
        for stream, told in wanted.items():
            state = found[stream] if isinstance(found[stream], dict) else json.loads(found[stream])
            expect(state.pop("state") is True, "not marked as state: %s" % state)
            expect(state == told if told else state.get("known") is False, "%s before %d as played: %s" %
                   (stream, ns, json.dumps(state)[:400]))


def try_venue(scratch, venue, seed):
    archive = record(scratch, venue, seed)
    library, dice = Library(), random.Random(seed)
    times = moments(archive)
    streams = STREAMS[venue]
    for stream in streams:
        known = sum(1 for _, told in times if told.get(stream))
        expect(known > len(times) // 10, "%s is known %d times of %d" % (stream, known, len(times)))
        expect(known < len(times) - 5, "%s is always known" % stream)
    for form in ("hot", "packed"):
        if form == "packed":
            rig.call("tape-record", "--pack", archive)
        books = library.build(archive, times[0][0])
        for ns, wanted in times:
            library.advance(books, ns)
            check(library, books, wanted, ns)
        for ns, wanted in dice.sample(times, 40):
            library.advance(books, ns)
            check(library, books, wanted, ns)
        library.free(books)
        for ns, wanted in dice.sample(times, 20):
            books = library.build(archive, ns)
            check(library, books, wanted, ns)
            library.free(books)
    inside = [moment for moment in times[:-1] if all(stream in moment[1] for stream in streams)]
    try_played(archive, dice.sample(inside, 8))


def main(scratch):
    rig.make_certificates(scratch)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # they mostly wait
        for done in [pool.submit(try_venue, scratch, venue, seed) for venue, seed in (("usdm", 5), ("spot", 6))]:
            done.result()


rig.run_main(main)
