#!/usr/bin/env python3
"""Readers need not know how a segment is stored: play in every format, whole, by stream and by time, ls and verify
give the same of one archive as it was recorded, packed, cold, mixed, and as a crash while packing leaves it; they
read no more blocks than they need, and a damaged packed block costs that block alone."""
import json
import pathlib
import random
import re
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import maker  # noqa: E402
import rig  # noqa: E402
from maker import frame, SegmentMaker  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

IN, OUT, REQUEST, RESPONSE, OPEN, CLOSE, ASKED, ACKED, CLOCK, SNAPSHOT, NOTE, START, END = range(1, 14)
SHARED, IMPORTED, BAD, PARTIAL, AFTER_CLOSE = 2, 4, 8, 16, 32
SECOND = 10**9
FORMS = ("hot", "packed", "cold", "mixed", "crashed")
QUESTIONS = (
    (), ("--format", "ndjson"), ("--format", "ndjson", "--all"), ("--format", "hft"),
    ("--stream", "btcusdt@trade"), ("--stream", "*@depth*,long"), ("--stream", "rare"), ("--stream", "cut@*"),
    ("--stream", "*", "--format", "ndjson"), ("--stream", "nothing"),
    ("--format", "ndjson", "--all", "--stream", "ethusdt@*"),
    ("--from", "+2s", "--to", "+4s"), ("--from", "+5s", "--stream", "long", "--format", "ndjson"), ("--to", "+1s"),
    ("--from", "+3s", "--to", "+3100ms", "--format", "ndjson", "--all"), ("--speed", "200"),
    ("--from", "+2s", "--to", "+2300ms", "--speed", "1"),
)


# ---- an archive with everything in it ----


def session(number):
    return START, 0, 0, b'{"session":%d,"version":"0","pid":1,"host":"h","command":"c"}' % number


def opened(connection):
    return OPEN, 0, connection, b'{"session":1,"url":"wss://x/stream","venue":"binance-usdm","peer":"1.2.3.4:443"}'


def fragments(payload, connection, dice):
    """One message in several frames."""
    cuts = sorted(dice.sample(range(1, len(payload)), 3))
    parts = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)])]
    return [(IN, 1, connection, frame(part, 1 if i == 0 else 0, i == 3)) for i, part in enumerate(parts)]


def odd_records(dice):
    """Runs of records that keep their order and may stand anywhere between others."""
    long = b'{"stream":"long","data":{"x":"%s"}}' % (b"0123456789" * 400)
    return [
        *[[opened(c), *fragments(long, c, dice)] for c in range(10, 18)],
        # whole frames of its connection stand between them, and nothing says that they break the protocol
        fragments(long, 2, dice),
        *[[(IN, 1, c, frame(b"ping", 9)), (OUT, 0, c, b"\x8a\x84abcd\x11\x0b\x0d\x03")] for c in (1, 2) for _ in range(5)],
        [(IN, BAD, 2, b"\x83\x05hello")], [(IN, 1 | BAD, 1, frame(b'{"stream":"btcusdt@trade"}', 3))],
        [(IN, 1, 1, frame(b'{"stream":"rare","data":1}'))], [(IN, 1, 1, frame(b'{"stream":"rare","data":2}'))],
        [(IN, 1, 1, frame(b'{"result":null,"id":7}'))], [(IN, 1, 1, frame(b'{"code":-1,"msg":"no"}'))],
        [(IN, 1, 1, frame(b"no JSON at all"))], [(IN, 1, 2, frame(b"\x00\xff\n", 2))],
        [(IN, 1, 1, frame(b'{"stream":"%s","data":3}' % (b"n" * 300)))],
        [(IN, 1, 1, frame(b'{"data":[1,2],"stream":"late@name"}'))],
        [(IN, SHARED | 64, 1, frame(b'{"stream":"btcusdt@trade","data":"%s"}' % (b"z" * 70000)))],
        [(IN, 1, 1, frame(b'{"stream":"btcusdt@trade","data": 1.50e+1}', fin=True)[:2] + b"short")],
        [(NOTE, 0, 0, b'{"kind":"operator","text":"hello"}')], [(77, 0, 0, b"a kind from the future")],
        [(CLOCK, 0, 0, b'{"realtime_ns":"1","monotonic_ns":"1","state":0,"status":0}')],
        # the connection ends inside a message
        [opened(3), (IN, 1, 3, frame(b'{"stream":"cut@one",', 1, False)), (IN, PARTIAL, 3, b"\x81\x7e\x01"),
         (CLOSE, 0, 3, b'{"opened":true,"cause":"reset","by":"network","errno":104}')],
        [opened(4), (IN, 1, 4, frame(b'{"stream":"cut@two","data":1}')), (IN, 1, 4, frame(b"\x03\xe8bye", 8)),
         (IN, AFTER_CLOSE, 4, frame(b'{"stream":"cut@two","data":2}')),
         (CLOSE, 0, 4, b'{"opened":true,"cause":"peer_close","by":"venue","code":1000}')],
    ]


