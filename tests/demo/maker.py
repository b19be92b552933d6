"""Writes archives from format/FORMAT.md alone, without our code: to test readers with what a recorder
would not write so soon, and with every kind of damage."""
import ctypes
import os
import struct

import rig  # noqa: F401  pylint: disable=unused-import  (finds samples/)
import read_archive
from read_archive import crc32c

ID = bytes(range(0x41, 0x51))
START_NS = 1795600000_000_000_000
DAY = "2026/11/25"


def put_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value):
    return (value << 1 ^ value >> 63) & (1 << 64) - 1


def compress(raw, level=1):
    library = read_archive.ZSTD
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    library.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
                                      ctypes.c_int]
    room = ctypes.create_string_buffer(library.ZSTD_compressBound(ctypes.c_size_t(len(raw))))
    size = library.ZSTD_compress(room, len(room), raw, len(raw), level)
    return room.raw[:size]


def frame(payload, opcode=1, fin=True):
    size = len(payload)
    if size < 126:
        head = struct.pack("BB", opcode | fin << 7, size)
    elif size < 65536:
        head = struct.pack(">BBH", opcode | fin << 7, 126, size)
    else:
        head = struct.pack(">BBQ", opcode | fin << 7, 127, size)
    return head + payload


def encode(records, min_recv):
    """records: (recv_ns, kind, flags, connection, body)"""
    out, before = bytearray(), min_recv
    for recv_ns, kind, flags, connection, body in records:
        out += (bytes((kind,)) + put_varint(flags) + put_varint(zigzag(recv_ns - before)) +
                put_varint(connection) + put_varint(len(body)) + body)
        before = recv_ns
    return bytes(out)


class SegmentMaker:
    """One segment's bytes; .data grows, .blocks remembers what a footer lists."""

    def __init__(self, sequence, first_ordinal=0, archive_id=ID, created=START_NS):
        self.sequence, self.id, self.ordinal = sequence, archive_id, first_ordinal
        tail = struct.pack("<I16sqI20x", 1, archive_id, created, sequence)
        self.data = bytearray(b"TAPEDECK" + struct.pack("<I", crc32c(tail)) + tail)
        self.blocks, self.previous, self.number, self.end = [], 0, 0, 64

    def header(self, payload, raw_bytes, count, low, high, codec):
        rest = struct.pack("<IIIIQqqqIIIBBH8s", crc32c(payload), len(payload), raw_bytes, count, self.ordinal,
                           low, high, 12345, self.previous, self.sequence, self.number, codec,
                           1 if codec else 0, 0, self.id[:8])
        return b"TBK1" + struct.pack("<I", crc32c(rest)) + rest

    def add(self, records, codec=1, counts=None):
        stamps = [record[0] for record in records]
        raw = encode(records, min(stamps))
        payload = compress(raw) if codec else raw
        return self.add_payload(payload, len(raw), stamps, codec, counts)

    def add_payload(self, payload, raw_bytes, stamps, codec, counts=None):
        header = self.header(payload, raw_bytes, len(stamps), min(stamps), max(stamps), codec)
        self.blocks.append((len(self.data), header, counts))
        self.data += header + payload
        self.ordinal, self.previous, self.number = self.ordinal + len(stamps), len(payload), self.number + 1
        self.end = len(self.data)
        return self

    def seal(self):
        names = sorted({name for _, _, counts in self.blocks for name in counts or {}})
        raw = put_varint(len(self.blocks)) + put_varint(len(names))
        for name in names:
            raw += put_varint(len(name.encode())) + name.encode()
        for offset, header, counts in self.blocks:
            raw += struct.pack("<Q", offset) + header
            raw += put_varint(0 if counts is None else len(counts) + 1)
            for name, (messages, size) in (counts or {}).items():
                raw += put_varint(names.index(name)) + put_varint(messages) + put_varint(size)
        payload, offset = compress(raw), len(self.data)
        self.data += self.header(payload, len(raw), 0, 0, 0, 4) + payload
        records = sum(struct.unpack_from("<I", header, 20)[0] for _, header, _ in self.blocks)
        tail = struct.pack("<IQQ", 80 + len(payload), offset, records)
        self.data += b"TAPE_END" + struct.pack("<I", crc32c(tail)) + tail
        return self


def lock_text(archive_id=ID):
    text = b"tapedeck-archive 1 %s\n" % archive_id.hex().encode()
    return text + b"end %08x\n" % crc32c(text)


def write_archive(path, segments, lock=True, state="hot"):
    """segments: {sequence: bytes}; state: hot or tape"""
    folder = path / "segments" / DAY
    os.makedirs(folder, exist_ok=True)
    if lock:
        (path / "LOCK").write_bytes(lock_text())
    for sequence, data in segments.items():
        (folder / ("20261125T094640Z-%06d.%s" % (sequence, state))).write_bytes(bytes(data))
    return path
