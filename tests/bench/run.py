"""`make bench`: every figure that the project claims, beside its peers on the same stream in the same run.

    BUILD=build /usr/bin/python3 tests/bench/run.py [--quick] [--lines FILE] [SECTION...]

Sections: backlog, instructions, latency, stamps, connections, recorder, replay, pace, packed, mixed, beside, api,
follow, serve, deliver. Real
captures (TAPE_DATA, by default ../shared/data) are used where they are, the sample generator's messages elsewhere,
or a capture of yours (--lines: lines "<ns> <payload>"); each table says which. Times on a shared machine vary;
compare within one run.
"""
import argparse
import datetime
import gzip
import hashlib
import itertools
import json
import os
import pathlib
import platform
import random
import re
import resource
import shutil
import signal
import statistics
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
    def __init__(self, scratch, quick, own_lines):
        self.scratch, self.quick, self.own_lines = scratch, quick, own_lines
        self.cert, self.key = scratch / "cert.pem", scratch / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", str(self.key), "-out", str(self.cert)], check=True, stderr=subprocess.DEVNULL)
        self.lines, self.lines_name = self.find_lines()

    def find_lines(self):
        """One text file of '<ns> <payload>' lines, merged by receive time."""
        target = self.scratch / "lines"
        if self.own_lines:
            decompress(self.own_lines, target)
            return target, f"{count_lines(target):,} messages of {self.own_lines}"
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


def decompress(path, target):
    with open(target, "wb") as out:
        words = {".zst": ["zstdcat"], ".gz": ["gzip", "-dc"]}.get(pathlib.Path(path).suffix, ["cat"])
        subprocess.run(words + [str(path)], check=True, stdout=out)


def count_lines(path):
    return sum(1 for _ in open(path, "rb"))


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


def gzip_lines(bench, seconds=None):
    """The lines of so many seconds, as the plain replayers have them: (text, gzip)."""
    text, packed_text = bench.scratch / f"span-{seconds}", bench.scratch / f"span-{seconds}.gz"
    if not packed_text.exists():
        with open(bench.lines, "rb") as lines, open(text, "wb") as out:
            first = None
            for line in lines:
                first = int(line[:19]) if first is None else first
                if seconds is None or int(line[:19]) < first + seconds * 10**9:
                    out.write(line)
        with open(text, "rb") as lines, gzip.open(packed_text, "wb", 6) as out:
            shutil.copyfileobj(lines, out)
    return text, packed_text


def python_replayer(bench, speed, lines):
    """tests/bench/replayer.py to one client that discards: what it says of itself."""
    port_file = bench.scratch / "replayer-port"
    port_file.unlink(missing_ok=True)
    with subprocess.Popen(pin(0) + ["/usr/bin/python3", str(ROOT / "tests/bench/replayer.py"), "--port-file",
                                    str(port_file), "--speed", str(speed), str(lines)], stdout=subprocess.PIPE) as process:
        while not (port_file.exists() and port_file.read_text()):
            time.sleep(0.02)
        subprocess.run(pin(1) + [str(TOOLS / "discard"), port_file.read_text(), "/"], check=True, stdout=subprocess.DEVNULL)
        return json.loads(process.stdout.read())


def print_pace(name, messages, p50, p99, drift, cpu):
    print(f"{name:36}{messages:>10,}{p50:>12.1f}{p99:>12.1f}{drift:>14.1f}{100 * cpu:>10.1f}", flush=True)


