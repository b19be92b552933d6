#!/usr/bin/env python3
"""Packed blocks that our packer did not make: the two readers, ours and the one written from FORMAT.md, must
give the same records of whatever the format allows, and must both refuse what it does not allow."""
import collections
import pathlib
import random
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import maker  # noqa: E402
import packed_maker  # noqa: E402
import rig  # noqa: E402
from maker import compress, put_varint, SegmentMaker, START_NS  # noqa: E402
from packed_maker import put_stream, put_zigzag, split_token, Table  # noqa: E402
from rig import expect, expect_equal, read_archive  # noqa: E402

RANDOM_BLOCKS, CHANGED_BLOCKS = 160, 1500
# All that a block may choose between: of each the numbers that FORMAT.md has.
CHOICES = {"coding": 2, "naming": 3, "predictor": 8, "coder": 3, "context": 5, "format": 6, "form": 3}
Block = collections.namedtuple("Block", "codec raw stamps payload")


def put_together(blocks):
    """Blocks of any codec in one segment, which is not sealed."""
    made = SegmentMaker(1)
    for block in blocks:
        made.add_payload(block.payload, block.raw, block.stamps, block.codec)
    return made


def ours(blocks):
    """What format/ says of each: the lines of its records, or None where it is corrupt."""
    made = put_together(blocks)
    done = subprocess.run([str(rig.BUILD / "tests/part/block_records")], input=bytes(made.data[64:]),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=240)
    expect(done.returncode == 0, "block_records ended with %d:\n%s" % (
        done.returncode, done.stderr.decode("utf-8", "replace")[-4000:]))
    found, lines = [], []
    for line in done.stdout.decode("ascii").splitlines():
        if line == "good" or line.startswith("corrupt: "):
            found.append(lines if line == "good" else None)
            lines = []
        else:
            expect(re.match(r"[0-9]", line), "block_records: " + line)
            lines.append(line)
    expect_equal(len(found), len(blocks), "blocks that were read")
    return found


def theirs(blocks):
    """The same of the stand-alone reader."""
    made, found = put_together(blocks), []
    for offset, data, _ in made.blocks:
        header = read_archive.parse_header(data, 1, maker.ID[:8])
        payload = bytes(made.data[offset + 80:offset + 80 + header.stored])
        try:
            records = read_archive.parse_records(header, read_archive.open_payload(header, payload))
        except read_archive.Damage:
            found.append(None)
            continue
        found.append(["%d %d %d %d %d %s" % (r.ordinal, r.recv_ns, r.kind, r.flags, r.connection, r.body.hex())
                      for r in records])
    return found


# ---- FORMAT.md's own examples ----


def examples():
    text = (rig.ROOT / "format/FORMAT.md").read_text(encoding="utf-8")
    section = text.split("### A packed block, byte by byte")[1].split("```")[1]
    payload = b"".join(bytes.fromhex(re.match(r"((?:[0-9a-f]{2} )*)", line)[1])
                       for line in section.splitlines())
    expect_equal(len(payload), 74, "bytes of the example")
    stamps = [10**12, 10**12 + 1500, 10**12 + 3000]
    wanted = ["%d %d 1 1 7 %s" % (i, stamp, maker.frame(text).hex()) for i, (stamp, text) in enumerate(zip(
        stamps, (b'{"p":"100.10","t":7}', b'{"p":"100.20","t":8}', b'{"p":"100.10","t":9}')))]
    block = Block(3, 83, stamps, payload)
    expect_equal(theirs([block]), [wanted], "the example, by the stand-alone reader")
    expect_equal(ours([block]), [wanted], "the example")
    stream = bytes.fromhex(re.search(r"`((?:[0-9a-f]{2} ?)+)` of 6 values", text)[1])
    counts = [16, 12] + [0] * 62 + [4]
    reader = read_archive.ColumnReader(read_archive.Area("pool", b"".join(map(put_varint, [65] + counts))), None)
    expect_equal(read_archive.unpack_stream(stream, 6, 5, [reader.table(5)], bytes(6), None),
                 [0, 1, 0, 70, 0, 1], "the example of a stream")


# ---- random blocks that are right ----


def random_blocks():
    used = {}
    made = [packed_maker.RandomBlock(random.Random(seed), used) for seed in range(RANDOM_BLOCKS)]
    for what, count in CHOICES.items():
        missing = [number for number in range(count) if (what, number) not in used]
        expect(not missing, "the dice chose no %s %s" % (what, missing))
    blocks = [Block(one.codec, one.raw, one.stamps, one.payload) for one in made]
    expect({block.codec for block in blocks} == {2, 3}, "both codecs")
    ordinal = 0
    for seed, (one, a, b) in enumerate(zip(made, theirs(blocks), ours(blocks))):
        wanted = ["%d %d %d %d %d %s" % (ordinal + i, *record[:4], record[4].hex())
                  for i, record in enumerate(one.records)]
        ordinal += len(wanted)
        expect(a == wanted, "random block %d: the stand-alone reader gives other records" % seed)
        expect(b == wanted, "random block %d: %s" % (seed, "corrupt" if b is None else "other records"))
    return made


