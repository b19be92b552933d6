"""What the demo and the scripts in tests/part share: certificates, the exchange as a process, the two
programs as processes, and the comparison of what was sent with what an archive holds."""
import contextlib
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
DATA = pathlib.Path(os.environ.get("TAPE_DATA", ROOT.parent / "shared" / "data"))
PYTHON = "/usr/bin/python3"
PATIENCE_S = 60  # no test waits to measure time; this only ends one that would wait for ever
SKIP = 77

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "samples"))
import read_archive  # noqa: E402  pylint: disable=wrong-import-position


class Failed(Exception):
    """A test's expectation that did not hold."""


def expect(truth, what):
    if not truth:
        raise Failed(what)


def expect_equal(found, wanted, what):
    if found != wanted:
        raise Failed("%s: found %r, not %r" % (what, found, wanted))


def skip(why):
    print(why)
    sys.exit(SKIP)


def run_main(main):
    """Runs a test's main(scratch directory); the directory is kept when it failed."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tape-part-"))
    try:
        main(scratch)
    except Failed as failure:
        print("FAILED: %s\n(left in %s)" % (failure, scratch))
        sys.exit(1)
    except BaseException as end:
        if isinstance(end, SystemExit) and end.code == SKIP:
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            print("(left in %s)" % scratch)
        raise
    shutil.rmtree(scratch, ignore_errors=True)


def node(script, *words):
    """The command and the environment in which node finds Debian's ws, or None where they are not installed."""
    modules = pathlib.Path("/usr/share/nodejs")
    if not shutil.which("node") or not (modules / "ws").is_dir():
        return None
    return ["node", str(script), *map(str, words)], dict(os.environ, NODE_PATH=str(modules))


def real_data(name):
    """One of the captures outside the tree, or None."""
    path = DATA / name
    return path if path.is_file() else None


def lines_of(path, count=None):
    """Lines of a `<ns> <payload>` file, .zst or plain."""
    if path.suffix == ".zst":
        text = subprocess.run(["zstd", "-dcq", str(path)], check=True, stdout=subprocess.PIPE).stdout
    else:
        text = path.read_bytes()
    return text.split(b"\n")[:-1][:count]


def generate(*options):
    """Lines of samples/generate.py."""
    made = subprocess.run([PYTHON, str(ROOT / "samples/generate.py"), *map(str, options)], check=True,
                          stdout=subprocess.PIPE).stdout
    return made.split(b"\n")[:-1]


def write_lines(path, lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def streams_in(lines):
    """The names that the wrappers of these lines carry."""
    found = (re.match(rb'\d+ \{"stream":"([^"]*)"', line) for line in lines)
    return sorted({match[1].decode() for match in found if match})


# ---- certificates ----


def openssl(*words, folder):
    done = subprocess.run(["openssl", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    if done.returncode:
        raise Failed("openssl %s: %s" % (words[0], done.stdout.decode("utf-8", "replace")))


def make_certificates(folder):
    """ca.pem, and server.pem with server.key for localhost; returns folder."""
    os.makedirs(folder, exist_ok=True)
    (folder / "server.ext").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
        "basicConstraints=critical,CA:FALSE\n", encoding="ascii")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "3",
            "-subj", "/CN=Tapedeck demo CA", "-addext", "keyUsage=critical,keyCertSign", folder=folder)
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost",
            folder=folder)
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "3", "-extfile", "server.ext", "-out", "server.pem", folder=folder)
    return folder


# ---- processes ----