def pace_at(bench, archive, span, speed, seconds):
    print(f"\n{f'{speed}x':36}{'messages':>10}{'late p50 µs':>12}{'p99 µs':>12}{'drift µs':>14}{'% CPU':>10}")
    digests = set()
    for words in ([], ["--spin", "60us"]):
        receipt = bench.scratch / "receipt.json"
        subprocess.run(pin(0) + [str(BUILD / "tape-replay"), "play", "--speed", str(speed), *words, *span, "--receipt",
                                 str(receipt), str(archive)],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = json.loads(receipt.read_text())
        digests.add(told["sha256"])
        late = {key: int(value) / 1000 for key, value in told["lateness"].items()}
        print_pace(" ".join(["tape-replay play", *words]), int(told["messages"]), late["p50_ns"], late["p99_ns"],
                   int(told["drift_ns"]) / 1000, int(told["cpu_ns"]) / int(told["wall_ns"]))
    text, packed_text = gzip_lines(bench, seconds)
    told = json.loads(subprocess.run(pin(0) + [str(TOOLS / "relative"), str(text), str(speed)], check=True,
                                     stdout=subprocess.PIPE).stdout)
    print_pace("relative sleeps, in C", told["messages"], told["p50_us"], told["p99_us"], told["drift_us"], told["cpu"])
    told = python_replayer(bench, speed, packed_text)
    print_pace("Python websockets, gzip lines", told["messages"], told["p50_us"], told["p99_us"], told["drift_us"],
               told["cpu"])
    return digests


def pace(bench):
    heading("Pace on the capture's own arrival pattern: how late each message left")
    archive = import_lines(bench)
    first = int(open(bench.lines, "rb").readline().split(b" ", 1)[0])
    seconds = 10 if bench.quick else 30
    span = ["--from", str(first), "--to", str(first + seconds * 10**9)]
    digests = pace_at(bench, archive, span, 1, seconds) | pace_at(bench, archive, span, 10, seconds)
    for speed in ("100", "max"):
        receipt = bench.scratch / "receipt.json"
        subprocess.run([str(BUILD / "tape-replay"), "play", "--speed", speed, *span, "--receipt", str(receipt),
                        str(archive)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        digests.add(json.loads(receipt.read_text())["sha256"])
    print("digest the same at 1x, 10x, 100x and max" if len(digests) == 1 else f"DIGESTS DIFFER: {digests}")


def full_stamps(bench):
    """The lines with stamps in full ns. Those of the captures tick in 100 ns: their last two digits are made anew, from
    a seed and rising within a tick, so that nothing is gained by their being regular."""
    if "Binance" not in bench.lines_name:
        return bench.lines, bench.lines_name
    dice, target = random.Random(1), bench.scratch / "full-stamps"
    with open(bench.lines, "rb") as lines, open(target, "wb") as out:
        for tick, same in itertools.groupby(lines, key=lambda line: line[:17]):
            same = list(same)
            for digits, line in zip(sorted(dice.randrange(100) for _ in same), same):
                out.write(b"%s%02d%s" % (tick, digits, line[19:]))
    return target, bench.lines_name + ", stamps in full ns (last two digits pseudo-random)"


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_to(command, out=subprocess.DEVNULL):
    """CPU seconds of all its threads."""
    before = children_cpu()
    if isinstance(out, pathlib.Path):
        with open(out, "wb") as file:
            subprocess.run(pin(0) + list(map(str, command)), check=True, stdout=file)
    else:
        subprocess.run(pin(0) + list(map(str, command)), check=True, stdout=out)
    return children_cpu() - before


def in_memory(*words):
    done = subprocess.run(pin(0) + [str(TOOLS / "packed"), *map(str, words)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def import_hot(lines, archive):
    subprocess.run([str(BUILD / "tape-record"), "--quiet", "--no-pack", "--import", str(lines), str(archive)], check=True)
    return archive


def packed_copy(hot, archive, *level):
    shutil.rmtree(archive, ignore_errors=True)
    shutil.copytree(hot, archive)
    return run_to([BUILD / "tape-record", "--quiet", "--pack", *level, archive])


def segment_bytes(archive):
    return sum(path.stat().st_size for path in (archive / "segments").rglob("*") if path.is_file())


LINE_PEERS = (("gzip -6", ["gzip", "-6", "-c"]), ("zstd -3", ["zstd", "-q", "-3", "-c"]))
LONG_PEER = ("zstd -19 --long", ["zstd", "-q", "-19", "--long", "-c"])


def print_sizes(rows, messages, payload):
    print(f"{'':36}{'bytes a message':>16}{'payload ratio':>16}")
    for name, stored in rows:
        print(f"{name:36}{stored / messages:>16.2f}{payload / stored:>16.2f}", flush=True)


def sizes(bench, lines, archives):
    """How many messages, their payload bytes, and (name, bytes) of the peers and of the archives."""
    with open(lines, "rb") as text:
        lengths = [len(line.rstrip(b"\n")) - line.index(b" ") - 1 for line in text]
    rows = []
    for name, command in LINE_PEERS + (() if bench.quick else (LONG_PEER,)):
        out = bench.scratch / f"peer{name.replace(' ', '')}"
        run_to(command + [lines], out)
        rows.append((name + " of the lines", out.stat().st_size))
    rows += [(name, segment_bytes(archive)) for name, archive in archives]
    return rows, len(lengths), sum(lengths)


def a_stream(lines):
    """One of many: the first that tells trades."""
    found = re.search(rb'"stream":"([^"]*[tT]rade)"', open(lines, "rb").read(1 << 20))
    return found.group(1).decode() if found else None


def writing(bench, lines, hot, cold_cpu):
    """Name -> CPU seconds of each pass, peers and ours in turn."""
    told = {}
    for _ in range(1 if bench.quick else 3):
        for name, command in LINE_PEERS:
            told.setdefault(name, []).append(run_to(command + [lines]))
        told.setdefault("pack in memory, verified", []).extend(
            ns / 1e9 for ns in in_memory("pack", "warm", hot, 6)["cpu_ns"][1:])
        told.setdefault("tape-record --pack, all of it", []).append(packed_copy(hot, bench.scratch / "again"))
    told["tape-record --pack --level=cold"] = [cold_cpu]
    return told


def reading(bench, lines, archives):
    told, stream = {}, a_stream(lines)
    peers = [(name.split()[0] + " -dc", [name.split()[0], "-dc", bench.scratch / f"peer{name.replace(' ', '')}"])
             for name, _ in LINE_PEERS]
    asked = [(f"{words}, as text", ["text", archive, 4]) for words, archive in archives]
    asked += [("packed, as text, every byte read", ["touch", archives[1][1], 4])]
    asked += [(f"{words}, as columns", ["columns", archive, 4]) for words, archive in archives]
    if stream:
        asked += [(f"packed, {stream} as {form}", [form, archives[1][1], 4, stream]) for form in ("text", "columns")]
    sums = {}
    for _ in range(1 if bench.quick else 3):
        for name, command in peers:
            told.setdefault(name, []).append(run_to(command))
        for name, words in asked:
            found = in_memory(*words)
            told.setdefault(name, []).extend(ns / 1e9 for ns in found["cpu_ns"][1:])
            if len(words) == 3 and words[0] != "touch":
                sums.setdefault(words[0], set()).add((found["messages"], found["sum"]))
    return told, all(len(found) == 1 for found in sums.values())


def print_speeds(title, told, messages):
    base, base_cpu = next((name, statistics.median(passes)) for name, passes in told.items())
    print(f"{title:36}{'M msg/s a core':>16}{base + ' = 1':>16}")
    for name, passes in told.items():
        cpu = statistics.median(passes)
        print(f"{name:36}{messages / cpu / 1e6:>16.2f}{base_cpu / cpu:>16.1f}", flush=True)


def packed(bench):
    heading("Packed segments: bytes of the segment files, all counted; CPU of one core, medians")
    lines, words = full_stamps(bench)
    print(f"stream: {words}")
    hot, warm, cold = import_hot(lines, bench.scratch / "hot"), bench.scratch / "warm", bench.scratch / "cold"
    packed_copy(hot, warm)
    cold_cpu = packed_copy(hot, cold, "--level=cold")
    rows, messages, payload = sizes(bench, lines, (("hot (as recorded)", hot), ("packed (--pack)", warm),
                                                   ("cold (--pack --level=cold)", cold)))
    print_sizes(rows, messages, payload)
    print()
    print_speeds("writing", writing(bench, lines, hot, cold_cpu), messages)
    print()
    told, is_same = reading(bench, lines, (("hot", hot), ("packed", warm), ("cold", cold)))
    print_speeds("reading, to where they are at hand", told, messages)
    print("all bytes and values summed once: the same of hot, packed and cold" if is_same else "SUMS DIFFER")


def mixed_lines(bench):
    sources = sorted((DATA / "cryptofeed").glob("*.txt.zst"))
    if bench.own_lines or not sources:
        return None
    lines = []
    for path in sources:
        lines += subprocess.run(["zstdcat", str(path)], check=True, stdout=subprocess.PIPE).stdout.splitlines(keepends=True)
    lines.sort(key=lambda line: int(line[:19]))
    target = bench.scratch / "mixed"
    target.write_bytes(b"".join(lines))
    print(f"stream: {len(lines):,} real messages, {len(sources)} connections to exchanges of 2021 and 2022 merged")
    return target


def mixed(bench):
    heading("Mixed venues, packed: bytes of the segment files, all counted")
    lines = mixed_lines(bench)
    if lines is None:
        print("left out: no captures of many venues here")
        return
    hot, warm, cold = (bench.scratch / f"mixed-{name}" for name in ("hot", "warm", "cold"))
    import_hot(lines, hot)
    packed_copy(hot, warm)
    packed_copy(hot, cold, "--level=cold")
    rows, messages, payload = sizes(bench, lines, (("hot (as recorded)", hot),))
    for level, archive in (("warm", warm), ("cold", cold)):
        rows.append((f"grouped text, {level} (codec 2 alone)", in_memory("grouped", level, hot)["stored_bytes"]))
        rows.append(("packed (--pack)" if level == "warm" else "cold (--pack --level=cold)", segment_bytes(archive)))
    print_sizes(rows, messages, payload)


def record_beside(bench, backlog, rate, *words):
    """One capture of stamped messages that goes on in a copy of backlog: what was told, CPU, segments packed."""
    archive, count = bench.scratch / "beside", rate * (2 if bench.quick else 4)
    shutil.rmtree(archive, ignore_errors=True)
    shutil.copytree(backlog, archive)
    process, port = bench.sender(count, "--rate", rate)
    before = children_cpu()
    try:
        done = subprocess.run(
            pin(0) + [str(TOOLS / "timed_record"), "--quiet", "--url", f"wss://localhost:{port}/stream", "--ca",
                      str(bench.cert), "--frames", str(count), "--segment=1MiB", *words, str(archive)],
            env={**os.environ, "BENCH_FRAMES": str(count)}, check=True, stdout=subprocess.PIPE, timeout=120)
        cpu = children_cpu() - before
    finally:
        process.kill()
        process.wait()
    return json.loads(done.stdout), cpu, len(list(archive.rglob("*.tape")))


def beside(bench):
    heading("Capture beside the packer, all on one core: from before the send call into the ring, µs p50 / p99")
    backlog = bench.scratch / "backlog"
    with open(bench.lines, "rb") as lines:
        subprocess.run([str(BUILD / "tape-record"), "--quiet", "--no-pack", "--segment=16MiB", "--import", "-", str(backlog)],
                       input=lines.read() * 4, check=True)
    count = len(list(backlog.rglob("*.hot"))) - 1
    print(f"the archive had {count} closed segments of 16 MiB to pack when it began; one frame a record; "
          f"median of {1 if bench.quick else 3}")
    print(f"{'':24}{'--no-pack':>16}{'packing':>16}{'segments packed':>18}{'more CPU, s':>14}")
    for rate in (1_000, 20_000):
        runs = [[record_beside(bench, backlog, rate, *words) for words in (["--no-pack"], [])]
                for _ in range(1 if bench.quick else 3)]
        cells = []
        for side in range(2):
            p50, p99 = (statistics.median(run[side][0][key] for run in runs) for key in ("p50_us", "p99_us"))
            cells.append(f"{p50:.0f} / {p99:.0f}")
        print(f"{f'{rate:,} msg/s':24}{cells[0]:>16}{cells[1]:>16}{statistics.median(run[1][2] for run in runs):>18}"
              f"{statistics.median(run[1][1] - run[0][1] for run in runs):>14.2f}", flush=True)


PYTHON_API = """import sys, time
sys.path.insert(0, sys.argv[1])
import tapedeck
began, count = time.process_time(), 0
with tapedeck.Source(sys.argv[2]) as source:
    for message in source:
        count += 1
        if sys.argv[3] == "ticks":
            tick = message.tick()
            tick.price or tick.bid
print(count, time.process_time() - began)
"""
PYTHON_GZIP = """import gzip, json, sys, time
began, count = time.process_time(), 0
for line in gzip.open(sys.argv[1]):
    json.loads(line.split(b" ", 1)[1])
    count += 1
print(count, time.process_time() - began)
"""


def python_rate(program, *words):
    done = subprocess.run(pin(0) + ["/usr/bin/python3", "-B", "-c", program, *map(str, words)], check=True,
                          env={**os.environ, "TAPEDECK_LIBRARY": str(BUILD / "libtapedeck.so.0")}, stdout=subprocess.PIPE)
    count, cpu = done.stdout.split()
    return int(count) / float(cpu) / 1e6


def tardis_rates(bench):
    """npm tardis-dev's replay from its own cache, where npm can have it: M msg/s as bytes, and decoded."""
    folder, cache = bench.scratch / "npm", bench.scratch / "tardis"
    slices = cache / "feeds/binance-futures" / hashlib.sha256(b"[]").hexdigest() / "2024/08/08/00"
    for path in (folder, slices):
        path.mkdir(parents=True)
    with open(bench.lines, "rb") as lines, gzip.open(slices / "00.json.gz", "wb", 6) as out:
        for line in lines:
            ns, payload = line.split(b" ", 1)
            when = datetime.datetime.fromtimestamp(int(ns) // 10**9, datetime.timezone.utc)
            out.write(b"%s.%07dZ %s" % (when.strftime("%Y-%m-%dT%H:%M:%S").encode(), int(ns) % 10**9 // 100, payload))
    found = []
    try:
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--prefix", str(folder), "tardis-dev@13"], check=True,
                       timeout=90, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for how in ("bytes", "decode"):
            done = subprocess.run(pin(0) + ["node", str(ROOT / "tests/bench/tardis_reader.js"), str(folder), str(cache),
                                            "2024-08-08T00:00", how], check=True, stdout=subprocess.PIPE, timeout=300)
            told = json.loads(done.stdout)
            found.append(told["messages"] / told["cpu_s"] / 1e6)
    except (OSError, subprocess.SubprocessError):
        return None
    return found


def read_through_api(archive, how, *limit):
    done = subprocess.run(pin(0) + [str(TOOLS / "reader"), str(archive), how, *limit], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def api_instructions(bench, archive, how):
    """A message, start left out: two runs of so many messages."""
    totals = []
    for messages in (20_000, 120_000):
        out = bench.scratch / "callgrind"
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(TOOLS / "reader"), str(archive),
                        how, "1", str(messages)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        totals.append(int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M).group(1)))
    return (totals[1] - totals[0]) / 100_000


def api(bench):
    heading("A strategy that decides nothing, through the library: one core, every message")
    print(f"archive: {bench.lines_name}")
    hot = import_hot(bench.lines, bench.scratch / "api-hot")
    packed_copy(hot, bench.scratch / "api-packed")
    print(f"{'':44}{'M msg/s a core':>16}{'instructions':>16}{'gzip+json = 1':>16}")
    gz = gzip_lines(bench)[1]
    base, sums = python_rate(PYTHON_GZIP, gz), {}
    for how, words in (("plain", "messages"), ("ticks", "with ticks decoded")):
        for name, archive in (("hot", hot), ("packed", bench.scratch / "api-packed")):
            told = read_through_api(archive, how, "3" if bench.quick else "8")
            rate = told["messages"] / statistics.median(told["cpu_ns"][1:]) * 1e3
            sums.setdefault(how, set()).add((told["messages"], told["sum"]))
            print(f"{f'C, {name}, {words}':44}{rate:>16.2f}{api_instructions(bench, archive, how):>16,.0f}"
                  f"{rate / base:>16.1f}", flush=True)
    rows = [(f"Python, samples/tapedeck.py, {words}", python_rate(PYTHON_API, ROOT / "samples", hot, how))
            for how, words in (("plain", "messages"), ("ticks", "with prices"))]
    rows.append(("Python, gzip lines and json.loads", base))
    tardis = tardis_rates(bench)
    if tardis:
        rows += [("npm tardis-dev, its cache, bytes", tardis[0]), ("npm tardis-dev, its cache, JSON.parse", tardis[1])]
    for name, rate in rows:
        print(f"{name:44}{rate:>16.2f}{'':>16}{rate / base:>16.1f}", flush=True)
    if not tardis:
        print("npm tardis-dev: left out, it cannot be installed or run here")
    print("hot and packed give the same" if all(len(found) == 1 for found in sums.values()) else "SUMS DIFFER")


def urgent():
    """A reader that spins must not be the one that is displaced, nor what it waits for."""
    return ["nice", "-n", "-20"] if os.geteuid() == 0 else []


def follow_feed(bench, burst, pause_us, wanted, how):
    """A store that is filled by one process, a strategy that follows it in another."""
    archive = bench.scratch / "followed"
    shutil.rmtree(archive, ignore_errors=True)
    with subprocess.Popen(urgent() + pin(0) + [str(BUILD / "tests/part/store_feed"), "feed", str(archive), "0", str(burst),
                                    str(pause_us)], stdout=subprocess.DEVNULL) as feed:
        try:
            return follow_archive(archive, wanted, how)
        finally:
            feed.kill()
            feed.wait()
            # which takes the ring away, too
            subprocess.run([str(BUILD / "tape-record"), "--quiet", "--repair", str(archive)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def follow_archive(archive, wanted, how):
    while not (archive / "LOCK").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    done = subprocess.run(urgent() + pin(1) + [str(TOOLS / "follower"), str(archive), str(wanted), how], check=True,
                          stdout=subprocess.PIPE, timeout=120)
    return json.loads(done.stdout)


def follow_record(bench, rate, wanted, how):
    """tape-record over TLS, its stamps the kernel's; sender and recorder share the other core."""
    archive = bench.scratch / "followed"
    shutil.rmtree(archive, ignore_errors=True)
    process, port = bench.sender(1_000_000, "--rate", rate)
    os.sched_setaffinity(process.pid, {0})
    recorder = subprocess.Popen(urgent() + pin(0) + [str(BUILD / "tape-record"), "--quiet", "--url", f"wss://localhost:{port}/stream",
                                          "--ca", str(bench.cert), str(archive)], stderr=subprocess.DEVNULL)
    try:
        return follow_archive(archive, wanted, how)
    finally:
        recorder.terminate()
        recorder.wait()
        process.kill()
        process.wait()


def follow(bench):
    heading("Following a live recording: from a frame's stamp to a strategy that has its tick, µs")
    wanted = 3_000 if bench.quick else 10_000
    print(f"{'':52}{'p50':>10}{'p99':>10}{'greatest':>10}")
    rows = [(f"put into the ring, about {rate} msg/s, reader {how}s",
             lambda b=burst, p=pause, h=how: follow_feed(bench, b, p, wanted, h))
            for rate, burst, pause in (("1,000", 1, 900), ("8,000", 1, 50), ("100,000", 10, 1))
            for how in ("spin", "sleep")]
    rows += [(f"received by tape-record, {rate:,} msg/s, reader {how}s",
              lambda r=rate, h=how: follow_record(bench, r, wanted, h)) for rate in (1_000, 20_000)
             for how in ("spin", "sleep")]
    for name, measure in rows:
        told = measure()
        print(f"{name:52}{told['p50_us']:>10.1f}{told['p99_us']:>10.1f}{told['max_us']:>10.1f}", flush=True)
    print("the ring's stamps are taken before a message is made; tape-record's are the kernel's, before it wakes, reads "
          "and decrypts")


def serve_once(bench, archive, clients, secure, *words):
    """(CPU s of the server, messages delivered, their wall s) for clients that discard."""
    said = bench.scratch / "serve.log"
    tls = ["--cert", str(bench.cert), "--key", str(bench.key)] if secure else []
    with open(said, "wb") as log, subprocess.Popen(
            pin(0) + [str(BUILD / "tape-replay"), "serve", "--listen", "127.0.0.1:0", "--speed", "max", "--at-end", "exit",
                      "--clients", str(clients), "--gather", "100ms", "--unrouted", *tls, *words, str(archive)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log) as server:
        while not (found := re.search(r"wss?://[^ ]*:(\d+)", said.read_text())):
            time.sleep(0.02)
        path = "/stream?streams=" + "/".join(stream_names(bench))
        command = [str(TOOLS / "discard"), found.group(1), path] + ([str(bench.cert)] if secure else [])
        running = [subprocess.Popen(pin(1) + command, stdout=subprocess.PIPE) for _ in range(clients)]
        told = [json.loads(process.communicate(timeout=120)[0]) for process in running]
        used = os.wait4(server.pid, 0)[2]
        server.returncode = 0
    return used.ru_utime + used.ru_stime, sum(one["messages"] for one in told), max(one["wall_ns"] for one in told) / 1e9


def stream_names(bench):
    names = set()
    with open(bench.lines, "rb") as lines:
        for line in lines:
            found = re.match(rb'\d+ \{"stream":"([^"]*)"', line)
            if found:
                names.add(found.group(1).decode())
    return sorted(names)


def serve(bench):
    heading("tape-replay serve --speed max to clients that discard: CPU beyond reading the archive, µs a delivery")
    print(f"archive: {bench.lines_name}, four times over")
    with open(bench.lines, "rb") as lines:
        text = lines.read()
    archive = bench.scratch / "served"
    subprocess.run([str(BUILD / "tape-record"), "--quiet", "--import", "-", str(archive)], input=text * 4, check=True)
    told = read_through_api(archive, "plain", "3")
    reading = statistics.median(told["cpu_ns"]) / 1e9
    begin, _, _ = serve_once(bench, archive, 1, False, "--to", str(int(text[:19]) + 1))
    print(f"reading it through the library takes {reading:.2f} s, a server of nothing {begin:.3f} s: both taken off")
    print(f"{'':36}{'deliveries':>12}{'µs each':>10}{'M/s, all clients':>18}{'Python = 1':>12}")
    peer = python_replayer(bench, 0, gzip_lines(bench)[1])
    base = peer["cpu_s"] / peer["messages"] * 1e6
    for secure in (False, True):
        for clients in (1, 4):
            runs = [serve_once(bench, archive, clients, secure) for _ in range(1 if bench.quick else 3)]
            each = statistics.median((cpu - reading - begin) / count * 1e6 for cpu, count, _ in runs)
            rate = statistics.median(count / wall / 1e6 for _, count, wall in runs)
            name = f"{'wss' if secure else 'ws'}, {clients} client{'s' if clients > 1 else ''}"
            print(f"{name:36}{runs[0][1]:>12,}{each:>10.3f}{rate:>18.2f}{base / each:>12.0f}", flush=True)
    print(f"{'Python websockets, gzip lines, ws':36}{peer['messages']:>12,}{base:>10.3f}{1 / base:>18.2f}{1:>12}")


def deliver_once(bench, clients, secure, frames):
    port_file = bench.scratch / "deliver-port"
    port_file.unlink(missing_ok=True)
    tls = ["--cert", str(bench.cert), "--key", str(bench.key)] if secure else []
    with subprocess.Popen(pin(0) + [str(TOOLS / "serve_server"), "--port-file", str(port_file), "--clients", str(clients),
                                    "--frames", str(frames), *tls], stdout=subprocess.PIPE) as server:
        while not port_file.exists() or not port_file.read_text().strip():
            time.sleep(0.02)
        command = [str(TOOLS / "discard"), port_file.read_text().strip(), "/ws"] + ([str(bench.cert)] if secure else [])
        running = [subprocess.Popen(pin(1) + command, stdout=subprocess.PIPE) for _ in range(clients)]
        for process in running:
            got = json.loads(process.communicate(timeout=120)[0])["messages"]
            if got < frames:
                raise SystemExit(f"a client got {got} frames of {frames}")
        return json.loads(server.communicate(timeout=60)[0])


def deliver(bench):
    heading("The player's sending end on its own, to clients that discard: CPU of its thread, µs a delivered frame of 280 B")
    print(f"{'':36}{'deliveries':>12}{'CPU':>10}{'wall':>10}")
    for secure in (False, True):
        for clients in (1, 4):
            frames = (1000000 if secure else 3000000) // (4 if bench.quick else 1)
            runs = [deliver_once(bench, clients, secure, frames) for _ in range(1 if bench.quick else 3)]
            name = f"{'wss' if secure else 'ws'}, {clients} client{'s' if clients > 1 else ''}"
            print(f"{name:36}{frames * clients:>12,}{statistics.median(r['cpu_us'] for r in runs):>10.3f}"
                  f"{statistics.median(r['wall_us'] for r in runs):>10.3f}", flush=True)


SECTIONS = {f.__name__: f for f in (backlog, instructions, latency, stamps, connections, recorder, replay, pace, packed,
                                    mixed, beside, api, follow, serve, deliver)}


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return (f"{os.cpu_count()} cores of {model.group(1) if model else platform.machine()}, Linux {platform.release()}, "
            f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--lines", metavar="FILE", help="a capture of yours, plain, .gz or .zst")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=" ".join(SECTIONS))
    options = parser.parse_args()
    if not set(options.sections) <= set(SECTIONS):
        parser.error(f"the sections are {' '.join(SECTIONS)}")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tapedeck-bench-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        print(f"Machine: {machine()}")
        bench = Bench(scratch, options.quick, options.lines)
        for name, section in SECTIONS.items():
            if not options.sections or name in options.sections:
                section(bench)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
