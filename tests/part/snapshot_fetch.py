#!/usr/bin/env python3
"""Order-book snapshots fetched beside the feed: kept byte for byte in every shape an HTTP server may send
them, asked for again after a while and after a new connection, told by a note where they cannot be had;
the feed's own frames are never touched. The HTTP end is Python's http.server over TLS."""
import concurrent.futures
import http.server
import json
import pathlib
import signal
import ssl
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import read_archive  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BODY = json.dumps({"lastUpdateId": 7, "bids": [["1.00", "2"]] * 3000, "asks": []}).encode()


class Books(http.server.ThreadingHTTPServer):
    """Answers each request with the next shape of its list, the last one for ever."""
    daemon_threads = True

    def __init__(self, folder, shapes, secure=True):
        self.shapes, self.asked, self.times = list(shapes), [], []
        super().__init__(("127.0.0.1", 0), Answer)
        if secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server.pem", folder / "server.key")
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = "%s://localhost:%d" % ("https" if secure else "http", self.server_address[1])
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # the recorder hangs up on what it refuses: that is the test

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
        server = self.server
        shape = server.shapes.pop(0) if len(server.shapes) > 1 else server.shapes[0]
        server.asked.append(self.path)
        server.times.append(time.monotonic())
        getattr(self, shape)()

    def head(self, code, *fields):
        self.send_response(code)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def length(self):
        self.head(200, ("Content-Length", len(BODY)))
        self.wfile.write(BODY)

    def chunked(self):
        self.head(200, ("Transfer-Encoding", "chunked"))
        for at in range(0, len(BODY), 999):
            part = BODY[at:at + 999]
            self.wfile.write(b"%x;note=1\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def busy(self):
        self.head(429, ("Retry-After", "2"), ("Content-Length", 0))

    def absent(self):
        self.head(404, ("Content-Length", 0))

    def redirect(self):
        self.head(302, ("Location", "https://localhost:1/"), ("Content-Length", 0))

    def huge(self):
        self.head(200, ("Content-Length", 9 << 20))

    def both_lengths(self):
        self.head(200, ("Content-Length", 5), ("Transfer-Encoding", "chunked"))
        self.wfile.write(b"hello")

    def cut(self):
        self.head(200, ("Content-Length", len(BODY)))
        self.wfile.write(BODY[:100])
        self.close_connection = True

    def endless_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: %s\r\n" % (b"x" * 100) * 400)

    def garbage(self):
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.close_connection = True


def snapshots(archive):
    found = []
    for record in read_archive.Archive(archive).records():
        if read_archive.KINDS.get(record.kind) == "snapshot":
            line, _, body = record.body.partition(b"\n")
            found.append((record.connection, json.loads(line), body))
    return found


def gave_up(archive):
    return [note for note in rig.records_of(archive, "note") if note["kind"] == "snapshot"]


def run(scratch, name, shapes, done, streams=("btcusdt@depth",), secure=True, exchange_options=()):
    """Records until done(books, archive) holds; returns (archive, books)."""
    archive = scratch / name
    with Books(scratch, shapes, secure) as books, \
            rig.Exchange(scratch / ("log-" + name), "--rate", 500, "--symbols", "btcusdt,ethusdt",
                         *exchange_options, certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", "--snapshots",
                          books.url, archive, *streams) as recorder:
            recorder.wait_until(lambda: done(books, archive), name)
            recorder.stop(signal.SIGINT)
        exchange.stop()
    rig.verify(archive)
    return archive, books


def is_kept(books, archive):
    return archive.exists() and bool(snapshots(archive))


def check_kept(archive, url, symbol="BTCUSDT", stream="btcusdt@depth"):
    connection, line, body = snapshots(archive)[0]
    expect(body == BODY, "the body is not as it was sent")
    expect_equal(line["stream"], stream, "stream of the snapshot")
    expect_equal(line["status"], 200, "status")
    expect_equal(line["url"], url + "/fapi/v1/depth?symbol=%s&limit=1000" % symbol, "URL of the record")
    expect(line["asked_ns"].isdigit() and connection > 0, "time and connection")


def at_once(cases):
    """They mostly wait."""
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        for done in [pool.submit(case) for case in cases]:
            done.result()


def good_shapes(scratch):
    archive, books = run(scratch, "length", ["length"], is_kept)
    check_kept(archive, books.url)
    expect_equal(books.asked, ["/fapi/v1/depth?symbol=BTCUSDT&limit=1000"], "requests")
    played, _ = rig.call("tape-replay", "play", "--speed", "max", "--format", "raw", archive)
    expect(BODY not in played, "a snapshot is no message of the feed")
    archive, books = run(scratch, "chunked", ["chunked"], is_kept)
    check_kept(archive, books.url)
    archive, books = run(scratch, "plain", ["length"], is_kept, secure=False)
    check_kept(archive, books.url)


def tried_again(scratch):
    archive, books = run(scratch, "busy", ["busy", "length"], is_kept)
    check_kept(archive, books.url)
    expect_equal(len(books.asked), 2, "requests")
    expect(books.times[1] - books.times[0] >= 2, "Retry-After was not waited for")


def each_refusal(scratch):
    """What is no snapshot is asked for three times, then told; the feed goes on."""
    shapes = ["absent", "redirect", "huge", "both_lengths", "cut", "endless_head", "garbage"]
    def refuse(first):
        three = (shapes[first:first + 3] + shapes[:2])[:3]
        archive, books = run(scratch, "bad-%d" % first, three,
                             lambda books, archive: archive.exists() and bool(gave_up(archive)))
        expect_equal(len(books.asked), 3, "requests of " + ", ".join(three))
        expect_equal([n["stream"] for n in gave_up(archive)], ["btcusdt@depth"], "notes of " + ", ".join(three))
        expect_equal(snapshots(archive), [], "snapshots of " + ", ".join(three))

    at_once([lambda first=first: refuse(first) for first in range(0, len(shapes), 3)])


def other_streams(scratch):
    """A diff stream has a snapshot; a partial book and trades have none."""
    archive, books = run(scratch, "streams", ["length"], lambda books, archive: len(books.asked) >= 2,
                         streams=("ethusdt@depth", "btcusdt@depth", "btcusdt@depth20", "btcusdt@trade"))
    expect_equal(sorted(books.asked), ["/fapi/v1/depth?symbol=BTCUSDT&limit=1000",
                                       "/fapi/v1/depth?symbol=ETHUSDT&limit=1000"], "requests")


def wrong_certificate(scratch):
    other = rig.make_certificates(scratch / "other")
    archive = scratch / "certificate"
    with Books(other, ["length"]) as books, \
            rig.Exchange(scratch / "log-certificate", "--rate", 500, "--symbols", "btcusdt",
                         certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", "--snapshots",
                          books.url, archive, "btcusdt@depth") as recorder:
            recorder.wait_until(lambda: archive.exists() and gave_up(archive), "the note")
            recorder.stop(signal.SIGINT)
        exchange.stop()
    expect("certificate" in gave_up(archive)[0]["cause"], "the cause: " + gave_up(archive)[0]["cause"])
    expect_equal(books.asked, [], "requests over an untrusted connection")


def usage(scratch):
    for base, words in (("ftp://localhost", "is no URL of the form https://HOST[:PORT]"),
                        ("https://localhost/path", "the path is the venue's"),
                        ("http://example.com", "plain http is for this machine alone")):
        _, said = rig.call("tape-record", "--snapshots", base, scratch / "none", "btcusdt@depth", wanted=2)
        expect(words in said, "words for " + base + ": " + said)
    expect(not (scratch / "none").exists(), "an archive was made")


def main(scratch):
    rig.make_certificates(scratch)
    usage(scratch)
    at_once([lambda case=case: case(scratch)
             for case in (each_refusal, wrong_certificate, tried_again, other_streams, good_shapes)])


rig.run_main(main)
