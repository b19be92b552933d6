#!/usr/bin/env python3
"""Command lines that cannot be meant: exit 2 and one line that says what to mend, whatever bytes are in it; and
standard streams that are closed or full. tape-record's own table is in record_cli.py."""
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from damage_archive import replay, run  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

LONG = "x" * 100_000
TIMES = "write 2026-11-22T08:00Z, ns since 1970, @seconds, now, +10m after the start or -10m before the end"
SPEEDS = "write max or a number from 0.001 to 1000000"

REPLAY = [
    ("", "no command; see tape-replay --help"),
    ("show A", '"show" is not a command; there are: ls play serve verify'),
    ("ls", "no archive; write: tape-replay ls ARCHIVE"),
    ("play", "no archive; write: tape-replay play ARCHIVE"),
    ("verify", "no archive; write: tape-replay verify ARCHIVE"),
    ("ls A B", 'one archive at a time: "B" is one too many'),
    ("-v", "unknown option -v"),
    ("play --sped max A", "unknown option --sped (did you mean --speed?)"),
    ("play --nonsense A", "unknown option --nonsense"),
    ("play --speed max --speed 1 A", "--speed is given twice"),
    ("play A --speed", "--speed needs a value: --speed N"),
    ("play --json=1 A", "--json takes no value"),
    ("ls --speed 1 A", "ls has no option --speed"),
    ("verify --stream x A", "verify has no option --stream"),
    ("play --reparse A", "play has no option --reparse"),
    ("play --form raw A", "unknown option --form (did you mean --format?)"),
    ("play --all A", "--all needs --format ndjson"),
    ("play --format csv A", '--format: "csv" is not a format; there are: raw ndjson hft'),
    ("play --stream= A", "--stream: must not be empty"),
    ("play --receipt= A", "--receipt: must not be empty"),
    ("play --spin 1 A", '--spin: "1" is not a duration: write a number and a unit, as in 90s, 1h30m, 250ms or 60us'),
    ("play --from 123 A", '--from: "123" has 3 digits: a plain number is nanoseconds since 1970, which have 19; '
     "seconds are written @1795334400"),
    ("play --from 2026-11-25T10:00Z --to 2026-11-25T09:00Z A", "--from is not before --to: nothing lies between"),
    ("play --from @5 --to @5 A", "--from is not before --to: nothing lies between"),
    *(("play --speed=%s A" % bad, '--speed: "%s" is not a speed: %s' % (bad, SPEEDS))
      for bad in ("0", "-1", "nan", "inf", "1e9", "0x10", "fast", "", "1.2.3", "9" * 40)),
    *(("play --from=%s A" % bad, '--from: "%s" is not a time: %s' % (bad, TIMES))
      for bad in ("x", "", "+", "-", "2026-13-01", "2026-02-30", "2026-11-22T25:00", "2026-11-22T08:00+1", "@", "@x",
                  "99999999999999999999", "+1", "+1y", "+99999999999d", "@99999999999999999999", "-1.5", "9999-12-31")),
]

RECORD = [
    ("a BTCUSDT@aggTrade", 'stream "BTCUSDT@aggTrade" on binance-usdm: symbols are in lower case in stream names '
     '(did you mean "btcusdt@aggTrade"?)'),
    ("a btcusdt@agTrade", 'stream "btcusdt@agTrade" on binance-usdm: not a stream that is known, so that its route '
     'cannot be told (did you mean "btcusdt@aggTrade"?)'),
    ("a btcusdt", 'stream "btcusdt" on binance-usdm: no channel is named (streams are <symbol>@<channel>)'),
    ("a btcusdt@trade btcusdt@trade", 'stream "btcusdt@trade" is named twice'),
    ("--venue=usd a b@trade", 'unknown venue "usd" (did you mean "usdm"?); known: coinm (binance-coinm), '
     "spot (binance-spot), usdm (binance-usdm)"),
    ("--url=http://h a b@trade", 'URL "http://h": it must begin with wss:// or ws://'),
    ("--url=wss:// a b@trade", 'URL "wss://": the host is missing'),
    ("--url=wss://u:p@h a b@trade", 'URL "wss://u:p@h": user names and passwords are not allowed'),
    ("--url=wss://h:0 a b@trade", 'URL "wss://h:0": the port is not a number from 1 to 65535'),
    ("--import f --frames 3 a", "--frames has no meaning with --import"),
    ("--import f --url wss://h a", "--url has no meaning with --import"),
    ("--repair --for 1s a", "--for has no meaning with --repair"),
    ("--repair --ring 1MiB a", "--ring has no meaning with --repair"),
]

