"""What the tests of `tape-replay serve` share: the server as a process, HTTP to its control, a WebSocket client
of our own that sees single frames, and what an archive holds, by the stand-alone reader."""
import base64
import json
import os
import queue
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request

import rig
from rig import Failed, expect, read_archive

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Server:
    """tape-replay serve in the background; .lines is what it said so far."""

    def __init__(self, *words, tls=None):
        words = ["serve", "--listen", "127.0.0.1:0", *map(str, words)]
        if tls:
            words += ["--cert", str(tls / "server.pem"), "--key", str(tls / "server.key")]
        self.process = subprocess.Popen([str(rig.BUILD / "tape-replay"), *words], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        self.lines, self.arrived, self.tls = [], queue.Queue(), tls
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        at = re.search(r" at (wss?)://127\.0\.0\.1:(\d+)$", self.wait_for(r" at wss?://"))
        self.port = int(at[2])
        self.url = "%s://127.0.0.1:%d" % (at[1], self.port)

    def read(self):
        for line in self.process.stderr:
            self.arrived.put(line.decode("utf-8", "replace").rstrip("\n"))
        self.arrived.put(None)

    def wait_for(self, pattern):
        """The first line (of all so far and to come) in which the pattern is found."""
        end = time.monotonic() + rig.PATIENCE_S
        at = 0
        while True:
            for line in self.lines[at:]:
                if re.search(pattern, line):
                    return line
            at = len(self.lines)
            try:
                item = self.arrived.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                item = None
            if item is None:
                raise Failed("the server never said %r; it said:\n%s" % (pattern, "\n".join(self.lines)))
            self.lines.append(item)

    def text(self):
        while not self.arrived.empty():
            item = self.arrived.get()
            if item is not None:
                self.lines.append(item)
        return "\n".join(self.lines)

    def wait(self, wanted=0):
        """Its end by itself (None: in order, whatever it played); returns all it said."""
        try:
            code = self.process.wait(rig.PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed("the server did not end; it said:\n%s" % self.text()) from None
        self.reader.join(rig.PATIENCE_S)
        expect(code in (0, 3) if wanted is None else code == wanted,
               "the server ended with %s, not %s:\n%s" % (code, wanted, self.text()))
        return self.text()

    def stop(self, wanted=0):
        expect(self.process.poll() is None, "the server ended by itself:\n%s" % self.text())
        self.process.send_signal(signal.SIGTERM)
        return self.wait(wanted)

    def alive(self):
        expect(self.process.poll() is None, "the server ended with %s:\n%s" % (self.process.poll(), self.text()))

    def context(self):
        return ssl.create_default_context(cafile=str(self.tls / "ca.pem")) if self.tls else None

    def http(self, path, body=None, headers=None):
        """(status, JSON) of GET, or POST with a body."""
        url = "%s://127.0.0.1:%d%s" % ("https" if self.tls else "http", self.port, path)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=rig.PATIENCE_S, context=self.context()) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def control(self, session="main", **command):
        """The state after a command, or now."""
        status, state = self.http("/control/" + session, command or None)
        expect(status == 200, "/control/%s %r: %s %r" % (session, command, status, state))
        return state

    def wait_state(self, truth, what, session="main"):
        end = time.monotonic() + rig.PATIENCE_S
        while True:
            state = self.control(session)
            if truth(state):
                return state
            expect(time.monotonic() < end, "%s never came: %r" % (what, state))
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        if failed is None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.wait(None)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Gone(Exception):
    """The server ended the connection; .code is None without a close frame."""

    def __init__(self, code, reason=""):
        super().__init__("closed with %s %s" % (code, reason))
        self.code, self.reason = code, reason


class Client:
    """A WebSocket client that checks nothing for us and sees every frame."""

    def __init__(self, server, target, headers=(), receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(rig.PATIENCE_S)
        self.socket.connect(("127.0.0.1", server.port))
        if server.tls:
            self.socket = server.context().wrap_socket(self.socket, server_hostname="localhost")
        self.data, self.frames = b"", []
        words = ["GET %s HTTP/1.1" % target, "Host: 127.0.0.1:%d" % server.port, "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode(), *headers, "", ""]
        self.socket.sendall("\r\n".join(words).encode())
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.status = int(head.split(b" ")[1])
        self.head = head.decode()

    def more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Gone(None)
        self.data += data

    def body(self):
        """Of a refusal, as JSON."""
        bytes_ = int(re.search(r"(?i)content-length: *(\d+)", self.head)[1])
        while len(self.data) < bytes_:
            self.more()
        return json.loads(self.data[:bytes_])

    def any_frame(self):
        """(opcode, fin, payload, the frame's bytes), whatever it is."""
        while parse(self.data) is None:
            self.more()
        opcode, fin, payload, used = parse(self.data)
        frame, self.data = self.data[:used], self.data[used:]
        return opcode, fin, payload, frame

    def frame(self):
        """The same; pings are answered, a close is Gone."""
        while True:
            opcode, fin, payload, frame = self.any_frame()
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                try:
                    self.send(payload, CLOSE)
                    while self.socket.recv(1 << 16):
                        pass
                except OSError:
                    pass
                self.close()
                raise Gone(code, payload[2:].decode())
            elif opcode != PONG:
                return opcode, fin, payload, frame

    def message(self):
        """(payload, its frames' bytes) of a whole message."""
        payload = frames = b""
        while True:
            _, fin, part, frame = self.frame()
            payload, frames = payload + part, frames + frame
            if fin:
                return payload, frames

    def messages(self, count=None):
        """Payloads up to the end of the connection, or so many."""
        found = []
        try:
            while count is None or len(found) < count:
                found.append(self.message()[0])
        except Gone as end:
            self.gone = end
        return found

    def quiet(self, seconds=0.4):
        """1 when nothing comes for that long."""
        self.socket.settimeout(seconds)
        try:
            while parse(self.data) is None:
                self.more()
            return False
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.socket.settimeout(rig.PATIENCE_S)

    def send(self, payload, opcode=TEXT):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode]) + (bytes([0x80 | size]) if size < 126 else
                                         struct.pack(">BH", 0xFE, size) if size < 65536 else
                                         struct.pack(">BQ", 0xFF, size))
        key = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big") if size else b""
        self.socket.sendall(head + mask + masked)

    def ask(self, **request):
        """Sends a request; the answer, which is the next message."""
        self.send(json.dumps(request).encode())
        return json.loads(self.message()[0])

    def close(self):
        self.socket.close()


def parse(data):
    """(opcode, fin, payload, bytes used) of the first frame, or None."""
    if len(data) < 2:
        return None
    size, at = data[1] & 127, 2
    if size >= 126:
        bytes_ = 2 if size == 126 else 8
        if len(data) < 2 + bytes_:
            return None
        size, at = int.from_bytes(data[2:2 + bytes_], "big"), 2 + bytes_
    if len(data) < at + size:
        return None
    return data[0] & 15, data[0] >> 7, data[at:at + size], at + size


# ---- what an archive holds ----


def import_lines(scratch, name, lines, *words):
    path = rig.write_lines(scratch / (name + ".txt"), lines)
    rig.call("tape-record", "--import", path, scratch / name, "--venue", "usdm", *words)
    return scratch / name


def data_frames(archive):
    """{connection: [bytes of each data frame as received]}, text and binary, fragments too."""
    found = {}
    for record in read_archive.Archive(archive).records():
        if read_archive.KINDS.get(record.kind) == "frame_in" and record.body[0] & 15 in (0, TEXT, BINARY):
            found.setdefault(record.connection, []).append(bytes(record.body))
    return found


def payloads(lines, streams=None):
    """Of `<ns> <payload>` lines, those of these streams."""
    found = [line.split(b" ", 1)[1] for line in lines]
    if streams is None:
        return found
    heads = tuple(b'{"stream":"%s",' % stream.encode() for stream in streams)
    return [payload for payload in found if payload.startswith(heads)]


def inner(payload):
    """The data of a wrapper, byte for byte: ours are all of one form."""
    return payload[payload.index(b'"data":') + 7:-1]