def mixed_in(plain, dice):
    """plain records with the odd ones between: each run keeps its order, and is spread out."""
    places = []
    for run in odd_records(dice):
        at = sorted(dice.random() for _ in run)
        width = dice.choice((1, 0.001))
        places += [(at[0] + (a - at[0]) * width, record) for a, record in zip(at, run)]
    places += [((i + 0.5) / len(plain), record) for i, record in enumerate(plain)]
    places.sort(key=lambda place: place[0])
    return [record for _, record in places]


def make_records(dice):
    """[(recv_ns, kind, flags, connection, body)] over seven seconds; the clock steps back a little on the way."""
    lines = [line.split(b" ", 1)[1] for line in
             rig.generate("--seed", 7, "--count", 9000) + rig.generate("--seed", 8, "--venue", "spot", "--count", 4000)]
    dice.shuffle(lines)
    plain = [(IN, 1, 1 + i % 2, frame(line)) for i, line in enumerate(lines)]
    records = [session(1), opened(1), opened(2), *mixed_in(plain, dice),
               (CLOSE, 0, 1, b'{"opened":true,"cause":"shutdown","by":"us","code":1000}'),
               (CLOSE, 0, 2, b'{"opened":true,"cause":"shutdown","by":"us","code":1000}'),
               (END, 0, 0, b'{"session":1,"reason":"end"}')]
    stamped, step = [], 7 * SECOND // len(records)
    for i, record in enumerate(records):
        back = SECOND // 5 if len(records) // 2 < i < len(records) // 2 + 300 else 0
        stamped.append((maker.START_NS + i * step - back - dice.randrange(20000), *record))
    return stamped


def write_hot(path, records, segments=4, block=150):
    """Hot segments, not counted in their footers: tape-record counts when it packs."""
    made, at = {}, 0
    for sequence in range(1, segments + 1):
        end = len(records) * sequence // segments
        segment = SegmentMaker(sequence, at)
        while at < end:
            part = records[at:min(at + block, end)]
            segment.add(part)
            at += len(part)
        made[sequence] = segment.seal().data
    return maker.write_archive(path, made)


# ---- in every form ----


def files(path, state):
    return sorted(path.glob("segments/*/*/*/*." + state))


def pack(path, *words):
    rig.call("tape-record", "--quiet", "--pack", *words, path)


def make_forms(scratch, records):
    forms = {name: scratch / name for name in FORMS}
    write_hot(forms["hot"], records)
    for name in FORMS[1:]:
        shutil.copytree(forms["hot"], forms[name])
    rig.call("tape-record", "--quiet", "--repair", forms["hot"])  # makes the index
    pack(forms["packed"])
    pack(forms["cold"], "--level=cold")
    # of the mixed one: cold, packed, hot, packed; without an index
    pack(forms["mixed"])
    mixed = files(forms["mixed"], "tape")
    shutil.copy(files(forms["cold"], "tape")[0], mixed[0])
    mixed[2].unlink()
    shutil.copy(files(forms["hot"], "hot")[2], forms["mixed"] / mixed[2].relative_to(forms["mixed"]).with_suffix(".hot"))
    for name in forms["mixed"].glob("index.db*"):
        name.unlink()
    # killed in the middle: one with both names, one that is just being written, an index of before
    rig.call("tape-record", "--quiet", "--repair", forms["crashed"])
    packed, crashed = files(forms["packed"], "tape"), files(forms["crashed"], "hot")
    shutil.copy(packed[0], crashed[0].with_suffix(".tape"))
    shutil.copy(packed[1], crashed[1].with_suffix(".tape"))
    crashed[1].unlink()
    crashed[2].with_suffix(".packing").write_bytes(packed[2].read_bytes()[:5000])
    for name in ("packed", "cold"):
        expect_equal((len(files(forms[name], "tape")), len(files(forms[name], "hot"))), (4, 0), "files of " + name)
    return forms


