#!/usr/bin/python3
"""A local stand-in for an exchange: WebSocket (over TLS when given a certificate) by python3-websockets,
messages by samples/generate.py. We wrote neither the protocol nor the TLS that it speaks.

It keeps the venue's habits: paths (USD-M: /market/stream and /public/stream, and the unrouted /stream,
which only ever delivers public streams; else /stream), the combined wrapper, SUBSCRIBE, UNSUBSCRIBE,
LIST_SUBSCRIPTIONS, both shapes of error, pings whose payload the pong has to copy, a limit of ten requests
a second. A stream on the wrong route, or one that does not exist, is acknowledged and stays silent.
Beside them GET …/depth?symbol=&limit= answers with the book that the live market's depth streams make.

Two sources: a live market (paced by the clock, the same for all connections, so that who is away misses
messages), or --lines FILE, sent as is from the first subscription on; a redialled connection goes on where
the last one of that path stopped.

What was sent on each connection is written to --log DIR/connection-N.txt, one payload a line in order, and
DIR/exchange.json sums it up at the end. On standard output: one JSON object a line for what happens, the
first being {"event":"listening","port":N}. With --control it takes commands on standard input: `cut` (half
a frame, then TCP reset) and `close CODE`, each with an optional path, `stop`.
"""
import argparse
import asyncio
import collections
import hashlib
import http
import json
import logging
import os
import pathlib
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

import websockets

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "samples"))
import generate  # noqa: E402  pylint: disable=wrong-import-position
import order_book  # noqa: E402  pylint: disable=wrong-import-position

try:  # websockets 13 and later
    from websockets.asyncio.server import serve
    LEGACY = False
except ImportError:
    from websockets.legacy.server import serve
    LEGACY = True

BACKLOG_MAX = 200_000
REQUESTS_PER_SECOND = 10


def is_public(stream):
    kind = stream.partition("@")[2] or stream
    return kind.startswith(("bookTicker", "!bookTicker", "depth", "rpiDepth", "trade"))


def read_lines(path):
    """Payloads of a `<ns> <payload>` file, plain or .zst."""
    if str(path).endswith(".zst"):
        data = subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout
    else:
        data = pathlib.Path(path).read_bytes()
    return [line.split(b" ", 1)[1].decode() for line in data.split(b"\n") if line]


def stream_of(payload):
    """The wrapper's name; a REST answer among the lines has none."""
    if not payload.startswith('{"stream":"'):
        return None
    return payload[11:payload.index('"', 11)]


class Connection:
    """One client. `sent` counts what was given to the library, in order; `unsure` is 1 while the last of
    them may not have been written (the connection failed inside the call)."""

    def __init__(self, number, socket_, path, key, log):
        self.number, self.socket, self.path, self.key = number, socket_, path, key
        self.streams = []
        self.queue = collections.deque()
        self.wake = asyncio.Event()
        name = "connection-%d.txt" % number
        self.file = open(log / name, "w", encoding="utf-8") if log else None  # pylint: disable=R1732
        self.sent = self.data = self.unsure = self.pings = self.pongs = 0
        self.opened, self.ended, self.requests = time.time_ns(), "", collections.deque(maxlen=64)
        self.started = False

    async def send(self, payload, data=True):
        if self.file:
            self.file.write(payload)
            self.file.write("\n")
        self.sent += 1
        self.data += data
        self.unsure = 1
        await self.socket.send(payload)
        self.unsure = 0

    def count_pong(self, answered):
        if not answered.cancelled() and not answered.exception():
            self.pongs += 1

    def delivers(self, stream, routed):
        """Acknowledged is not delivered: on a routed venue the path decides."""
        if stream not in self.streams:
            return False
        return not routed or is_public(stream) != self.path.startswith("/market")

    def summary(self):
        digest = ""
        if self.file:
            self.file.close()
            digest = hashlib.sha256(pathlib.Path(self.file.name).read_bytes()).hexdigest()
        return {"connection": self.number, "path": self.path, "key": self.key,
                "streams": self.streams, "sent": self.sent,
                "data": self.data, "unsure": self.unsure, "pings": self.pings, "pongs": self.pongs,
                "ended": self.ended or "open", "opened_ns": str(self.opened),
                "sha256": digest}


