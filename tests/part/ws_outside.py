#!/usr/bin/python3
"""The frame codec and the handshake against python3-websockets, both ways."""
import codecs
import http
import json
import os
import random
import subprocess
import sys

try:
    import websockets.frames as frames
    from websockets.datastructures import Headers
    try:
        from websockets.server import ServerConnection as Server
        from websockets.client import ClientConnection as Client
        from websockets.connection import State
    except ImportError:
        from websockets.server import ServerProtocol as Server
        from websockets.client import ClientProtocol as Client
        from websockets.protocol import State
except ImportError as error:
    print(f"skip: python3-websockets is not there ({error})")
    sys.exit(77)

CUT = os.path.join(os.environ.get("BUILD", "build"), "tests/part/ws_cut")
LIMIT = 1 << 20
RANDOM = random.Random(20261122)
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
failures = 0


def check(good, what):
    global failures
    if not good:
        failures += 1
        print(f"FAILED: {what}"[:600])


def cut(words, lines):
    done = subprocess.run([CUT, *words], input="".join(line + "\n" for line in lines).encode(),
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()


def random_payload(text):
    bytes_wanted = RANDOM.choice([0, 1, 5, 124, 125, 126, 127, 128, 280, 1000, 65535, 65536,
                                  RANDOM.randrange(3000)])
    if not text:
        return RANDOM.randbytes(bytes_wanted)
    letters = RANDOM.choice(["ab{}\":1", "aä€😀"])
    return "".join(RANDOM.choice(letters) for _ in range(bytes_wanted)).encode()


def random_frames():
    """Messages whole and in fragments (cut anywhere, also inside a code point), control frames
    between, perhaps a close at the end: (opcode, fin, payload)."""
    out = []
    for _ in range(RANDOM.randrange(1, 5)):
        opcode = RANDOM.choice([TEXT, BINARY])
        payload = random_payload(opcode == TEXT)
        cuts = sorted(RANDOM.randrange(len(payload) + 1) for _ in range(RANDOM.choice([0, 0, 1, 4])))
        parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)])]
        for i, part in enumerate(parts):
            out.append((opcode if i == 0 else CONT, i == len(parts) - 1, part))
            if RANDOM.random() < 0.2:
                out.append((RANDOM.choice([PING, PONG]), True, RANDOM.randbytes(RANDOM.randrange(126))))
    if RANDOM.random() < 0.3:
        out.append((CLOSE, True, RANDOM.choice([b"", b"\x03\xe8", b"\x0f\xa1" + "Grüße".encode()])))
    return out


def serialized(opcode, fin, payload, masked):
    return frames.Frame(frames.Opcode(opcode), payload, fin).serialize(mask=masked)


def their_frames_are_cut():
    """Frames that websockets writes, read by ours, on both sides."""
    for side, masked in (("client", False), ("server", True)):
        sent = [random_frames() for _ in range(150)]
        lines = [b"".join(serialized(*f, masked) for f in stream).hex() for stream in sent]
        got = cut(["cut", side, str(LIMIT)], lines)
        check(len(got) == len(sent), f"{side}: {len(got)} answers")
        for stream, line in zip(sent, got):
            read = json.loads(line)
            want = [[opcode, int(fin), payload.hex()] for opcode, fin, payload in stream]
            check(read["frames"] == want and read["fault"] == "NONE" and read["rest"] == 0,
                  f"{side}: {line}")


def their_side(side):
    """The connection of websockets that plays ${side}, open."""
    if side == "server":
        connection = Server(state=State.OPEN, max_size=LIMIT)
    else:
        try:
            from websockets.uri import parse_uri
            connection = Client(parse_uri("ws://a.test/"), state=State.OPEN, max_size=LIMIT)
        except TypeError:
            connection = Client("ws://a.test/", state=State.OPEN, max_size=LIMIT)
    return connection


def our_frames_are_read():
    """Frames that ours writes, read by websockets, on both sides."""
    for side, masked in (("client", False), ("server", True)):
        for _ in range(60):
            stream = random_frames()
            lines = [f"{opcode} {int(fin)} {RANDOM.randbytes(4).hex() if masked else '-'} "
                     f"{payload.hex()}" for opcode, fin, payload in stream]
            wire = bytes.fromhex("".join(cut(["build"], lines)))
            connection = their_side(side)
            connection.receive_data(wire)
            got = [(int(e.opcode), e.fin, bytes(e.data)) for e in connection.events_received()]
            check(connection.parser_exc is None and got == stream,
                  f"{side} reads {wire.hex()}: {connection.parser_exc}")


def their_verdict(side, wire):
    """(frames, close code of the failure or None) by websockets; text is checked here, because its
    protocol layer leaves that to the one above."""
    connection = their_side(side)
    connection.receive_data(wire)
    got = [[int(e.opcode), int(e.fin), bytes(e.data).hex()] for e in connection.events_received()]
    code = None
    if connection.parser_exc is not None:
        code = connection.close_sent.code if connection.close_sent else 1006
    message, opcode = b"", None
    for i, (op, fin, payload) in enumerate(got):
        if op >= 8:
            continue
        if op != CONT:
            message, opcode = b"", op
        message += bytes.fromhex(payload)
        try:
            if opcode == TEXT:
                codecs.getincrementaldecoder("utf-8")().decode(message, bool(fin))
        except UnicodeDecodeError:
            return got[:i], 1007
    return got, code