HOSTILE = [LONG, "\x1b]0;title\x07\x1b[31m", "two\nlines", "tab\there", "%s%n%99999999s", "\u202egnp.exe", "é" * 5000,
           b"\xff\xfe\x80", "-", "''", "$(id)", "a" * 256, "/" * 5000, "\x7f\x01"]


def only_line(result, program):
    expect(result.said.startswith(program + ": ") and result.said.count("\n") == 1, "not one line: %s" % result)
    expect_equal(result.out, b"", "nothing on standard output: %s" % result)
    return result.said[len(program) + 2:-1]


def check_tables():
    for table, program in ((REPLAY, "tape-replay"), (RECORD, "tape-record")):
        for words, wanted in table:
            said = only_line(run(program, *words.split(), wanted=(2,)), program)
            expect_equal(said, wanted, "%s %s" % (program, words))
    said = only_line(run("tape-record", "", "b@trade", wanted=(2,)), "tape-record")
    expect_equal(said, "ARCHIVE is empty (tape-record --help)", "an empty name")
    host = only_line(run("tape-record", "--url=ws://example.com", "a", "btcusdt@trade", wanted=(2,)), "tape-record")
    expect(host.endswith("plain ws:// is for this machine alone (127.0.0.0/8, [::1], localhost): use wss://"), host)


def check_hostile(archive):
    """In every place where a word can stand. What is a wrong word is refused with its reason."""
    for bad in HOSTILE:
        word = os.fsencode(bad) if isinstance(bad, str) else bad
        for words in ([word], [b"ls", word], [b"play", b"--" + word, archive], [b"play", b"--speed", word, archive],
                      [b"play", b"--from=" + word, archive], [b"play", b"--format", word, archive],
                      [b"play", b"--spin", word, archive], [b"verify", archive, word]):
            said = only_line(replay(*words, wanted=(1, 2, 3)), "tape-replay")
            expect(len(said) > 10 and not said.endswith("x" * 200), "no reason in %r … %r" % (said[:80], said[-80:]))
        replay(b"play", b"--speed", b"max", b"--stream=" + word, archive, wanted=(0,))
        for words in ([word], [b"a", word], [b"--" + word, b"a", b"b"], [b"--for=" + word, b"a", b"b"],
                      [b"--venue=" + word, b"a", b"b@trade"], [b"--url=" + word, b"a", b"b@trade"],
                      [b"--ring=" + word, b"a", b"b"], [b"--repair", word], [b"--profile=" + word, b"a", b"b@trade"],
                      [b"--ca=" + word, b"a", b"btcusdt@trade"], [b"--import=" + word, b"a"]):
            if words == [b"--import=-", b"a"]:
                continue  # standard input
            said = only_line(run("tape-record", *words, wanted=(1, 2, 3)), "tape-record")
            expect(len(said) > 10 and not said.endswith("x" * 200), "no reason in %r … %r" % (said[:80], said[-80:]))
    expect_equal(os.listdir("."), [], "what failed commands left")


