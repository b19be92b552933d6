#!/usr/bin/env python3
"""tape-replay play --faults: what the manual says of seed and rules, written down a second time here, gives
the bytes that come; the same at every speed, from hot and packed segments, from the middle and in several
archives, live and recorded; totals add up, streams without a rule are untouched; the sample and the manual's example run."""
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
MS = 1000000
STREAMS = ("btcusdt@trade", "ethusdt@depth", "xrpusdt@bookTicker")
MASK = (1 << 64) - 1
RULES = {
    "seed": 42,
    "rules": [
        {"streams": "btcusdt@*", "delay": {"probability": 0.1, "min": "1ms", "max": "9ms"}},
        {"streams": "ethusdt@*", "duplicate": {"probability": 0.1}},
        {"streams": "*usdt@[bt]*", "from": "+1s", "to": "+3s", "drop": {"probability": 0.2}},
        {"streams": "ethusdt@depth", "reorder": {"probability": 0.1, "by": 3}},
        {"cut": {"every": "1s", "code": 1001}},
    ],
}


def make_lines():
    return [b'%d {"stream":"%s","data":{"n":%d,"x":"%s"}}' %
            (BEGIN + i * MS + i % 5 * 1000, STREAMS[i * i % 7 % 3].encode(), i, b"x" * (i % 60)) for i in range(4000)]


# ---- what the manual says ----

def mix(x):
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & MASK
    x = (x ^ x >> 27) * 0x94d049bb133111eb & MASK
    return x ^ x >> 31


def draw(ordinal, rule, copy, lane):
    return mix(mix(mix(RULES["seed"] + 0x9e3779b97f4a7c15 & MASK) ^ ordinal) ^ (rule << 32 | copy << 16 | lane))


def hits(ordinal, rule, copy, probability):
    return (draw(ordinal, rule, copy, 0) >> 11) / 2**53 < probability


def choice(ordinal, rule, copy, count):
    return draw(ordinal, rule, copy, 1) * count >> 64


def fates(ordinal, stream, since_ns):
    """[delay, messages of its stream it waits for, dropped] of the message and its copies."""
    copies = [[0, 0, False]]
    if stream == STREAMS[0] and hits(ordinal, 0, 0, 0.1):
        copies[0][0] = MS + choice(ordinal, 0, 0, 8 * MS + 1)
    if stream == STREAMS[1] and hits(ordinal, 1, 0, 0.1):
        copies.append(list(copies[0]))
    if stream != STREAMS[1] and 1000 * MS <= since_ns < 3000 * MS:
        copies[0][2] = hits(ordinal, 2, 0, 0.2)
    if stream == STREAMS[1]:
        for i, copy in enumerate(copies):
            if hits(ordinal, 3, i, 0.1):
                copy[1] = 1 + choice(ordinal, 3, i, 3)
    return copies


def foretell(lines, ordinals):
    """The lines in the order in which they leave, and the totals."""
    stamps = [int(line.split(b" ")[0]) for line in lines]
    names = [json.loads(line.split(b" ", 1)[1])["stream"] for line in lines]
    of_stream = {name: [i for i, other in enumerate(names) if other == name] for name in STREAMS}
    leaves, totals = [], {"delayed": 0, "dropped": 0, "duplicated": 0, "reordered": 0}
    for i, ordinal in enumerate(ordinals):
        copies = fates(ordinal, names[i], stamps[i] - stamps[0])
        totals["duplicated"] += len(copies) - 1
        for number, (delay, waits, dropped) in enumerate(copies):
            if dropped:
                totals["dropped"] += 1
                continue
            totals["delayed"] += delay > 0
            totals["reordered"] += waits > 0
            place = of_stream[names[i]].index(i) + waits
            after = of_stream[names[i]][place] if place < len(of_stream[names[i]]) else len(lines)
            if delay:
                while after < len(lines) and stamps[after] < stamps[i] + delay:
                    after += 1
            # a delayed one leaves before the message that shows its time, the others after theirs
            leaves.append(((after, -1 if delay else 2 if waits else number, stamps[i] + delay if delay else 0, i,
                            number), lines[i]))
    return [line for _, line in sorted(leaves)], totals


# ---- what comes ----

def ordinals_of(archive):
    return [int(json.loads(line)["ordinal"]) for line in rig.play(archive, "--format", "ndjson").splitlines()]


def play(archive, faults, *words):
    out, said = rig.call("tape-replay", "play", "--format", "hft", "--faults=%s" % faults, "--json", *words, archive)
    return out, json.loads(said)


