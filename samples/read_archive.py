#!/usr/bin/env python3
"""Reads a Tapedeck archive without any of Tapedeck's code: the standard library, and libzstd through
ctypes. Written from format/FORMAT.md alone, as a second opinion and as a start for readers in other
languages: every rule is applied, nothing is fast. It only reads.

    read_archive.py hft ARCHIVE        `<recv ns> <payload>` of every data message
    read_archive.py raw ARCHIVE        the payload of every message received, answers to requests too
    read_archive.py messages ARCHIVE   one JSON object a message: ordinal, recv_ns, connection, stream, payload
    read_archive.py records ARCHIVE    one JSON object a record, events and control frames too
    read_archive.py counts ARCHIVE     per stream: messages, payload bytes, first and last recv ns
    read_archive.py check ARCHIVE      reads everything, says what is damaged, compares the footers' counts
    read_archive.py ring ARCHIVE|FILE  where the ring stands, and the records that only it may have

Damage is told on standard error and passed over; then the exit code is 3. 1: could not read, 2: usage.
"""
import argparse
import bisect
import collections
import ctypes
import ctypes.util
import datetime
import fcntl
import functools
import itertools
import json
import operator
import os
import pathlib
import re
import stat
import struct
import sys

KINDS = {1: "frame_in", 2: "frame_out", 3: "handshake_request", 4: "handshake_response",
         5: "connection_open", 6: "connection_close", 7: "subscription_asked", 8: "subscription_acked",
         9: "clock", 10: "snapshot", 11: "note", 12: "session_start", 13: "session_end", 14: "delay"}
FLAGS = {1: "kernel_stamp", 2: "shared_stamp", 4: "imported", 8: "bad", 16: "partial", 32: "after_close"}
FRAME_IN, FRAME_OUT = 1, 2
BINARY = 2
IMPORTED, BAD, PARTIAL, AFTER_CLOSE = 4, 8, 16, 32

FILE_HEADER, BLOCK_HEADER, TRAILER = 64, 80, 32
BODY_MAX, MESSAGE_MAX = 16_781_312, 16_777_216
RAW_MAX, STORED_MAX = 33_554_432, 34_603_008
WINDOW_MAX = 32 << 20
PACKED_CODECS, FOOTER_CODEC = (2, 3), 4


class Damage(Exception):
    """Bytes that are not what the format demands."""


# ---- CRC32C: two bytes a step ------------------------------------------------------------------


def _tables():
    one = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        one.append(n)
    return one, [one[(one[n & 255] ^ (n >> 8)) & 255] ^ (one[n & 255] >> 8) for n in range(65536)]


CRC_1, CRC_2 = _tables()


