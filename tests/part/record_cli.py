#!/usr/bin/python3
"""tape-record's command line: each wrong use gives one line that says what to mend, and exit 2; --help fits a
terminal and its example is a valid command; the manual lists the same options in the same words."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORD = os.path.join(os.environ["BUILD"], "tape-record")

USAGE = [
    ([], "an ARCHIVE directory must be named (tape-record --help)"),
    (["a"], "no STREAM is named, such as btcusdt@aggTrade (tape-record --help)"),
    (["--fro", "1s", "a", "b"], "unknown option --fro (did you mean --for?)"),
    (["--venu=spot", "a", "b"], "unknown option --venu (did you mean --venue?)"),
    (["--completely-wrong", "a", "b"], "unknown option --completely-wrong (tape-record --help)"),
    (["-x", "a", "b"], "unknown option -x (tape-record --help)"),
    (["--quiet", "--quiet", "a", "b"], "--quiet is given twice"),
    (["--venue=spot", "a", "--venue", "usdm", "b"], "--venue is given twice"),
    (["--quiet=yes", "a", "b"], "--quiet takes no value"),
    (["a", "b", "--for"], "--for needs a value: --for=TIME"),
    (["--for=", "a", "b"], "--for=: no duration such as 90s, 100ms or 1h30m"),
    (["--for=10", "a", "b"], "--for=10: no duration such as 90s, 100ms or 1h30m"),
    (["--for=0s", "a", "b"], "--for=0s: no duration such as 90s, 100ms or 1h30m"),
    (["--for=-1s", "a", "b"], "--for=-1s: no duration such as 90s, 100ms or 1h30m"),
    (["--for=99999999999d", "a", "b"], "--for=99999999999d: no duration such as 90s, 100ms or 1h30m"),
    (["--frames=0", "a", "b"], "--frames=0: no whole number above 0"),
    (["--frames=1e3", "a", "b"], "--frames=1e3: no whole number above 0"),
    (["--frames=18446744073709551616", "a", "b"], "--frames=18446744073709551616: no whole number above 0"),
    (["--sync=often", "a", "b"], "--sync=often: no duration in [1ms, 60s], block or none"),
    (["--sync=61s", "a", "b"], "--sync=61s: no duration in [1ms, 60s], block or none"),
    (["--ring=1KiB", "a", "b"], "--ring: must be in [1MiB, 4GiB]"),
    (["--ring=8GiB", "a", "b"], "--ring: must be in [1MiB, 4GiB]"),
    (["--ring=64MeB", "a", "b"], "--ring=64MeB: no size such as 65536, 16MiB or 1GiB"),
    (["--message-limit=17MiB", "a", "b"], "--message-limit: must be in [1B, 16MiB]"),
    (["--segment=1B", "a", "b"], "--segment: must be in [256KiB, 64GiB]"),
    (["--segment-age=10ms", "a", "b"], "--segment-age: must be at least 1s"),
    (["--connections=1001", "a", "b"], "--connections: must be in [1, 1000]"),
    (["--log-format=json", "a", "b"], "--log-format=json: not auto, text or logfmt"),
    (["--ca=", "a", "b"], "--ca=: must not be empty"),
    (["--venue=spot", "--profile=x", "a", "b"], "--venue and --profile exclude each other"),
    (["--import", "f", "--repair", "a"], "--import and --repair exclude each other"),
    (["--import", "f", "a", "b"], '--import takes one ARCHIVE, and then "b"?'),
    (["--repair", "a", "b"], '--repair takes one ARCHIVE, and then "b"?'),
    (["--pack", "a", "b"], '--pack takes one ARCHIVE, and then "b"?'),
    (["--pack", "--repair", "a"], "--repair and --pack exclude each other"),
    (["--pack", "--level=hot", "a"], "--level=hot: not warm or cold"),
    (["--level=cold", "a", "b"], "--level has no meaning without --pack"),
    (["--level=cold", "--repair", "a"], "--level has no meaning without --pack"),
    (["--pack", "--no-pack", "a"], "--no-pack has no meaning with --pack"),
    (["--pack", "--for=1s", "a"], "--for has no meaning with --pack"),
    (["--prune", "a"], "--prune needs a limit: --keep-age=TIME, --keep-bytes=SIZE or --keep-free=SIZE"),
    (["--prune", "--repair", "--keep-age=1d", "a"], "--repair and --prune exclude each other"),
    (["--prune", "--keep-age=1d", "a", "b"], "--prune takes one ARCHIVE, and then \"b\"?"),
    (["--prune", "--keep-age=1d", "--ring=1MiB", "a"], "--ring has no meaning with --prune"),
    (["--repair", "--keep-bytes=1GB", "a"], "--keep-bytes has no meaning with --repair"),
    (["--keep-free=0", "a", "b"], "--keep-free=0: no size such as 65536, 16MiB or 1GiB"),
    (["--dry-run", "a", "b"], "--dry-run has no meaning without --prune"),
    (["--import", "f"], "an ARCHIVE directory must be named (tape-record --help)"),
]

FAILED = [
    (["--import", "/nowhere/at/all", "a"], 1, "/nowhere/at/all: open: No such file or directory"),
    (["--profile=/nowhere", "a", "b@c"], 1, "/nowhere: open: No such file or directory"),
    (["--prune", "--keep-age=1d", "nothing-here"], 1,
     "open nothing-here: open the directory: No such file or directory"),
    (["--repair", "nothing-here"], 1, "open nothing-here: open the directory: No such file or directory"),
    (["--pack", "nothing-here"], 1, "open nothing-here: open the directory: No such file or directory"),
    (["--import", "/dev/null", "/nowhere/archive"], 1,
     "record into /nowhere/archive: make the directory: No such file or directory"),
]

wrong = []


def check(truth, what):
    if not truth:
        wrong.append(what)


def run(*arguments):
    return subprocess.run([RECORD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, check=False)


def check_errors():
    cases = [(arguments, 2, words) for arguments, words in USAGE] + FAILED
    for arguments, code, words in cases:
        done = run(*arguments)
        check(done.returncode == code, f"{arguments}: exit {done.returncode}, not {code}")
        check(done.stderr == f"tape-record: {words}\n", f"{arguments}: says {done.stderr!r}")
        check(done.stdout == "", f"{arguments}: prints {done.stdout!r}")
    check(os.listdir(".") == [], f"a failed command left {os.listdir('.')}")


def check_help():
    text = run("--help")
    check(text.returncode == 0 and text.stderr == "", "--help fails")
    check(run("-h").stdout == text.stdout, "-h differs from --help")
    check(run("--help", "--nonsense").returncode == 2, "--help hides an error before it")
    lines = text.stdout.splitlines()
    check(24 <= len(lines) <= 40, f"--help has {len(lines)} lines")
    for line in lines:
        check(len(line) <= 80, f"--help: {len(line)} columns: {line}")
    example = [line.split() for line in lines if line.startswith("  tape-record ")]
    check(len(example) == 1, "--help has no example")
    # the plan is made before the archive is touched: in a directory that cannot exist it goes no further
    tried = run(*[word.replace("./tape", "/nowhere/tape") for word in example[0][1:]])
    check("record into /nowhere/tape" in tried.stderr, f"the example is no valid command: {tried.stderr}")
    check(re.fullmatch(r"tape-record \d+\.\d+\.\d+\n", run("--version").stdout), "--version")
    return lines


def options_of(lines):
    found = {}
    for line in lines:
        option = re.match(r"  --([a-z-]+)(?:=([A-Z]+))? +(\S.*)$", line)
        if option:
            found[option[1]] = (option[2], option[3])
    return found


def check_manual(lines):
    listed = options_of(lines)
    manual = (ROOT / "record/tape-record.1").read_text(encoding="utf-8").splitlines()
    found = {}
    for number, line in enumerate(manual):
        item = re.match(r"\.It Fl Fl ([a-z-]+)(?: Ns = Ns Ar ([A-Z]+))?$", line)
        if item:
            found[item[1]] = (item[2], manual[number + 1].lstrip("\\&"))
    check(list(found) == list(listed), f"the manual lists {sorted(set(found) ^ set(listed))} alone, or in another order")
    for name, (argument, words) in listed.items():
        if name in found:
            check(found[name] == (argument, words), f"--{name}: the manual says {found[name]}, --help {(argument, words)}")
    check(len(listed) >= 20, f"only {len(listed)} options found in --help")


def main():
    with tempfile.TemporaryDirectory(prefix="tape-part-") as scratch:
        os.chdir(scratch)
        check_errors()
        check_manual(check_help())
    for what in wrong:
        print(what)
    print(f"{len(USAGE) + len(FAILED)} wrong uses, {len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