def changed(block, dice):
    """A packed block with a few bytes of its areas changed; sums and sizes are right again."""
    sizes = read_archive.Area("payload", block.payload)
    bits, text_raw, text_stored, pool_raw, pool_stored = [sizes.varint() for _ in range(5)]
    areas = [bytearray(sizes.take(bits)),
             bytearray(read_archive.PackedBlock.plain(sizes.take(text_stored), text_raw)),
             bytearray(read_archive.PackedBlock.plain(sizes.take(pool_stored), pool_raw))]
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        area = areas[dice.choice((0, 1, 2, 2, 2, 2))]
        at = dice.randrange(len(area) + 1)
        if dice.randrange(4) and at < len(area):
            area[at] = dice.choice((area[at] ^ 1 << dice.randrange(8), dice.randrange(9), area[at] + 1 & 255))
        elif dice.randrange(2):
            area[at:at] = dice.randbytes(1)
        else:
            del area[at:at + dice.randrange(1, 3)]
    codec = block.codec if dice.randrange(20) else 5 - block.codec
    return Block(codec, block.raw, block.stamps, assemble(*map(bytes, areas)))


def assemble(bits, text, pool):
    return b"".join(map(put_varint, (len(bits), len(text), len(text), len(pool), len(pool)))) + bits + text + pool