def raw_frame(first, second, payload, masked):
    key = RANDOM.randbytes(4) if second & 0x80 else b""
    body = bytes(b ^ key[i % 4] for i, b in enumerate(payload)) if key else payload
    return bytes([first, second]) + key + body


def both_give_the_same_verdict():
    """Every first byte with a few second bytes, alone, after a message and inside one; every close
    code; reasons and texts that are not UTF-8. The declared payload is always all there, because
    websockets judges a frame when it is whole."""
    for side in ("client", "server"):
        masked = side == "server"
        bit = 0x80 if masked else 0
        before = [b"", raw_frame(0x81, bit | 1, b"a", masked),
                  raw_frame(0x01, bit | 1, b"a", masked), raw_frame(0x02, bit | 2, b"ab", masked)]
        wires = []
        for first in range(256):
            for second in (0, 1, 2, 5, 125, 128, 130):
                for start in before:
                    if first & 0x0f == CLOSE and start and not start[0] & 0x80:
                        continue  # a close inside a message: websockets refuses it, RFC 6455 5.4 not
                    payload = RANDOM.choice([b"\x03\xe8" + b"x" * 123, "ä€😀".encode() * 14,
                                             RANDOM.randbytes(125)])[:second & 0x7f]
                    wires.append(start + raw_frame(first, second, payload, masked))
        for code in range(0, 6000):
            wires.append(raw_frame(0x88, bit | 2, code.to_bytes(2, "big"), masked))
        for code in (0, 1000, 4999):
            for _ in range(200):
                reason = RANDOM.choice(["ä€😀".encode(), b"abc", RANDOM.randbytes(3)])
                reason = reason[:RANDOM.randrange(len(reason) + 1)]
                wires.append(raw_frame(0x88, bit | (2 + len(reason)),
                                       code.to_bytes(2, "big") + reason, masked))
        for _ in range(2000):
            text = bytearray("aä€😀z".encode() * 3)
            for _ in range(RANDOM.randrange(3)):
                text[RANDOM.randrange(len(text))] = RANDOM.randrange(256)
            split = RANDOM.randrange(len(text))
            wires.append(raw_frame(0x01, bit | split, bytes(text[:split]), masked)
                         + raw_frame(0x80, bit | (len(text) - split), bytes(text[split:]), masked))
        got = cut(["cut", side, str(LIMIT)], [wire.hex() for wire in wires])
        refused = 0
        for wire, line in zip(wires, got):
            read = json.loads(line)
            theirs, code = their_verdict(side, wire)
            ours = None if read["fault"] == "NONE" else read["code"]
            if code == 1007 and ours == 1002 and read["fault"] == "CLOSE_CODE":
                code = 1002  # both wrong: the order in which the two are looked at differs
            refused += ours is not None
            check(read["frames"] == theirs and ours == code,
                  f"{side} {wire.hex()}: {line} against {theirs} {code}")
        check(len(wires) * 0.2 < refused < len(wires), f"{refused} of {len(wires)} refused")


def handshakes_agree():
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    request = subprocess.run([CUT, "request", "a.test:8443", "/ws?x=1", key], check=True,
                             stdout=subprocess.PIPE).stdout
    for status, fields in ((101, {}), (403, {}), (429, {"Retry-After": "30"}),
                           (302, {"Location": "wss://b.test/"})):
        server = Server()
        server.receive_data(request)
        events = server.events_received()
        check(len(events) == 1 and events[0].path == "/ws?x=1"
              and events[0].headers["Host"] == "a.test:8443", f"request: {request}")
        if status == 101:
            answer = server.accept(events[0])
        else:
            answer = server.reject(http.HTTPStatus(status), "no\n")
            for name, value in fields.items():
                answer.headers[name] = value
        check(answer.status_code == status, f"{answer}")
        server.send_response(answer)
        wire = b"".join(server.data_to_send())
        head, text = subprocess.run([CUT, "answer", accept], input=wire + b"\x81\x02hi", check=True,
                                    stdout=subprocess.PIPE).stdout.decode().split("\n")[:2]
        read = json.loads(head)
        check(read["status"] == status, f"{wire}: {head} {text}")
        if status == 101:
            check(read["head"] == len(wire), f"{wire}: {head} {text}")
        else:
            check(read["head"] < 0 and text.startswith(f"the server answered {status} "), text)
            check(read["retry_after_s"] == int(fields.get("Retry-After", 0)), head)
            check(read["location"] == fields.get("Location", ""), head)
    wrong = subprocess.run([CUT, "answer", accept[::-1]], check=True, stdout=subprocess.PIPE,
                           input=b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " + accept.encode()
                           + b"\r\n\r\n").stdout.decode()
    check('"head":-10' in wrong, wrong)


for test in (their_frames_are_cut, our_frames_are_read, both_give_the_same_verdict,
             handshakes_agree):
    test()
    print(f"{test.__name__}: {'done' if not failures else 'FAILED'}")
sys.exit(1 if failures else 0)