def ask(path, *words, wanted=0):
    """(bytes, receipt without what depends on time and form, blocks read)"""
    speed = () if "--speed" in words else ("--speed", "max")
    out, said = rig.call("tape-replay", "play", "--json", *speed, *words, path, wanted=wanted)
    receipt = json.loads(said.splitlines()[-1])
    blocks = receipt.pop("blocks_read")
    for key in ("archive", "archives", "wall_ns", "cpu_ns", "lateness", "drift_ns", "stretched_ns", "backlog_max",
                "clock_steps"):
        receipt.pop(key, None)
    return out, receipt, blocks


def same_answers(forms):
    for words in QUESTIONS:
        wanted = ask(forms["hot"], *words)
        if "nothing" not in words:
            expect(wanted[1]["messages"] > 0, "%s gives nothing" % (words,))
        for name in FORMS[1:]:
            found = ask(forms[name], *words)
            expect(found[0] == wanted[0], "%s of %s: other bytes: %d, not %d" %
                   (words, name, len(found[0]), len(wanted[0])))
            expect_equal(found[1], wanted[1], "%s of %s" % (words, name))
            expect(name in ("mixed", "crashed") or found[2] <= wanted[2], "%s of %s: %d blocks of the hot, %d" %
                   (words, name, wanted[2], found[2]))


def parsed(path):
    """What ls says but for what tells of files, blocks and the moment."""
    told = json.loads(rig.call("tape-replay", "ls", "--json", path)[0])
    packing = [segment["packing"] for segment in told["segments"]]
    for key in ("archive", "as_of", "as_of_ns", "index", "raw_bytes", "stored_bytes", "file_bytes", "ratio"):
        told.pop(key)
    counts = told.pop("segments_packed"), told.pop("segments_cold")
    for segment in told["segments"]:
        for key in ("name", "packing", "blocks", "raw_bytes", "stored_bytes", "file_bytes", "ratio"):
            segment.pop(key)
    return told, packing, counts


def same_lists(forms):
    wanted = parsed(forms["hot"])[0]
    packings = {"hot": (["hot"] * 4, (0, 0)), "packed": (["packed"] * 4, (4, 0)), "cold": (["cold"] * 4, (4, 4)),
                "mixed": (["cold", "packed", "hot", "packed"], (3, 1)), "crashed": (["packed", "packed", "hot", "hot"], (2, 0))}
    for name in FORMS:
        found, packing, counts = parsed(forms[name])
        expect_equal(found, wanted, "ls of " + name)
        expect_equal((packing, counts), packings[name], "how %s is stored" % name)
        text = rig.call("tape-replay", "ls", forms[name])[0].decode()
        line = re.search(r"^segments +4 files, [^,]*, 4 sealed(.*)$", text, re.M)
        expect(line, text)
        expect_equal(" packed" in line[1], counts[0] > 0, line[0])
        expect_equal("cold" in line[1], counts[1] > 0, line[0])


def verified(forms):
    notes = {
        "hot": [], "packed": [], "cold": [],
        "mixed": ["there is no index.db; the next recording makes it anew"],
        "crashed": [
            "segment 000001: 20261125T094640Z-000001.hot is left of a packing that was cut short; tape-record --repair "
            "or the next recording clears it away",
            "segment 000003: 20261125T094640Z-000003.packing is left of a packing that was cut short; tape-record "
            "--repair or the next recording clears it away",
            "segment 000001: packed, and the index not told yet; the recorder tells it",
            "segment 000002: packed, and the index not told yet; the recorder tells it"]}
    for name in FORMS:
        told = json.loads(rig.call("tape-replay", "verify", "--reparse", "--json", forms[name])[0])
        expect_equal((told["damages"], [f["text"] for f in told["findings"]]), (0, notes[name]), "verify of " + name)
        expect_equal(told["segments_packed"], parsed(forms[name])[2][0], "packed ones of " + name)


def stand_alone(forms, records):
    """The reader that was written from FORMAT.md gives the records that were made."""
    for name in FORMS:
        reader = read_archive.Archive(forms[name])
        found = [(r.recv_ns, r.kind, r.flags, r.connection, r.body) for r in reader.records()]
        expect(found == records, "the stand-alone reader of %s: %d records of %d" % (name, len(found), len(records)))
        expect(not reader.damaged(), "the stand-alone reader finds damage in " + name)


# ---- no more than is needed ----


def blocks_in(path, from_ns, to_ns):
    return rig.query(path, "SELECT count(*) n FROM block WHERE last_ns >= %d AND first_ns < %d" % (from_ns, to_ns))[0]["n"]


