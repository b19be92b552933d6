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
import json
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
IMPORTED, BAD, PARTIAL, AFTER_CLOSE = 4, 8, 16, 32

FILE_HEADER, BLOCK_HEADER, TRAILER = 64, 80, 32
BODY_MAX = 16_781_312
RAW_MAX, STORED_MAX = 33_554_432, 34_603_008
WINDOW_MAX = 32 << 20
FOOTER_CODEC = 4


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
    if crc32c(payload) != header.payload_crc:
        raise Damage("payload checksum")
    if header.codec == 0:
        return payload
    if header.codec in (1, FOOTER_CODEC):
        return decompress(payload, header.raw)
    raise Damage("codec %d is not known to this reader" % header.codec)


def parse_records(header, raw):
    """All records of a block, or Damage: nothing of a block counts unless all of it is right."""
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
    """(opcode, fin, payload) of one whole frame."""
    if len(body) < 2:
        return None
    length, at = body[1] & 127, 2
    if length > 125:
        width = 2 if length == 126 else 8
        length, at = int.from_bytes(body[2:2 + width], "big"), 2 + width
    mask = body[at:at + 4] if body[1] & 128 else b""
    payload = body[at + len(mask):]
    if len(payload) != length:
        return None
    if mask:
        payload = bytes(b ^ mask[i & 3] for i, b in enumerate(payload))
    return body[0] & 15, body[0] >> 7, payload


class Messages:
    """Joins frames of each connection. A hole in the ordinals ends what was begun before it: the
    missing records may have held its middle."""

    def __init__(self):
        self.begun, self.expected = {}, 0

    def push(self, record):
        """A message, or None."""
        if record.ordinal != self.expected:
            self.begun.clear()
        self.expected = record.ordinal + 1
        if KINDS.get(record.kind) == "connection_close":
            self.begun.pop(record.connection, None)
        if record.kind != FRAME_IN or record.flags & (BAD | PARTIAL | AFTER_CLOSE):
            return None
        frame = split_frame(record.body)
        if frame is None or frame[0] > 2:
            return None
        opcode, fin, payload = frame
        flags = record.flags
        if opcode == 0:
            if record.connection not in self.begun:
                return None
            opcode, before, parts = self.begun.pop(record.connection)
            flags, payload = flags | before, parts + [payload]
        else:
            self.begun.pop(record.connection, None)
            payload = [payload]
        if not fin:
            self.begun[record.connection] = (opcode, flags, payload)
            return None
        return Message(record.ordinal, record.recv_ns, record.connection, flags, opcode, b"".join(payload))


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
    if message.flags & IMPORTED or len(message.payload) > 65536:
        return False
    value = parse_json(message.payload)
    if next(iter(value), None) not in ("result", "id", "error", "code", "msg") or depth(value) > 8:
        return False
    return is_fault(value) or is_fault(value.get("error")) or "id" in value and "result" in value


ESCAPE, QUOTE = "\uf8ff", "\uf8fe"  # stand in for a backslash and for the quote behind it


def stream_of(message):
    """The string under the key `stream`, its escapes as sent, at most 255 bytes of it."""
    name = parse_json(message.payload).get("stream", "")
    if not isinstance(name, str):
        return ""
    if b"\\" in message.payload:  # once more, so that escapes stay
        stand_in = {"\\": ESCAPE, '"': QUOTE}
        text = re.sub(r"\\(.)", lambda m: ESCAPE + stand_in.get(m[1], m[1]), message.payload.decode())
        name = json.loads(text)["stream"].replace(QUOTE, '"').replace(ESCAPE, "\\")
    return name.encode("utf-8", "surrogatepass")[:255].decode("utf-8", "ignore")


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