def changed_blocks():
    """Both readers have the same opinion of blocks that were changed at random."""
    dice, used = random.Random(4), {}
    whole = [packed_maker.RandomBlock(random.Random(seed), used, rows=1 + seed % 9) for seed in range(200)]
    blocks = [changed(whole[i % len(whole)], dice) for i in range(CHANGED_BLOCKS)]
    good = 0
    for number, (a, b) in enumerate(zip(theirs(blocks), ours(blocks))):
        expect((a is None) == (b is None), "changed block %d: corrupt says %s only" % (
            number, "the stand-alone reader" if a is None else "block_records"))
        expect(a == b, "changed block %d: the readers give different records" % number)
        good += a is not None
    expect(0 < good < CHANGED_BLOCKS // 2, "%d of %d changed blocks are good" % (good, CHANGED_BLOCKS))


# ---- whole archives ----


def archives(scratch):
    """Packed and interleaved blocks of a foreign hand, in sealed and unsealed segments."""
    segments, wanted, ordinal = {}, [], 0
    for sequence in (1, 2, 3):
        made = SegmentMaker(sequence, ordinal)
        for i in range(8):
            seed = sequence * 100 + i
            block = packed_maker.RandomBlock(random.Random(seed), {}, frames=True)
            payloads = [read_archive.split_frame(record[4])[2] for record in block.records]
            counts = {"": (len(payloads), sum(map(len, payloads)))}
            if i % 4 == 3:
                made.add(block.records, i % 8 // 4, counts)
            else:
                made.add_payload(block.payload, block.raw, block.stamps, block.codec, counts)
            wanted += payloads
        segments[sequence] = made.seal().data if sequence < 3 else made.data
        ordinal = made.ordinal
    path = maker.write_archive(scratch / "foreign", segments, state="tape")
    found = [message.payload for message in read_archive.messages(read_archive.Archive(path))]
    expect(found == wanted, "the stand-alone reader gives other messages")
    expect(rig.play(path, "--format", "raw") == b"".join(one + b"\n" for one in wanted), "play gives others")
    rig.verify(path)


def column(predictor, coder, *values, step=1, base=None, argument=b""):
    """A column of coder varint (with sign: 5), or zero."""
    out = bytes((predictor,)) + argument + bytes((coder,))
    if coder & 3:
        out += put_varint(step)
    if base is not None:
        out += put_zigzag(base)
    return out + b"".join(put_zigzag(v) if coder & 4 else put_varint(v) for v in values)


def literal(data):
    return b"\x01" + put_varint(len(data)) + data


NAMES = [b"a@trade", b"b@trade", b"a@depth", b""]


NAMED = (literal(b'{"stream":"') + b"\x03" + literal(b'","data":"') + b"\x02" + literal(b'","raw":"') + b"\x03" +
         literal(b'","id":"') + b"\x03" + literal(b'","list":[') + b"\x04" + literal(b'["') + b"\x02" +
         literal(b'","') + b"\x03" + literal(b'"]') + b"\x00" + literal(b"]}") + b"\x00")


def named_rows(to, dice, names, stamps):
    """The rows of a template with a name and a slot of every kind behind it."""
    found, rows = sorted(set(names)), packed_maker.Scope(len(names))
    to.pool += NAMED
    to.columns, to.stamps = [], stamps
    to.pool.append(0)
    to.varint(len(found))
    for name in found:
        to.string(name)
    to.column([found.index(name) for name in names], rows, "index")
    template = packed_maker.Template(dice, len(names))
    numbers = template.numbers(to, rows)
    lengths, ids = [dice.randrange(9) for _ in names], [dice.randbytes(16) for _ in names]
    to.pool.append(1)
    to.column(lengths, rows)
    to.text += b"".join(b"%d" % length * length for length in lengths)
    to.pool.append(2)
    to.bits += b"".join(ids)
    to.columns.append(packed_maker.Column(ids, rows, "uuid"))
    counts = [dice.randrange(4) for _ in names]
    to.column(counts, rows)
    elements = packed_maker.Scope(sum(counts), rows, counts)
    inner = template.numbers(to, elements)
    to.pool.append(1)
    to.column([3] * elements.size, elements)
    to.text += b"abc" * elements.size
    parts = iter(b'["%s","abc"]' % number for number in inner)
    return [b'{"stream":"%s","data":"%s","raw":"%s","id":"%s","list":[%s]}' % (
        names[i], numbers[i], b"%d" % lengths[i] * lengths[i], packed_maker.uuid_text(ids[i]),
        b",".join(next(parts) for _ in range(counts[i]))) for i in range(len(names))]


def named_block(dice, used):
    """Messages of streams as `naming` tells them: by the group, and by a column; and records of none."""
    to, heads = packed_maker.Writer(dice, used), ((1, 1, 3, 0x81, 0), (1, 1, 3, 0x81, 1), (1, 0, 4, 0x81, 2),
                                                  (1, 1, 3, 0x89, 3))
    kinds = [0, 1, 2, 3] + [dice.randrange(4) for _ in range(60)]
    stamps = [START_NS + i for i in range(len(kinds))]
    to.varint(len(heads))
    for head in heads:
        to.pool += bytes(head)
    to.column(kinds)
    to.column(list(range(len(kinds))))
    to.varint(4)
    texts = []
    for group, naming in enumerate((b"\x00\x01\x07a@trade", b"\x00\x01\x07b@trade", b"\x01\x02\x00", b"\x00\x00")):
        to.pool += naming
        mine = [i for i, kind in enumerate(kinds) if kind == group]
        if group == 2:
            rows = named_rows(to, dice, [dice.choice(NAMES) for _ in mine], [stamps[i] for i in mine])
        else:
            form = b"%d" if group == 3 else b'{"stream":"' + NAMES[group] + b'","data":%d}'
            rows = [form % dice.randrange(10**6) for _ in mine]
            to.column([len(row) for row in rows])
            to.text += b"".join(rows)
        texts.append(iter(rows))
    records = [(stamp, *heads[kind][:3], bytes((heads[kind][3],)) + maker.frame(next(texts[kind]))[1:])
               for stamp, kind in zip(stamps, kinds)]
    return Block(3, packed_maker.codec_0_bytes(records, START_NS), stamps, to.payload())


def selected(scratch):
    """--stream gives the messages of these streams, whoever tells their names."""
    made = put_together([named_block(random.Random(seed), {}) for seed in range(6)])
    path = maker.write_archive(scratch / "named", {1: made.data}, state="tape")
    messages = list(read_archive.messages(read_archive.Archive(path)))
    expect(len(messages) > 200, "%d messages" % len(messages))
    for glob, names in (("a@*", ("a@trade", "a@depth")), ("b@trade", ("b@trade",)), ("*@depth", ("a@depth",))):
        wanted = [m.payload for m in messages if read_archive.stream_of(m) in names]
        expect(0 < len(wanted) < len(messages), "%s: %d messages" % (glob, len(wanted)))
        expect(rig.play(path, "--format", "raw", "--stream", glob) == b"".join(one + b"\n" for one in wanted),
               "--stream %s gives other messages" % glob)


# ---- blocks that break one rule each ----


COUNTS = [16, 8, 8]
STREAM = put_stream([split_token(u) for u in (1, 2, 0, 0, 0)], [Table(COUNTS, 5)], [0] * 5, 5, random.Random(1))
TABLE = b"".join(map(put_varint, [len(COUNTS)] + COUNTS))
PROGRAM = (literal(b"[") + b"\x03" + literal(b":") + b"\x02\x03\x03\x02\x02\x04\x02\x03\x00" +
           literal(b"]" + b"p" * 60))
# The pool of a block of four records, by its parts: one text, three rows of a template with every kind of slot.
GOOD = {
    "heads": b"\x02",
    "head 0": b"\x01\x01\x01\x81\x00",
    "head 1": b"\x01\x01\x01\x81\x01",
    "order": column(0, 1, 0, 1, 1, 1),
    "recv": column(1, 1, 0, 1, 1, 1, step=10, base=0),
    "groups": b"\x02",
    "text": b"\x00\x00",
    "text lengths": column(0, 1, 5),
    "template": b"\x01\x02\x00",
    "program": PROGRAM,
    "end": b"\x00",
    "dictionary": b"\x00\x02\x01a\x02bb",
    "0": column(0, 1, 0, 1, 0),
    "number": b"\x00\x02",
    "1": column(1, 5, 0, 1, -1, step=10, base=10010),
    "raw": b"\x01",
    "2": column(0, 1, 1, 0, 2),
    "uuid": b"\x02",
    "each": b"\x03",
    "4": column(0, 1, 0, 1, 18),
    "5": column(0, 5, -7, 0, 10**18 - 1),
    "time": b"\x04\x03",
    "6": column(5, 0, base=5, argument=b"\x06"),
    "7": column(0, 1, 2, 0, 3),
    "inner number": b"\x00\x00",
    "8": b"\x06\x06\x01" + put_zigzag(3),
    "table": b"\x05\x00" + TABLE,
    "stream": put_varint(len(STREAM)),
    "inner dictionary": b"\x00\x01\x00",
    "9": column(0, 0),
}
UUIDS = bytes(range(48))
TEXT = b"hello" + b"xyz"
STAMPS = [START_NS, START_NS + 10, START_NS + 20, START_NS + 30]


ROWS = [b'[a:100.10x00010203-0405-0607-0809-0a0b0c0d0e0f-72026-11-25T09:46:40.005Z2,3]',
        b'[bb:100.2010111213-1415-1617-1819-1a1b1c1d1e1f0.02026-11-25T09:46:40.005Z]',
        b'[a:100.10yz20212223-2425-2627-2829-2a2b2c2d2e2f0.9999999999999999992026-11-25T09:46:40.005Z2,2,2]']
GOOD_RECORDS = [(stamp, 1, 1, 1, maker.frame(text)) for stamp, text in zip(
    STAMPS, [b"hello"] + [row + b"p" * 60 for row in ROWS])]


def raw_of(texts):
    """Raw bytes of the block, were these its three rows."""
    return packed_maker.codec_0_bytes([(stamp, 1, 1, 1, maker.frame(text)) for stamp, text in zip(
        STAMPS, [b"hello", *texts])], START_NS)


RAW_BYTES = raw_of([row + b"p" * 60 for row in ROWS])


def hostile(parts, bits=UUIDS + STREAM, text=TEXT, codec=3, raw=RAW_BYTES, wrap=assemble):
    """The good block with other parts of the pool, by their names, or other areas."""
    pool = dict(GOOD, **parts)
    expect(len(pool) == len(GOOD), "no such part: %s" % sorted(set(pool) - set(GOOD)))
    return Block(codec, raw, STAMPS, wrap(bits, text, b"".join(pool.values())))


def replaced(name, old, new):
    """A part with some of its bytes changed."""
    expect(GOOD[name].count(old) == 1, "%s of %r" % (old, GOOD[name]))
    return {name: GOOD[name].replace(old, new)}


def sized(*sizes, plain=True):
    """Areas with wrong sizes before them; None: the right one."""
    def wrap(bits, text, pool):
        packed = pool if plain else compress(pool)
        right = (len(bits), len(text), len(text), len(pool), len(packed))
        return b"".join(put_varint(right[i] if size is None else size) for i, size in enumerate(sizes)) + (
            bits + text + packed)
    return wrap


def nested(depth):
    return b"\x04" * depth + b"\x02" + b"\x00" * depth


def program_of(nodes, columns):
    """The template's program replaced, the columns of its slots too."""
    names = list(GOOD)
    gone = dict.fromkeys(names[names.index("dictionary"):], b"")
    return dict(gone, program=nodes, dictionary=columns, template=b"\x01\x00")


def pool_of(size):
    """A dictionary with an entry that nobody uses fills the pool up to this size."""
    start = GOOD["dictionary"].replace(b"\x00\x02", b"\x00\x03")
    rest = size - len(b"".join(GOOD.values())) - 3  # its length has three bytes
    expect(1 << 14 <= rest < 1 << 21, "a length of three bytes")
    return {"dictionary": start + put_varint(rest) + bytes(rest)}, {"wrap": sized(*[None] * 5, plain=False)}


def values_of(count, spare):
    """A template of so many numbers, all 0, and raw bytes enough for them but for `spare` bytes a row."""
    padding = 0
    while raw_of([b"0" * count + b"p" * padding] * 3) < 2 * 3 * count:
        padding += 1
    text = b"0" * count + b"p" * (padding - spare)
    nodes = b"\x02" * count + literal(b"p" * (padding - spare))
    return program_of(nodes, (b"\x00\x00" + column(0, 0)) * count), {
        "text": b"hello", "bits": b"", "raw": raw_of([text] * 3)}


def edges():
    """Blocks that just keep a rule."""
    plain, empty = {"text": b"hello", "bits": b""}, [b"p" * 60] * 3
    yield "a pool as large as may be", *pool_of(2 * RAW_BYTES + 65536)
    yield "a dictionary for nothing", program_of(
        b"\x04\x03\x00" + literal(b"p" * 60), column(0, 0) + b"\x00\x01\x00"), dict(plain, raw=raw_of(empty))
    yield "a list in four lists", program_of(
        nested(4) + literal(b"p" * 60), column(0, 0) + b"\x00\x00"), dict(plain, raw=raw_of(empty))
    yield "4096 nodes", program_of(literal(b"p") * 4096, b""), dict(plain, raw=raw_of([b"p" * 4096] * 3))
    yield "no nodes", program_of(b"", b""), dict(plain, raw=raw_of([b""] * 3))
    yield "values for half the raw bytes", *values_of(100, 0)
    yield "a name of 255 bytes", {"text": b"\x00\x01" + put_varint(255) + b"n" * 255}, {}
    yield "a step of 2^64 - 1", {"2": column(0, 1, (1 << 64) - 1, 0, (1 << 64) - 2, step=(1 << 64) - 1)}, {}


def bad_areas():
    yield "a pool of a byte too many", *pool_of(2 * RAW_BYTES + 65537)
    end = GOOD["9"]
    yield "bits beyond the payload", {}, {"wrap": sized(2000, None, None, None, None)}
    yield "a byte after the pool", {"9": end + b"\x00"}, {}
    yield "a byte after the bits", {}, {"bits": UUIDS + STREAM + b"\x00"}
    yield "a byte after the text", {}, {"text": TEXT + b"q"}
    yield "a byte too few of bits", {}, {"bits": (UUIDS + STREAM)[:-1]}
    yield "a byte too few of text", {}, {"text": TEXT[:-1]}
    yield "a byte too few of the pool", {"9": end[:-1]}, {}
    yield "an empty pool", dict.fromkeys(GOOD, b""), {}
    yield "a pool stored in more bytes than it has", {}, {"wrap": sized(None, None, None, 20, None)}
    yield "a pool of other bytes than its frame says", {}, {"wrap": sized(None, None, None, 900, None, plain=False)}
    yield "a pool too large", {}, {"wrap": sized(None, None, None, 2 * RAW_BYTES + 65537, None)}
    yield "a text too large", {}, {"wrap": sized(None, RAW_BYTES + 1, None, None, None)}
    yield "a text that is no frame", {}, {"wrap": sized(None, 9, None, None, None)}
    yield "sizes that end early", {}, {"wrap": lambda bits, text, pool: b"\x80"}
    yield "raw bytes one more", {}, {"raw": RAW_BYTES + 1}
    yield "raw bytes one less", {}, {"raw": RAW_BYTES - 1}
    yield "a template in codec 2", {}, {"codec": 2}


def bad_heads():
    yield "no heads", {"heads": b"\x00"}, {}
    yield "more heads than records", {"heads": b"\x05"}, {}
    yield "kind 0", replaced("head 0", b"\x01\x01\x01", b"\x00\x01\x01"), {}
    yield "flags 65536", {"head 0": b"\x01" + put_varint(65536) + b"\x01\x81\x00"}, {}
    yield "connection 2^32", {"head 0": b"\x01\x01" + put_varint(1 << 32) + b"\x81\x00"}, {}
    yield "a head's group out of bounds", replaced("head 1", b"\x81\x01", b"\x81\x02"), {}
    yield "a varint not in its shortest form", {"heads": b"\x82\x00"}, {}
    yield "a head out of bounds", {"order": column(0, 1, 0, 1, 2, 1)}, {}
    yield "a head below zero", {"order": column(0, 5, 0, 1, -1, 1)}, {}
    yield "another head", {"order": column(0, 1, 0, 1, 1, 0)}, {}
    yield "min recv that no record has", {"recv": column(1, 1, 0, 1, 1, 1, step=10, base=1)}, {}
    yield "max recv that no record has", {"recv": column(1, 1, 0, 1, 1, 1, step=9, base=0)}, {}
    yield "recv before min recv", {"recv": column(1, 5, 0, -1, 2, 2, step=10, base=0)}, {}
    yield "no groups", {"groups": b"\x00"}, {}
    yield "more groups than records", {"groups": b"\x05"}, {}
    yield "a group without rows", {"order": column(0, 1, 1, 1, 1, 1)}, {}
    yield "a group too many", {"groups": b"\x03", "9": GOOD["9"] + b"\x00\x00"}, {}
    yield "coding 2", {"text": b"\x02\x00"}, {}
    yield "naming 3", {"text": b"\x00\x03"}, {}
    yield "a text group named by a column", {"text": b"\x00\x02\x00"}, {}
    yield "named by a number", {"template": b"\x01\x02\x01"}, {}
    yield "named by a string in a list", {"template": b"\x01\x02\x09"}, {}
    yield "named by a column that is not there", {"template": b"\x01\x02\x0a"}, {}
    yield "a name of 256 bytes", {"text": b"\x00\x01" + put_varint(256) + b"n" * 256}, {}
    yield "a row longer than the text", {"text lengths": column(0, 1, 9)}, {}
    yield "a row of 2^64 - 1 bytes", {"text lengths": column(0, 1, (1 << 64) - 1)}, {}


def bad_programs():
    yield "node 5", replaced("program", b"\x03\x00", b"\x05\x00"), {}
    yield "an empty literal", {"program": b"\x01\x00" + PROGRAM}, {}
    yield "a literal beyond the pool", {"program": b"\x01" + put_varint(1 << 40) + PROGRAM}, {}
    yield "a list of nothing", {"program": PROGRAM + b"\x04\x00"}, {}
    yield "a list in five lists", program_of(nested(5), column(0, 0) * 6), {}
    yield "4097 nodes", program_of(literal(b"p") * 4097, b""), {}
    yield "a program without end", dict(program_of(PROGRAM, b""), end=b""), {}
    elements = program_of(b"\x04" + literal(b"q" * 60) + b"\x00", column(0, 1, 5, 1 << 20, 1 << 20))
    yield "more elements than bytes", elements, {"text": b"hello", "bits": b""}
    elements = program_of(b"\x04" + literal(b"q" * 60) + b"\x00", column(0, 1, 100, 100, 100))
    yield "more text than bytes", elements, {"text": b"hello", "bits": b""}
    elements = program_of(b"\x04" + literal(b"q") + b"\x00", column(0, 1, 1 << 63, 1 << 63, 0))
    yield "counts that add up to 2^64", elements, {"text": b"hello", "bits": b""}
    yield "more values than raw bytes / 2", *values_of(100, 1)


def bad_slots():
    yield "a dictionary of nothing", {"dictionary": b"\x00\x00"}, {}
    empty = program_of(b"\x04\x03\x00" + literal(b"p" * 60), column(0, 0) + b"\x00\x00")
    plain = {"text": b"hello", "bits": b"", "raw": raw_of([b"p" * 60] * 3)}
    yield "a dictionary of nothing for nothing", empty, plain
    yield "two entries for nothing", dict(empty, dictionary=column(0, 0) + b"\x00\x02\x00\x00"), plain
    many = program_of(b"\x04" + literal(b"qq") + b"\x03\x00",
                      column(0, 1, 65537, 0, 0) + b"\x00" + put_varint(65537) + bytes(65537) + column(0, 0))
    yield "a dictionary of 65537 entries", many, {"text": b"hello", "bits": b"", "raw": raw_of(
        [b",".join([b"qq"] * 65537), b"", b""])}
    yield "a dictionary of more entries than values", {"dictionary": b"\x00\x04\x01a\x02bb\x00\x00"}, {}
    yield "an entry beyond the pool", {"dictionary": b"\x00\x02\x01a" + put_varint(1 << 40)}, {}
    yield "an index out of its dictionary", {"0": column(0, 1, 0, 2, 0)}, {}
    yield "an index below zero", {"0": column(0, 5, 0, -1, 0)}, {}
    yield "string form 3", {"uuid": b"\x03"}, {}
    yield "a string longer than the text", {"2": column(0, 1, 1, 0, 3)}, {}
    yield "a string of 2^63 bytes", {"2": column(0, 1, 1, 0, 1 << 63)}, {}
    yield "number format 6", {"number": b"\x06\x02"}, {}
    yield "19 decimals", {"number": b"\x00\x13"}, {}
    yield "shortest, no decimals", {"number": b"\x01\x00"}, {}
    yield "shortest_point, no decimals", {"number": b"\x02\x00"}, {}
    yield "10 decimals of a time", {"time": b"\x04\x0a"}, {}
    yield "time_shortest, no decimals", {"time": b"\x05\x00"}, {}
    yield "19 decimals of one value", {"4": column(0, 1, 0, 1, 19)}, {}
    yield "a number of 10^18", {"5": column(0, 5, -7, 0, 10**18)}, {}
    yield "a number of -10^18", {"5": column(0, 5, -10**18, 0, 1)}, {}
    yield "the year 10000", {"6": column(0, 5, 253402300800000, 0, 0)}, {}
    yield "the year -1", {"6": column(0, 5, -62167219200001, 0, 0)}, {}


def bad_columns():
    yield "predictor 8", {"2": column(8, 1, 1, 0, 2)}, {}
    yield "predictor 2 outside of templates", {"order": column(2, 1, 0, 1, 1, 1, argument=b"\x00")}, {}
    yield "coder 3", {"2": column(0, 3, 1, 0, 2)}, {}
    yield "a bit of the coder that must be zero", {"2": column(0, 17, 1, 0, 2)}, {}
    yield "a step of 0", {"2": column(0, 1, 1, 0, 2, step=0)}, {}
    yield "a varint of 65 bits", {"2": b"\x00\x01\x01\x01\x00" + b"\xff" * 9 + b"\x02"}, {}
    yield "its own number", {"2": column(2, 5, 1, 0, 2, argument=b"\x02")}, {}
    yield "a column behind it", {"2": column(2, 5, 1, 0, 2, argument=b"\x04")}, {}
    yield "a column that is not there", {"2": column(2, 5, 1, 0, 2, argument=put_varint(1 << 60))}, {}
    yield "a column of UUIDs", {"4": column(2, 5, 0, 1, 18, argument=b"\x03")}, {}
    yield "a column of another scope", {"9": column(2, 0, argument=b"\x07")}, {}
    yield "a key that is no index", {"2": column(7, 5, 1, 0, 2, base=0, argument=b"\x01")}, {}
    yield "a key inside a list", {"6": column(7, 0, base=5, argument=b"\x09")}, {}
    yield "predictor 6 at the top", {"6": column(6, 0, base=1)}, {}
    yield "predictor 5 in a list", {"9": column(5, 0, base=0, argument=b"\x00")}, {}
    yield "a time unit of 10^10", {"6": column(5, 0, base=5, argument=b"\x0a")}, {}


def bad_streams():
    swapped = [COUNTS[1], COUNTS[0]] + COUNTS[2:]
    for name, table in (("tables of 16 states", b"\x04\x00\x01\x10"),
                        ("tables of 4096 states", b"\x0c\x00\x01" + put_varint(4096)),
                        ("context 5", b"\x05\x05" + TABLE),
                        ("counts that add up to 33", b"\x05\x00\x03\x10\x08\x09"),
                        ("counts that add up to 31", b"\x05\x00\x03\x10\x08\x07"),
                        ("a count of 2^64 - 1", b"\x05\x00\x04\x10\x10\x01" + put_varint((1 << 64) - 1)),
                        ("233 tokens", b"\x05\x00" + put_varint(233) + bytes(COUNTS) + bytes(230)),
                        ("no table", b"\x05\x00\x00"),
                        ("a context without a table", b"\x05\x02\x00" + TABLE),
                        ("field context of another scope", b"\x05\x04\x07" + TABLE * 8),
                        ("other tables", b"\x05\x00\x03" + bytes(swapped))):
        yield name, {"table": table}, {}
    for context in (2, 3, 4):
        table = bytes((5, context)) + TABLE * 8
        yield "context %d outside of templates" % context, {
            "order": b"\x00\x02\x01" + table + put_varint(len(STREAM))}, {"bits": STREAM + UUIDS + STREAM}
    for context in (2, 3):
        table = bytes((5, context)) + TABLE * (2 if context == 2 else 8)
        yield "context %d at the top" % context, {
            "4": b"\x00\x02\x01" + table + put_varint(len(STREAM))}, {"bits": UUIDS + STREAM + STREAM}
    zeros, table = b"\x01\x00\x00", b"\x05\x04\x08" + b"\x01\x20" * 8  # five tokens 0 of the one there is
    yield "field context of a column whose coder does not say so", {
        "9": b"\x00\x02\x01" + table + put_varint(len(zeros))}, {"bits": UUIDS + STREAM + zeros}
    yield "a stream longer than its bits", {"stream": put_varint(len(STREAM) + 1)}, {
        "bits": UUIDS + STREAM + b"\x00"}
    yield "a stream longer than the area", {"stream": put_varint(1 << 50)}, {}
    yield "an empty stream", {"stream": b"\x00"}, {"bits": UUIDS}
    yield "a stream without its last byte", {"stream": put_varint(len(STREAM) - 1)}, {"bits": UUIDS + STREAM[:-1]}
    padded = int.from_bytes(STREAM, "little")
    expect(padded & 7, "the good stream has padding")
    yield "padding that is not zero", {}, {"bits": UUIDS + (padded ^ 8).to_bytes(len(STREAM), "little")}
    yield "more padding than there is", {}, {"bits": UUIDS + (padded & ~7 | (padded + 1) % 8).to_bytes(
        len(STREAM), "little")}


def hostile_blocks(scratch):
    """Each is corrupt to both readers, in memory and in an archive, where it costs nothing but itself."""
    good = hostile({})
    wanted = ["%d %d %d %d %d %s" % (i, *record[:4], record[4].hex()) for i, record in enumerate(GOOD_RECORDS)]
    expect_equal(theirs([good]), [wanted], "the good block, by the stand-alone reader")
    expect_equal(ours([good]), [wanted], "the good block")
    most = [("65536 " + make.__name__, make(65536)) for make in (many_heads, many_groups, many_nodes)]
    names, blocks = zip(*((name, hostile(parts, **others)) for name, parts, others in edges()), *most)
    for name, a, b in zip(names, theirs(blocks), ours(blocks)):
        expect(a is not None, "%s: the stand-alone reader calls it corrupt" % name)
        expect(a == b, "%s: block_records gives other records, or none" % name)
    cases = [one for kind in (bad_areas, bad_heads, bad_programs, bad_slots, bad_columns, bad_streams)
             for one in kind()]
    blocks = [hostile(parts, **others) for _, parts, others in cases]
    blocks.append(Block(3, 30, [START_NS], assemble(b"", b"hello", b"\x01\x01\x01\x01\x81\x00" + column(0, 0) * 2 +
                                                    b"\x01\x00\x00" + column(0, 1, 5))))
    names = [one[0] for one in cases] + ["codec 3 without a template"]
    for what, make in (("heads", many_heads), ("groups", many_groups), ("nodes", many_nodes)):
        names.append("65537 " + what)
        blocks.append(make(65537))
    names.append("a body of more than 16 MiB")
    blocks.append(long_body())
    for name, a, b in zip(names, theirs(blocks), ours(blocks)):
        expect(a is None, "%s: the stand-alone reader calls it good" % name)
        expect(b is None, "%s: block_records calls it good" % name)
    between = [block for one in blocks[:-1] for block in (good, one)] + [good]
    path = maker.write_archive(scratch / "hostile", {1: put_together(between).data}, state="tape")
    payloads = b"".join(read_archive.split_frame(record[4])[2] + b"\n" for record in GOOD_RECORDS) * len(blocks)
    expect(rig.play(path, "--format", "raw", wanted=3) == payloads, "play gives the good blocks between")
    said = rig.verify(path, wanted=3)
    archive = read_archive.Archive(path)
    expect(b"".join(m.payload + b"\n" for m in read_archive.messages(archive)) == payloads, "and so does the other")
    expect_equal([place.verdict for place in archive.places], ["corrupt"] * (len(blocks) - 1), "damaged places")
    expect("%d" % (len(blocks) - 1) in said, "verify tells of them:\n" + said)


def records_of(codec, texts, pool, text=b""):
    """A block of one record for each text, all at one time."""
    stamps = [START_NS] * len(texts)
    raw = packed_maker.codec_0_bytes([(START_NS, 1, 1, 1, text) for text in texts], START_NS)
    return Block(codec, raw, stamps, assemble(b"", text, pool))


def many_heads(count):
    heads = b"\x01\x01\x01\x00\x00" * count
    pool = put_varint(count) + heads + column(0, 0) * 2 + b"\x01\x00\x00" + column(0, 0)
    return records_of(2, [b""] * count, pool)


def many_groups(count):
    heads = b"".join(b"\x01\x01\x01\x00" + put_varint(i) for i in range(count))
    order = column(1, 1, 0, *[1] * (count - 1), base=0)
    if count > read_archive.HEADS_MAX:  # a head more than may be is told before: give the last one no head
        heads, order = heads[:-len(b"\x01\x01\x01\x00" + put_varint(count - 1))], column(0, 0)
    pool = put_varint(min(count, read_archive.HEADS_MAX)) + heads + order + column(0, 0) + put_varint(count)
    pool += (b"\x00\x00" + column(1, 0, base=4)) * count
    return records_of(2, [b"text"] * count, pool, b"text" * count)


def many_nodes(count):
    """In as many templates as they need, a literal each."""
    parts = [min(4096, count - at) for at in range(0, count, 4096)]
    heads = b"".join(b"\x01\x01\x01\x00" + put_varint(i) for i in range(len(parts)))
    pool = put_varint(len(parts)) + heads + column(1, 1, 0, *[1] * (len(parts) - 1), base=0) + column(0, 0)
    pool += put_varint(len(parts)) + b"".join(b"\x01\x00" + b"\x01\x01p" * part + b"\x00" for part in parts)
    return records_of(3, [b"p" * part for part in parts], pool)


def long_body():
    """A text as long as a body may be, with a frame header before it."""
    size = read_archive.BODY_MAX
    pool = b"\x01\x01\x01\x01\x82\x00" + column(0, 0) * 2 + b"\x01\x00\x00" + column(0, 1, size)
    packed = compress(bytes(size))
    raw = size + 10 + len(b"\x01\x01\x00\x01" + put_varint(size + 10))
    sizes = b"".join(map(put_varint, (0, size, len(packed), len(pool), len(pool))))
    return Block(2, raw, [START_NS], sizes + packed + pool)


def main(scratch):
    examples()
    random_blocks()
    changed_blocks()
    archives(scratch)
    selected(scratch)
    hostile_blocks(scratch)


rig.run_main(main)
