#!/usr/bin/env python3
"""Where the player's server listens, and one clear text for each reason why it cannot; its loop on a kernel that
lacks epoll_pwait2."""
import os
import shutil
import socket
import subprocess
import sys

import echo
from echo import Raw, Server, TEXT, frame
import rig
from rig import expect, expect_equal

PROGRAM = rig.BUILD / "tests/part/echo_server"


def refused(code, text, *options):
    done = subprocess.run([str(PROGRAM), *map(str, options)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=echo.PATIENCE_S, check=False)
    expect_equal((done.returncode, done.stderr.decode()), (code, "echo_server: %s\n" % text), options)


def answers(host, port):
    with socket.create_connection((host, port), timeout=echo.PATIENCE_S) as sock:
        sock.sendall(b"GET /plain HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(4096), b"")).endswith(b"plain\n")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def places():
    for where, host in (("127.0.0.1:0", "127.0.0.1"), ("127.0.0.2:0", "127.0.0.2"), ("0.0.0.0:0", "127.0.0.1"),
                        ("[::1]:0", "::1"), ("[::]:0", "::1")):
        if ":" in host and not has_ipv6():
            continue
        with Server("--listen", where) as server:
            expect(server.address.startswith(where[:-1]) and server.port > 0, server.address)
            expect(answers(host, server.port), where)
            server.stop()
    for where in (":0", "localhost:0"):
        with Server("--listen", where) as server:
            expect(server.address.startswith("127.0.0.1:"), server.address)
            expect(answers("127.0.0.1", server.port), where)
            expect(not has_ipv6() or answers("::1", server.port), where + " by IPv6")
            server.stop()


def bad_addresses():
    for text in ("", "9080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80",
                 "[::1:80", "[]:80", "[x]:80", "127.0.0:80", "example.org:80", "256.0.0.1:80", "[127.0.0.1]:80",
                 "x" * 80 + ":80", "127.0.0.1:000080", "127.0.0.1: 80"):
        refused(2, '"%s" is no address to listen on: write 127.0.0.1:9080, [::1]:9080, :9080 or 0.0.0.0:9080; '
                   'port 0 takes any free one' % text, "--listen", text)
    refused(1, "listen on 192.0.2.1:9080: this machine does not have that address", "--listen", "192.0.2.1:9080")
    taken = "another program listens there already: choose another port, or 0 for any free one"
    with Server() as server:
        refused(1, "listen on %s: %s" % (server.address, taken), "--listen", server.address)
        refused(1, "listen on %s: %s" % (server.address, taken), "--listen", ":%d" % server.port)
        peer = Raw(server).open()
        server.stop()
        peer.shut()
    with Server("--listen", server.address) as again:  # at once, with a connection of before in TIME_WAIT
        again.stop()
    if has_ipv6():
        with Server("--listen", "[::1]:0") as server:
            refused(1, "listen on [::1]:%d: %s" % (server.port, taken), "--listen", ":%d" % server.port)
            server.stop()
    if os.geteuid() != 0:
        refused(1, "listen on 127.0.0.1:80: this user may not listen there: ports below 1024 are reserved",
                "--listen", "127.0.0.1:80")


def bad_files(folder):
    rig.make_certificates(folder)
    cert, key, other = folder / "server.pem", folder / "server.key", folder / "ca.key"
    rig.openssl("pkey", "-in", "server.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key", folder=folder)
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("-----BEGIN CERTIFICATE-----\nnot so\n-----END CERTIFICATE-----\n", encoding="ascii")
    refused(2, "TLS wants a certificate file and a key file, not one of them", "--cert", cert)
    refused(2, "TLS wants a certificate file and a key file, not one of them", "--key", key)
    refused(1, 'certificate file "%s/none": No such file or directory' % folder, "--cert", folder / "none", "--key", key)
    refused(1, 'certificate file "%s/empty": it holds none in PEM: no start line' % folder, "--cert", folder / "empty", "--key", key)
    refused(1, 'certificate file "%s/text": it holds none in PEM: bad base64 decode' % folder, "--cert", folder / "text", "--key", key)
    refused(1, 'certificate file "%s": it holds none in PEM: no start line' % key, "--cert", key, "--key", key)
    refused(1, 'key file "%s/none": No such file or directory' % folder, "--cert", cert, "--key", folder / "none")
    refused(1, 'key file "%s": it holds none in PEM: unsupported' % cert, "--cert", cert, "--key", cert)
    refused(1, 'key file "%s/locked.key": it is encrypted: give one without a passphrase' % folder,
            "--cert", cert, "--key", folder / "locked.key")
    refused(1, 'key file "%s" is not the key of "%s"' % (other, cert), "--cert", cert, "--key", other)


def old_kernel():
    """strace makes epoll_pwait2 look absent: waits then end by a timer file."""
    if not shutil.which("strace") or "address" in str(rig.BUILD):
        return "the loop without epoll_pwait2 was not tried: no strace here" if not shutil.which("strace") else None
    words = ["strace", "-f", "-o", "/dev/null", "-e", "trace=epoll_pwait2", "-e", "inject=epoll_pwait2:error=ENOSYS"]
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return "the loop without epoll_pwait2 was not tried: strace may not trace here"
    with Server("--ping", 50, "--pong", 100, before=words) as server:
        peer = Raw(server).open()
        peer.send(frame(TEXT, b"old"))
        expect_equal(peer.read_frame(), (TEXT, 1, b"old"), "an echo")
        expect_equal(peer.read_frame()[0], echo.PING, "a ping in time")
        expect_equal(peer.read_frame()[2][2:], b"no pong", "a deadline in time")
        peer.shut()
        server.stop()
    return None


def main(scratch):
    places()
    bad_addresses()
    bad_files(scratch)
    print(old_kernel() or "all places")


if __name__ == "__main__":
    sys.exit(rig.run_main(main))
