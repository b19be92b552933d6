#!/usr/bin/env python3
"""Several archives read as one. Two recorders of one feed, killed (SIGKILL) at random moments and started
anew: every message that was sent comes out exactly once, in the order of its recorder, and the report of who
had it first, late or never is what a second, independent count over both archives finds. Two real connections
to one exchange, captured side by side. Event time order against a sort. A damaged archive beside a whole one,
one archive twice, different venues, empty ranges, seeks."""
import collections
import itertools
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import run as demo  # noqa: E402
import read_archive  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

LINES = str(rig.BUILD / "tests/part/merge_lines")
STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@aggTrade", "ethusdt@trade", "ethusdt@depth@100ms"]
KILLS = 5
QUANTILE = 1.07  # buckets are 6 % wide

Message = collections.namedtuple("Message", "archive ordinal recv replay kind stream payload")
Share = collections.namedtuple("Share", "given late missed unmatched differing p50 p99 most")


class Merged:
    """What merge_lines gave: messages, damages [(archive, from, to)], shares {(stream, archive): Share}."""

    def __init__(self, *words):
        done = subprocess.run([LINES, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=240, check=False)
        expect_equal(done.returncode, 0, "merge_lines: %s" % done.stderr.decode())
        self.messages, self.damages, self.shares = [], [], {}
        for line in done.stdout.split(b"\n")[:-1]:
            word, rest = line[:1], line[2:]
            if word == b"m":
                *numbers, kind, stream, payload = rest.split(b" ", 6)
                self.messages.append(Message(*map(int, numbers), kind.decode(), stream.decode(), payload))
            elif word == b"d":
                self.damages.append(tuple(map(int, rest.split(b" ")[:3])))
            elif word == b"s":
                archive, *numbers, stream = rest.split(b" ", 9)
                self.shares[stream.decode(), int(archive)] = Share(*map(int, numbers))
            elif word == b"e":
                self.late = int(rest)

    def data(self):
        return [m for m in self.messages if m.kind == "data"]

    def payloads(self):
        return [m.payload for m in self.data()]


# ---- a second opinion ----


def data_of(path):
    """[(recv ns, ordinal, payload)] of an archive's data messages, by the stand-alone reader."""
    return [(m.recv_ns, m.ordinal, m.payload) for m in read_archive.messages(read_archive.Archive(path))
            if not read_archive.is_answer(m)]


def heads_in_order(archives):
    """(archive, recv ns, payload): always the archive whose next message is the earliest."""
    at = [0] * len(archives)
    while True:
        heads = [(a[i][0], k) for k, (a, i) in enumerate(zip(archives, at)) if i < len(a)]
        if not heads:
            return
        recv, k = min(heads)
        yield k, recv, archives[k][at[k]][2]
        at[k] += 1


def stream_name(payload):
    value = read_archive.parse_json(payload)
    return value.get("stream") or ""


def second_opinion(paths):
    """(payloads as they should come, {(stream, archive): {"given", "late", "missed", "lateness"}})."""
    given, order = {}, collections.defaultdict(list)
    had = collections.defaultdict(set)
    rows = collections.defaultdict(lambda: {"given": 0, "late": 0, "missed": 0, "lateness": []})
    came = collections.Counter()
    out = []
    for archive, recv, payload in heads_in_order([data_of(p) for p in paths]):
        came[archive, payload] += 1
        key = (came[archive, payload], payload)
        stream = stream_name(payload)
        row = rows[stream, archive]
        if key in given:
            row["late"] += 1
            row["lateness"].append(max(0, recv - given[key]))
        else:
            row["given"] += 1
            given[key] = recv
            order[stream].append(key)
            out.append(payload)
        had[stream, archive].add(key)
    for (stream, archive), row in rows.items():
        seen = [key in had[stream, archive] for key in order[stream]]
        first, last = seen.index(True), len(seen) - 1 - seen[::-1].index(True)
        row["missed"] = seen[first:last + 1].count(False)
    return out, rows


def check_quantile(found, lateness, share, what):
    if not lateness:
        expect_equal(found, 0, what)
        return
    lateness = sorted(lateness)
    exact = lateness[min(len(lateness) - 1, int(share * len(lateness)))]
    expect(exact <= found <= exact * QUANTILE + 16, "%s: %d, exactly %d" % (what, found, exact))


def check_shares(merged, rows):
    expect_equal(sorted(merged.shares), sorted(rows), "streams and archives that are told of")
    for key, row in rows.items():
        share = merged.shares[key]
        for name in ("given", "late", "missed"):
            expect_equal(getattr(share, name), row[name], "%s of %s" % (name, key))
        expect_equal((share.unmatched, share.differing), (0, 0), "unmatched and differing of %s" % (key,))
        expect_equal(share.most, max(row["lateness"], default=0), "largest lateness of %s" % (key,))
        check_quantile(share.p50, row["lateness"], 0.5, "p50 of %s" % (key,))
        check_quantile(share.p99, row["lateness"], 0.99, "p99 of %s" % (key,))


def played(merged, paths):
    """The command gives the same bytes, and tells the same counts."""
    out, said = rig.call("tape-replay", "play", "--speed", "max", "--json", *paths)
    receipt = json.loads(said[said.index("{"):])
    expect(out.split(b"\n")[:-1] == [m.payload for m in merged.messages], "played is not what the library gives")
    told = {(row["stream"], row["archive"]): row for row in receipt["shares"]}
    expect_equal(sorted(told), sorted(merged.shares), "rows in the receipt")
    for key, share in merged.shares.items():
        for name in ("given", "late", "missed", "unmatched", "differing"):
            expect_equal(told[key][name], getattr(share, name), "%s of %s in the receipt" % (name, key))
        if share.late:
            expect_equal(told[key]["late_max_ns"], str(share.most), "lateness of %s in the receipt" % (key,))
    everything = rig.call("tape-replay", "play", "--speed", "max", "--duplicates=keep", *paths)[0]
    expect_equal(everything.count(b"\n"), sum(s.given + s.late for s in merged.shares.values()) +
                 sum(m.kind != "data" for m in merged.messages), "played with duplicates")


def check_clock(merged):
    now = None
    for message in merged.messages:
        expect_equal(message.replay, max(now or message.recv, message.recv), "the virtual clock")
        now = message.replay


# ---- two recorders of one feed ----


def sequence_of(payload):
    data = json.loads(payload)["data"]
    return {"trade": lambda: data["t"], "aggTrade": lambda: data["a"], "bookTicker": lambda: data["u"],
            "depthUpdate": lambda: data["u"]}[data["e"]]()


def record_twice(scratch):
    """Two archives, each with holes of its own where its recorder was dead, and the log of what was sent."""
    rig.make_certificates(scratch)
    one, two, dice = scratch / "one", scratch / "two", random.Random(time.time_ns())
    with rig.Exchange(scratch / "log", "--rate", 2500, "--symbols", "btcusdt,ethusdt",
                      "--streams", "trade,bookTicker,aggTrade,depth@100ms", certificates=scratch) as exchange:
        def start(archive):
            opened = sum(1 for e in exchange.drain() if e["event"] == "open")
            recorder = rig.Recorder(scratch, "--url", exchange.url, "--ca", scratch / "ca.pem", archive, *STREAMS)
            demo.live(exchange, opened + 2)
            return recorder
        steady, shaky = start(one), start(two)
        for kill in range(KILLS):
            time.sleep(0.2 + dice.random())
            shaky.kill()
            time.sleep(dice.random() / 2)
            shaky = start(two)
            if kill == KILLS // 2:  # now it is the other one that was there all the time
                time.sleep(0.3)
                steady.kill()
                time.sleep(dice.random() / 2)
                steady = start(one)
                time.sleep(0.3)
        time.sleep(0.5)
        shaky.stop(signal.SIGTERM)
        time.sleep(0.1)
        steady.stop(signal.SIGTERM)
        summary = exchange.stop()
    return one, two, [line for c in summary for line in rig.sent_lines(scratch / "log", c["connection"])]


def by_stream(payloads):
    found = collections.defaultdict(list)
    for payload in payloads:
        if payload.startswith(b'{"stream"'):
            found[stream_name(payload)].append(payload)
    return found


def two_recorders(scratch):
    one, two, sent = record_twice(scratch)
    for pair in ((one, two), (two, one)):
        merged = Merged(*pair)
        sent_of, came_of = by_stream(set(sent)), by_stream(merged.payloads())
        expect_equal(sorted(came_of), sorted(STREAMS), "streams that came")
        for stream, came in came_of.items():
            first, last = sequence_of(came[0]), sequence_of(came[-1])
            wanted = sorted((p for p in sent_of[stream] if first <= sequence_of(p) <= last), key=sequence_of)
            expect(len(wanted) > 10, "%s: only %d messages" % (stream, len(wanted)))
            missing, twice = len(set(wanted) - set(came)), len(came) - len(set(came))
            expect_equal((missing, twice), (0, 0), "%s: missing and duplicate" % stream)
            # A recorder that comes back may be ahead of one that lags: only each by itself is in order.
            for archive in (0, 1):
                own = [m.payload for m in merged.data() if m.archive == archive and stream_name(m.payload) == stream]
                expect(own == sorted(own, key=sequence_of), "%s: what came of archive %d is not in order" % (stream, archive))
        wanted, rows = second_opinion(pair)
        expect(merged.payloads() == wanted, "what came is not what the second opinion gives")
        check_shares(merged, rows)
        check_clock(merged)
        played(merged, pair)
        for archive in (0, 1):
            expect(any(merged.shares[s, archive].missed for s in STREAMS), "nothing was missed: too easy")
            expect(any(merged.shares[s, archive].given for s in STREAMS), "one never was the first: too easy")
    packed = scratch / "packed"
    shutil.copytree(one, packed)
    rig.call("tape-record", "--pack", packed)
    expect_equal(Merged(packed, two).messages, Merged(one, two).messages, "packed and as recorded")
    seeks(one, two)
    windows_of_connections(one)
    return one, two


def seeks(one, two):
    """From anywhere: as two readers of one archive each would start, merged; without what had come before."""
    halves = [data_of(one), data_of(two)]
    stamps = sorted(m[0] for m in halves[0] + halves[1])
    dice = random.Random(1)
    for word in ("from", "seek"):
        for start in [stamps[0], stamps[-1], stamps[-1] + 1] + [dice.choice(stamps) for _ in range(4)]:
            later, earlier = [], set()
            for half in halves:
                first = next((i for i, m in enumerate(half) if m[0] >= start), len(half))
                later.append([m for m in half[first:] if word == "seek" or m[0] >= start])
                earlier.update(m[2] for m in half[:first])
            wanted = dict.fromkeys(payload for _, _, payload in heads_in_order(later) if payload not in earlier)
            expect_equal(Merged("%s=%d" % (word, start), one, two).payloads(), list(wanted),
                         "%s %d" % (word, start))


def windows_of_connections(one):
    """Alone, each message of an archive comes as often as it was recorded; with -1 once."""
    alone = [payload for _, _, payload in data_of(one)]
    expect_equal(Merged(one).payloads(), alone, "one archive")
    expect_equal(Merged("duplicates=-1", one).payloads(), list(dict.fromkeys(alone)), "one archive, each once")
    expect_equal(Merged(one, one).payloads(), alone, "an archive beside itself")
    expect_equal(len(Merged("duplicates=1", one, one).payloads()), 2 * len(alone), "all of them")


# ---- captures ----


def two_connections(scratch):
    """HITBTC's messages have no ids that we know: told apart by their bytes."""
    paths = [rig.real_data("cryptofeed/HITBTC.ws.%d.0.txt.zst" % number) for number in (1, 2)]
    if not all(paths):
        print("(the two real connections are not here: left out)")
        return
    archives = [scratch / ("hitbtc-%d" % i) for i in (1, 2)]
    for path, archive in zip(paths, archives):
        rig.call("tape-record", "--import", path, archive)
    merged = Merged(*archives)
    wanted, rows = second_opinion(archives)
    counts = [collections.Counter(line.split(b" ", 1)[1] for line in rig.lines_of(path)) for path in paths]
    expect(merged.payloads() == wanted, "what came is not what the second opinion gives")
    expect_equal(collections.Counter(merged.payloads()), counts[0] | counts[1], "each as often as one had it")
    check_shares(merged, {("" if stream == "" else stream, archive): row for (stream, archive), row in rows.items()})
    expect_equal(len(merged.payloads()), 841, "messages of both, 800 each")
    both = scratch / "hitbtc-both"  # and as two connections of one recorder: imported one after the other
    text = sorted(itertools.chain(*(rig.lines_of(path) for path in paths)), key=lambda l: int(l.split(b" ")[0]))
    rig.call("tape-record", "--import", rig.write_lines(scratch / "both.txt", text), both)
    expect_equal(Merged("duplicates=-1", both).payloads(), [l.split(b" ", 1)[1] for l in text],
                 "one connection says nothing twice")


def different_venues(scratch):
    paths = [scratch / name for name in ("usdm", "spot")]
    for path in paths:
        lines = rig.generate("--venue", path.name, "--count", 3000, "--seed", 5)
        rig.call("tape-record", "--import", rig.write_lines(scratch / (path.name + ".txt"), lines), path)
    merged = Merged(*paths)
    expect_equal(len(merged.payloads()), 6000, "messages of both")
    wanted = [payload for _, _, payload in heads_in_order([data_of(p) for p in paths])]
    expect(merged.payloads() == wanted, "both, by receive time")
    expect(all(s.late == 0 for s in merged.shares.values()), "nothing is a duplicate")


# ---- event time ----


def event_ns(payload):
    data = json.loads(payload).get("data", {})
    return data.get("E")


def event_order(scratch):
    """Against a stable sort, in which a message without an event time has that of the one before it."""
    paths = [scratch / "event-a", scratch / "event-b"]
    dice = random.Random(9)
    for seed, path in enumerate(paths):
        lines = []
        for line in rig.generate("--venue", "spot", "--count", 4000, "--seed", seed):
            stamp, payload = line.split(b" ", 1)
            lines.append((int(stamp) + dice.randrange(2_000_000_000), payload))
        lines.sort(key=lambda item: item[0])
        rig.call("tape-record", "--import", rig.write_lines(scratch / "event.txt", [b"%d %s" % l for l in lines]),
                 path)
    received = Merged(*paths).payloads()
    merged = Merged("order=1", *paths)
    key, keyed = -1, []
    for payload in received:
        key = event_ns(payload) or key
        keyed.append((key, payload))
    wanted = [payload for _, payload in sorted(keyed, key=lambda item: item[0])]
    expect(received != wanted, "already in order: too easy")
    expect(any(not event_ns(p) for p in received), "all have an event time: too easy")
    expect(merged.payloads() == wanted, "by event time")
    expect_equal(merged.late, 0, "late ones")
    check_clock(merged)
    expect_equal(Merged("order=1", paths[0]).messages, [m._replace(replay=r.replay) for m, r in zip(sorted_alone(
        paths[0]), Merged("order=1", paths[0]).messages)], "one archive by event time")


def sorted_alone(path):
    key, keyed = -1, []
    for message in Merged(path).messages:
        key = event_ns(message.payload) or key
        keyed.append((key, message))
    return [message for _, message in sorted(keyed, key=lambda item: item[0])]


# ---- damage ----


def damaged_beside_whole(scratch, one):
    """Its hole is filled by the other, and told all the same."""
    whole, hurt = scratch / "whole", scratch / "hurt"
    shutil.copytree(one, whole)
    shutil.copytree(one, hurt)
    segment = max(hurt.glob("segments/*/*/*/*"), key=lambda p: p.stat().st_size)
    with open(segment, "r+b") as file:
        file.seek(segment.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0x55]))
    alone = Merged(hurt)
    expect(alone.damages and len(alone.payloads()) < len(Merged(whole).payloads()), "no hole: too easy")
    for pair in ((whole, hurt), (hurt, whole)):
        merged = Merged(*pair)
        expect(merged.payloads() == Merged(whole).payloads(), "the hole is filled")
        expect_equal(merged.damages, [(pair.index(hurt), *alone.damages[0][1:])], "damage that is told")


def main(scratch):
    two_connections(scratch)
    different_venues(scratch)
    event_order(scratch)
    one, _ = two_recorders(scratch)
    damaged_beside_whole(scratch, one)


rig.run_main(main)
