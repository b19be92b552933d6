"""Runs every test and ends with one line: N passed, N failed, N skipped.

    tests/run.py --build build [--only KIND] [--match WORD] [--fuzz-seconds 5]

Kinds: unit (cmocka programs, under AddressSanitizer), part (scripts in tests/part that drive the built
programs), part+address (the same under AddressSanitizer), unit+thread and part+thread (the tests named in
THREADED, under ThreadSanitizer), fuzz (a short run of each libFuzzer target), lint.
A part test gets BUILD in its environment, exits 0 when it passed, 77 when it cannot run here (and says
why), anything else when it failed.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
LIMIT_S = 300
# Part tests run under AddressSanitizer. These run on what is shipped as well: optimised, in real time.
SHIPPED = ("endtoend_basic", "endtoend_data", "endtoend_kill", "demo_run", "play_speeds", "kill_store", "pack_kill")
# What several threads touch, by name of the unit test or the part script.
THREADED = ("ring_test", "store_test", "packer_test", "source_test", "threads_", "endtoend_basic", "follow_",
            "receive_redial")
ASAN = "detect_leaks=1:abort_on_error=0:exitcode=99"
UBSAN = "print_stacktrace=1"
TSAN = "halt_on_error=1:exitcode=98:second_deadlock_stack=1"


def environment(build):
    env = dict(os.environ, BUILD=str(build), ASAN_OPTIONS=ASAN, UBSAN_OPTIONS=UBSAN, TSAN_OPTIONS=TSAN)
    env.setdefault("TAPE_DATA", str(ROOT.parent / "shared" / "data"))
    env["LC_ALL"] = "C.UTF-8"
    return env


def units(build, kind):
    return [(f"{kind} {p.stem}", [str(build / "tests/unit" / p.stem)], build)
            for p in sorted((ROOT / "tests/unit").glob("*_test.c"))]


def parts(build, kind):
    found = []
    for path in sorted((ROOT / "tests/part").iterdir()):
        if path.suffix in (".py", ".sh") and os.access(path, os.X_OK):
            shell = PYTHON if path.suffix == ".py" else "sh"
            found.append((f"{kind} {path.stem}", [shell, str(path)], build))
    return found


def fuzzers(build, seconds, scratch):
    found = []
    for path in sorted((ROOT / "tests/fuzz").glob("*_fuzz.c")):
        name = path.stem[:-len("_fuzz")]
        corpus = scratch / name
        corpus.mkdir()
        seeds = ROOT / "tests/fuzz/seeds" / name
        command = [str(build / "tests/fuzz" / path.stem), f"-max_total_time={seconds}", "-timeout=20",
                   "-rss_limit_mb=2048", f"-artifact_prefix={scratch}/", "-print_final_stats=0", str(corpus)]
        if seeds.is_dir():
            command.append(str(seeds))
        found.append((f"fuzz {name}", command, build))
    return found


def threaded(tests):
    return [t for t in tests if any(word in t[0] for word in THREADED)]


def plan(options, scratch):
    build = pathlib.Path(options.build).resolve()
    address, thread = build / "address", build / "thread"
    tests = [("lint house", [PYTHON, str(ROOT / "tests/lint.py")], build)]
    tests += units(address, "unit")
    tests += [t for t in parts(build, "part") if is_plain_only(t) or t[0].split(" ")[1] in SHIPPED]
    tests += [t for t in parts(address, "part+address") if not is_plain_only(t)]
    tests += threaded(units(thread, "unit+thread") + parts(thread, "part+thread"))
    tests += fuzzers(build / "fuzz", options.fuzz_seconds, scratch)
    if options.only:
        tests = [t for t in tests if t[0].split(" ")[0] == options.only]
    if options.match:
        tests = [t for t in tests if options.match in t[0]]
    return tests


def is_plain_only(test):
    """A script says so itself, with the words 'plain build only' in its first lines, and why."""
    with open(test[1][-1], encoding="utf-8") as script:
        return "plain build only" in script.read(1000)


def run(test):
    name, command, build = test
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment(build), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S)
        code, output = done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        code, output = "no end within its limit", (late.stdout or b"").decode("utf-8", "replace")
    except OSError as missing:
        code, output = str(missing), ""
    return name, code, output, time.monotonic() - began


def last_line(output):
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--only")
    parser.add_argument("--match")
    parser.add_argument("--fuzz-seconds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tapedeck-check-"))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for done in concurrent.futures.as_completed(
                    [pool.submit(run, test) for test in plan(options, scratch)]):
                name, code, output, seconds = done.result()
                if code == 77:
                    counts["skipped"] += 1
                    print(f"skip  {name}: {last_line(output)}", flush=True)
                elif code == 0:
                    counts["passed"] += 1
                    print(f"ok    {name} ({seconds:.1f} s)", flush=True)
                else:
                    counts["failed"] += 1
                    print(f"FAIL  {name} (exit {code}, {seconds:.1f} s)\n{output[-6000:]}", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