class Exchange:
    """tests/demo/exchange.py; .events are what it said so far."""

    command = [PYTHON, str(ROOT / "tests/demo/exchange.py")]

    def __init__(self, log, *options, certificates=None):
        self.log = pathlib.Path(log)
        words = [*self.command, "--log", str(log), "--control", *map(str, options)]
        if certificates:
            words += ["--cert", str(certificates / "server.pem"), "--key", str(certificates / "server.key")]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.events, self.arrived = [], queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.port = self.wait_for("listening")["port"]
        self.url = "%s://localhost:%d" % ("wss" if certificates else "ws", self.port)
        self.rest = "%s://localhost:%d" % ("https" if certificates else "http", self.port)

    def read(self):
        for line in self.process.stdout:
            self.arrived.put(json.loads(line))
        self.arrived.put(None)

    def wait_for(self, event, count=1, **wanted):
        """The count-th event of that name (from the start) with those values."""
        end = time.monotonic() + PATIENCE_S
        while True:
            found = [e for e in self.events
                     if e["event"] == event and all(e.get(k) == v for k, v in wanted.items())]
            if len(found) >= count:
                return found[count - 1]
            try:
                item = self.arrived.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                item = None
            if item is None:
                raise Failed("the exchange never said '%s' (%r)" % (event, wanted))
            self.events.append(item)

    def drain(self):
        while not self.arrived.empty():
            item = self.arrived.get()
            if item:
                self.events.append(item)
        return self.events

    def tell(self, words):
        self.process.stdin.write((words + "\n").encode())
        self.process.stdin.flush()

    def stop(self):
        """Ends it; returns the summary of its connections."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        self.drain()
        return json.loads((self.log / "exchange.json").read_text(encoding="utf-8"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdin.close()


class Recorder:
    """tape-record in the background; what it says goes to a file."""

    def __init__(self, scratch, *words):
        self.said = pathlib.Path(tempfile.mkstemp(prefix="record-", suffix=".log", dir=scratch)[1])
        with open(self.said, "wb") as file:
            self.process = subprocess.Popen([str(BUILD / "tape-record"), *map(str, words)],
                                            stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def text(self):
        return self.said.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, truth, what):
        end = time.monotonic() + PATIENCE_S
        while not truth():
            expect(self.process.poll() is None, "%s: tape-record ended with %s:\n%s" %
                   (what, self.process.poll(), self.text()))
            expect(time.monotonic() < end, "%s never came; tape-record said:\n%s" % (what, self.text()))
            time.sleep(0.02)

    def wait(self, wanted=0):
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("tape-record did not end; it said:\n%s" % self.text()) from None
        expect(code == wanted, "tape-record ended with %s, not %s:\n%s" % (code, wanted, self.text()))

    def stop(self, number=signal.SIGINT, wanted=0):
        expect(self.process.poll() is None, "tape-record ended by itself with %s:\n%s" %
               (self.process.poll(), self.text()))
        self.process.send_signal(number)
        self.wait(wanted)

    def kill(self):
        expect(self.process.poll() is None, "tape-record ended by itself:\n%s" % self.text())
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, _, failure, *__):
        code = self.process.poll()
        if code is None:
            self.process.kill()
            self.process.wait()
        elif isinstance(failure, Failed):
            raise Failed("%s; tape-record had ended with %s:\n%s" % (failure, code, self.text())) from failure


def call(program, *words, wanted=0, stdin=subprocess.DEVNULL):
    """Runs one of the two programs to its end: (standard output, standard error)."""
    done = subprocess.run([str(BUILD / program), *map(str, words)], stdin=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=240, check=False)
    said = done.stderr.decode("utf-8", "replace")
    if wanted is not None and done.returncode != wanted:
        raise Failed("%s %s ended with %s, not %s:\n%s%s" % (
            program, " ".join(map(str, words)), done.returncode, wanted,
            done.stdout[-2000:].decode("utf-8", "replace"), said[-4000:]))
    return done.stdout, said


def play(archive, *words, wanted=0):
    return call("tape-replay", "play", "--speed", "max", *words, archive, wanted=wanted)[0]


def verify(archive, wanted=0):
    return call("tape-replay", "verify", "--reparse", archive, wanted=wanted)[0].decode("utf-8", "replace")


def query(archive, sql):
    """Rows of the index, by the sqlite3 shell."""
    done = subprocess.run(["sqlite3", "-readonly", "-json", str(archive / "index.db"), sql], check=True,
                          stdout=subprocess.PIPE).stdout
    return json.loads(done) if done.strip() else []


# ---- what was sent, what was kept ----


def kept_by_connection(archive):
    """The stand-alone reader's words: ({connection: [payload, ...]}, {connection: key it asked with})."""
    reader, joiner = read_archive.Archive(archive), read_archive.Messages()
    kept, keys = {}, {}
    for record in reader.records():
        if read_archive.KINDS.get(record.kind) == "handshake_request":
            key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", record.body)
            keys[record.connection] = key[1].decode() if key else ""
        message = joiner.push(record)
        if message:
            kept.setdefault(message.connection, []).append(message.payload)
    expect(not reader.damaged(), "the stand-alone reader finds damage: %s %s" % (reader.places, reader.holes))
    return kept, keys


def records_of(archive, kind):
    """Bodies (JSON) of the event records of a kind, with their connection and ordinal."""
    found = []
    for record in read_archive.Archive(archive).records():
        if read_archive.KINDS.get(record.kind) == kind:
            found.append(dict(json.loads(record.body), connection_=record.connection, ordinal_=record.ordinal))
    return found


def sent_lines(log, number):
    data = (pathlib.Path(log) / ("connection-%d.txt" % number)).read_bytes()
    return data.split(b"\n")[:-1]


def pair_connections(archive, summary, log):
    """[(the exchange's summary of a connection, lines sent, payloads kept)], by the handshake's key."""
    kept, keys = kept_by_connection(archive)
    payloads = {keys.get(connection): kept[connection] for connection in kept}
    pairs = [(c, sent_lines(log, c["connection"]), payloads.pop(c["key"], [])) for c in summary]
    expect(not payloads, "connections in the archive that the exchange does not know: %s" % sorted(payloads))
    return pairs


def check_pair(connection, lines, payloads):
    """What was kept is an exact prefix of what was sent; all of it where the end was in order."""
    number = connection["connection"]
    for i, (sent, kept) in enumerate(zip(lines, payloads)):
        expect(sent == kept, "connection %d, message %d: sent %r, kept %r" % (number, i, sent[:200], kept[:200]))
    expect(len(payloads) <= len(lines), "connection %d: %d kept, %d sent" % (number, len(payloads), len(lines)))
    if connection["ended"] in ("in order", "closed by us"):
        expect(len(lines) - len(payloads) <= connection["unsure"],
               "connection %d was closed in order: %d kept of %d" % (number, len(payloads), len(lines)))


def fill_disk(disk):
    """Until nothing more goes into a file on it."""
    try:
        with open(disk / "filler", "ab", buffering=0) as filler:
            while filler.write(b"x" * 4096) > 0:
                pass
    except OSError:
        pass
