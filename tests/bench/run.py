"""`make bench`: every figure that the project claims, beside its peers on the same stream in the same run.

    BUILD=build /usr/bin/python3 tests/bench/run.py [--quick] [--only SECTION]

Sections: backlog, instructions, latency, stamps, connections, recorder, replay, pace, size. Real captures
(TAPE_DATA, by default ../shared/data) are used where they are, the sample generator's messages elsewhere;
each table says which. Times on a shared machine vary; compare within one run.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
TOOLS = BUILD / "tests/bench"
DATA = pathlib.Path(os.environ.get("TAPE_DATA", ROOT.parent / "shared" / "data"))
CAPTURES = ["usdm_btcusdt_20240808", "usdm_ethusdt_20240808", "spot_btcusdt_20240808", "cm_btcusd_perp_20240808"]


class Bench:
    def __init__(self, scratch, quick):
        self.scratch, self.quick = scratch, quick
        self.cert, self.key = scratch / "cert.pem", scratch / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", str(self.key), "-out", str(self.cert)], check=True, stderr=subprocess.DEVNULL)
        self.lines, self.lines_name = self.find_lines()

    def find_lines(self):
        """One text file of '<ns> <payload>' lines, merged by receive time."""
        target = self.scratch / "lines"
        sources = [DATA / "hftbacktest" / f"{name}.txt.zst" for name in CAPTURES]
        if all(path.exists() for path in sources):
            lines = []
            for path in sources:
                text = subprocess.run(["zstdcat", str(path)], check=True, stdout=subprocess.PIPE).stdout
                lines += text.splitlines(keepends=True)
            lines.sort(key=lambda line: int(line[:19]))
            target.write_bytes(b"".join(lines))
            return target, f"{len(lines):,} real Binance messages of 2024-08-08 (four captures merged)"
        with open(target, "wb") as out:
            subprocess.run(["/usr/bin/python3", str(ROOT / "samples/generate.py"), "--seed", "1", "--count", "250000"],
                           check=True, stdout=out)
        return target, "250,000 generated messages (no real captures here)"

    def sender(self, count, *options):
        port_file = self.scratch / "port"
        port_file.unlink(missing_ok=True)
        process = subprocess.Popen(pin(1) + [str(TOOLS / "sender"), "--cert", str(self.cert), "--key", str(self.key),
                                             "--port-file", str(port_file), "--count", str(count), *map(str, options)])
        for _ in range(3000):
            if port_file.exists() and port_file.read_text().strip():
                return process, port_file.read_text().strip()
            time.sleep(0.01)
        raise SystemExit("the sender did not start")

    def client(self, command, count, *options, prefix=(), timeout=300):
        """Runs one client against one sender; returns its report lines."""
        process, port = self.sender(count, *options)
        try:
            words = [str(word).replace("PORT", port).replace("CA", str(self.cert)) for word in command]
            done = subprocess.run(pin(0) + list(prefix) + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=timeout, text=True)
            if done.returncode:
                raise SystemExit(f"{words[0]}: exit {done.returncode}: {done.stderr[-400:]}")
            return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        finally:
            process.kill()
            process.wait()


def pin(core):
    return ["taskset", "-c", str(core % (os.cpu_count() or 1))]


def clients(count, stream_bytes, *, latency=False):
    extra = ["latency"] if latency else []
    found = [] if latency else [("bare SSL_read", [TOOLS / "floor_client", "PORT", "CA", count, stream_bytes])]
    found.append(("Tapedeck", [TOOLS / "tape_client", "PORT", "CA", count, *extra]))
    if latency:
        found.append(("Tapedeck --busy-poll", [TOOLS / "tape_client", "PORT", "CA", count, "busy", *extra]))
    found += [("Boost.Beast sync", [TOOLS / "beast_client", "PORT", "CA", count, "sync", *extra]),
              ("Boost.Beast async", [TOOLS / "beast_client", "PORT", "CA", count, "async", *extra]),
              ("libwslay", [TOOLS / "wslay_client", "PORT", "CA", count, *extra])]
    return found


def heading(words):
    print(f"\n{words}\n{'-' * len(words)}", flush=True)


def backlog(bench):
    heading("Backlog read: CPU of the reading thread, µs a message (280 B text frames, TLS 1.3)")
    count = 100_000 if bench.quick else 400_000
    print(f"{'client':24}{'one frame a record':>20}{'many a record':>16}")
    for name, command in clients(count, count * 284):
        row = [bench.client(command, count, "--record", record)[-1]["cpu_us"] for record in ("frame", "many")]
        print(f"{name:24}{row[0]:>20.2f}{row[1]:>16.2f}", flush=True)


def count_instructions(bench, make_command, record):
    """Instructions a message: the difference of two runs, so that start and handshake fall out."""
    totals = []
    for count in (5_000, 25_000):
        out = bench.scratch / "callgrind"
        bench.client(make_command(count), count, "--record", record,
                     prefix=["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"])
        totals.append(int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M).group(1)))
    return (totals[1] - totals[0]) / 20_000


def instructions(bench):
    heading("Backlog read: instructions a message (callgrind; difference of 25,000 and 5,000 messages)")
    print(f"{'client':24}{'one frame a record':>20}{'many a record':>16}{'above the floor':>18}")
    floor = None
    for index, (name, _) in enumerate(clients(1, 1)):
        row = [count_instructions(bench, lambda n, i=index: clients(n, n * 284)[i][1], record)
               for record in ("frame", "many")]
        floor = floor or row
        print(f"{name:24}{row[0]:>20,.0f}{row[1]:>16,.0f}{row[1] - floor[1]:>18,.0f}", flush=True)


def latency(bench):
    heading("Latency from before the send call to the handler, µs p50 / p99 (one frame a record)")
    rates = (1_000, 20_000) if bench.quick else (1_000, 20_000, 100_000)
    print(f"{'client':24}" + "".join(f"{rate:>14,}/s" for rate in rates))
    for index, (name, _) in enumerate(clients(1, 1, latency=True)):
        row = []
        for rate in rates:
            count = rate * (3 if bench.quick else 8)
            report = bench.client(clients(count, 0, latency=True)[index][1], count, "--rate", rate)[-1]
            row.append(f"{report['p50_us']:.0f} / {report['p99_us']:.0f}")
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in row), flush=True)


def stamps(bench):
    heading("Kernel stamps inside the sender's own send call")
    for rate in (1_000, 20_000):
        count = rate * (3 if bench.quick else 10)
        after = bench.scratch / "after"
        report = bench.client([TOOLS / "tape_client", "PORT", "CA", count, f"stamps={after}"], count,
                              "--rate", rate, "--after", after)[0]
        print(f"{rate:>8,} msg/s: {100 * report['inside_send'] / count:.2f} % of {count:,} frames; "
              f"{100 * report['stamps'] / count:.2f} % stamped by the kernel, {report['shared']:,} shared stamps", flush=True)


def connections(bench):
    heading("200 connections on one receive thread: latency and CPU of a core")
    for rate in (20_000, 50_000):
        count = rate * (3 if bench.quick else 8)
        report = bench.client([TOOLS / "tape_client", "PORT", "CA", count, "latency", "connections=200"], count,
                              "--rate", rate, "--connections", 200)[-1]
        print(f"{rate:>8,} msg/s: p50 {report['p50_us']:.0f} µs, p99 {report['p99_us']:.0f} µs, "
              f"{100 * report['cpu_us'] / report['wall_us']:.0f} % of a core", flush=True)


def recorder(bench):
    heading("Whole recorder on one core: TLS, ring, compression, disk, index")
    count = 500_000 if bench.quick else 3_000_000
    print(f"stream: {bench.lines_name}")
    for record in ("many", "frame"):
        process, port = bench.sender(count, "--record", record, "--lines", bench.lines)
        archive = bench.scratch / f"tape-{record}"
        began, before = time.monotonic(), os.times()
        try:
            done = subprocess.run(pin(0) + [str(BUILD / "tape-record"), "--quiet", "--url", f"wss://localhost:{port}/stream",
                                            "--ca", str(bench.cert), "--frames", str(count), str(archive)],
                                  stderr=subprocess.PIPE, text=True, timeout=600)
            wall, after = time.monotonic() - began, os.times()
        finally:
            process.kill()
            process.wait()
        cpu = (after.children_user + after.children_system - before.children_user - before.children_system)
        if done.returncode:
            print(f"tape-record: exit {done.returncode}: {done.stderr[-300:]}")
            continue
        listed = json.loads(subprocess.run([str(BUILD / "tape-replay"), "ls", "--json", str(archive)],
                                           check=True, stdout=subprocess.PIPE).stdout)
        messages = sum(int(stream["messages"]) for stream in listed["streams"])
        # From the first stamp to the last: the ring holds a twentieth of it at most, the rest is on disk by then.
        # The whole wall time has start, seal and up to a second of waiting for a sender that says no goodbye.
        spans = [(int(stream["first_ns"]), int(stream["last_ns"])) for stream in listed["streams"]]
        span = (max(last for _, last in spans) - min(first for first, _ in spans)) / 1e9
        print(f"{record + ' a record':16} {count / span / 1e6:.2f} M msg/s, {count / wall / 1e6:.2f} with start and end, "
              f"{count / cpu / 1e6:.2f} a second of CPU ({messages:,} of {count:,} in the archive)", flush=True)
    return bench.scratch / "tape-many"


def import_lines(bench):
    archive = bench.scratch / "imported"
    if not archive.exists():
        began = time.monotonic()
        subprocess.run([str(BUILD / "tape-record"), "--quiet", "--import", str(bench.lines), str(archive)], check=True)
        wall = time.monotonic() - began
        lines = sum(1 for _ in open(bench.lines, "rb"))
        print(f"import: {lines:,} lines in {wall:.2f} s, {lines / wall / 1e6:.2f} M/s")
    return archive


def replay(bench):
    heading("tape-replay play --speed max > /dev/null, CPU and wall, M msg/s")
    print(f"archive: {bench.lines_name}")
    archive = import_lines(bench)
    for words in (["--format", "raw"], ["--format", "raw", "--no-digest"], ["--format", "hft"], ["--format", "ndjson"]):
        receipt = bench.scratch / "receipt.json"
        best = None
        for _ in range(3):
            before = os.times()
            began = time.monotonic()
            subprocess.run([str(BUILD / "tape-replay"), "play", "--speed", "max", *words, "--receipt", str(receipt),
                            str(archive)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wall = time.monotonic() - began
            after = os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            if best is None or cpu < best[0]:
                best = (cpu, wall)
        lines = int(json.loads(receipt.read_text())["messages"])
        print(f"{' '.join(words):28} {lines / best[0] / 1e6:6.2f} a core of CPU {lines / best[1] / 1e6:8.2f} wall", flush=True)


def pace(bench):
    heading("Pace at 1x on the capture's own arrival pattern, and the digest at three speeds")
    archive = import_lines(bench)
    first = int(open(bench.lines, "rb").readline().split(b" ", 1)[0])
    seconds = 10 if bench.quick else 60
    span = ["--from", str(first), "--to", str(first + seconds * 10**9)]
    digests = set()
    for words in (["--speed", "1"], ["--speed", "1", "--spin", "60us"], ["--speed", "100"], ["--speed", "max"]):
        receipt = bench.scratch / "receipt.json"
        subprocess.run([str(BUILD / "tape-replay"), "play", *words, *span, "--receipt", str(receipt), str(archive)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = json.loads(receipt.read_text())
        digests.add(told["sha256"])
        if "lateness" not in told:  # at full speed nothing is due
            continue
        late = {key: int(value) / 1000 for key, value in told["lateness"].items()}
        print(f"{' '.join(words):26} {told['messages']:,} messages in {int(told['wall_ns']) / 1e9:.3f} s: late p50 "
              f"{late['p50_ns']:.1f} µs, p99 {late['p99_ns']:.1f} µs; drift {int(told['drift_ns']) / 1000:.1f} µs; "
              f"{100 * int(told['cpu_ns']) / int(told['wall_ns']):.1f} % of a core", flush=True)
    print("digest the same at every speed" if len(digests) == 1 else f"DIGESTS DIFFER: {digests}")


def size(bench):
    heading("Size on disk, bytes a message (hot segments; packing is not part of this release)")
    archive = import_lines(bench)
    lines = sum(1 for _ in open(bench.lines, "rb"))
    stored = sum(path.stat().st_size for path in (archive / "segments").rglob("*.hot"))
    for name, command in (("gzip -6 of the lines", ["gzip", "-6", "-c"]), ("zstd -3 of the lines", ["zstd", "-3", "-c", "-q"])):
        process = subprocess.run(command + [str(bench.lines)], check=True, stdout=subprocess.PIPE)
        print(f"{name:28}{len(process.stdout) / lines:8.2f}", flush=True)
    print(f"{'tapedeck, hot':28}{stored / lines:8.2f}")


SECTIONS = {f.__name__: f for f in (backlog, instructions, latency, stamps, connections, recorder, replay, pace, size)}


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return (f"{os.cpu_count()} cores of {model.group(1) if model else platform.machine()}, Linux {platform.release()}, "
            f"{time.strftime('%Y-%m-%d')}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=SECTIONS)
    options = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tapedeck-bench-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        print(f"Machine: {machine()}")
        bench = Bench(scratch, options.quick)
        for name, section in SECTIONS.items():
            if options.only in (None, name):
                section(bench)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
