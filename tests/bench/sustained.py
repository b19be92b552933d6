#!/usr/bin/python3
"""A long run at a high rate against an outside server over TLS, compared byte for byte:

    tests/bench/sustained.py [--rate 20000] [--seconds 60] [--build build]

python3-websockets sends real captures (TAPE_DATA; else generated messages), over and over. Says the rate
that the server reached, what the recorder needed for it, and how far behind it was; exit code 0 when every
payload came back in order. Not part of `make check`: it takes its time."""
import argparse
import heapq
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
PARSER = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
PARSER.add_argument("--rate", type=int, default=20000, help="messages a second; 0: as fast as can be")
PARSER.add_argument("--seconds", type=int, default=60, help="how long that takes at the rate")
PARSER.add_argument("--build", default=os.environ.get("BUILD", "build"))
OPTIONS = PARSER.parse_args()
os.environ["BUILD"] = str(pathlib.Path(OPTIONS.build).resolve())
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402  pylint: disable=wrong-import-position

CAPTURES = ("usdm_btcusdt", "usdm_ethusdt", "cm_btcusd_perp")  # spot has the same stream names


def collect():
    """Payloads of all captures in the order of their receive times."""
    paths = [rig.real_data("hftbacktest/%s_20240808.txt.zst" % name) for name in CAPTURES]
    files = [rig.lines_of(path) for path in paths if path]
    merged = list(heapq.merge(*files, key=lambda line: line[:19]))
    return merged or rig.generate("--count", 250000, "--rate", 5000)


def cpu_seconds(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(archive, payloads, repeat):
    """Every payload in order: how many came back before the first that differs."""
    player = subprocess.Popen([str(rig.BUILD / "tape-replay"), "play", "--speed", "max", "--format", "raw",
                               str(archive)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    same = 0
    for _ in range(repeat):
        for payload in payloads:
            if player.stdout.read(len(payload)) != payload:
                player.kill()
                return same, False
            same += 1
    rest = player.stdout.read(1)
    return same, not rest and player.wait() == 0


def main(scratch):
    rig.make_certificates(scratch)
    lines = collect()
    repeat = max(1, round((OPTIONS.rate or 20000) * OPTIONS.seconds / len(lines)))
    rig.write_lines(scratch / "lines.txt", lines)
    archive = scratch / "tape"
    rig.PATIENCE_S = 10 * OPTIONS.seconds + 60
    with rig.Exchange(scratch / "log", "--lines", scratch / "lines.txt", "--unasked", "--no-payloads",
                      "--repeat", repeat, "--rate", OPTIONS.rate, certificates=scratch) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url + "/stream", "--ca", scratch / "ca.pem",
                          archive) as recorder:
            exchange.wait_for("open")
            began = time.monotonic()
            exchange.wait_for("all sent")
            seconds = time.monotonic() - began - 0.2
            time.sleep(0.5)
            used = cpu_seconds(recorder.process.pid)
            recorder.stop(signal.SIGINT)
        summary = exchange.stop()
    count = len(lines) * repeat
    print("sent       %d messages in %.1f s: %.0f a second, on %d connection(s)" %
          (count, seconds, count / seconds, len(summary)))
    print("recorder   %.2f s CPU: %.2f us a message" % (used, used / count * 1e6))
    same, whole = compare(archive, [line.split(b" ", 1)[1] + b"\n" for line in lines], repeat)
    print("came back  %d of %d, in order, byte for byte%s" % (same, count, "" if whole else ": DIFFERS"))
    for gap in rig.query(archive, "select kind, cause, count(*) n from gap group by 1, 2"):
        print("gap rows   %(n)d %(kind)s: %(cause)s" % gap)
    for row in rig.query(archive, "select sum(frames) n, max(p50_ns) p50, max(p99_ns) p99, max(max_ns) m"
                                  " from delay"):
        if row["n"]:
            print("delay      kernel to user, worst second: p50 %.0f us, p99 %.0f us, max %.0f us" %
                  (row["p50"] / 1e3, row["p99"] / 1e3, row["m"] / 1e3))
    print("on disk    %.1f bytes a message" % (sum(
        p.stat().st_size for p in (archive / "segments").rglob("*") if p.is_file()) / count))
    rig.verify(archive)
    rig.expect(whole and len(summary) == 1, "not everything came back")


rig.run_main(main)
