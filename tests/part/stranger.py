"""A server that says exactly the bytes a test wants, over TCP or TLS: what no library would send. Imported by
the tests of the receive path; nothing here knows how the recorder works."""
import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import read_archive  # noqa: E402

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE_S = 40
KERNEL, SHARED, BAD, PARTIAL, AFTER = 1, 2, 8, 16, 32  # flags of a record


def frame(opcode, payload=b"", fin=1, rsv=0, mask=None, form=None):
    """One frame; form forces the 7-, 16- or 64-bit length."""
    size = len(payload)
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0x80 if mask is not None else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        head += bytes([bit | size])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if mask is not None:
        head += mask
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + payload


def close(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


class Gone(Exception):
    """The recorder closed the connection."""


class Peer:
    """One accepted connection."""

    def __init__(self, sock):
        self.sock, self.held, self.request, self.sent = sock, b"", b"", b""
        sock.settimeout(PATIENCE_S)

    def more(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            data = b""
        if not data:
            raise Gone()
        self.held += data

    def read_request(self):
        while b"\r\n\r\n" not in self.held:
            self.more()
        self.request, _, self.held = self.held.partition(b"\r\n\r\n")
        return self.request

    def accept(self):
        key = [l.split(b":", 1)[1].strip() for l in self.request.split(b"\r\n")
               if l.lower().startswith(b"sec-websocket-key:")][0]
        return base64.b64encode(hashlib.sha1(key + GUID).digest())

    def answer(self, extra=b"", accept=None):
        """The head of a good 101, with more fields or another accept."""
        return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + (accept or self.accept()) + b"\r\n" + extra + b"\r\n")

    def upgrade(self, then=b""):
        self.read_request()
        self.send(self.answer() + then)

    def send(self, data):
        self.sock.sendall(data)
        self.sent += data

    def read_frame(self):
        """(opcode, payload) of the recorder's next frame, which must be masked and whole."""
        while True:
            size = self.held[1] & 0x7F if len(self.held) > 1 else 0
            head = 2 + {126: 2, 127: 8}.get(size, 0)
            if len(self.held) >= head + 4:
                if head > 2:
                    size = int.from_bytes(self.held[2:head], "big")
                if len(self.held) >= head + 4 + size:
                    break
            self.more()
        first, second = self.held[0], self.held[1]
        assert first & 0x70 == 0 and first & 0x80 and second & 0x80, "not a final, masked frame without RSV"
        mask, body = self.held[head:head + 4], self.held[head + 4:head + 4 + size]
        self.held = self.held[head + 4 + size:]
        return first & 15, bytes(b ^ mask[i % 4] for i, b in enumerate(body))

    def read_to_end(self):
        """All frames up to the end of the connection."""
        frames = []
        while True:
            try:
                frames.append(self.read_frame())
            except Gone:
                return frames

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Stranger:
    """Listens on 127.0.0.1; script(peer, number) talks to the number-th connection (from 1) on a thread of its
    own. Connections for which there is no script are accepted and left alone. What a script returns or raises
    is in .results."""

    def __init__(self, script, certificates=None, context=None, connections=1):
        if certificates and not context:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        self.script, self.context, self.connections = script, context, connections
        self.results, self.idle = {}, []
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.url = "%s://localhost:%d" % ("wss" if context else "ws", self.port)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        number = 0
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            number += 1
            with self.changed:
                self.changed.notify_all()
            if number > self.connections:
                self.idle.append(sock)
                continue
            threading.Thread(target=self.talk, args=(sock, number), daemon=True).start()

    def talk(self, sock, number):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
            result = self.script(Peer(sock), number)
        except BaseException as failure:  # pylint: disable=broad-except
            result = failure
        with self.changed:
            self.results[number] = result
            self.changed.notify_all()
        sock.close()

    def result(self, number=1):
        with self.changed:
            if not self.changed.wait_for(lambda: number in self.results, PATIENCE_S * 2):
                raise rig.Failed("connection %d never came to its end" % number)
        if isinstance(self.results[number], BaseException):
            raise self.results[number]
        return self.results[number]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for sock in self.idle:
            sock.close()


class Tape:
    """What one recording kept: .frames and .sent are (flags, body) of connection 1, .events (kind, body)."""

    def __init__(self, archive, connection=1):
        self.frames, self.sent, self.events, self.kinds = [], [], [], []
        self.stamps = []
        reader = read_archive.Archive(archive)
        for record in reader.records():
            kind = read_archive.KINDS.get(record.kind)
            if record.connection != connection:
                continue
            self.kinds.append(kind)
            if kind == "frame_in":
                self.frames.append((record.flags & ~(KERNEL | SHARED), record.body))
                self.stamps.append((record.flags, record.recv_ns))
            elif kind == "frame_out":
                self.sent.append((record.flags, record.body))
            else:
                self.events.append((kind, record.body))
        rig.expect(not reader.damaged(), "the archive is damaged")

    def event(self, kind):
        found = [json.loads(body) for name, body in self.events if name == kind]
        rig.expect_equal(len(found), 1, "records of kind %s (%s)" % (kind, self.kinds))
        return found[0]

    def received(self):
        return b"".join(body for _, body in self.frames)


def record(scratch, server, *options, streams=(), until=None, stop=True, wanted=0):
    """Records from the server until it has said all it has to say: (archive, text on standard error)."""
    archive = pathlib.Path(tempfile.mkdtemp(prefix="case-", dir=scratch)) / "tape"
    archive.mkdir()  # one that the run makes itself would be taken back where no connection comes about
    words = ["--ring", "16MiB", "--log-format", "text", "--url", server.url, *options, archive, *streams]
    with rig.Recorder(scratch, *words) as recorder:
        if until:
            until(recorder)
        else:
            server.result()
        if stop:
            wait_for_close(archive, recorder)
            recorder.stop(signal.SIGINT)
        else:
            recorder.wait(wanted)
        text = recorder.text()
    rig.expect("Sanitizer" not in text, text)
    return archive, text


def ask(archive, sql):
    """Rows of the index of an archive that is being recorded: none as long as it cannot be read."""
    done = subprocess.run(["sqlite3", "-readonly", str(archive / "index.db"), sql], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.stdout.splitlines()


def wait_for_close(archive, recorder):
    """Until the recorder has told of the end of connection 1."""
    end = time.monotonic() + PATIENCE_S
    while recorder.process.poll() is None and time.monotonic() < end:
        if ask(archive, "SELECT 1 FROM connection WHERE closed_ns IS NOT NULL LIMIT 1"):
            return
        time.sleep(0.05)


def run_cases(cases, run):
    """Runs run(name, *case) for each, some at a time; tells all failures."""
    failures = []
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("CASES_AT_ONCE", "10"))) as pool:
        doing = {pool.submit(run, name, *case): name for name, case in cases.items()}
        for done in concurrent.futures.as_completed(doing):
            try:
                done.result()
            except Exception as failure:  # pylint: disable=broad-except
                failures.append("%s: %s: %s" % (doing[done], type(failure).__name__, failure))
    print("%d cases" % len(cases))
    rig.expect(not failures, "\n".join(["%d cases failed" % len(failures), *failures]))