def as_foretold(archive, lines, faults):
    wanted, totals = foretell(lines, ordinals_of(archive))
    out, told = play(archive, faults, "--speed", "max")
    found = out.split(b"\n")[:-1]
    for i, (one, other) in enumerate(zip(found, wanted)):
        expect_equal(one, other, "line %d" % i)
    expect_equal(len(found), len(wanted), "lines")
    expect(min(totals.values()) > 20, "every fault happens: %s" % totals)
    told_totals = {name: int(told["faults"][name]) for name in totals}
    expect_equal(told_totals, totals, "totals")
    expect_equal((int(told["faults"]["cuts"]), int(told["faults"]["skipped"])), (3, 0), "cuts and skipped ones")
    expect_equal(told["messages"], len(lines) - totals["dropped"] + totals["duplicated"], "messages given")
    expect_equal(set(found) | set(dropped_lines(lines, found)), set(lines), "every message comes or was dropped")
    return out, told["sha256"]


def dropped_lines(lines, found):
    gone = set(lines) - set(found)
    for line in gone:
        expect(STREAMS[1].encode() not in line, "a stream without a drop: %s" % line)
    return gone


def same_every_way(scratch, archive, faults, out, digest):
    expect_equal(hashlib.sha256(out).hexdigest(), digest, "the digest is of what came")
    for words in (("--speed", "max"), ("--speed", "100"), ("--speed", "20", "--spin", "100us")):
        expect_equal(play(archive, faults, *words)[1]["sha256"], digest, "digest with %s" % (words,))
    packed = scratch / "packed"
    shutil.copytree(archive, packed)
    rig.call("tape-record", "--pack", packed)
    stored = list(packed.rglob("*.tape"))
    expect(stored and not list(packed.rglob("*.hot")), "it is packed: %s" % stored)
    for words in (("--speed", "max"), ("--speed", "100")):
        expect_equal(play(packed, faults, *words)[1]["sha256"], digest, "digest of packed segments with %s" % (words,))
    other = scratch / "other.json"
    other.write_text(json.dumps(dict(RULES, seed=43)))
    expect(play(archive, other, "--speed", "max")[1]["sha256"] != digest, "another seed, another run")


def from_the_middle(archive, faults, lines, out):
    """What was received from there on has the same fate, and leaves in the same order."""
    begin = int(lines[1700].split(b" ")[0])
    late = {line for line in lines if int(line.split(b" ")[0]) >= begin}
    wanted = b"".join(line + b"\n" for line in out.split(b"\n")[:-1] if line in late)
    expect_equal(play(archive, faults, "--speed", "max", "--from", str(begin))[0], wanted, "from the middle")
    wanted = b"".join(line + b"\n" for line in out.split(b"\n")[:-1] if int(line.split(b" ")[0]) >= BEGIN + 1702 * MS)
    expect_equal(play(archive, faults, "--speed", "max", "--from", "+1702ms")[0], wanted, "from a relative time")


def others_are_untouched(scratch, archive, lines):
    only = scratch / "only.json"
    only.write_text('{"rules": [{"streams": "ethusdt@depth", "delay": {"probability": 0.5, "max": "1s"}},'
                    '{"streams": "ethusdt@depth", "drop": {"probability": 0.1}},'
                    '{"streams": "ethusdt@depth", "duplicate": {"probability": 0.1, "after": "10ms"}}]}')
    out, _ = play(archive, only, "--speed", "max")
    rest = [line for line in out.split(b"\n")[:-1] if b"ethusdt@depth" not in line]
    expect_equal(rest, [line for line in lines if b"ethusdt@depth" not in line], "the others")
    expect(out != b"".join(line + b"\n" for line in lines), "the stream itself is changed")
    chosen, _ = play(archive, only, "--speed", "max", "--stream", "ethusdt@depth")
    expect_equal(sorted(chosen.split(b"\n")), sorted([b""] + [line for line in out.split(b"\n") if b"ethusdt@depth" in line]),
                 "the same fates when the others are not asked for")


def several_archives(scratch, archive, faults):
    second = scratch / "second"
    lines = make_lines()[::3]
    path = scratch / "second.txt"
    rig.write_lines(path, [b"%d " % (int(line.split(b" ", 1)[0]) + 300000) + line.split(b" ", 1)[1] for line in lines])
    rig.call("tape-record", "--import", path, second)
    digests = set()
    for speed in ("max", "100"):
        _, said = rig.call("tape-replay", "play", "--faults=%s" % faults, "--json", "--speed", speed, archive, second)
        digests.add(json.loads(said)["sha256"])
    expect_equal(len(digests), 1, "digests of two archives")


def recorded_is_nothing_here(archive, lines):
    out, told = play(archive, "recorded", "--speed", "max")
    expect_equal(out, b"".join(line + b"\n" for line in lines), "an import has no ends to re-enact")
    expect_equal(int(told["faults"]["cuts"]), 0, "cuts")
    out, _ = rig.call("tape-replay", "play", "--faults=recorded", "--speed", "max", "--stream", STREAMS[0], archive)
    expect_equal(out, rig.play(archive, "--stream", STREAMS[0]), "with a stream chosen")


