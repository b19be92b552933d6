"""tests/part/echo_server.c as a process, and a client that says exactly the bytes a test wants, over TCP or TLS.
Imported by the tests of the player's network side."""
import os
import pathlib
import queue
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect  # noqa: E402

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE_S = 60
RANDOM = random.Random(20261122)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(opcode, payload=b"", fin=1, rsv=0, masked=True, form=None):
    """One frame of a client; form forces the 7-, 16- or 64-bit length."""
    size = len(payload)
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0x80 if masked else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        head += bytes([bit | size])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not masked:
        return head + payload
    mask = RANDOM.randbytes(4)
    whole = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + whole.to_bytes(size, "big")


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def upgrade(path="/", key=KEY, extra=b""):
    return (b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n" + extra + b"\r\n")


class Server:
    """echo_server in the background; .said are its lines so far."""

    def __init__(self, *options, files=None, quarantine_mb=None, before=()):
        words = [*before, str(rig.BUILD / "tests/part/echo_server"), *map(str, options)]
        if files:
            words = ["sh", "-c", 'ulimit -n %d; exec "$@"' % files, "sh", *words]
        env = dict(os.environ)
        if quarantine_mb is not None:  # of AddressSanitizer: freed memory that it keeps
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=%d" % quarantine_mb
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        self.said, self.arrived = [], queue.Queue()
        self.wrapped = bool(before)
        threading.Thread(target=self.listen, daemon=True).start()
        self.address = self.wait_for(r"listening (\S+)")[1]
        self.host, self.port = self.address.rsplit(":", 1)[0].strip("[]"), int(self.address.rsplit(":", 1)[1])

    @property
    def pid(self):
        """Of the server, also where another program runs it."""
        number = self.process.pid
        if not self.wrapped:
            return number
        return int(pathlib.Path("/proc/%d/task/%d/children" % (number, number)).read_text(encoding="ascii").split()[0])

    def listen(self):
        for line in self.process.stdout:
            self.arrived.put(line.decode().rstrip("\n"))
        self.arrived.put(None)

    def wait_for(self, pattern, count=1):
        """The match of the count-th line that matches, from the start."""
        end = time.monotonic() + PATIENCE_S
        while True:
            found = [m for m in (re.fullmatch(pattern, line) for line in self.said) if m]
            if len(found) >= count:
                return found[count - 1]
            try:
                line = self.arrived.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                line = None
            expect(line is not None, "the server never said %r, but: %s%s" %
                   (pattern, self.said[-10:], self.process.stderr.read().decode() if line is None and
                    self.process.poll() is not None else ""))
            self.said.append(line)

    def resident_kib(self):
        status = pathlib.Path("/proc/%d/status" % self.process.pid).read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def stop(self):
        expect(self.process.poll() is None, "the server ended by itself with %s: %s" %
               (self.process.poll(), self.process.stderr.read().decode() if self.process.poll() is not None else ""))
        os.kill(self.pid, signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise rig.Failed("the server did not end") from None
        expect(code == 0, "the server ended with %s: %s" % (code, self.process.stderr.read().decode()[-3000:]))
        self.wait_for(r"left 0")
        wrong = [line for line in self.said if line.startswith(("late message", "closed a peer"))]
        expect(not wrong, wrong)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()


class Raw:
    """A connection of ours; .held is what was read and not yet looked at."""

    def __init__(self, server, tls=None, receive_bytes=None, family=socket.AF_INET):
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect((server.host, server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost", suppress_ragged_eofs=False)
        self.held, self.reset = b"", False

    def send(self, data, step=None):
        """Whole or in steps; a server that has hung up is no error here."""
        try:
            if step is None:
                self.sock.sendall(data)
            else:
                for at in range(0, len(data), step):
                    self.sock.sendall(data[at:at + step])
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return False
        return True

    def more(self):
        """False at the end."""
        try:
            data = self.sock.recv(1 << 16)
        except (ConnectionResetError, ssl.SSLEOFError):  # TLS without its close_notify is cut, not ended
            self.reset, data = True, b""
        except ssl.SSLError:
            data = b""
        self.held += data
        return bool(data)

    def head(self):
        """Reads a response's head: (status, {name: value})."""
        while b"\r\n\r\n" not in self.held:
            expect(self.more(), "the server hung up after %r" % self.held[:200])
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = dict((name.lower(), value.strip()) for name, _, value in (l.partition(":") for l in lines[1:]))
        return int(lines[0].split(" ")[1]), fields

    def response(self, head_only=False):
        """(status, fields, body)."""
        status, fields = self.head()
        size = 0 if head_only else int(fields.get("content-length", 0))
        while len(self.held) < size:
            expect(self.more(), "the server hung up in a body")
        body, self.held = self.held[:size], self.held[size:]
        return status, fields, body

    def open(self, path="/", extra=b"", step=None):
        self.send(upgrade(path, extra=extra), step)
        status, fields = self.head()
        expect(status == 101, "the upgrade was answered with %d" % status)
        expect(fields["sec-websocket-accept"] == ACCEPT.decode(), fields)
        expect("sec-websocket-extensions" not in fields and "sec-websocket-protocol" not in fields, fields)
        return self

    def read_frame(self):
        """(opcode, fin, payload), or None at the end."""
        while True:
            if len(self.held) >= 2:
                size, at = self.held[1] & 0x7f, 2
                expect(not self.held[1] & 0x80, "a masked frame from the server")
                if size == 126 and len(self.held) >= 4:
                    size, at = struct.unpack(">H", self.held[2:4])[0], 4
                elif size == 127 and len(self.held) >= 10:
                    size, at = struct.unpack(">Q", self.held[2:10])[0], 10
                if (size < 126 or at > 2) and len(self.held) >= at + size:
                    first, payload = self.held[0], self.held[at:at + size]
                    self.held = self.held[at + size:]
                    return first & 0x0f, first >> 7, payload
            if not self.more():
                return None

    def frames(self):
        """All up to the end."""
        found = []
        while True:
            got = self.read_frame()
            if got is None:
                return found
            found.append(got)

    def at_end(self):
        """True when the server has ended the connection in order, with nothing more to say."""
        return not self.more() and not self.held and not self.reset

    def shut(self):
        self.sock.close()


def trusting(folder):
    """Certificates in the folder, and a client's context that trusts them."""
    rig.make_certificates(folder)
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def secured(folder):
    return ["--cert", folder / "server.pem", "--key", folder / "server.key"]
