#!/usr/bin/env python3
"""Each stream read alone gives the same from an archive as recorded, packed and cold: the stream that a packed block
says of a message, without its text, is the one that the parser reads in the text. Made-up venues, names in every
place and form that JSON allows, messages that only look like one, and real captures where there are some."""
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
from rig import expect  # noqa: E402

IN, OPEN, START = 1, 5, 12
REAL = ("cryptofeed/BINANCE_FUTURES.ws.1.0.txt.zst", "cryptofeed/KRAKEN.ws.50.0.txt.zst", "hftbacktest/spot_btcusdt_20240808.txt.zst")


def number(dice):
    return dice.choice((b"%d" % dice.randrange(10**6), b"-%d" % dice.randrange(99), b"%d.%02d" % (dice.randrange(99), dice.randrange(99)),
                        b"1e%d" % dice.randrange(9), b"0", b'"%d.%03d"' % (dice.randrange(9999), dice.randrange(999))))


def odd_message(dice):
    """JSON, or nearly, with a name somewhere, twice, escaped, cut, of the wrong type, or none."""
    name = dice.choice((b"a@trade", b"b@depth", b"\\u0061@trade", b"a\\\"q", b"", b"c*[x]?", b"x" * 251, b"x" * 252, b"x" * 255,
                        b"x" * 256, b"x" * 300, "ü@ü".encode(), b"y" * 254 + "ü".encode(), b"z,z"))
    body = b'{"e":"trade","p":%s,"l":[[%s,%s],[%s,%s]]}' % tuple(number(dice) for _ in range(5))
    return dice.choice((
        b'{"stream":"%s","data":%s}' % (name, body), b'{"stream":"%s","data":%s}' % (name, body),
        b'{"data":%s,"stream":"%s"}' % (body, name), b'{ "stream" : "%s" , "data" : %s }' % (name, body),
        b'{"stream":"%s","stream":"second","data":%s}' % (name, body), b'{"stream":%s,"data":%s}' % (number(dice), body),
        b'{"stream":null,"stream":"%s"}' % name, b'{"data":{"stream":"%s"}}' % name, b'[{"stream":"%s"}]' % name,
        b'{"stream":"%s"' % name, b'{"stream":"%s","data":%s} ' % (name, body), b'{"stream":"%s}' % name, body,
        b'{"str\\u0065am":"%s","data":1}' % name, b'{"id":%s,"result":null}' % number(dice), b'{"result":null,"id":3}',
        b'{"id":3,"stream":"%s"}' % name, b'{"code":%s,"msg":"%s"}' % (number(dice), name), b"", b"%s" % number(dice), b'"%s"' % name,
        b'{"error":{"code":5,"msg":"m"},"stream":"%s"}' % name, b'{"stream":"%s","id":1,"result":2}' % name))


def odd_records(dice):
    """Text, binary, of one connection or another, now and then flagged, masked or misshapen; of the third also in
    fragments, with whole frames between that are no messages then."""
    payload, connection = odd_message(dice), dice.choice((1, 1, 1, 2, 3))
    flags = dice.choice((0, 1, 1, 1, 1, 1, 1, 1, 3, 4, 5, 8, 16, 32, 64))
    body = frame(payload, dice.choice((1,) * 12 + (2, 9)), True)
    shape = dice.randrange(60)
    if connection == 3 and shape < 8:
        inside = [record for _ in range(dice.randrange(4)) for record in odd_records(dice)]
        return [(IN, 1, connection, frame(payload[:9], 1, False)), *inside, (IN, 1, connection, frame(payload[9:], 0, True))]
    if shape == 2:
        body = bytes((body[0] | 64,)) + body[1:]
    elif shape == 3:
        body = body[:1] + bytes((126,)) + len(payload).to_bytes(2, "big") + payload
    elif shape == 4:
        body = body + b"x"
    return [(IN if shape != 5 else 2, flags, connection, body)]


def make_odd(path, dice):
    records = [(START, 0, 0, b'{"session":1,"version":"0","pid":1,"host":"h","command":"c"}'),
               *[(OPEN, 0, c, b'{"session":1,"url":"wss://x/stream","venue":"v"}') for c in (1, 2, 3)],
               *[record for _ in range(12000) for record in odd_records(dice)]]
    segment = SegmentMaker(1)
    for at in range(0, len(records), 200):
        segment.add([(maker.START_NS + (at + i) * 1000, *r) for i, r in enumerate(records[at:at + 200])])
    maker.write_archive(path, {1: segment.seal().data})
    rig.call("tape-record", "--quiet", "--repair", path)


def import_lines(path, lines, scratch):
    rig.call("tape-record", "--quiet", "--no-pack", "--import", rig.write_lines(scratch / "lines.txt", lines), path)


def pattern(name):
    """One that matches the name alone; a comma cannot be told."""
    return re.sub(r"([*?\[])", r"[\1]", name).replace(",", "?")


def streams_of(path):
    told = json.loads(rig.call("tape-replay", "ls", "--json", path)[0])
    return {stream["name"] for stream in told["streams"]}


def asked(path, names):
    found = {"": rig.play(path, "--format", "ndjson")}
    for name in names:
        if name:
            found[name] = rig.play(path, "--format", "ndjson", "--stream", pattern(name))
    for glob in ("*", "?*", "*@*", "x*", "*x"):
        found["glob " + glob] = rig.play(path, "--format", "ndjson", "--stream", glob)
    # nothing is passed over here: what comes of it is what the parser reads
    found["parsed"] = rig.play(path, "--format", "ndjson", "--all")
    return found


def check(path, what):
    names = streams_of(path)
    numbers = sorted(name for name in names if name[:1].isdigit())
    asked_for = names - set(numbers[3:])  # of those many alike
    wanted = asked(path, asked_for)
    for name in asked_for:
        if name and len(name) < 250 and "," not in name:
            by_parser = [line for line in wanted["parsed"].splitlines()
                         if json.loads(line)["kind"] == "data" and json.loads(line).get("stream") == name]
            expect(wanted[name].splitlines() == by_parser, "%s as recorded: %s: not what the parser reads" % (what, name))
    for words in ((), ("--level=cold",)):
        rig.call("tape-record", "--quiet", "--pack", *words, path)
        expect(streams_of(path) == names, "%s %s: other streams" % (what, words))
        for name, found in asked(path, asked_for).items():
            expect(found == wanted[name], "%s %s: stream %s: %d bytes, not %d" % (what, words, name[:300], len(found), len(wanted[name])))
        rig.verify(path)
    codecs = rig.query(path, "SELECT count(*) n FROM block WHERE codec IN (2, 3)")[0]["n"]
    expect(codecs > 0, "%s: no block is packed" % what)
    print("%s: %d streams, %d messages" % (what, len(names), wanted[""].count(b"\n")))
    shutil.rmtree(path)


def main(scratch):
    make_odd(scratch / "odd", random.Random(1))
    check(scratch / "odd", "odd names")
    for venue, symbol in (("usdm", "btcusdt"), ("spot", "btcusdt"), ("coinm", "btcusd_perp")):
        import_lines(scratch / venue, rig.generate("--seed", 4, "--venue", venue, "--symbols", symbol, "--count", 6000), scratch)
        check(scratch / venue, venue)
    for name in REAL:
        path = rig.real_data(name)
        if not path:
            print("skipped: %s is not there" % name)
            continue
        import_lines(scratch / "real", rig.lines_of(path, 15000), scratch)
        check(scratch / "real", name)


rig.run_main(main)