class Exchange:
    def __init__(self, options):
        self.options = options
        self.routed = options.venue == "usdm"
        self.log = options.log
        self.connections, self.live = [], {}
        self.cursor = collections.Counter()
        self.lines = read_lines(options.lines) if options.lines else None
        everything = options.all or options.unasked
        self.names = [stream_of(p) for p in self.lines] if self.lines and not everything else None
        self.cuts = [int(n) for n in options.cut_after.split(",")] if options.cut_after else []
        self.stopping = asyncio.Event()
        self.random = random.Random(options.seed)
        self.books = order_book.OrderBooks(options.venue)

    def say(self, event, **more):
        print(json.dumps(dict(event=event, ns=str(time.time_ns()), **more)), flush=True)

    # ---- one client ----

    def known_path(self, path):
        path = path.partition("?")[0]
        roots = ("/market", "/public", "") if self.routed else ("",)
        return any(path in (root + "/stream", root + "/ws") for root in roots)

    def plain_answer(self, path):
        """(status, text) for a request that is not to become a WebSocket connection, else None."""
        return self.books.request(path) or (None if self.known_path(path) else (404, "no such path\n"))

    def legacy_request(self, path, _headers):
        answer = self.plain_answer(path)
        return answer and (http.HTTPStatus(answer[0]), [], answer[1].encode())

    def request(self, connection, request):
        answer = self.plain_answer(request.path)
        return answer and connection.respond(*answer)

    async def handle(self, socket_, _path=None):
        request = socket_ if LEGACY else socket_.request
        key = (socket_.request_headers if LEGACY else request.headers)["Sec-WebSocket-Key"]
        path = request.path
        connection = Connection(len(self.connections) + 1, socket_, path.partition("?")[0], key,
                                None if self.options.no_payloads else self.log)
        self.connections.append(connection)
        self.live[connection.number] = connection
        if "streams=" in path:
            connection.streams += path.partition("streams=")[2].split("&")[0].split("/")
        self.say("open", connection=connection.number, path=path)
        tasks = [asyncio.ensure_future(self.pinger(connection)),
                 asyncio.ensure_future(self.sender(connection))]
        connection.wake.set()
        try:
            async for text in socket_:
                await self.answer(connection, text)
            connection.ended = connection.ended or "in order"
        except websockets.ConnectionClosed:
            connection.ended = connection.ended or "lost"
        finally:
            for task in tasks:
                task.cancel()
            del self.live[connection.number]
            self.say("end", connection=connection.number, how=connection.ended, sent=connection.sent,
                     data=connection.data)

    async def answer(self, connection, text):
        now = time.monotonic()
        connection.requests.append(now)
        if sum(1 for t in connection.requests if t > now - 1) > REQUESTS_PER_SECOND:
            connection.ended = "too many requests"
            await connection.socket.close(1008, "Too many requests")
            return
        try:
            request = json.loads(text)
        except ValueError:
            await self.refuse(connection, 3, "Invalid JSON: expected value at line 1 column 1", None)
            return
        if not isinstance(request, dict):
            request = {}
        method, streams, number = request.get("method"), request.get("params", []), request.get("id")
        refused = [s for s in streams if s in self.options.refuse.split(",")] if streams else []
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS") or refused:
            await self.refuse(connection, 2, "Invalid request: %s" % (
                "unknown stream" if refused else "unknown variant `%s`, expected one of `SUBSCRIBE`" % method),
                number)
            return
        self.say("request", connection=connection.number, method=method, streams=streams)
        result = None
        if method == "SUBSCRIBE":
            connection.streams += [s for s in streams if s not in connection.streams]
        elif method == "UNSUBSCRIBE":
            connection.streams = [s for s in connection.streams if s not in streams]
        else:
            result = connection.streams
        answer = json.dumps({"result": result, "id": number}, separators=(",", ":"))
        await connection.send(answer, data=False)
        connection.started = True
        connection.wake.set()

    async def refuse(self, connection, code, words, number):
        error = {"code": code, "msg": words}
        answer = {"error": error, "id": number} if self.options.errors == "nested" else dict(error, id=number)
        await connection.send(json.dumps(answer, separators=(",", ":")), data=False)

    async def pinger(self, connection):
        """Pings as the venue does, the payload now a time, now noise, now as long as may be."""
        while True:
            await asyncio.sleep(self.options.ping_ms / 1000)
            size = self.random.choice((0, 13, 13, 13, 125, 1 + self.random.randrange(124)))
            data = str(time.time_ns() // 10**6).encode() if size == 13 else self.random.randbytes(size)
            if connection.ended:
                return
            try:
                answered = await connection.socket.ping(data)  # done when a pong copies the payload
            except (websockets.ConnectionClosed, ConnectionError):
                return
            connection.pings += 1
            answered.add_done_callback(connection.count_pong)

    async def sender(self, connection):
        try:
            if self.lines is None:
                await self.send_queue(connection)
            else:
                await self.send_lines(connection)
        except (websockets.ConnectionClosed, ConnectionError):
            pass

    async def send_queue(self, connection):
        while True:
            await connection.wake.wait()
            connection.wake.clear()
            while connection.queue and not connection.ended:
                await connection.send(connection.queue.popleft())
                await self.maybe_cut(connection)

    async def send_lines(self, connection):
        while not connection.started and not connection.streams and not self.options.unasked:
            await connection.wake.wait()
            connection.wake.clear()
        await asyncio.sleep(self.options.wait_ms / 1000)
        step = 1 / self.options.rate if self.options.rate else 0
        due, at = time.monotonic(), self.cursor[connection.path]
        while at < len(self.lines) * self.options.repeat:
            if connection.ended:
                return
            if step and time.monotonic() < due:
                await asyncio.sleep(max(0.001, due - time.monotonic()))
            due += step
            at += 1
            self.cursor[connection.path] = at
            line = (at - 1) % len(self.lines)
            if self.names is None or connection.delivers(self.names[line], self.routed):
                await self.send_line(connection, self.lines[line], at)
                await self.maybe_cut(connection)
        self.say("all sent", connection=connection.number, sent=connection.sent)
        if self.options.then == "close":
            connection.ended = "closed by us"
            await connection.socket.close(self.options.close_code, "that was all")

    async def send_line(self, connection, payload, at):
        if self.options.fragment and at % self.options.fragment == 0 and len(payload) > 8:
            third = len(payload) // 3
            if connection.file:
                connection.file.write(payload + "\n")
            connection.sent, connection.data = connection.sent + 1, connection.data + 1
            await connection.socket.send([payload[:third], payload[third:2 * third], payload[2 * third:]])
        else:
            await connection.send(payload)

    async def maybe_cut(self, connection):
        if self.cuts and connection.data >= self.cuts[0]:
            del self.cuts[0]
            await self.cut(connection)
            await asyncio.sleep(3600)

    async def cut(self, connection):
        """Half a frame, then a reset, as when a machine on the way dies."""
        connection.ended = "cut"
        payload = b'{"stream":"cut@here","data":{"half":"' + b"x" * 2000
        transport = connection.socket.transport
        transport.write(b"\x81\x7e" + struct.pack(">H", 2 * len(payload)) + payload)
        await asyncio.sleep(0.05)
        wire = transport.get_extra_info("socket")
        if wire is not None and wire.fileno() >= 0:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        self.say("cut", connection=connection.number, sent=connection.sent)

    # ---- the market ----

    async def market(self):
        options = self.options
        market = generate.Market(options.venue, options.symbols, options.streams, options.seed,
                                 options.rate or 500, time.time_ns())
        for ns, stream, payload in market.messages():
            while time.time_ns() < ns:
                await asyncio.sleep(0.002)
            self.books.follow(stream, payload)
            for connection in list(self.live.values()):
                if not connection.ended and connection.delivers(stream, self.routed):
                    connection.queue.append(payload)
                    connection.wake.set()
                    if len(connection.queue) > BACKLOG_MAX:
                        await self.cut(connection)
            if self.stopping.is_set():
                return

    # ---- all of it ----

    async def commands(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while True:
            line = (await reader.readline()).decode()
            words = line.split()
            if not line or words[:1] == ["stop"]:
                self.stopping.set()
                return
            chosen = [c for c in self.live.values() if not c.ended and (words[0] not in ("cut", "close") or
                      c.path == (words[-1] if words[-1].startswith("/") else c.path))]
            if words[0] == "cut" and chosen:
                await self.cut(chosen[-1])
            elif words[0] == "close" and chosen:
                chosen[-1].ended = "closed by us"
                await chosen[-1].socket.close(int(words[1]), "by command")
            else:
                self.say("not understood", line=line)

    async def run(self):
        options = self.options
        context = None
        if options.cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options.cert, options.key)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        check = self.legacy_request if LEGACY else self.request
        async with serve(self.handle, "127.0.0.1", options.port, ssl=context, compression=None,
                         ping_interval=None, process_request=check, max_size=1 << 20,
                         close_timeout=5) as server:
            self.say("listening", port=server.sockets[0].getsockname()[1])
            tasks = []
            if self.lines is None:
                tasks.append(asyncio.ensure_future(self.market()))
            if options.control:
                tasks.append(asyncio.ensure_future(self.commands()))
            await self.stopping.wait()
            for task in tasks:
                task.cancel()
        with open(self.log / "exchange.json", "w", encoding="utf-8") as file:
            json.dump([c.summary() for c in self.connections], file, indent=1)
        self.say("stopped")


def names(text):
    return [word for word in text.split(",") if word]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--no-payloads", action="store_true", help="log no payloads: for long runs")
    parser.add_argument("--log", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--venue", choices=generate.VENUES, default="usdm")
    parser.add_argument("--symbols", type=names)
    parser.add_argument("--streams", type=names)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=0, help="a second; lines: 0 as fast as can be")
    parser.add_argument("--lines", metavar="FILE")
    parser.add_argument("--repeat", type=int, default=1, help="send the lines so many times over")
    parser.add_argument("--all", action="store_true", help="send every line whatever is subscribed")
    parser.add_argument("--unasked", action="store_true", help="do not wait for a subscription")
    parser.add_argument("--then", choices=("idle", "close"), default="idle", help="after the last line")
    parser.add_argument("--close-code", type=int, default=1000)
    parser.add_argument("--wait-ms", type=int, default=200, help="from the subscription to the first line")
    parser.add_argument("--fragment", type=int, default=0, help="send every so manieth line in fragments")
    parser.add_argument("--cut-after", default="", metavar="N,N", help="cut when a connection sent N")
    parser.add_argument("--ping-ms", type=int, default=300)
    parser.add_argument("--refuse", default="", metavar="STREAM,…", help="answer these with an error")
    parser.add_argument("--errors", choices=("nested", "flat"), default="nested")
    parser.add_argument("--control", action="store_true", help="commands on standard input")
    options = parser.parse_args()
    os.makedirs(options.log, exist_ok=True)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # "socket.send() raised": clients are killed here
    asyncio.run(Exchange(options).run())


if __name__ == "__main__":
    main()