def shell(words, redirection):
    done = subprocess.run("exec '%s' %s %s" % (rig.BUILD / words[0], " ".join("'%s'" % w for w in words[1:]),
                                               redirection), shell=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode("utf-8", "replace")
    expect("Sanitizer" not in said, said)
    return done.returncode, said


def check_streams(scratch, archive, lines):
    """A standard output that takes nothing is exit 1 with the reason, and its bytes go nowhere else."""
    for redirection, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        for words in (["tape-replay", "--help"], ["tape-replay", "--version"], ["tape-replay", "ls", archive],
                      ["tape-replay", "ls", "--json", archive], ["tape-replay", "verify", archive],
                      ["tape-replay", "verify", "--json", archive],
                      ["tape-replay", "play", "--speed", "max", archive],
                      ["tape-record", "--help"], ["tape-record", "--version"], ["tape-record", "--repair", archive]):
            code, said = shell(words, redirection)
            expect_equal(code, 1, "%s %s: %s" % (words, redirection, said))
            last = said.splitlines()[-1]
            expect(last in ("%s: standard output: %s" % (words[0], reason),
                            "%s: standard output: cannot be written" % words[0]), "%s %s: %s" % (words, redirection, said))
    receipt = scratch / "receipt"
    code, said = shell(["tape-replay", "play", "--speed", "max", "--receipt", receipt, archive], ">&-")
    expect(code == 1 and b"aggTrade" not in receipt.read_bytes(), "messages went into the receipt: %s" % said)
    new = scratch / "new"
    code, said = shell(["tape-record", "--ring=1MiB", "--import", lines, new], "<&- >&- 2>&-")
    expect_equal(code, 0, "all three closed")
    expect(replay("play", "--speed", "max", "--format", "hft", new, wanted=(0,)).out == lines.read_bytes(), "closed")
    replay("verify", "--reparse", new, wanted=(0,))
    code, said = shell(["tape-record", "--ring=1MiB", "--import", "-", scratch / "newer"], "<&-")
    expect(code == 1 and said.splitlines()[-1] == "tape-record: -: read: Bad file descriptor", said)
    code, said = shell(["tape-replay", "ls", archive], "2>&-")
    expect_equal(code, 0, "standard error closed")


def check_help():
    for words in (["--help"], ["-h"], ["ls", "--help"], ["play", "--help"], ["verify", "--help"]):
        text = replay(*words, wanted=(0,)).out.decode().splitlines()
        expect(len(text) <= 50 and max(map(len, text)) <= 80, "%s: %d lines" % (words, len(text)))
        expect(any(line.startswith("example: tape-replay ") for line in text), "%s has no example" % words)
    for words in ([], ["ls"], ["play"], ["serve"], ["verify"]):
        expect_equal(replay("help", *words, wanted=(0,)).out, replay(*words, "--help", wanted=(0,)).out, "help %s" % words)
    expect_equal(only_line(replay("help", "pley", wanted=(2,)), "tape-replay"), '"pley" is not a command; there are: ls play serve verify', "help pley")
    for verb, told in (("ls", "tell it as JSON"), ("verify", "tell it as JSON"),
                       ("play", "the receipt on standard error as JSON"), ("serve", "the receipt on standard error as JSON")):
        expect("  --json             %s\n" % told in replay(verb, "--help", wanted=(0,)).out.decode(), "--json of %s" % verb)
    expect_equal(replay("--version", wanted=(0,)).out.split()[0], b"tape-replay", "--version")


def check_examples(archive):
    """What --help shows runs."""
    for verb in ("ls", "play", "verify"):
        text = replay(verb, "--help", wanted=(0,)).out.decode().splitlines()
        example = next(line for line in text if line.startswith("example: "))[len("example: "):]
        done = subprocess.run(example.replace("tape-replay", "'%s'" % (rig.BUILD / "tape-replay"), 1)
                              .replace("./tape", "'%s'" % archive), shell=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        expect_equal((done.returncode, len(done.stdout) > 0), (0, True), example)


def main(scratch):
    archive, lines = scratch / "archive", scratch / "lines"
    rig.write_lines(lines, rig.generate("--seed", 2, "--count", 40, "--symbols", "bnbusdt,btcusdt"))
    run("tape-record", "--ring=1MiB", "--import", lines, archive, wanted=(0,))
    (scratch / "here").mkdir()
    os.chdir(scratch / "here")
    check_tables()
    check_hostile(os.fsencode(archive))
    check_help()
    check_examples(archive)
    check_streams(scratch, archive, lines)


rig.run_main(main)
