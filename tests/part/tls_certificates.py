#!/usr/bin/env python3
"""Which servers are trusted: leaves made by the openssl command line, served by Python's ssl or openssl
s_server. A name, an authority, a date or a purpose that is wrong ends the command with the reason; nothing is
sent to such a server beyond the handshake."""
import datetime
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import stranger
from stranger import TEXT, Gone, close, frame
import rig
from rig import expect, expect_equal

GOOD = frame(TEXT, b'{"good":1}')
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """A folder with root.pem, and leaves signed as wanted."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        for name in ("root", "other"):
            self.root(name)
        self.sign("middle", "root", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")

    def openssl(self, *words):
        rig.openssl(*words, folder=self.folder)

    def root(self, name):
        self.openssl("req", "-x509", *EC, "-keyout", name + ".key", "-out", name + ".pem", "-days", "30",
                     "-subj", "/CN=" + name, "-addext", "keyUsage=critical,keyCertSign")

    def sign(self, name, by, extensions, key=EC, subject=None, dates=None, digest="-sha256"):
        (self.folder / (name + ".ext")).write_text(extensions, encoding="ascii")
        self.openssl("req", *key, "-keyout", name + ".key", "-out", name + ".csr", "-subj",
                     "/CN=" + (subject or name))
        if not dates:
            self.openssl("x509", "-req", "-in", name + ".csr", "-CA", by + ".pem", "-CAkey", by + ".key",
                         "-set_serial", str(time.time_ns()), "-days", "10", digest, "-extfile", name + ".ext",
                         "-out", name + ".pem")
            return
        (self.folder / (name + ".db")).write_text("")
        (self.folder / (name + ".cnf")).write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=%s.db\nnew_certs_dir=.\nserial=%s.srl\ndefault_md=sha256\npolicy=p\n"
            "[p]\ncommonName=supplied\n" % (name, name))
        (self.folder / (name + ".srl")).write_text("%016X\n" % (time.time_ns() & (1 << 62) - 1))
        self.openssl("ca", "-batch", "-notext", "-config", name + ".cnf", "-in", name + ".csr", "-out", name + ".pem",
                     "-cert", by + ".pem", "-keyfile", by + ".key", "-extfile", name + ".ext",
                     "-startdate", dates[0], "-enddate", dates[1])

    def chain(self, name, *more):
        text = "".join((self.folder / (n + ".pem")).read_text(encoding="ascii") for n in (name, *more))
        path = self.folder / (name + "-chain.pem")
        path.write_text(text, encoding="ascii")
        return path


def day(offset):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=offset)).strftime("%Y%m%d%H%M%SZ")


SERVER = "extendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n"


def alt(*names):
    return "subjectAltName=" + ",".join(names) + "\n"


# name: (extensions, other arguments of sign, words of the refusal or None, host in the URL)
LEAVES = {
    "good": (alt("DNS:localhost") + SERVER, {}, None, "localhost"),
    "good address": (alt("IP:127.0.0.1") + SERVER, {}, None, "127.0.0.1"),
    "wildcard of another domain": (alt("DNS:*.fstream.test") + SERVER, {}, "hostname mismatch", "localhost"),
    "wrong host": (alt("DNS:elsewhere.example") + SERVER, {}, "hostname mismatch", "localhost"),
    "longer host": (alt("DNS:localhost.evil.example") + SERVER, {}, "hostname mismatch", "localhost"),
    "wildcard alone": (alt("DNS:*") + SERVER, {}, "hostname mismatch", "localhost"),
    "partial wildcard": (alt("DNS:local*") + SERVER, {}, "hostname mismatch", "localhost"),
    "name in the subject alone": (SERVER, {"subject": "localhost"}, "hostname mismatch", "localhost"),
    "address as a name": (alt("DNS:127.0.0.1") + SERVER, {}, "IP address mismatch", "127.0.0.1"),
    "wrong address": (alt("IP:127.0.0.2") + SERVER, {}, "IP address mismatch", "127.0.0.1"),
    "name for an address": (alt("DNS:localhost") + SERVER, {}, "IP address mismatch", "127.0.0.1"),
    "another authority": (alt("DNS:localhost") + SERVER, {"by": "other"}, "unable to get local issuer certificate",
                          "localhost"),
    "missing intermediate": (alt("DNS:localhost") + SERVER, {"by": "middle"},
                             "unable to get local issuer certificate", "localhost"),
    "with intermediate": (alt("DNS:localhost") + SERVER, {"by": "middle", "more": ("middle",)}, None, "localhost"),
    "expired": (alt("DNS:localhost") + SERVER, {"dates": (-9, -2)}, "certificate has expired", "localhost"),
    "not yet valid": (alt("DNS:localhost") + SERVER, {"dates": (2, 9)}, "certificate is not yet valid", "localhost"),
    "for clients": (alt("DNS:localhost") + "extendedKeyUsage=clientAuth\n", {}, "unsuitable certificate purpose",
                    "localhost"),
    "RSA-1024": (alt("DNS:localhost") + SERVER, {"key": ("-newkey", "rsa:1024", "-nodes")},
                 "EE certificate key too weak", "localhost"),
    "SHA-1 signature": (alt("DNS:localhost") + SERVER, {"digest": "-sha1"},
                        "CA signature digest algorithm too weak", "localhost"),
}


def serve_once(peer, _):
    """What the recorder said in the open: its request, or nothing."""
    peer.upgrade(GOOD + close(1000))
    peer.read_frame()
    return peer.request


def context_for(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    seen = []
    context.sni_callback = lambda sock, name, ctx: seen.append(name)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context, seen


def refused_by(scratch, server, *options, says):
    """The command ends with these words, and has sent nothing but its part of the handshake."""
    archive, text = stranger.record(scratch, server, *options, until=lambda _: None, stop=False, wanted=1)
    expect("connect %s/: %s" % (server.url, says) in text, text)
    try:
        server.result()
    except (OSError, Gone):
        return archive
    raise rig.Failed("the recorder spoke to a server that it must not trust")


def leaf(name, extensions, how, refusal, host, authority, scratch):
    how = dict(how)
    file = name.replace(" ", "-")
    by, more = how.pop("by", "root"), how.pop("more", ())
    if "dates" in how:
        how["dates"] = tuple(day(d) for d in how["dates"])
    authority.sign(file, by, extensions, **how)
    context, seen = context_for(authority.chain(file, *more), authority.folder / (file + ".key"))
    alpn = []

    def script(peer, number):
        alpn.append(peer.sock.selected_alpn_protocol())
        return serve_once(peer, number)

    with stranger.Stranger(script, context=context) as server:
        server.url = server.url.replace("localhost", host)
        options = ("--ca", authority.folder / "root.pem")
        if refusal is None:
            archive, _ = stranger.record(scratch, server, *options)
            expect(server.result().startswith(b"GET / HTTP/1.1"), "the request")
        else:
            archive = refused_by(scratch, server, *options, says="certificate: " + refusal)
    expect_equal(seen[:1], ["localhost"] if host == "localhost" else [None], "SNI")
    tape = stranger.Tape(archive)
    if refusal is None:
        expect_equal(alpn, ["http/1.1"], "ALPN")
        opened = tape.event("connection_open")
        expect_equal((opened["tls"], opened["peer"]), ("TLSv1.3", "127.0.0.1:%d" % server.port), "tls, peer")
        der = ssl.PEM_cert_to_DER_cert((authority.folder / (file + ".pem")).read_text(encoding="ascii"))
        expect_equal(opened["certificate_sha256"], stranger.hashlib.sha256(der).hexdigest(), "certificate")
        expect_equal(tape.frames, [(0, GOOD), (0, close(1000))], "frames")
    else:
        expect_equal(tape.kinds, ["connection_close"], "records")
        expect_equal(tape.event("connection_close")["cause"], "certificate", "cause")


def self_signed(authority, scratch):
    authority.openssl("req", "-x509", *EC, "-keyout", "self.key", "-out", "self.pem", "-days", "3", "-subj",
                      "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    context, _ = context_for(authority.folder / "self.pem", authority.folder / "self.key")
    with stranger.Stranger(serve_once, context=context) as server:
        refused_by(scratch, server, "--ca", authority.folder / "root.pem",
                   says="certificate: self-signed certificate")


def system_authorities(authority, scratch):
    """Without --ca a root of our own is not trusted."""
    authority.sign("system", "root", alt("DNS:localhost") + SERVER)
    context, _ = context_for(authority.folder / "system.pem", authority.folder / "system.key")
    with stranger.Stranger(serve_once, context=context) as server:
        refused_by(scratch, server, says="certificate: unable to get local issuer certificate")


# ---- openssl s_server: another TLS, other versions ----


def s_server(authority, *words):
    probe = socket.create_server(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    authority.sign("s%d" % port, "root", alt("DNS:localhost") + SERVER)
    process = subprocess.Popen(["openssl", "s_server", "-accept", str(port), "-cert", "s%d.pem" % port, "-key",
                                "s%d.key" % port, *words], cwd=authority.folder, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while b"ACCEPT" not in process.stdout.readline():
        expect(process.poll() is None, "openssl s_server ended")
    return process, port


def old_versions(authority, scratch):
    """TLS 1.1 alone: refused, and dialled again (the server may learn)."""
    process, port = s_server(authority, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    archive = scratch / "old"
    archive.mkdir()  # one that the run makes itself would be taken back
    words = ["--log-format", "text", "--url", "wss://localhost:%d" % port, "--ca", authority.folder / "root.pem"]
    try:
        with rig.Recorder(scratch, *words, archive) as recorder:
            recorder.wait_until(lambda: "tls: " in recorder.text(), "the refusal")
            recorder.stop(signal.SIGINT)
            text = recorder.text()
    finally:
        process.kill()
        process.wait()
    expect("connect wss://localhost:%d/: tls: tlsv1 alert protocol version" % port in text, text)
    expect_equal(stranger.Tape(archive).event("connection_close")["cause"], "tls", "cause")


def version_1_2(authority, scratch):
    authority.sign("v12", "root", alt("DNS:localhost") + SERVER)
    context, _ = context_for(authority.folder / "v12.pem", authority.folder / "v12.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    big = frame(TEXT, b"x" * 300000)
    with stranger.Stranger(lambda p, _: p.upgrade(GOOD + big + close(1000)) or p.read_frame(),
                           context=context) as server:
        archive, _ = stranger.record(scratch, server, "--ca", authority.folder / "root.pem")
    tape = stranger.Tape(archive)
    expect_equal(tape.event("connection_open")["tls"], "TLSv1.2", "version")
    expect_equal(tape.received(), GOOD + big + close(1000), "bytes")


def key_update(authority, scratch):
    """s_server sends KeyUpdate requests in mid stream ("K" on its standard input)."""
    process, port = s_server(authority, "-tls1_3")
    archive = scratch / "update"
    words = ["--url", "wss://localhost:%d" % port, "--ca", authority.folder / "root.pem", "--frames", "3", archive]
    try:
        with rig.Recorder(scratch, *words) as recorder:
            key = b""
            while not key:
                line = process.stdout.readline()
                expect(line, "s_server ended")
                key = line.split(b": ")[1].strip() if line.startswith(b"Sec-WebSocket-Key: ") else b""
            accept = stranger.base64.b64encode(stranger.hashlib.sha1(key + stranger.GUID).digest())
            say = process.stdin
            say.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            for text in (b"one", b"two", b"six"):
                say.write(frame(TEXT, text + b"\n"))
                say.flush()
                time.sleep(0.2)
                say.write(b"K\n")  # a line of its own: s_server takes it as a command
                say.flush()
                time.sleep(0.2)
            recorder.wait(0)
    finally:
        process.kill()
        process.wait()
    kept = [body for _, body in stranger.Tape(archive).frames if body[0] == 0x81]
    expect_equal(kept, [frame(TEXT, t + b"\n") for t in (b"one", b"two", b"six")], "frames around the updates")


SINGLE = (self_signed, system_authorities, old_versions, version_1_2, key_update)


def main(scratch):
    authority = Authority(scratch / "ca")
    cases = {"leaf: " + name: (leaf, name, *row) for name, row in LEAVES.items()}
    cases.update({test.__name__: (test,) for test in SINGLE})
    if len(sys.argv) > 1:
        cases = {name: case for name, case in cases.items() if sys.argv[1] in name}
    stranger.run_cases(cases, lambda _, test, *row: test(*row, authority, scratch))


rig.run_main(main)