def only_what_is_needed(scratch):
    """Of an archive with one rare stream and no fragments, which would have more of the past read."""
    lines = rig.generate("--seed", 9, "--count", 40000)
    for at in (100, 30000):
        stamp = lines[at].split(b" ", 1)[0]
        lines[at] = stamp + b' {"stream":"rare","data":1}'
    rig.call("tape-record", "--no-pack", "--import", rig.write_lines(scratch / "lines.txt", lines), scratch / "plain")
    first, last = (int(lines[at].split(b" ", 1)[0]) for at in (0, -1))
    dice = random.Random(3)
    windows = [(first, last + 1)] + [(low, low + dice.randrange(1, (last - first) // 3)) for low in
                                     (dice.randrange(first, last) for _ in range(8))]
    answers = {}
    for form, words in (("hot", None), ("packed", ()), ("cold", ("--level=cold",))):
        if words is not None:
            pack(scratch / "plain", *words)
        total = blocks_in(scratch / "plain", 0, 1 << 62)
        for low, high in windows:
            for more in ((), ("--stream", "*@aggTrade")):
                out, _, read = ask(scratch / "plain", "--from", low, "--to", high, *more)
                expect(answers.setdefault((low, high, more), out) == out, "%s: other bytes from %d to %d" % (form, low, high))
                # a second of the past belongs to it
                needed = blocks_in(scratch / "plain", low - SECOND, high)
                expect(read <= needed if more else read == needed, "%s: %d blocks read from %d to %d %s, %d are needed" %
                       (form, read, low, high, more, needed))
        expect_equal(ask(scratch / "plain")[2], total, "%s: all blocks" % form)
        holding = rig.query(scratch / "plain", "SELECT count(DISTINCT block_id) n FROM block_stream JOIN stream "
                            "USING (stream_id) WHERE name = 'rare'")[0]["n"]
        out, _, read = ask(scratch / "plain", "--stream", "rare")
        expect_equal((read, out.count(b"rare")), (holding, 2), "%s: blocks for a stream in %d of %d" % (form, holding, total))
        print("%s: %d blocks" % (form, total))


# ---- damage ----


def blocks_of(data):
    """[(offset, end of the payload, first ordinal, records)]"""
    found, at = [], 64
    while data[at:at + 4] == b"TBK1" and data[at + 68] != 4:
        stored, _, count, ordinal = (int.from_bytes(data[a:b], "little") for a, b in ((at + 12, at + 16), (at + 16, at + 20),
                                                                                   (at + 20, at + 24), (at + 24, at + 32)))
        found.append((at, at + 80 + stored, ordinal, count))
        at += 80 + stored
    return found


def by_ordinal(lines):
    return {int(json.loads(line)["ordinal"]): line for line in lines.splitlines()}


def damaged(forms, scratch, dice):
    whole = by_ordinal(ask(forms["hot"], "--format", "ndjson")[0])
    for name in ("packed", "cold"):
        for segment in range(4):
            path = scratch / ("damaged-%s-%d" % (name, segment))
            shutil.copytree(forms[name], path)
            file = files(path, "tape")[segment]
            data = bytearray(file.read_bytes())
            start, end, first, count = dice.choice(blocks_of(data))
            data[dice.randrange(start + 80, end)] ^= 1 << dice.randrange(8)
            file.write_bytes(data)
            out, receipt, _ = ask(path, "--format", "ndjson", wanted=3)
            gap = receipt["damages"]
            expect_equal([(g["verdict"], int(g["from_ordinal"]), int(g["to_ordinal"])) for g in gap],
                         [("corrupt", first, first + count)], "what is told of a damaged block")
            expect(re.fullmatch(r"segment %06d: block \d+ at 0x%x: .*" % (segment + 1, start), gap[0]["text"]), gap)
            found = by_ordinal(out)
            missing = set(whole) - set(found)
            expect(all(whole[i] == found[i] for i in found), "%s: what is left is as it was" % path)
            # and messages that began in it, or before it, and end behind it
            expect({i for i in whole if first <= i < first + count} <= missing and len([
                i for i in missing if not first <= i < first + count]) <= 6, "%s: more than the block is lost" % path)
            rig.call("tape-replay", "verify", path, wanted=3)
            shutil.rmtree(path)


def main(scratch):
    dice = random.Random(11)
    records = make_records(dice)
    forms = make_forms(scratch, records)
    same_answers(forms)
    same_lists(forms)
    verified(forms)
    only_what_is_needed(scratch)
    damaged(forms, scratch, dice)
    stand_alone(forms, records)
    sizes = {name: sum(f.stat().st_size for f in files(path, "*")) for name, path in forms.items()}
    print("%d records, bytes: %s" % (len(records), sizes))


rig.run_main(main)
