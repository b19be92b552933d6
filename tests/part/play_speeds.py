#!/usr/bin/env python3
"""tape-replay play: the same bytes and digest at every speed, chosen by time and stream, in three formats;
the digest is that of sha256sum; the pace is what was asked for; a slow reader stretches time and loses
nothing."""
import array
import base64
import fcntl
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000


def make_lines():
    """Half a second: steps of 0.5 ms, some together, some a little back."""
    lines = []
    for i in range(1000):
        ns = BEGIN + i * 500000 - (i % 7 == 3) * 600000 - (i % 5 == 1) * 500000
        stream = ("btcusdt@trade", "ethusdt@depth")[i % 3 == 0]
        lines.append(b'%d {"stream":"%s","data":{"n":%d,"x":"%s"}}' % (ns, stream.encode(), i, b"\\u00e9\\\"" * (i % 40)))
    return lines


def receipt(archive, *words):
    out, said = rig.call("tape-replay", "play", "--json", *words, archive)
    return out, json.loads(said)


def same_at_every_speed(archive, lines):
    raw = b"".join(line.split(b" ", 1)[1] + b"\n" for line in lines)
    digest = subprocess.run(["sha256sum"], input=raw, stdout=subprocess.PIPE, check=True).stdout.split()[0].decode()
    for speed in ("max", "1", "2.5", "100"):
        out, told = receipt(archive, "--speed", speed)
        expect(out == raw, "bytes at speed %s" % speed)
        expect_equal(told["sha256"], digest, "digest at speed %s" % speed)
        expect_equal((told["messages"], told["bytes"], told["end"]), (len(lines), len(raw), "archive"), "counts")
        expect_equal((told["first_ns"], told["last_ns"]), (lines[0].split()[0].decode(), lines[-1].split()[0].decode()),
                     "stamps of the first and the last")
        if speed != "max":
            late = told["lateness"]
            expect(0 <= int(late["p50_ns"]) <= int(late["p99_ns"]) <= int(late["max_ns"]), "lateness %s" % late)
            expect(int(told["wall_ns"]) >= 499500000 / float(speed), "it was not faster than asked: %s" % told)
        else:
            expect("lateness" not in told, "no pace, no lateness")
    expect("sha256" not in receipt(archive, "--speed", "max", "--no-digest")[1], "--no-digest")
    _, told = receipt(archive, "--speed", "20", "--spin", "60us")
    expect_equal(told["sha256"], digest, "digest when spinning")


def formats(archive, lines):
    expect_equal(rig.play(archive, "--format", "hft"), b"".join(line + b"\n" for line in lines), "hft")
    found = [json.loads(line) for line in rig.play(archive, "--format=ndjson").splitlines()]
    for i, (line, got) in enumerate(zip(lines, found)):
        ns, payload = line.decode().split(" ", 1)
        expect_equal((got["recv_ns"], got["payload"], got["kind"]), (ns, payload, "data"), "message %d" % i)
        expect_equal(got["stream"], json.loads(payload)["stream"], "stream of message %d" % i)
        expect_equal(got["flags"], ["imported"], "flags of message %d" % i)
        expect_equal(got["recv"][:20] + "%09d" % (int(ns) % 10**9) + "Z", got["recv"], "time of message %d" % i)
    expect_equal(len(found), len(lines), "messages")
    every = [json.loads(line) for line in rig.play(archive, "--format", "ndjson", "--all").splitlines()]
    expect_equal([int(e["ordinal"]) for e in every], list(range(len(every))), "--all gives every ordinal")
    expect_equal(every[0]["event"], "session_start", "--all begins with the session")
    expect_equal(every[-1]["event"], "session_end", "--all ends with it")


def choices(archive, lines):
    stamps = [int(line.split()[0]) for line in lines]
    middle, late = stamps[400], stamps[700]

    def chosen(*words):
        return rig.play(archive, "--format", "hft", *words).split(b"\n")[:-1]

    def expect_equal(found, wanted, what):  # without printing all of both
        expect(found == wanted, "%s: %d messages, not %d" % (what, len(found), len(wanted)))

    between = [line for line, ns in zip(lines, stamps) if middle <= ns < late]
    expect_equal(chosen("--from", middle, "--to", late), between, "by ns")
    iso = "2026-11-22T08:00:00.%09dZ" % (middle - BEGIN)
    expect_equal(chosen("--from", iso, "--to", "2026-11-22T10:00:00.%09d+02:00" % (late - BEGIN)), between, "by RFC 3339")
    first, last = min(stamps), max(stamps)  # of the messages, not of the session around them
    expect_equal(chosen("--from", "+200ms"), [l for l, ns in zip(lines, stamps) if ns >= first + 200000000], "from the start")
    expect_equal(chosen("--to", "-%dns" % (last - late)), [l for l, ns in zip(lines, stamps) if ns < late], "from the end")
    expect_equal(chosen("--stream", "*@trade"), [l for l in lines if b"@trade" in l], "by stream")
    expect_equal(chosen("--stream", "eth*,btcusdt@tr?de"), lines, "by streams")
    expect_equal(chosen("--stream", "none"), [], "no such stream")


def slow_reader(archive, lines):
    """Reads nothing for half a second and then all at once, from a pipe of one page."""
    command = [str(rig.BUILD / "tape-replay"), "play", "--json", "--format", "hft", str(archive)]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    waiting = array.array("i", [0])
    while waiting[0] == 0:
        fcntl.ioctl(reading, termios.FIONREAD, waiting)
        time.sleep(0.01)
    time.sleep(0.7)
    with open(reading, "rb") as pipe:
        out = pipe.read()
    told = json.loads(process.communicate()[1])
    expect_equal(out, b"".join(line + b"\n" for line in lines), "what a slow reader got")
    expect(int(told["stretched_ns"]) > 100000000, "time was stretched: %s" % told)
    expect_equal(told["sha256"], hashlib.sha256(out).hexdigest(), "digest")


def odd_payloads(scratch):
    """Bytes that are no UTF-8, quotes, controls: raw and hft as they are, ndjson so that they come back."""
    payloads = [b'{"a":"\xff\xfe"}', b"\x01\x02\x1b[31m", b"", b'"', b"\\", "é€😀".encode(), b"x" * 300000, b"\xf0\x9f\x98"]
    lines = [b"%d %s" % (BEGIN + i, p) for i, p in enumerate(payloads)]
    archive = scratch / "odd"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "odd.txt", lines), archive)
    expect_equal(rig.play(archive, "--format", "hft"), b"".join(line + b"\n" for line in lines), "hft of odd payloads")
    found = [json.loads(line) for line in rig.play(archive, "--format", "ndjson").splitlines()]
    got = [base64.b64decode(f["payload_base64"]) if "payload_base64" in f else f["payload"].encode() for f in found]
    expect_equal(got, payloads, "ndjson of odd payloads")


def main(scratch):
    lines = make_lines()
    archive = scratch / "tape"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "lines.txt", lines), archive)
    same_at_every_speed(archive, lines)
    formats(archive, lines)
    choices(archive, lines)
    slow_reader(archive, lines)
    odd_payloads(scratch)


rig.run_main(main)
