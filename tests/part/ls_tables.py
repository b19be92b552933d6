#!/usr/bin/env python3
"""tape-replay ls: its figures are those that the sqlite3 shell and plain counting give; with and without
index.db, of an archive with gaps and one whose names try to act on a terminal; it fits 100 columns."""
import collections
import json
import pathlib
import re
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000


def make_lines():
    """Trades with three ids missing; depth, complete; book tickers, whose loss nobody can see; two plain."""
    lines, ns, update = [], BEGIN, 1000
    for i in range(2000):
        ns += 1000003
        trade = i if i < 900 else i + 3
        lines.append((ns, "btcusdt@trade", '{"e":"trade","E":%d,"T":%d,"s":"BTCUSDT","t":%d,"p":"1.5","q":"2","m":true}'
                      % (ns // 10**6, ns // 10**6, trade)))
        lines.append((ns + 5, "btcusdt@bookTicker", '{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"1","B":"2","a":"3",'
                      '"A":"4","T":%d,"E":%d}' % (i * 3, ns // 10**6, ns // 10**6)))
        if i % 4 == 0:
            lines.append((ns + 9, "btcusdt@depth@100ms", '{"e":"depthUpdate","E":%d,"T":%d,"s":"BTCUSDT","U":%d,"u":%d,'
                          '"pu":%d,"b":[],"a":[]}' % (ns // 10**6, ns // 10**6, update + 1, update + 9, update)))
            update += 9
    return lines


def as_text(lines):
    return [('%d {"stream":"%s","data":%s}' % line).encode() for line in lines]


def counted(lines):
    found = collections.OrderedDict()
    for ns, name, body in lines:
        row = found.setdefault(name, [0, 0, ns, ns])
        row[0] += 1
        row[1] += len('{"stream":"%s","data":%s}' % (name, body))
        row[3] = ns
    return found


def ls_json(archive):
    return json.loads(rig.call("tape-replay", "ls", "--json", archive)[0])


def figures(archive, lines):
    told = ls_json(archive)
    wanted = counted(lines)
    expect_equal({s["name"]: [s["messages"], s["bytes"], int(s["first_ns"]), int(s["last_ns"])] for s in told["streams"]},
                 dict(wanted), "counts by stream")
    for stream in told["streams"]:
        expect_equal(stream["first"][20:29], stream["first_ns"][-9:], "both forms of a time")
        expect(stream["first"].startswith("2026-11-22T08:00:0") and stream["first"].endswith("Z"), stream["first"])
    rows = {r["name"]: r for r in rig.query(archive, "select name, messages, bytes, first_ns, last_ns from stream")}
    for stream in told["streams"]:
        row = rows[stream["name"]]
        expect_equal((row["messages"], row["bytes"], str(row["first_ns"])),
                     (stream["messages"], stream["bytes"], stream["first_ns"]), "the shell's row")
    gaps = {r["kind"]: r["n"] for r in rig.query(
        archive, "select kind, count(*) n from gap where to_ns is not null group by kind")}
    expect_equal((told["gaps_by_kind"], told["gaps"]), (gaps, sum(gaps.values())), "gaps")
    expect_equal(gaps, {"sequence": 1}, "one gap")
    trades = [s for s in told["streams"] if s["name"] == "btcusdt@trade"][0]
    expect_equal((trades["gaps"], trades["missing"], trades["loss"]), (1, 3, "some"), "the gap that was made")
    hidden = [s for s in told["streams"] if s["name"] == "btcusdt@bookTicker"][0]
    expect_equal((hidden["missing"], hidden["loss"]), (None, "undetectable"), "loss that cannot be seen")
    expect_equal(told["connections"]["total"], rig.query(archive, "select count(*) n from connection")[0]["n"], "connections")
    files = sum(p.stat().st_size for p in archive.glob("segments/*/*/*/*"))
    expect_equal(told["file_bytes"], files, "bytes of the files")
    sums = rig.query(archive, "select sum(raw_bytes) r, sum(stored_bytes) s, sum(records) n, count(*) c from segment")[0]
    expect_equal((told["raw_bytes"], told["stored_bytes"], told["records"], told["segments_total"]),
                 (sums["r"], sums["s"], sums["n"], sums["c"]), "sizes")
    expect(abs(told["ratio"] - sums["r"] / sums["s"]) < 0.001, "ratio")
    expect_equal((told["recording"], told["index"]), (False, "index.db"), "state")
    expect_equal(told["id"], (archive / "LOCK").read_text().split()[2], "the archive's id")
    return told


def without_index(archive, scratch, told):
    copy = scratch / "copy"
    shutil.copytree(archive, copy)
    for name in copy.glob("index.db*"):
        name.unlink()
    again = ls_json(copy)
    for volatile in ("archive", "as_of", "as_of_ns", "index"):
        again.pop(volatile), told.pop(volatile)
    expect_equal(again, told, "ls without index.db")
    expect_equal(list(copy.glob("index.db*")), [], "ls makes no index")


def table(archive):
    out = rig.call("tape-replay", "ls", archive)[0].decode()
    expect(max(map(len, out.splitlines())) <= 100, "it fits 100 columns:\n" + out)
    expect(re.search(r"^recording    no$", out, re.M), out)
    rows = dict(re.findall(r"^ (btcusdt@\S+) +(\d+) ", out, re.M))
    expect_equal(rows, {"btcusdt@trade": "2000", "btcusdt@bookTicker": "2000", "btcusdt@depth@100ms": "500"}, out)
    expect(re.search(r"^ btcusdt@trade .* 1 3$", out, re.M), out)
    expect(re.search(r"^ btcusdt@bookTicker .* undetectable$", out, re.M), out)


def wild_names(scratch):
    """Names as a hostile venue may send them: escapes, a line end, no UTF-8, very long, quotes."""
    names = [rb"\u001b[2J", rb"a\nb", b"\xff\xfe", b"\x7f", "\u202egpj".encode(), b"x" * 700, b"it's", rb"\"quoted\"", b"\xc2\x9bm"]
    lines = [b'%d {"stream":"%s","data":{}}' % (BEGIN + i, name) for i, name in enumerate(names)]
    archive = scratch / "wild"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "wild.txt", lines), archive)
    expect_equal(rig.play(archive, "--format", "hft"), b"".join(line + b"\n" for line in lines), "they are kept")
    out = rig.call("tape-replay", "ls", archive)[0]
    text = out.decode("utf-8")
    expect(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), "nothing that acts on a terminal: %r" % text)
    expect_equal(sum(s["messages"] for s in ls_json(archive)["streams"]), len(names), "messages in all")


def empty(scratch):
    archive = scratch / "empty"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "none.txt", []), archive)
    expect_equal(ls_json(archive)["streams"], [], "no streams")
    expect(b"none yet" in rig.call("tape-replay", "ls", archive)[0], "said so")


def main(scratch):
    lines = make_lines()
    archive = scratch / "tape"
    rig.call("tape-record", "--venue", "spot", "--import", rig.write_lines(scratch / "lines.txt", as_text(lines)), archive)
    told = figures(archive, lines)
    table(archive)
    without_index(archive, scratch, told)
    wild_names(scratch)
    empty(scratch)


rig.run_main(main)
