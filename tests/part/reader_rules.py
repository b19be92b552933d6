#!/usr/bin/env python3
"""Archives made by hand from FORMAT.md, whole and damaged in every way that it names: the stand-alone
reader and tape-replay must give the same messages, and both must call damage damage. Cuts at every byte
and flips of every byte of a small segment go through the stand-alone reader, a sample of them through
tape-replay (its own tests do them all)."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import maker  # noqa: E402
import rig  # noqa: E402
from maker import frame, SegmentMaker, START_NS  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

IN, OUT, OPEN, CLOSE, NOTE, START = 1, 2, 5, 6, 11, 12
BAD, PARTIAL, AFTER_CLOSE = 8, 16, 32


def wrapped(stream, number):
    return b'{"stream":"%s","data":{"e":"trade","E":%d,"t":%d,"p":"1.5"}}' % (stream, START_NS // 10**6, number)


def session(number):
    return (START_NS, START, 0, 0, b'{"session":%d,"version":"0","pid":1,"host":"h","command":"c"}' % number)


def data(at, stream, number, connection=1, flags=1):
    return (START_NS + at, IN, flags, connection, frame(wrapped(stream, number)))


def blocks():
    """Four blocks of records with all that a reader has to tell apart, and the messages in them."""
    long = wrapped(b"c@trade", 5)[:-2] + b',"x":"' + b"y" * 400 + b'"}}'
    first = [session(1), data(10, b"a@trade", 1), data(5, b"b@trade", 1),
             (START_NS + 20, IN, 1, 1, frame(b"ping me", 9)),
             (START_NS + 21, OUT, 0, 1, b"\x8a\x80abcd"),
             (START_NS + 22, IN, 1, 1, frame(long[:100], 1, False))]
    second = [(START_NS + 30, IN, 1, 1, frame(long[100:200], 0, False)),
              data(31, b"b@trade", 2, connection=2),
              (START_NS + 32, IN, 1, 1, frame(b"", 9)),
              (START_NS + 33, IN, 3, 1, frame(long[200:], 0, True)),
              (START_NS + 34, 77, 0, 0, b"a kind from the future"),
              (START_NS + 35, IN, 1 | 64, 1, frame(b'{"stream":"a@trade","data":"' + b"z" * 70000 + b'"}'))]
    third = [data(40, b"a@trade", 3), (START_NS + 41, IN, 1, 2, frame(b"\x00\xff\n", 2)),
             (START_NS + 42, IN, BAD, 2, b"\x83\x05hello"), (START_NS + 43, IN, PARTIAL, 2, b"\x81\x7e\x01"),
             (START_NS + 44, CLOSE, 0, 2, b'{"opened":true,"cause":"reset","by":"network","errno":104}'),
             (START_NS + 45, IN, 1, 1, frame(b"\x03\xe8bye", 8)),
             (START_NS + 46, IN, AFTER_CLOSE, 1, frame(b"too late")),
             (START_NS + 47, CLOSE, 0, 1, b'{"opened":true,"cause":"peer_close","by":"venue","code":1000}')]
    fourth = [data(50, b"a@trade", 4, connection=3), data(60, b"a@trade", 5, connection=3),
              data(55, b"b@trade", 5, connection=3)]
    wanted = [[wrapped(b"a@trade", 1), wrapped(b"b@trade", 1)],
              [wrapped(b"b@trade", 2), long, b'{"stream":"a@trade","data":"' + b"z" * 70000 + b'"}'],
              [wrapped(b"a@trade", 3), b"\x00\xff\n"],
              [wrapped(b"a@trade", 4), wrapped(b"a@trade", 5), wrapped(b"b@trade", 5)]]
    return [first, second, third, fourth], wanted


def counts_of(messages):
    counts = {}
    for payload in messages:
        name = read_archive.stream_of(read_archive.Message(0, 0, 0, 0, 0, payload))
        before = counts.get(name, (0, 0))
        counts[name] = (before[0] + 1, before[1] + len(payload))
    return counts


def segment(parts, wanted, seal, sequence=1, ordinal=0, codecs=(1, 0, 1, 1)):
    made = SegmentMaker(sequence, ordinal)
    for part, messages, codec in zip(parts, wanted, codecs):
        made.add(part, codec, counts_of(messages))
    return made.seal() if seal else made


def read(path):
    archive = read_archive.Archive(path)
    found = [m.payload for m in read_archive.messages(archive)]
    return found, [place.verdict for place in archive.places], archive.holes


def replayed(path):
    """tape-replay's messages and exit code."""
    done = subprocess.run([str(rig.BUILD / "tape-replay"), "play", "--speed", "max", "--format", "raw", path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    return done.stdout, done.returncode, done.stderr.decode("utf-8", "replace")


def joined(payloads):
    return b"".join(p + b"\n" for p in payloads)


CASES = []


def case(name, segments, wanted, damage, lock=True):
    """wanted: messages that must come; damage: the verdicts that must be told."""
    CASES.append((name, segments, wanted, damage, lock))


def flipped(made, at, bits=1):
    data_ = bytearray(made.data)
    data_[at] ^= bits
    return data_


def make_cases():
    parts, wanted = blocks()
    everything = sum(wanted, [])
    sealed, open_ = segment(parts, wanted, True), segment(parts, wanted, False)
    offsets = [offset for offset, _, _ in sealed.blocks]
    case("sealed", {1: sealed.data}, everything, [])
    case("not sealed", {1: open_.data}, everything, [])
    case("no LOCK", {1: sealed.data}, everything, [], lock=False)
    ordinal = sum(len(p) for p in parts[:2])
    two = {1: segment(parts[:2], wanted[:2], True).data,
           2: segment(parts[2:], wanted[2:], False, 2, ordinal).data}
    case("two segments", two, everything, [])
    case("sequences with a hole, ordinals without", {1: two[1], 7: segment(
        parts[2:], wanted[2:], False, 7, ordinal).data}, everything, [])
    first = segment(parts[:3], wanted[:3], True)
    again = SegmentMaker(2, ordinal).add(parts[2]).add(parts[3])
    case("a block written again", {1: first.data, 2: again.data}, everything, [])
    case("pruned", {2: two[2]}, sum(wanted[2:], []), [])
    case("a segment missing", {1: segment(parts[:1], wanted[:1], True).data,
                               3: segment(parts[2:], wanted[2:], True, 3, ordinal).data},
         wanted[0] + wanted[2] + wanted[3], ["missing"])
    case("payload corrupt, sealed", {1: flipped(sealed, offsets[2] + 90)},
         wanted[0] + wanted[1] + wanted[3], ["corrupt"])
    case("payload corrupt, not sealed", {1: flipped(open_, offsets[2] + 90)},
         wanted[0] + wanted[1] + wanted[3], ["corrupt"])
    case("header corrupt, sealed", {1: flipped(sealed, offsets[2] + 20)}, everything, ["corrupt"])
    case("header corrupt, not sealed", {1: flipped(open_, offsets[2] + 20)},
         wanted[0] + wanted[1] + wanted[3], ["corrupt"])
    case("torn in the payload", {1: open_.data[:-5]}, sum(wanted[:3], []), ["torn"])
    case("torn in the header", {1: open_.data[:offsets[3] + 40]}, sum(wanted[:3], []), ["torn"])
    case("zeros after the last block", {1: open_.data + bytes(3000)}, everything, ["torn"])
    case("noise after the last block", {1: open_.data + b"noise" * 100}, everything, ["corrupt"])
    case("torn in the trailer", {1: sealed.data[:-5]}, everything, ["torn"])
    case("trailer corrupt", {1: flipped(sealed, len(sealed.data) - 3)}, everything, ["corrupt"])
    behind = flipped(sealed, offsets[2] + 20) + b"appended" * 20
    case("bytes after the trailer: the footer still mends a header", {1: behind}, everything, ["corrupt"])
    case("zeros for a trailer", {1: sealed.data[:-32] + bytes(20)}, everything, ["torn"])
    footer = bytearray(sealed.data)
    start = sealed.end + 80
    footer[start:start // 512 * 512 + 512] = bytes(512 - start % 512)  # up to the end of its sector
    case("zeros in the footer", {1: footer}, everything, ["torn"])
    case("shorter than its header, and not one", {1: sealed.data, 2: b"PK\x03\x04"}, everything, ["foreign"])
    case("shorter than its header", {1: sealed.data, 2: sealed.data[:30]}, everything, ["torn"])
    case("file header damaged", {1: flipped(sealed, 9)}, everything, ["corrupt"])
    case("file header damaged, magic", {1: flipped(open_, 0)}, everything, ["corrupt"])
    case("file header damaged, reserved byte", {1: flipped(open_, 60)}, everything, ["corrupt"])
    case("foreign: another sequence than its name", {1: sealed.data, 2: segment(
        parts, wanted, True, 5, sealed.ordinal).data}, everything, ["foreign"])
    case("an empty file", {1: sealed.data, 2: b""}, everything, ["torn"])
    case("foreign: another archive's", {1: sealed.data, 2: SegmentMaker(
        2, archive_id=b"x" * 16).add(parts[0]).data}, everything, ["foreign"])
    case("foreign: no segment at all", {1: sealed.data, 2: b"PK\x03\x04" * 100}, everything, ["foreign"])
    for name, lost in (("the middle", [(START_NS + 30, IN, 1, 1, frame(b"BBBB", 0, False))]),
                       ("an end and a start", [(START_NS + 30, IN, 1, 1, frame(b"BBBB", 0, True)),
                                               (START_NS + 31, IN, 1, 1, frame(b"CCCC", 1, False))])):
        made = SegmentMaker(1).add(parts[0]).add(lost, 0).add(
            [(START_NS + 40, IN, 1, 1, frame(b"DDDD", 0, True))] + parts[3]).add(parts[2])
        case("%s of a fragmented message in a damaged block" % name, {1: flipped(made, made.blocks[1][0] + 83)},
             wanted[0] + wanted[3] + wanted[2], ["corrupt"])
    decoy = SegmentMaker(9, 4, archive_id=b"x" * 16).add(parts[0], 0)
    planted = [(START_NS + 1, IN, 1, 1, frame(bytes(decoy.data[64:]), 2))]
    holder = SegmentMaker(1).add(parts[0]).add(planted, 0).add(parts[2])
    inside = flipped(holder, holder.blocks[1][0] + 20)
    case("a block header inside a payload, its own header damaged", {1: inside},
         wanted[0] + wanted[2], ["corrupt"])


def check_case(scratch, number, name, segments, wanted, damage, lock):
    path = maker.write_archive(scratch / ("case-%d" % number), segments, lock)
    found, verdicts, holes = read(path)
    expect(found == wanted, "%s: the stand-alone reader gave %d messages, not %d (%s %s)" %
           (name, len(found), len(wanted), verdicts, holes))
    told = set(verdicts) | {hole[2] for hole in holes if hole[2] == "missing"}
    expect_equal(told, set(damage), name + ": verdicts of the stand-alone reader")
    stdout, code, said = replayed(path)
    expect(stdout == joined(wanted), "%s: tape-replay play gave %d bytes, not %d:\n%s" %
           (name, len(stdout), len(joined(wanted)), said))
    expect_equal(code, 3 if damage else 0, name + ": exit code of tape-replay play\n" + said)
    out, said = rig.call("tape-replay", "verify", path, wanted=3 if damage else 0)
    for verdict in damage:
        text = (out + said.encode()).decode("utf-8", "replace")
        expect(verdict in text, "%s: verify does not say '%s':\n%s" % (name, verdict, text))


def spans(scratch):
    """--from and --to choose messages by the record that ends them, also inside a fragmented one."""
    parts, wanted = blocks()
    for seal in (True, False):
        path = maker.write_archive(scratch / ("spans-%d" % seal), {1: segment(parts, wanted, seal).data})
        messages = list(read_archive.messages(read_archive.Archive(path)))
        for start in range(0, 62, 6):
            for end in (start + 8, 100):
                out, _ = rig.call("tape-replay", "play", "--speed", "max", "--format", "raw", "--from",
                                  START_NS + start, "--to", START_NS + end, path)
                expected = [m.payload for m in messages if START_NS + start <= m.recv_ns < START_NS + end]
                expect(out == joined(expected), "--from %d --to %d, sealed %s: %r, not %r" % (
                    start, end, seal, out[:300], joined(expected)[:300]))


def is_subsequence(found, whole):
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in found)


def damage_everywhere(scratch):
    """A small segment cut at every byte, and with every byte flipped."""
    parts, wanted = blocks()
    parts = [part[:5] for part in (parts[0], parts[2], parts[3])]
    wanted = [wanted[0], wanted[2], wanted[3]]
    everything, dice = sum(wanted, []), random.Random(1)
    for seal in (True, False):
        made = segment(parts, wanted, seal, codecs=(1, 0, 1))
        boundaries = [offset for offset, _, _ in made.blocks] + [made.end]
        for at in range(len(made.data)):
            cut = maker.write_archive(scratch / "cut", {1: made.data[:at]})
            flip = maker.write_archive(scratch / "flip", {1: flipped(made, at, 1 << dice.randrange(8))})
            for path in (cut, flip):
                found, verdicts, holes = read(path)
                expect(is_subsequence(found, everything), "%s at %d: messages that were never sent" % (path, at))
                whole = path == cut and at in boundaries
                expect(verdicts or holes or whole, "%s at byte %d (sealed %s): no damage told" % (path, at, seal))
            if at % 37 == 0:
                for path in (cut, flip):
                    found, _, _ = read(path)
                    stdout, code, said = replayed(path)
                    expect(stdout == joined(found), "%s at %d, sealed %s: tape-replay gives %d bytes, the "
                           "stand-alone reader %d\n%s" % (path, at, seal, len(stdout), len(joined(found)), said))
                    expect(code in (0, 3), "%s at %d: tape-replay exits %d\n%s" % (path, at, code, said))


def links_and_names(scratch):
    """Other names, links and folders are not part of an archive."""
    parts, wanted = blocks()
    path = maker.write_archive(scratch / "names", {1: segment(parts, wanted, True).data})
    folder = path / "segments" / maker.DAY
    good = next(folder.iterdir())
    other = SegmentMaker(2, 1000).add(parts[0]).data
    for name in ("20261125T094640Z-2.hot", "20261125T094640Z-0000002.hot", "20261125T094640Z-000002.hot.bak",
                 "x20261125T094640Z-000002.hot", "20261126T094640Z-000002.hot", "20261125T254640Z-000002.hot"):
        (folder / name).write_bytes(other)
    os.symlink(good, folder / "20261125T094640Z-000003.hot")
    os.makedirs(folder / "20261125T094640Z-000004.hot")
    os.mkfifo(folder / "20261125T094640Z-000005.hot")
    found, verdicts, holes = read(path)
    expect(found == sum(wanted, []) and not verdicts and not holes, "names: the stand-alone reader: %d %s %s" %
           (len(found), verdicts, holes))
    stdout, code, said = replayed(path)
    expect(stdout == joined(found) and code == 0, "names: tape-replay exits %d:\n%s" % (code, said))
    shutil.copy(good, str(good)[:-3] + "tape")
    good.write_bytes(b"a packed segment is there: this is not read")
    found, verdicts, holes = read(path)
    expect(found == sum(wanted, []) and not verdicts and not holes, "the .tape counts: the stand-alone reader")
    stdout, code, said = replayed(path)
    expect(stdout == joined(found) and code == 0, "the .tape counts: tape-replay exits %d:\n%s" % (code, said))


def named(path):
    """[(payload, stream)] of tape-replay's data messages."""
    out = rig.play(path, "--format", "ndjson")
    return [(m["payload"].encode(), m.get("stream", "")) for m in map(json.loads, out.splitlines()) if m["kind"] == "data"]


def what_is_a_message(scratch):
    """What begins, continues and ends a message, and what it is called."""
    begin, go_on, end = frame(b'{"stream":', 1, False), frame(b'"x",', 0, False), frame(b'"data":1}', 0)
    joined_ = (b'{"stream":"x","data":1}', "x")
    gap, open_ = b'{"kind":"gap","cause":"disk full","frames":"1"}', b'{"session":1}'
    whole = frame(b"whole")
    told = [([begin, go_on, end], [joined_]), ([begin, whole, go_on, end], [joined_]), ([end, whole], [(b"whole", "")]),
            ([begin, frame(b"", 9), go_on, (NOTE, 0, b'{"kind":"stall"}'), end], [joined_]),
            ([begin, (NOTE, 1, gap), end, whole], [(b"whole", "")]), ([begin, (NOTE, 0, gap), whole], [(b"whole", "")]),
            ([begin, (NOTE, 2, gap), go_on, (CLOSE, 2, b"{}"), end], [joined_]), ([begin, (CLOSE, 1, b"{}"), end], []),
            ([begin, (START, 0, open_), end], []), ([begin, (OPEN, 1, open_), go_on, end], [joined_]),
            ([b"\x81\x7e\x00\x05whole", b"\xc1\x05whole", b"\x83\x05whole", b"\x81\x85\x00\x00\x00\x00whole"], [])]
    told += [([frame(text)], [(text, name)]) for text, name in (
        (b'{"data":[1],"stream":"a"}', "a"), (b'{"e":"trade","stream":"a"}', ""), (b'{"data":1,"e":2,"stream":"a"}', "a"),
        (b'{"stream":5,"stream":"a"}', ""), (b'{"data":1,"stream":"a\\/\\u0062","stream":"z"}', "a\\/\\u0062"),
        (b'{"stream":"a","data":', "a"), (b'{"data":1,"stream":"a"', ""), (b'{"data":1,"stream":"a"}]', ""),
        (b'{"str\\u0065am":"a"}', "a"), (b'[{"stream":"a"}]', ""), (b'{"n":NaN,"stream":"a"}', ""),
        (b'{"n":1e999,"m":%s,"stream":"a"}' % (b"7" * 5000), "a"), (b'{"\\u0069d":1,"result":2}', ""), (b'{"id":1,"result":2}', None))]
    records, wanted = [session(1)], []
    for parts, found in told:
        records += [(START_NS, IN, 1, 1, part) if isinstance(part, bytes) else (START_NS, part[0], 0, *part[1:])
                    for part in [*parts, (CLOSE, 1, b"{}")]]
        wanted += [message for message in found if message[1] is not None]
    path = maker.write_archive(scratch / "messages", {1: SegmentMaker(1).add(records).seal().data})
    ours = [m for m in read_archive.messages(read_archive.Archive(path)) if not read_archive.is_answer(m)]
    expect_equal([(m.payload, read_archive.stream_of(m)) for m in ours], wanted, "the stand-alone reader's messages")
    expect_equal(named(path), wanted, "tape-replay's messages")


def main(scratch):
    what_is_a_message(scratch)
    make_cases()
    for number, one in enumerate(CASES):
        check_case(scratch, number, *one)
    spans(scratch)
    damage_everywhere(scratch)
    links_and_names(scratch)


rig.run_main(main)