def crc32c(data):
    crc, table, even = 0xFFFFFFFF, CRC_2, len(data) & ~1
    for pair in struct.unpack("<%dH" % (even // 2), data[:even]):
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    for byte in data[even:]:
        crc = CRC_1[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


# ---- zstd ---------------------------------------------------------------------------------------


def _load_zstd():
    for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            library = None
        if library:
            library.ZSTD_decompress.restype = ctypes.c_size_t
            library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                                ctypes.c_size_t]
            library.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
            library.ZSTD_findFrameCompressedSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
            return library
    return None


ZSTD = _load_zstd()


def check_frame_header(frame, raw_bytes):
    """RFC 8878, 3.1.1.1: what our blocks demand of a frame before anything is allocated for it."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        raise Damage("not a zstd frame")
    descriptor = frame[4]
    size_code, single, dictionary = descriptor >> 6, descriptor >> 5 & 1, descriptor & 3
    at = 5
    window = 0
    if not single:
        exponent, mantissa = frame[at] >> 3, frame[at] & 7
        window = (1 << (10 + exponent)) // 8 * (8 + mantissa)
        at += 1
    at += (0, 1, 2, 4)[dictionary]
    if any(frame[6 - single:at]):
        raise Damage("the zstd frame names a dictionary")
    width = (1 if single else 0, 2, 4, 8)[size_code]
    if not width or len(frame) < at + width:
        raise Damage("the zstd frame does not state its size")
    size = int.from_bytes(frame[at:at + width], "little") + (256 if width == 2 else 0)
    if size != raw_bytes:
        raise Damage("the zstd frame states %d bytes, its header %d" % (size, raw_bytes))
    if max(window, size if single else 0) > WINDOW_MAX:
        raise Damage("the zstd frame wants a window of more than 32 MiB")


def decompress(frame, raw_bytes):
    if ZSTD is None:
        raise RuntimeError("libzstd.so.1 is not installed")
    check_frame_header(frame, raw_bytes)
    if ZSTD.ZSTD_findFrameCompressedSize(frame, len(frame)) != len(frame):
        raise Damage("not exactly one zstd frame")
    room = ctypes.create_string_buffer(raw_bytes)
    if ZSTD.ZSTD_decompress(room, raw_bytes, frame, len(frame)) != raw_bytes:
        raise Damage("does not decompress")
    return room.raw


# ---- numbers ------------------------------------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Damage("a varint that does not end")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if shift and byte == 0 or value >> 64:
        raise Damage("a varint that is not in its shortest form")
    return value, at


def wrap64(value):
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


# ---- blocks -------------------------------------------------------------------------------------

BlockHeader = collections.namedtuple(
    "BlockHeader", "magic header_crc payload_crc stored raw records first_ordinal min_recv max_recv "
    "realtime_monotonic previous_stored segment number codec level flags tag")
BLOCK = struct.Struct("<4sIIIIIQqqqIIIBBH8s")
Record = collections.namedtuple("Record", "ordinal recv_ns kind flags connection body")
assert BLOCK.size == BLOCK_HEADER


def parse_header(data, sequence, tag):
    """A header by rule 1, or None. Sequence and tag are the segment's."""
    if len(data) < BLOCK_HEADER or data[:4] != b"TBK1":
        return None
    header = BlockHeader(*BLOCK.unpack_from(data))
    footer = header.codec == FOOTER_CODEC
    records = header.records == 0 if footer else 1 <= header.records <= header.raw // 5
    if (not records or header.flags or header.tag != tag or header.segment != sequence
            or not 1 <= header.stored <= STORED_MAX or not 1 <= header.raw <= RAW_MAX
            or header.first_ordinal + header.records > 1 << 63
            or footer and (header.min_recv or header.max_recv)
            or header.codec == 0 and header.stored != header.raw
            or crc32c(data[8:BLOCK_HEADER]) != header.header_crc):
        return None
    return header


def open_payload(header, payload):
    """What the payload holds; of packed blocks it is taken apart later."""
    if crc32c(payload) != header.payload_crc:
        raise Damage("payload checksum")
    if header.codec in (0, *PACKED_CODECS):
        return payload
    if header.codec in (1, FOOTER_CODEC):
        return decompress(payload, header.raw)
    raise Damage("codec %d is not known to this reader" % header.codec)


def parse_records(header, raw):
    """All records of a block, or Damage: nothing of a block counts unless all of it is right."""
    if header.codec in PACKED_CODECS:
        return PackedBlock(header, raw).records()
    records, at, stamp = [], 0, header.min_recv
    for i in range(header.records):
        if at >= len(raw):
            raise Damage("%d records, not %d" % (i, header.records))
        kind = raw[at]
        flags, at = varint(raw, at + 1)
        delta, at = varint(raw, at)
        connection, at = varint(raw, at)
        size, at = varint(raw, at)
        if kind == 0 or flags > 65535 or connection >> 32 or size > BODY_MAX or at + size > len(raw):
            raise Damage("record %d is out of bounds" % i)
        stamp = wrap64(stamp + ((delta >> 1) ^ -(delta & 1)))
        records.append(Record(header.first_ordinal + i, stamp, kind, flags, connection, raw[at:at + size]))
        at += size
    if at != len(raw):
        raise Damage("%d bytes after the last record" % (len(raw) - at))
    stamps = [record.recv_ns for record in records]
    if (min(stamps), max(stamps)) != (header.min_recv, header.max_recv):
        raise Damage("recv ns differ from the header's")
    return records


# ---- packed blocks ------------------------------------------------------------------------------

TABLE_TOKENS = 232
ZERO, VARINT, TANS = 0, 1, 2
NODE_END, NODE_LITERAL, NODE_NUMBER, NODE_STRING, NODE_LIST = range(5)
NODES_MAX, NESTING_MAX, NUMBER_MAX = 4096, 4, 10**18
ENTRIES_MAX = HEADS_MAX = GROUPS_MAX = BLOCK_NODES_MAX = 65536
DAY_FIRST, DAY_LAST = -719528, 2932896  # 0000-01-01 and 9999-12-31
CLASSES = [0, 1, 2, 3] + [4] * 4 + [5] * 8 + [6] * 48 + [7] * (TABLE_TOKENS - 64)


class Area:
    """One of a packed block's three areas, read from its first byte to its last."""

    def __init__(self, name, data):
        self.name, self.data, self.at = name, data, 0

    def take(self, size):
        piece = self.data[self.at:self.at + size]
        if len(piece) != size:
            raise Damage("too few bytes of %s" % self.name)
        self.at += size
        return piece

    def u8(self):
        return self.take(1)[0]

    def varint(self, low=0, high=(1 << 64) - 1, what="number"):
        value, self.at = varint(self.data, self.at)
        if not low <= value <= high:
            raise Damage("%s %d is out of bounds" % (what, value))
        return value

    def choice(self, count, what):
        value = self.u8()
        if value >= count:
            raise Damage("%s %d is not known" % (what, value))
        return value

    def varints(self, count):
        found, data, at = [], self.data, self.at
        for _ in range(count):
            byte = data[at] if at < len(data) else 128
            if byte < 128:
                found.append(byte)
                at += 1
            else:
                value, at = varint(data, at)
                found.append(value)
        self.at = at
        return found

    def end(self):
        if self.at != len(self.data):
            raise Damage("%d bytes of %s are left" % (len(self.data) - self.at, self.name))


def unzigzag(value):
    return (value >> 1) ^ -(value & 1)


def varint_bytes(value):
    return max(1, (value.bit_length() + 6) // 7)


def token_of(u):
    if u < 64:
        return u
    k = u.bit_length() - 1
    return 64 + 4 * (k - 6) + (u >> k - 2 & 3) if k < 32 else 168 + 2 * (k - 32) + (u >> k - 1 & 1)


def _token_tails():
    """Of tokens from 64 on: how many extra bits, and the residual without them."""
    tails = [(0, token) for token in range(64)]
    tails += [(k - 2, (4 + two) << k - 2) for k in range(6, 32) for two in range(4)]
    return tails + [(k - 1, (2 + one) << k - 1) for k in range(32, 64) for one in range(2)]


TOKEN_TAILS = _token_tails()


class Scope:
    """The rows of a group, or all elements of one list node; lists are runs of `counts` elements."""

    def __init__(self, size, outer=None, counts=None):
        self.size, self.outer, self.counts = size, outer, counts
        self._firsts = self._owners = None

    def firsts(self):
        if self._firsts is None:
            self._firsts = [False] * self.size
            at = 0
            for count in self.counts:
                if count:
                    self._firsts[at] = True
                at += count
        return self._firsts

    def owners(self):
        """Of each element, the row or element of the scope around it that it is in."""
        if self._owners is None:
            self._owners = [i for i, count in enumerate(self.counts) for _ in range(count)]
        return self._owners


class Column:
    """Values are i64 (None: nobody may refer to them); residuals as stored, before they get a sign; None
    where nobody may refer to these."""

    def __init__(self, scope, values, residuals):
        self.scope, self.values, self.residuals = scope, values, residuals
        self.is_index = False
        self._classes = None

    def classes(self):
        if self._classes is None:
            self._classes = [CLASSES[token_of(u)] for u in self.residuals]
        return self._classes

    def check(self, limit, what):
        """Bounded values are unsigned: as i64 the largest ones are below zero."""
        if self.values and not 0 <= min(self.values) <= max(self.values) < limit:
            raise Damage("%s out of bounds" % what)
        return self


class ColumnReader:
    """Reads the columns of a block; `columns` are those of the template that is being read."""

    def __init__(self, pool, bits):
        self.pool, self.bits, self.columns, self.stamps = pool, bits, [], None

    def plain(self, count):
        return self.read(Scope(count), False)

    def read(self, scope, in_template=True):
        if not scope.size:
            return Column(scope, [], [])
        predictor = self.pool.choice(8 if in_template else 2, "predictor")
        argument = None
        if predictor in (2, 3, 4, 7):
            argument = self.refer(scope, self.pool.varint(), predictor == 7)
        elif predictor == 5:
            argument = self.pool.choice(10, "time unit")
        coder = self.pool.choice(16, "coder")
        if coder & 3 == 3 or predictor == 5 and scope.outer or predictor == 6 and not scope.outer:
            raise Damage("predictor %d, coder %d" % (predictor, coder))
        step = self.pool.varint(low=1, what="step") if coder & 3 != ZERO else 1
        base = unzigzag(self.pool.varint()) if predictor not in (0, 2) else 0
        residuals = self.residuals(coder & 3, scope, in_template)
        parts = [unzigzag(u) for u in residuals] if coder & 4 else residuals
        if step != 1:
            parts = [step * part for part in parts]
        values = self.predict(predictor, argument, base, parts, scope)
        if min(values) < -1 << 63 or max(values) >> 63:
            values = [wrap64(value) for value in values]
        return Column(scope, values, residuals if coder & 8 else None)

    def refer(self, scope, number, keyed):
        """A column before this one, of this scope; for a key an index, also of a scope around it."""
        column = self.columns[number] if number < len(self.columns) else None
        if column is None or column.values is None:
            raise Damage("refers to column %d" % number)
        inside = scope
        while keyed and inside is not column.scope and inside.outer:
            inside = inside.outer
        if inside is not column.scope or keyed and not column.is_index:
            raise Damage("refers to column %d" % number)
        return column

    def residuals(self, coder, scope, in_template):
        if coder == ZERO:
            return [0] * scope.size
        if coder == VARINT:
            return self.pool.varints(scope.size)
        return self.tans(scope, in_template)

    # ---- predictors: sums may leave 64 bits on the way, read() wraps what comes out ----

    def predict(self, predictor, column, base, parts, scope):
        if predictor == 0:
            return parts
        if predictor == 1:
            return running(parts, base)
        if predictor == 2:
            return list(map(operator.add, column.values, parts))
        if predictor == 3:
            return list(map(operator.add, column.values, running(parts, base)))
        if predictor == 4:
            return list(map(operator.add, [base] + column.values[:-1], parts))
        if predictor == 5:
            unit = 10**column
            return [stamp // unit + part for stamp, part in zip(self.stamps, running(parts, base))]
        if predictor == 6:
            return by_lists(parts, base, scope.firsts())
        return by_keys(parts, base, keys_of(column, scope))

    # ---- tans ----

    def tans(self, scope, in_template):
        pool, count = self.pool, scope.size
        log = pool.u8()
        context = pool.choice(5 if in_template else 2, "context")
        if not 5 <= log <= 11 or 1 << log > max(32, 4 * count) or context in (2, 3) and not scope.outer:
            raise Damage("tables of 2^%d states, context %d" % (log, context))
        fixed = None
        if context == 4:
            beside = self.refer(scope, pool.varint(), False)
            if beside.residuals is None:
                raise Damage("a context of a column that has none")
            fixed = beside.classes()
        if context == 2:
            fixed = [0 if first else 1 for first in scope.firsts()]
        firsts = scope.firsts() if context == 3 else None
        tables = [self.table(log) for _ in range((1, 8, 2, 8, 8)[context])]
        stream = self.bits.take(pool.varint())
        if context == 0:
            fixed = bytes(count)
        return unpack_stream(stream, count, log, tables, fixed, firsts)

    def table(self, log):
        """(token, width, base) of each state; empty: the context does not occur."""
        counts = self.pool.varints(self.pool.varint(high=TABLE_TOKENS, what="token"))
        size = 1 << log
        if not counts:
            return []
        if sum(counts) != size:
            raise Damage("the counts of a table add up to %d" % sum(counts))
        symbols, p = [0] * size, 0
        for token, times in enumerate(counts):
            for _ in range(times):
                symbols[p] = token
                p = (p + size // 2 + size // 8 + 3) % size
        states = []
        for token in symbols:
            x = counts[token]
            counts[token] += 1
            width = log - (x.bit_length() - 1)
            states.append((token, width, (x << width) - size))
        return states


def unpack_stream(stream, count, log, tables, fixed, firsts):
    """The residuals of a tans stream. Behind its end come zeros: the number of bits tells in the end."""
    window, have, at = int.from_bytes(stream[:32], "little"), 256, 32
    padding = window & 7
    if window >> 3 & (1 << padding) - 1:
        raise Damage("a stream's padding is not zero")
    window, have = window >> 3 + padding, have - 3 - padding
    states, mask = [0] * 4, (1 << log) - 1
    for j in range(min(count, 4)):
        states[j], window, have = window & mask, window >> log, have - log
    found, kind, tails, classes = [], 0, TOKEN_TAILS, CLASSES
    for i in range(count):
        if fixed is not None:
            table = tables[fixed[i]]
        elif firsts is None:
            table = tables[kind]
        else:
            table = tables[0 if firsts[i] else min(kind, 6) + 1]
        if not table:
            raise Damage("a context without a table occurs")
        if have < 80:
            window |= int.from_bytes(stream[at:at + 32], "little") << have
            have, at = have + 256, at + 32
        token, width, base = table[states[i & 3]]
        kind = classes[token]
        if token < 64:
            found.append(token)
        else:
            extra, value = tails[token]
            found.append(value | window & (1 << extra) - 1)
            window, have = window >> extra, have - extra
        if i + 4 < count:
            states[i & 3] = base + (window & (1 << width) - 1)
            window, have = window >> width, have - width
    if at * 8 - have != len(stream) * 8:
        raise Damage("a stream of %d bits has %d" % (at * 8 - have, len(stream) * 8))
    return found


def running(parts, base):
    sums = itertools.accumulate(parts, initial=base)
    next(sums)
    return list(sums)


def by_lists(parts, base, firsts):
    values, before, head = [], base, base
    for part, first in zip(parts, firsts):
        if first:
            before = head = head + part
        else:
            before += part
        values.append(before)
    return values


def by_keys(parts, base, keys):
    values, before, last = [], base, {}
    for part, key in zip(parts, keys):
        before = last[key] = last.get(key, before) + part
        values.append(before)
    return values


def keys_of(column, scope):
    """The key of each element: the column's value there, or at what it lies in."""
    inside, places = scope, range(scope.size)
    while inside is not column.scope:
        owners = inside.owners()
        places, inside = [owners[place] for place in places], inside.outer
    return [column.values[place] for place in places]


# Texts of numbers, by their format.


def fixed_text(value, decimals):
    if not decimals:
        return b"%d" % value
    digits = b"%0*d" % (decimals + 1, abs(value))
    return (b"-" if value < 0 else b"") + digits[:-decimals] + b"." + digits[-decimals:]


def shortest_text(value, decimals):
    return fixed_text(value, decimals).rstrip(b"0").rstrip(b".")


def shortest_point_text(value, decimals):
    text = fixed_text(value, decimals).rstrip(b"0")
    return text + b"0" if text[-1:] == b"." else text


def date_text(day):
    """Of a day since 1970, in the proleptic Gregorian calendar, which has a year 0 here."""
    if not DAY_FIRST <= day <= DAY_LAST:
        raise Damage("a time outside the years 0000 to 9999")
    shift = 146097 * (day < -700000)  # 400 years: datetime begins with year 1
    date = datetime.date(1970, 1, 1) + datetime.timedelta(day + shift)
    return b"%04d-%02d-%02d" % (date.year - (400 if shift else 0), date.month, date.day)


@functools.lru_cache(4096)
def second_text(second):
    day, second = divmod(second, 86400)
    return b"%sT%02d:%02d:%02d" % (date_text(day), second // 3600, second // 60 % 60, second % 60)


def time_text(value, decimals):
    second, fraction = divmod(value, 10**decimals)
    if not decimals:
        return second_text(second) + b"Z"
    return second_text(second) + b".%0*dZ" % (decimals, fraction)


def time_shortest_text(value, decimals):
    return time_text(value, decimals)[:-1].rstrip(b"0").rstrip(b".") + b"Z"


FIXED, SHORTEST, SHORTEST_POINT, EACH, TIME, TIME_SHORTEST = range(6)
NUMBER_TEXTS = {FIXED: (0, 18, fixed_text), SHORTEST: (1, 18, shortest_text),
                SHORTEST_POINT: (1, 18, shortest_point_text), TIME: (0, 9, time_text),
                TIME_SHORTEST: (1, 9, time_shortest_text)}
DICTIONARY, RAW, UUID = range(3)


def uuid_text(value):
    digits = value.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode()


class PackedBlock:
    """A block of codec 2 or 3; .records() gives all of it or Damage."""

    def __init__(self, header, payload):
        self.header = header
        sizes = Area("payload", payload)
        bits, text_raw, text_stored, pool_raw, pool_stored = [sizes.varint() for _ in range(5)]
        if (bits + text_stored + pool_stored != len(payload) - sizes.at or text_raw > header.raw
                or not 1 <= pool_raw <= 2 * header.raw + 65536):
            raise Damage("the areas are %d, %d and %d bytes" % (bits, text_stored, pool_stored))
        self.bits = Area("bits", sizes.take(bits))
        self.text = Area("text", self.plain(sizes.take(text_stored), text_raw))
        self.pool = Area("pool", self.plain(sizes.take(pool_stored), pool_raw))
        self.reader = ColumnReader(self.pool, self.bits)
        self.heads, self.built, self.values, self.nodes, self.templates = [], 0, 0, 0, 0

    @staticmethod
    def plain(stored, raw_bytes):
        if len(stored) == raw_bytes:
            return stored
        if len(stored) > raw_bytes:
            raise Damage("an area is stored in more bytes than it has")
        return decompress(stored, raw_bytes)

    def records(self):
        header, pool = self.header, self.pool
        for _ in range(pool.varint(1, min(header.records, HEADS_MAX), "heads")):
            kind = pool.u8()
            if not kind:
                raise Damage("a record of kind 0")
            self.heads.append((kind, pool.varint(high=65535, what="flags"),
                               pool.varint(high=(1 << 32) - 1, what="connection"), pool.u8(), pool.varint()))
        order = self.reader.plain(header.records).check(len(self.heads), "heads").values
        stamps = [wrap64(header.min_recv + value) for value in self.reader.plain(header.records).values]
        if (min(stamps), max(stamps)) != (header.min_recv, header.max_recv):
            raise Damage("recv ns differ from the header's")
        groups = pool.varint(1, min(header.records, GROUPS_MAX), "groups")
        if max(head[4] for head in self.heads) >= groups:
            raise Damage("a head's group is out of bounds")
        rows = [[] for _ in range(groups)]
        for stamp, head in zip(stamps, order):
            rows[self.heads[head][4]].append(stamp)
        texts = [iter(self.group(of_group)) for of_group in rows]
        for area in (self.pool, self.text, self.bits):
            area.end()
        if (self.templates > 0) != (header.codec == 3):
            raise Damage("%d templates in a block of codec %d" % (self.templates, header.codec))
        return self.join(order, stamps, texts)

    def join(self, order, stamps, texts):
        """The records in the order of their ordinals; as codec 0 they must be as long as the header says."""
        records, before, size = [], self.header.min_recv, 0
        for i, (number, stamp) in enumerate(zip(order, stamps)):
            kind, flags, connection, form, group = self.heads[number]
            body = next(texts[group])
            if form:
                body = frame_head(form, len(body)) + body
            if len(body) > BODY_MAX:
                raise Damage("record %d is out of bounds" % i)
            delta = wrap64(stamp - before)
            size += (1 + varint_bytes(flags) + varint_bytes(2 * delta if delta >= 0 else -2 * delta - 1)
                     + varint_bytes(connection) + varint_bytes(len(body)) + len(body))
            before = stamp
            records.append(Record(self.header.first_ordinal + i, stamp, kind, flags, connection, body))
        if size != self.header.raw:
            raise Damage("the records are %d bytes, not %d" % (size, self.header.raw))
        return records

    # ---- groups ----

    def group(self, stamps):
        """The texts of a group's rows."""
        if not stamps:
            raise Damage("a group without rows")
        coding, naming = self.pool.choice(2, "coding"), self.pool.choice(3, "naming")
        if naming == 1:
            self.pool.take(self.pool.varint(high=255, what="stream name"))
        named = self.pool.varint() if naming == 2 else None
        if coding == 0:
            if naming == 2:
                raise Damage("a text group named by a column")
            lengths = self.reader.plain(len(stamps)).check(BODY_MAX + 1, "lengths").values
            self.count_text(sum(lengths))
            return [self.text.take(length) for length in lengths]
        self.templates += 1
        program = self.program(0, self.nodes + NODES_MAX)
        self.reader.columns, self.reader.stamps = [], stamps
        rows = Scope(len(stamps))
        texts = self.texts(program, rows)
        self.count_text(sum(map(len, texts)))
        columns = self.reader.columns
        if naming == 2 and not (named < len(columns) and columns[named].is_index
                                and columns[named].scope is rows):
            raise Damage("named by column %d" % named)
        return texts

    def count_text(self, size):
        self.built += size
        if self.built > self.header.raw:
            raise Damage("more text than the block has bytes")

    def program(self, nesting, nodes_max):
        """Lists of (node, literal or inner list)."""
        found = []
        while True:
            node = self.pool.choice(5, "node")
            if node == NODE_END:
                return found
            self.nodes += 1
            inner = None
            if node == NODE_LITERAL:
                inner = self.pool.take(self.pool.varint(low=1, what="literal"))
            elif node == NODE_LIST:
                inner = self.program(nesting + 1, nodes_max) if nesting < NESTING_MAX else []
                if not inner:
                    raise Damage("a list of nothing, or too deep")
            if self.nodes > min(nodes_max, BLOCK_NODES_MAX):
                raise Damage("a program of too many nodes")
            found.append((node, inner))

    # ---- templates: a list of texts for each node, one for each row or element of the scope ----

    def texts(self, program, scope):
        parts, size = [], 0
        for node, inner in program:
            if node == NODE_LITERAL:
                parts.append(itertools.repeat(inner, scope.size))
                size += len(inner) * scope.size
                continue
            part = (self.numbers if node == NODE_NUMBER else self.strings if node == NODE_STRING
                    else functools.partial(self.lists, inner))(scope)
            parts.append(part)
            size += sum(map(len, part))
        if size > self.header.raw:
            raise Damage("more text than the block has bytes")
        return list(map(b"".join, zip(*parts))) if parts else [b""] * scope.size

    def column(self, scope, limit=None, what=None):
        self.count_values(scope.size)
        column = self.reader.read(scope)
        if limit is not None:
            column.check(limit, what)
        self.reader.columns.append(column)
        return column

    def count_values(self, count):
        self.values += count
        if self.values > self.header.raw // 2:
            raise Damage("more values than the block has room for")

    def lists(self, program, scope):
        counts = self.column(scope, self.header.raw + 1, "counts").values
        if sum(counts) > self.header.raw:
            raise Damage("more elements than the block has bytes")
        elements = iter(self.texts(program, Scope(sum(counts), scope, counts)))
        return [b",".join(itertools.islice(elements, count)) for count in counts]

    def numbers(self, scope):
        form = self.pool.choice(6, "number format")
        if form == EACH:
            decimals = self.column(scope, 19, "decimals").values
            low, high, text = 0, 18, fixed_text
        else:
            low, high, text = NUMBER_TEXTS[form]
            one = self.pool.u8()
            if not low <= one <= high:
                raise Damage("%d decimals" % one)
            decimals = itertools.repeat(one)
        values = self.column(scope).values
        if form <= EACH and values and not -NUMBER_MAX < min(values) <= max(values) < NUMBER_MAX:
            raise Damage("a number of more than 18 digits")
        return list(map(text, values, decimals))

    def strings(self, scope):
        form = self.pool.choice(3, "string form")
        if form == UUID:
            self.count_values(scope.size)
            self.reader.columns.append(Column(scope, None, None))
            return [uuid_text(self.bits.take(16)) for _ in range(scope.size)]
        if form == RAW:
            lengths = self.column(scope, BODY_MAX + 1, "lengths").values
            return [self.text.take(length) for length in lengths]
        entries = [self.pool.take(self.pool.varint())
                   for _ in range(self.pool.varint(1, min(ENTRIES_MAX, max(1, scope.size)), "entries"))]
        column = self.column(scope, len(entries), "indexes")
        column.is_index = True
        return [entries[index] for index in column.values]


def frame_head(first, size):
    """RFC 6455, 5.2: not masked, the length in its shortest form."""
    if size < 126:
        return bytes((first, size))
    return struct.pack(">BBH", first, 126, size) if size < 65536 else struct.pack(">BBQ", first, 127, size)


# ---- segments -----------------------------------------------------------------------------------

NAME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d{6})Z-(\d{6,10})\.(hot|tape)\Z")
Place = collections.namedtuple("Place", "verdict path offset bytes what")
Listed = collections.namedtuple("Listed", "offset header counts")


def plain(path, kind=stat.S_ISREG):
    try:
        return kind(os.lstat(path).st_mode)
    except OSError:
        return False


def list_segments(archive):
    """(sequence, [paths]), .tape before .hot, then by name; links and other names are not ours."""
    found = {}
    top = os.path.join(archive, "segments")
    if not plain(top, stat.S_ISDIR):
        return []
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if plain(os.path.join(folder, f), stat.S_ISDIR)]
        for name in names:
            match = NAME.match(name)
            path = os.path.join(folder, name)
            if not match or not plain(path):
                continue
            digits = match[5]
            if (os.path.relpath(folder, top) != "/".join(match.group(1, 2, 3)) or int(digits) == 0
                    or len(digits) > 6 and digits[0] == "0" or int(digits) >> 32):
                continue
            try:
                datetime.datetime.strptime(name[:15], "%Y%m%dT%H%M%S")
            except ValueError:
                continue
            found.setdefault(int(digits), []).append((match[6] != "tape", path))
    return [(sequence, [path for _, path in sorted(paths)]) for sequence, paths in sorted(found.items())]


def read_lock(archive):
    """LOCK's lines, or {} when it is absent or damaged."""
    try:
        with open(os.path.join(archive, "LOCK"), "rb") as file:
            text = file.read(4096)
    except OSError:
        return {}
    lines = {}
    at = 0
    for line in text.split(b"\n"):
        match = re.match(rb"end ([0-9a-f]{8})\Z", line)
        if match:
            return lines if int(match[1], 16) == crc32c(text[:at]) and "id" in lines else {}
        if at == 0:
            first = re.match(rb"tapedeck-archive 1 ([0-9a-f]{32})\Z", line)
            if not first:
                return {}
            lines["id"] = bytes.fromhex(first[1].decode())
        elif b"=" in line:
            key, _, value = line.decode("utf-8", "replace").partition("=")
            lines[key] = value
        at += len(line) + 1
    return {}


def is_recording(archive):
    """Whether somebody holds LOCK: asked without taking it."""
    try:
        with open(os.path.join(archive, "LOCK"), "rb") as file:
            ask = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(file, 36, ask)  # F_OFD_GETLK
            return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK
    except OSError:
        return False


def trailer(footer, end, blocks):
    """The right one behind a footer from there to there."""
    tail = struct.pack("<IQQ", end - footer, footer, sum(block.header.records for block in blocks))
    return b"TAPE_END" + struct.pack("<I", crc32c(tail)) + tail


class Segment:
    """One file: .blocks are (offset, header) of what the footer lists or the walk finds."""

    def __init__(self, path, sequence, archive_id, growing, note):
        self.path, self.note = path, note
        with open(path, "rb") as file:
            self.data = file.read()
        self.blocks, self.footer, self.sealed = [], None, False
        self.sequence = sequence
        self.id = self.read_file_header(archive_id, growing)
        if self.id is None:
            return
        self.tag = self.id[:8]
        if self.open_footer(len(self.data)):
            self.take_footer(len(self.data))
        else:
            self.walk(growing)

    def tell(self, verdict, offset, size, what):
        self.note(Place(verdict, self.path, offset, size, what))

    def read_file_header(self, archive_id, growing):
        head = self.data[:FILE_HEADER]
        if len(head) < FILE_HEADER:
            begun = b"TAPEDECK".startswith(head[:8]) or not any(head)
            if not growing:
                self.tell("torn" if begun else "foreign", 0, len(head), "shorter than its header")
            return None
        crc, version, own_id, _, sequence = struct.unpack_from("<II16sqI", head, 8)
        if head[:8] != b"TAPEDECK" or crc32c(head[12:]) != crc or any(head[44:]):
            return self.read_without_header(archive_id)
        if version != 1 or archive_id not in (None, own_id) or sequence != self.sequence:
            self.tell("foreign", 0, len(self.data), "another archive's, or version, or sequence")
            return None
        return own_id

    def read_without_header(self, archive_id):
        """A block of this archive in a file without a header shows what the file is."""
        found = self.data.find(b"TBK1") if archive_id else -1
        while found >= 0:
            sequence = int.from_bytes(self.data[found + 60:found + 64], "little")
            if parse_header(self.data[found:found + BLOCK_HEADER], sequence, archive_id[:8]):
                self.sequence = sequence
                self.tell("corrupt", 0, FILE_HEADER, "file header")
                return archive_id
            found = self.data.find(b"TBK1", found + 1)
        self.tell("foreign", 0, len(self.data), "not a segment")
        return None

    # ---- sealed ----

    def open_footer(self, end):
        """Whether a trailer that ends there, and its footer, are valid."""
        if (not FILE_HEADER + BLOCK_HEADER + TRAILER <= end <= len(self.data)
                or self.data[end - 32:end - 24] != b"TAPE_END"):
            return False
        crc, length, offset, records = struct.unpack_from("<IIQQ", self.data, end - 24)
        if (crc32c(self.data[end - 20:end]) != crc or offset + length + TRAILER != end
                or offset < FILE_HEADER):
            return False
        header = parse_header(self.data[offset:offset + BLOCK_HEADER], self.sequence, self.tag)
        if header is None or header.codec != FOOTER_CODEC or BLOCK_HEADER + header.stored != length:
            return False
        try:
            raw = open_payload(header, self.data[offset + BLOCK_HEADER:end - TRAILER])
            self.footer = self.parse_footer(raw, header, offset)
        except Damage:
            return False
        return sum(block.header.records for block in self.footer) == records

    def parse_footer(self, raw, footer, footer_offset):
        count, at = varint(raw, 0)
        names, at = varint(raw, at)
        streams = []
        for _ in range(names):
            size, at = varint(raw, at)
            if size > 255 or at + size > len(raw):
                raise Damage("footer: stream name")
            streams.append(raw[at:at + size].decode("utf-8"))
            at += size
        if len(set(streams)) != len(streams):
            raise Damage("footer: a stream twice")
        blocks, end, number, ordinal = [], FILE_HEADER, -1, 0
        for _ in range(count):
            offset = int.from_bytes(raw[at:at + 8], "little")
            header = parse_header(raw[at + 8:at + 88], self.sequence, self.tag)
            if (header is None or header.codec == FOOTER_CODEC or offset < end or header.number <= number
                    or header.first_ordinal < ordinal):
                raise Damage("footer: block list")
            end = offset + BLOCK_HEADER + header.stored
            number, ordinal = header.number, header.first_ordinal + header.records
            counts, at = self.parse_counts(raw, at + 88, streams)
            blocks.append(Listed(offset, header, counts))
        if at != len(raw) or end > footer_offset or footer.number <= number:
            raise Damage("footer: bounds")
        return blocks

    @staticmethod
    def parse_counts(raw, at, streams):
        counts, at = varint(raw, at)
        if counts == 0:
            return None, at
        found = {}
        for _ in range(counts - 1):
            stream, at = varint(raw, at)
            messages, at = varint(raw, at)
            size, at = varint(raw, at)
            if stream >= len(streams) or streams[stream] in found:
                raise Damage("footer: counts")
            found[streams[stream]] = (messages, size)
        return found, at

    def take_footer(self, trailer_end):
        """Between listed blocks lies what was damaged when the file was sealed."""
        self.sealed, self.blocks = True, [(b.offset, b.header) for b in self.footer]
        end = FILE_HEADER
        footer = struct.unpack_from("<Q", self.data, trailer_end - 16)[0]
        for offset, header in self.blocks + [(footer, None)]:
            if offset > end:
                self.tell("corrupt", end, offset - end, "bytes that belong to no block")
            if header:
                end = offset + BLOCK_HEADER + header.stored
                if self.data[offset:offset + BLOCK_HEADER] != BLOCK.pack(*header):
                    self.tell("corrupt", offset, BLOCK_HEADER, "block header; the footer has a copy")

    # ---- not sealed ----

    def header_at(self, at, number, ordinal):
        header = parse_header(self.data[at:at + BLOCK_HEADER], self.sequence, self.tag)
        if header and header.number > number and header.first_ordinal >= ordinal:
            return header
        return None

    def walk(self, growing):
        at, number, ordinal, end = FILE_HEADER, -1, 0, len(self.data)
        while at < end:
            header = self.header_at(at, number, ordinal)
            if header is None:
                found = self.data.find(b"TBK1", at + 1)
                while found >= 0 and not self.header_at(found, number, ordinal):
                    found = self.data.find(b"TBK1", found + 1)
                if found < 0:
                    break
                self.tell("corrupt", at, found - at, "no block header")
                at = found
                continue
            after = at + BLOCK_HEADER + header.stored
            if after > end:
                break
            if header.codec == FOOTER_CODEC:
                self.tell_end(at, after, header)
                return
            self.blocks.append((at, header))
            at, number, ordinal = after, header.number, header.first_ordinal + header.records
        if at < end and not growing:
            self.tell_tail(at, self.header_at(at, number, ordinal))

    def tell_end(self, at, after, footer):
        """The file ends with a footer but is not sealed: which of its two last parts is wrong?"""
        try:
            listed = self.parse_footer(
                open_payload(footer, self.data[at + BLOCK_HEADER:after]), footer, at)
        except Damage as damage:
            torn = self.has_hole(at + BLOCK_HEADER, after)
            self.tell("torn" if torn else "corrupt", at, len(self.data) - at, "footer: %s" % damage)
            return
        rest = self.data[after:]
        if self.open_footer(after + TRAILER):
            self.take_footer(after + TRAILER)
            self.tell("corrupt", after + TRAILER, len(rest) - TRAILER, "bytes after the trailer")
            return
        torn = len(rest) <= TRAILER and (not any(rest) or trailer(at, after, listed).startswith(rest))
        self.tell("torn" if torn else "corrupt", after, len(rest), "trailer")

    def tell_tail(self, at, header):
        """Torn is what a crash leaves: an end inside a header or payload, or zeros."""
        rest = self.data[at:]
        begun = len(rest) < BLOCK_HEADER and b"TBK1".startswith(rest[:4])
        inside = header and BLOCK_HEADER + header.stored > len(rest)
        self.tell("torn" if inside or begun or not any(rest) else "corrupt", at, len(rest), "tail")

    def has_hole(self, start, end):
        """Rule 5: a 512-byte sector, or the part of one inside the payload, that is all zero."""
        while start < end:
            stop = min(end, start - start % 512 + 512)
            if stop - start >= 32 and not any(self.data[start:stop]):
                return True
            start = stop
        return False

    def read(self, growing):
        """(block index, records) of every good block; damaged ones are told."""
        for i, (offset, header) in enumerate(self.blocks):
            start, end = offset + BLOCK_HEADER, offset + BLOCK_HEADER + header.stored
            try:
                records = parse_records(header, open_payload(header, self.data[start:end]))
            except Damage as damage:
                last = not self.sealed and i == len(self.blocks) - 1
                if not (last and growing):
                    self.tell("torn" if last and self.has_hole(start, end) else "corrupt", offset,
                              end - offset, str(damage))
                continue
            yield i, records


# ---- archive ------------------------------------------------------------------------------------


class Archive:
    """Iterate over .records(); .places then lists what was damaged, .holes what is missing."""

    def __init__(self, path):
        self.path = str(path)
        if not os.path.isdir(self.path):
            raise OSError("%s: no such directory" % self.path)
        self.places, self.holes = [], []
        self.growing = is_recording(self.path)
        self.id = read_lock(self.path).get("id")
        self.on_block = None  # called with (segment, block index, records)

    def records(self):
        expected = None
        segments = list_segments(self.path)
        if self.id is None:
            self.id = self.first_id(segments)
        for i, (sequence, paths) in enumerate(segments):
            path = next((path for path in paths if len(paths) > 1 and self.is_ours(path, sequence)), paths[0])
            growing = self.growing and i == len(segments) - 1
            segment = Segment(path, sequence, self.id, growing, self.places.append)
            for index, records in segment.read(growing):
                if self.on_block:
                    self.on_block(segment, index, records)
                for record in records:
                    if expected is not None and record.ordinal < expected:
                        continue
                    if expected is not None and record.ordinal > expected:
                        explained = any(place.verdict != "foreign" for place in self.places)
                        self.holes.append((expected, record.ordinal, "lost" if explained else "missing"))
                    expected = record.ordinal + 1
                    yield record

    def is_ours(self, path, sequence):
        told = []
        return Segment(path, sequence, self.id, True, told.append).id is not None

    @staticmethod
    def first_id(segments):
        for _, paths in segments:
            with open(paths[0], "rb") as file:
                head = file.read(FILE_HEADER)
            if (len(head) == FILE_HEADER and head[:8] == b"TAPEDECK"
                    and crc32c(head[12:]) == struct.unpack_from("<I", head, 8)[0]):
                return head[16:32]
        return None

    def damaged(self):
        return bool(self.places or self.holes)

    def tell_damage(self, out):
        for place in self.places:
            print("%s: %s: %s at byte %d, %d bytes" % (place.verdict, place.path, place.what, place.offset,
                                                      place.bytes), file=out)
        for first, after, verdict in self.holes:
            print("%s: records %d to %d" % (verdict, first, after - 1), file=out)


# ---- frames and messages ------------------------------------------------------------------------

Message = collections.namedtuple("Message", "ordinal recv_ns connection flags opcode payload")


def split_frame(body):
    """(opcode, fin, payload) of one whole frame as RFC 6455 has it, no extension's bits; or None."""
    if len(body) < 2 or body[0] & 0x70 or body[0] & 15 not in (0, 1, 2, 8, 9, 10):
        return None
    length, at = body[1] & 127, 2
    if length > 125:
        width, least = (2, 126) if length == 126 else (8, 65536)
        length, at = int.from_bytes(body[2:2 + width], "big"), 2 + width
        if length < least:
            return None
    mask = body[at:at + 4] if body[1] & 128 else b""
    payload = body[at + len(mask):]
    if len(payload) != length or body[0] & 8 and (length > 125 or body[0] < 128):
        return None
    if mask:
        payload = bytes(b ^ mask[i & 3] for i, b in enumerate(payload))
    return body[0] & 15, body[0] >> 7, payload


class Messages:
    """Joins frames of each connection. Where frames may be missing, what was begun before is none."""

    def __init__(self):
        self.begun, self.expected = {}, 0

    def end(self, record):
        """What a record that is no frame ends."""
        kind = KINDS.get(record.kind)
        gap = kind == "note" and parse_json(record.body).get("kind") == "gap"
        if kind == "session_start" or gap and record.connection == 0:
            self.begun.clear()
        elif kind == "connection_close" or gap:
            self.begun.pop(record.connection, None)

    def push(self, record):
        """A message, or None."""
        if record.ordinal != self.expected:
            self.begun.clear()
        self.expected = record.ordinal + 1
        if record.kind != FRAME_IN:
            self.end(record)
            return None
        if record.flags & (BAD | PARTIAL | AFTER_CLOSE) or record.body[1:2] >= b"\x80":
            return None
        frame = split_frame(record.body)
        if frame is None or frame[0] > 2:
            return None
        opcode, fin, payload = frame
        if (opcode == 0) != (record.connection in self.begun):
            return None
        opcode, flags, parts = self.begun.pop(record.connection, (opcode, 0, []))
        flags, parts = flags | record.flags, parts + [payload]
        if not fin:
            self.begun[record.connection] = (opcode, flags, parts)
            return None
        payload = b"".join(parts)
        if len(payload) > MESSAGE_MAX:
            return None
        return Message(record.ordinal, record.recv_ns, record.connection, flags, opcode, payload)


JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=int)  # int("NaN") is a ValueError
SPACE = re.compile("[ \t\n\r]*")
ANSWER_KEY = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"(result|id|error|code|msg)"')


def parse_json(payload):
    """The payload as a JSON object; an empty one when it is none."""
    try:
        value = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def depth(value):
    if not isinstance(value, (dict, list)):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0)


def is_fault(value):
    code = value.get("code") if isinstance(value, dict) else None
    return (isinstance(code, (int, float)) and not isinstance(code, bool)
            and isinstance(value.get("msg"), str))


def is_answer(message):
    """The venue's answer to a request of the recorder's; never an imported line."""
    if message.flags & IMPORTED or len(message.payload) > 65536 or message.opcode == BINARY:
        return False
    value = parse_json(message.payload)
    if not ANSWER_KEY.match(message.payload) or depth(value) > 8:
        return False
    return is_fault(value) or is_fault(value.get("error")) or "id" in value and "result" in value


def members(text):
    """(key, value, its text) of a JSON object one after the other; ValueError where there is none."""
    at, mark = SPACE.match(text).end(), "{"
    while text[at:at + 1] == mark:
        key, at = JSON.raw_decode(text, SPACE.match(text, at + 1).end())
        at = SPACE.match(text, at).end()
        if not isinstance(key, str) or text[at:at + 1] != ":":
            raise ValueError
        begin = SPACE.match(text, at + 1).end()
        value, at = JSON.raw_decode(text, begin)
        yield key, value, text[begin:at]
        at, mark = SPACE.match(text, at).end(), ","
    if text[at:at + 1] != "}" or SPACE.match(text, at + 1).end() != len(text):
        raise ValueError


def stream_of(message):
    """The string under the key `stream`, its escapes as sent, at most 255 bytes of it. Where that stands first,
    as in nearly all messages, the rest is not looked at."""
    name, wrapped = None, False
    if message.opcode == BINARY:
        return ""
    try:
        for key, value, text in members(message.payload.decode("utf-8", "surrogateescape")):
            wrapped = wrapped or key in ("stream", "data")
            if name is None and (key == "stream" or key == "e" and not wrapped):
                name = text[1:-1] if key == "stream" and isinstance(value, str) else ""
                if message.payload.startswith(b'{"stream":"'):
                    break
    except (ValueError, RecursionError):
        return ""
    return (name or "").encode("utf-8", "surrogateescape")[:255].decode("utf-8", "ignore")


def messages(archive):
    joiner = Messages()
    for record in archive.records():
        message = joiner.push(record)
        if message:
            yield message


# ---- the ring -----------------------------------------------------------------------------------


class Ring:
    """A snapshot of a ring whose writer is dead, or the words of one that is alive."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        if len(data) < 4096 or data[:8] != b"TAPERING":
            raise Damage("%s: not a ring" % path)
        crc, version = struct.unpack_from("<II", data, 8)
        if crc32c(data[12:64]) != crc or version != 1:
            raise Damage("%s: the ring's header is damaged" % path)
        self.id = data[16:32]
        self.data_bytes, self.first_ordinal, self.pid, self.created = struct.unpack_from("<QQqq", data, 32)
        self.head, self.reserve, self.closed = struct.unpack_from("<QQI", data, 64)
        self.durable = struct.unpack_from("<Q", data, 128)[0]
        size = self.data_bytes
        if size < 1 << 20 or size > 4 << 30 or size & (size - 1) or len(data) != 4096 + size:
            raise Damage("%s: the ring's size is wrong" % path)
        if self.durable > self.head or self.head - self.durable > size or (self.head | self.durable) & 7:
            raise Damage("%s: the ring's positions are wrong" % path)
        self.data = data[4096:]

    def bytes_at(self, position, size):
        at = position % self.data_bytes
        part = self.data[at:at + size]
        return part + self.data[:size - len(part)]

    def ordinal_at(self, position):
        return struct.unpack("<Q", self.bytes_at(position, 8))[0]

    def records(self):
        """[durable, head): what segments may not have."""
        at, expected = self.durable, self.ordinal_at(self.durable)
        while at < self.head:
            ordinal, stamp, size, connection, flags, kind = struct.unpack("<QqIIHB", self.bytes_at(at, 27))
            if (ordinal != expected or size > min(self.data_bytes // 2, BODY_MAX)
                    or any(self.bytes_at(at + 27, 5))):
                raise Damage("the ring is damaged at position %d" % at)
            yield Record(ordinal, stamp, kind, flags, connection, self.bytes_at(at + 32, size))
            at, expected = at + 32 + (size + 7) // 8 * 8, ordinal + 1


def find_ring(path):
    """A ring file as given, or the one of an archive's last recorder."""
    if not os.path.isdir(path):
        return path
    named = read_lock(path).get("ring", "")
    if named and os.path.exists(named):
        return named
    inside = os.path.join(path, "ring")
    return inside if os.path.exists(inside) else None


# ---- commands -----------------------------------------------------------------------------------


def words(flags):
    return [word for bit, word in FLAGS.items() if flags & bit]


def body_of(record):
    if record.kind in (FRAME_IN, FRAME_OUT):
        return {"frame": record.body.hex()}
    return {"text": record.body.decode("utf-8", "replace")}


def record_line(record):
    line = {"ordinal": str(record.ordinal), "recv_ns": str(record.recv_ns),
            "kind": KINDS.get(record.kind, record.kind), "flags": words(record.flags),
            "connection": record.connection, "bytes": len(record.body)}
    line.update(body_of(record))
    return json.dumps(line).encode()


def do_hft(archive, out):
    for message in messages(archive):
        if not is_answer(message):
            out(b"%d %s" % (message.recv_ns, message.payload))


def do_raw(archive, out):
    for message in messages(archive):
        out(message.payload)


def do_messages(archive, out):
    for message in messages(archive):
        out(json.dumps({
            "ordinal": str(message.ordinal), "recv_ns": str(message.recv_ns),
            "connection": message.connection, "flags": words(message.flags), "opcode": message.opcode,
            "stream": stream_of(message), "payload": message.payload.decode("utf-8", "replace")},
            ensure_ascii=False).encode("utf-8", "replace"))


def do_records(archive, out):
    for record in archive.records():
        out(record_line(record))


def do_counts(archive, out):
    found = {}
    for message in messages(archive):
        name = stream_of(message)
        count, size, first, last = found.get(name, (0, 0, message.recv_ns, message.recv_ns))
        found[name] = (count + 1, size + len(message.payload), min(first, message.recv_ns),
                       max(last, message.recv_ns))
    for name, (count, size, first, last) in sorted(found.items()):
        out(("%s\t%d\t%d\t%d\t%d" % (name, count, size, first, last)).encode())


def do_check(archive, out):
    """Everything is read; the counts in the footers are compared with what their blocks hold."""
    ends, totals, seen = {}, collections.Counter(), []

    def on_block(segment, index, records):
        totals["blocks"] += 1
        if segment.footer and segment.footer[index].counts is not None:
            first = segment.footer[index].header.first_ordinal
            seen.append((segment.path, first, len(records), segment.footer[index].counts))

    archive.on_block = on_block
    joiner = Messages()
    for record in archive.records():
        totals["records"] += 1
        message = joiner.push(record)
        totals["messages"] += message is not None
        if message and not is_answer(message):
            ends[record.ordinal] = (stream_of(message), len(message.payload))
    ordinals = sorted(ends)
    for path, first, count, told in seen:
        found = collections.defaultdict(lambda: (0, 0))
        low, high = bisect.bisect_left(ordinals, first), bisect.bisect_left(ordinals, first + count)
        for ordinal in ordinals[low:high]:
            name, size = ends[ordinal]
            found[name] = (found[name][0] + 1, found[name][1] + size)
        if dict(found) != told:
            archive.places.append(Place("corrupt", path, 0, 0, "footer counts of records from %d: %s, not %s"
                                        % (first, told, dict(found))))
    out(("%d records, %d messages, %d blocks, %d damaged places, %d holes" % (
        totals["records"], totals["messages"], totals["blocks"], len(archive.places),
        len(archive.holes))).encode())


def do_ring(path, out):
    found = find_ring(path)
    if found is None:
        out(b"no ring")
        return
    ring = Ring(found)
    out(json.dumps({
        "path": found, "pid": ring.pid, "data_bytes": ring.data_bytes, "closed": ring.closed,
        "durable_ordinal": str(ring.ordinal_at(ring.durable)),
        "head_ordinal": str(ring.ordinal_at(ring.head))}).encode())
    for record in ring.records():
        out(record_line(record))


COMMANDS = {"hft": do_hft, "raw": do_raw, "messages": do_messages, "records": do_records,
            "counts": do_counts, "check": do_check}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=[*COMMANDS, "ring"])
    parser.add_argument("archive", type=pathlib.Path)
    options = parser.parse_args()

    def out(line):
        sys.stdout.buffer.write(line + b"\n")

    try:
        if options.command == "ring":
            do_ring(str(options.archive), out)
            return 0
        archive = Archive(options.archive)
        COMMANDS[options.command](archive, out)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (OSError, RuntimeError, Damage) as trouble:
        print("read_archive.py: %s" % trouble, file=sys.stderr)
        return 3 if isinstance(trouble, Damage) else 1
    archive.tell_damage(sys.stderr)
    return 3 if archive.damaged() else 0


if __name__ == "__main__":
    sys.exit(main())