def what_is_wrong(scratch, archive):
    path = scratch / "wrong.json"
    path.write_text('{\n  // a comment\n  "rules": [{"dropp": {"probability": 1}}]\n}\n')
    _, said = rig.call("tape-replay", "play", "--faults=%s" % path, archive, wanted=2)
    expect('%s: line 3, column 14: unknown key "dropp" (did you mean "drop"?)' % path in said, said)
    _, said = rig.call("tape-replay", "play", "--faults=recordet", archive, wanted=2)
    expect('cannot read the file of faults "recordet": No such file or directory (did you mean "recorded"?)' in said, said)


def live_is_the_same(scratch):
    """Followed from before the first message on, the same bytes leave as from the recording afterwards."""
    archive, faults = scratch / "live", scratch / "live.json"
    faults.write_text('{"seed": 8, "recorded": true, "rules": [{"delay": {"probability": 0.3, "max": "300ms"}},'
                      '{"from": "+1s", "drop": {"probability": 0.2}}, {"reorder": {"probability": 0.1, "by": 4}},'
                      '{"duplicate": {"probability": 0.1, "after": "50ms"}}, {"cut": {"every": "500ms"}}]}')
    lines = make_lines()[:2000]
    with rig.Exchange(scratch / "log", "--lines", rig.write_lines(scratch / "live.txt", lines), "--rate", 1000, "--all",
                      "--wait-ms", 1000) as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, archive, STREAMS[0]) as recorder:
            recorder.wait_until(lambda: list(archive.glob("segments/**/*.hot")), "the archive")
            with open(scratch / "live.out", "wb") as out, open(scratch / "live.said", "wb") as said:
                follower = subprocess.Popen([str(rig.BUILD / "tape-replay"), "play", "--follow", "--json",
                                             "--faults=%s" % faults, str(archive)], stdout=out, stderr=said)
            try:
                exchange.wait_for("all sent")
                exchange.stop()  # its end is a cut, too
                recorder.wait_until(lambda: rig.query(archive, "SELECT 1 FROM connection WHERE closed_ns IS NOT NULL"),
                                    "the end of the connection")
                recorder.stop()
                expect_equal(follower.wait(rig.PATIENCE_S), 0, "the follower's end")
            finally:
                follower.kill()
    told = json.loads((scratch / "live.said").read_text())
    out, said = rig.call("tape-replay", "play", "--speed", "max", "--json", "--faults=%s" % faults, archive)
    expect_equal((scratch / "live.out").read_bytes(), out, "live and recorded")
    expect_equal(told["faults"], json.loads(said)["faults"], "totals")
    totals = {name: int(number) for name, number in told["faults"].items()}
    expect(min(totals[name] for name in ("delayed", "dropped", "reordered", "duplicated", "cuts")) > 2, "all: %s" % totals)


def samples_run(scratch):
    """The sample, and the manual's example as it stands there."""
    archive = scratch / "sample"
    rig.call("tape-record", "--import", rig.ROOT / "samples" / "usdm.txt.zst", archive)
    count = len(ordinals_of(archive))
    manual = (rig.ROOT / "replay" / "tape-replay.1").read_text(encoding="utf-8")
    example = manual.split(".Sh FAULTS\n")[1].split(".Bd -literal -offset indent\n")[1].split(".Ed\n")[0]
    (scratch / "lossy.json").write_text(example)
    for faults in (rig.ROOT / "samples" / "faults.json", scratch / "lossy.json"):
        _, told = play(archive, faults, "--speed", "max")
        totals = {name: int(number) for name, number in told["faults"].items()}
        expect(totals["delayed"] > 0 and totals["dropped"] > 0, "%s does something: %s" % (faults, totals))
        expect_equal(told["messages"], count - totals["dropped"] + totals["duplicated"], "messages given")


def main(scratch):
    archive, faults, lines = scratch / "tape", scratch / "faults.json", make_lines()
    rig.write_lines(scratch / "lines.txt", lines)
    rig.call("tape-record", "--import", scratch / "lines.txt", archive)
    faults.write_text("// drawn from a seed\n" + json.dumps(RULES))
    out, digest = as_foretold(archive, lines, faults)
    same_every_way(scratch, archive, faults, out, digest)
    from_the_middle(archive, faults, lines, out)
    others_are_untouched(scratch, archive, lines)
    several_archives(scratch, archive, faults)
    recorded_is_nothing_here(archive, lines)
    what_is_wrong(scratch, archive)
    live_is_the_same(scratch)
    samples_run(scratch)


rig.run_main(main)
