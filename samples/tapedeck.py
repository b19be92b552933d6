"""Tapedeck archives from Python: one file, nothing to build, Python 3.9 or later, no other package.

    import tapedeck
    with tapedeck.Source("./tape", stream="*@trade,*@aggTrade", from_="2026-11-22T08:00Z") as source:
        for message in source:
            tick = message.tick()
            print(message.replay_ns, message.ordinal, message.stream, tick.price, tick.quantity)

With follow=True the same loop goes on with what is being recorded; with Source(["./a", "./b"]) two
recorders of one feed are one. The messages, their order and their numbers are the same in all cases.

It calls libtapedeck through ctypes. The library is looked for as the argument of load() or Source(),
in $TAPEDECK_LIBRARY, beside this file, in ../build, then where the system keeps its libraries. One
that lays its structures out otherwise than this file is refused before the first call.

What a message says is read when it is asked for, from the source's own memory: a message lives until
the next one. One that is asked later raises Stale; message.keep() is a copy that stays.
"""
import calendar
import collections
import ctypes
import ctypes.util
import datetime
import decimal
import os
import pathlib
import threading
import time

NONE = -(1 << 63)  # a number that was not there
_USAGE = -2  # of enum tape_status

# ---- tape.h: structures in the order of their members; compared with the library's before use ----

_I64, _U64, _INT, _U32, _U16, _U8 = (ctypes.c_int64, ctypes.c_uint64, ctypes.c_int, ctypes.c_uint32,
                                     ctypes.c_uint16, ctypes.c_uint8)


def _structure(name, *members):
    return type(name, (ctypes.Structure,), {"_fields_": [
        (word, kind) for kind, words in members for word in words.split()]})


_Slice = _structure("tape_slice", (ctypes.c_void_p, "data"), (ctypes.c_size_t, "bytes"))
_Number = _structure("tape_decimal", (_Slice, "text"), (_I64, "value"), (_U8, "scale valid"))
_Tick = _structure(
    "tape_tick", (_INT, "kind"), (_Slice, "stream symbol event"),
    (_I64, "event_ns transaction_ns id first_id last_id previous_id"), (_INT, "buyer_is_maker"),
    (_Number, "price quantity bid bid_quantity ask ask_quantity"), (_Slice, "bids asks"))
_Message = _structure(
    "tape_message", (_U64, "ordinal first_ordinal"), (_I64, "recv_ns"), (_U32, "connection"), (_U16, "flags"),
    (_U8, "kind record_kind opcode outgoing"), (_U16, "close_code archive"), (_I64, "replay_ns"),
    (_Slice, "payload stream frame"))
_Options = _structure(
    "tape_source_options", (_I64, "from_ns to_ns"), (ctypes.c_char_p, "stream"),
    (_INT, "follow events spin order state duplicates"))
_Damage = _structure("tape_source_damage", (_INT, "verdict"), (_U64, "from_ordinal to_ordinal"),
                     (_I64, "from_ns to_ns"), (ctypes.c_char_p, "text"), (_INT, "archive"))
_State = _structure("tape_source_state", (_INT, "live"), (_U64, "overruns next_ordinal"),
                    (_INT, "recorder_alive"), (_U64, "blocks_read event_late"))
_Share = _structure("tape_source_share", (ctypes.c_char_p, "stream"), (_INT, "archive"),
                    (_U64, "given late missed unmatched differing"), (_I64, "late_p50_ns late_p99_ns late_max_ns"))
_Level = _structure("tape_book_level", (_Number, "price quantity"))
_Error = _structure("tape_error", (_INT, "status"), (ctypes.c_char * 1024, "text"))
_STRUCTURES = (_Slice, _Number, _Tick, _Message, _Options, _Damage, _State, _Share, _Level, _Error)

_P, _S, _E = ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Error)
_CALLS = {  # name: (what it returns, arguments)
    "tape_source_open_all": (_P, ctypes.POINTER(_S), _INT, ctypes.POINTER(_Options), _E),
    "tape_source_close": (None, _P),
    "tape_source_next": (_INT, _P, ctypes.POINTER(_Message), _E),
    "tape_source_try": (_INT, _P, ctypes.POINTER(_Message), _E),
    "tape_source_seek": (_INT, _P, _I64, _E),
    "tape_source_time": (_INT, _P, _INT, _S, ctypes.POINTER(_I64), _E),
    "tape_source_now": (_I64, _P),
    "tape_source_tick": (_INT, ctypes.POINTER(_Message), ctypes.POINTER(_Tick)),
    "tape_source_damages": (_INT, _P),
    "tape_source_damage": (_INT, _P, _INT, ctypes.POINTER(_Damage)),
    "tape_source_read_state": (None, _P, ctypes.POINTER(_State)),
    "tape_source_share": (_INT, _P, _INT, ctypes.POINTER(_Share)),
    "tape_source_stop": (None, _P),
    "tape_tick_decode": (_INT, _P, ctypes.c_size_t, ctypes.POINTER(_Tick)),
    "tape_tick_kind_word": (_S, _INT),
    "tape_feed_kind_word": (_S, _INT),
    "tape_record_kind_word": (_S, _INT),
    "tape_book_for": (_P, _S, _S, _E),
    "tape_book_free": (None, _P),
    "tape_book_apply": (_INT, _P, ctypes.POINTER(_Tick), _E),
    "tape_book_restore": (_INT, _P, ctypes.POINTER(_Tick), _E),
    "tape_book_reset": (None, _P, _S),
    "tape_book_state": (_INT, _P),
    "tape_book_state_word": (_S, _INT),
    "tape_book_cause": (_S, _P),
    "tape_book_last_id": (_I64, _P),
    "tape_book_levels": (ctypes.c_size_t, _P, _INT),
    "tape_book_level": (_INT, _P, _INT, ctypes.c_size_t, ctypes.POINTER(_Level)),
    "tape_book_print": (_I64, _P, ctypes.c_size_t, _P, ctypes.c_size_t),
}


class TapeError(Exception):
    """What the library says, outermost first; status is one of enum tape_status (negative)."""

    def __init__(self, words, status=-1):
        super().__init__(words)
        self.status = status


class Stale(Exception):
    """A message or tick was asked after the next one had come: keep() it before."""


# ---- the library ----

_loaded = {}


def _candidates(path):
    if path:
        return [os.fspath(path)]
    if os.environ.get("TAPEDECK_LIBRARY"):
        return [os.environ["TAPEDECK_LIBRARY"]]
    here = pathlib.Path(__file__).resolve().parent
    beside = [str(folder / "libtapedeck.so.0") for folder in (here, here.parent / "build")]
    return [name for name in beside if os.path.exists(name)] + ["libtapedeck.so.0",
                                                               ctypes.util.find_library("tapedeck")]


def _fingerprint(structure):
    """As tape_source_layout() has it: 64-bit FNV-1a over the size, then each member's offset and size."""
    members = [getattr(structure, name) for name, _ in structure._fields_]
    numbers = [ctypes.sizeof(structure)] + [n for member in members for n in (member.offset, member.size)]
    value = 0xcbf29ce484222325
    for byte in b"".join(number.to_bytes(8, "little") for number in numbers):
        value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return value


def _bind(library, path):
    layout = getattr(library, "tape_source_layout", None)
    if layout is None:
        raise TapeError("%s: no libtapedeck, or one that is older than this tapedeck.py" % path)
    layout.restype, layout.argtypes = _U64, [_S]
    for structure in _STRUCTURES:
        if layout(structure.__name__.encode()) != _fingerprint(structure):
            raise TapeError("%s: struct %s is laid out otherwise there: take tapedeck.py and the library of one version"
                            % (path, structure.__name__))
    for name, (result, *arguments) in _CALLS.items():
        function = getattr(library, name, None)
        if function is None:
            raise TapeError("%s: has no %s(): take tapedeck.py and the library of one version" % (path, name))
        function.restype, function.argtypes = result, arguments
    return library


def load(path=None):
    """The library, checked: from path, or where it is found first. Source() and Book() call it."""
    if path in _loaded:
        return _loaded[path]
    tried = []
    for name in filter(None, _candidates(path)):
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            tried.append(str(error))
            continue
        _loaded[path] = _bind(library, name)
        return _loaded[path]
    raise TapeError("libtapedeck is not to be found: %s; set TAPEDECK_LIBRARY to its path" % "; ".join(tried))


def _text(piece):
    return ctypes.string_at(piece.data, piece.bytes).decode("utf-8", "replace") if piece.bytes else ""


def _bytes(piece):
    return ctypes.string_at(piece.data, piece.bytes) if piece.bytes else b""


def _decimal(number):
    """Exactly as written, or None where it was not there or is no number."""
    if not number.text.bytes:
        return None
    try:
        return decimal.Decimal(_text(number.text))
    except decimal.InvalidOperation:
        return None


def _integer(value):
    return None if value == NONE else value


def _whole(words):
    """Bytes for C, which would end them at a NUL and take them for others."""
    if b"\0" in words:
        raise ValueError("%r holds a NUL" % words)
    return words


def _paths(archives):
    """For C: one or several."""
    paths = [archives] if isinstance(archives, (str, bytes, os.PathLike)) else list(archives)
    return (_S * len(paths))(*(_whole(os.fsencode(path)) for path in paths))


def nanoseconds(when, archives=(), library=None):
    """ns since 1970 of an int, of a datetime that knows its zone, or of words as the command line takes them:
    "2026-11-22T08:00Z", "2026-11-22" (midnight, UTC), 19 digits of ns, "@1795334400", "now", and of these archives
    "+10m" after their first message or "-10m" before their last. None is 0: an open end."""
    return _in_ns(when, _paths(archives), load(library))


def _in_ns(when, paths, library):
    if when is None:
        return 0
    if isinstance(when, datetime.datetime):
        if when.tzinfo is None:
            raise ValueError("%s: a time without a zone" % when)
        whole = when.astimezone(datetime.timezone.utc)
        return calendar.timegm(whole.timetuple()) * 10**9 + whole.microsecond * 1000
    if isinstance(when, int):
        if not NONE < when < -NONE:
            raise ValueError("%s is no time: it does not fit into 64 bits" % when)
        return when
    found, error = _I64(), _Error()
    got = library.tape_source_time(paths, len(paths), _whole(when.encode()), found, error)
    if got < 0:
        words = error.text.decode("utf-8", "replace")
        raise ValueError(words) if got == _USAGE else TapeError(words, got)
    return found.value


# ---- messages ----


class _Turn:  # pylint: disable=too-few-public-methods
    """Counts what a source gave, so that a message knows whether it is still the last."""
    __slots__ = ("number", "library", "message", "tick")

    def __init__(self, library):
        self.number, self.library, self.message, self.tick = 0, library, _Message(), _Tick()


class _Piece:  # pylint: disable=too-few-public-methods
    __slots__ = ("_turn", "_number", "_raw_")

    def __init__(self, turn, raw):
        self._turn, self._number, self._raw_ = turn, turn.number, raw

    @property
    def _raw(self):
        if self._turn.number != self._number:
            raise Stale("the source has gone on since: keep() a message that is needed later")
        return self._raw_


def _member(name, convert=None):
    if convert is None:
        return property(lambda self: getattr(self._raw, name))
    return property(lambda self: convert(getattr(self._raw, name)))


class Tick(_Piece):
    """A payload decoded: prices and quantities are decimal.Decimal, exactly as written; None: not there."""
    __slots__ = ()
    symbol, event, stream = (_member(name, _text) for name in ("symbol", "event", "stream"))
    event_ns, transaction_ns, id, first_id, last_id, previous_id = (
        _member(name, _integer) for name in ("event_ns", "transaction_ns", "id", "first_id", "last_id", "previous_id"))
    price, quantity, bid, bid_quantity, ask, ask_quantity = (
        _member(name, _decimal) for name in ("price", "quantity", "bid", "bid_quantity", "ask", "ask_quantity"))
    buyer_is_maker = _member("buyer_is_maker", lambda value: None if value < 0 else bool(value))
    bids, asks = (_member(name, _text) for name in ("bids", "asks"))

    def __repr__(self):
        """What is there, and what kind it is."""
        try:
            found = [(name, getattr(self, name)) for name in self._SHOWN]
        except Stale:
            return "Tick(stale)"
        return "Tick(%s)" % ", ".join(
            "%s=%s" % (name, value if isinstance(value, decimal.Decimal) else repr(value))
            for name, value in found if value is not None and value != "")

    _SHOWN = ("kind", "symbol", "event_ns", "transaction_ns", "id", "first_id", "last_id", "previous_id", "price",
              "quantity", "bid", "bid_quantity", "ask", "ask_quantity", "buyer_is_maker", "bids", "asks")

    @property
    def kind(self):
        """trade, aggTrade, bookTicker, depth, depthSnapshot ... or other."""
        return self._turn.library.tape_tick_kind_word(self._raw.kind).decode()


class Message(_Piece):
    """One message. ordinal is its place in its archive, archive which of the source's, replay_ns the
    virtual clock when it was given, recv_ns when it was received."""
    __slots__ = ("_buffers",)
    (ordinal, first_ordinal, recv_ns, replay_ns, connection, flags, opcode, close_code, archive) = map(
        _member, ("ordinal", "first_ordinal", "recv_ns", "replay_ns", "connection", "flags", "opcode", "close_code",
                  "archive"))
    outgoing = _member("outgoing", bool)
    payload, frame = _member("payload", _bytes), _member("frame", _bytes)
    stream = _member("stream", _text)

    @property
    def kind(self):
        """data, ack, refusal; state: a book, made for a start in the middle; with events=True also
        sent, ping, pong, close, bad and event."""
        return self._turn.library.tape_feed_kind_word(self._raw.kind).decode()

    @property
    def record_kind(self):
        """Of an event: snapshot, connection_close, note, session_end ..."""
        word = self._turn.library.tape_record_kind_word(self._raw.record_kind)
        return word.decode() if word else ""

    def tick(self):
        """The payload decoded; kind "other" where it is nothing that is known."""
        self._turn.library.tape_source_tick(self._raw, self._turn.tick)
        return Tick(self._turn, self._turn.tick)

    def snapshot(self):
        """The HTTP body of an event snapshot (REST's answer), decoded as a Tick."""
        payload = self._raw.payload
        head = _bytes(payload).find(b"\n") + 1
        self._turn.library.tape_tick_decode((payload.data or 0) + head, payload.bytes - head, self._turn.tick)
        return Tick(self._turn, self._turn.tick)

    def keep(self):
        """A copy that stays as it is when the source goes on."""
        turn = _Turn(self._turn.library)
        ctypes.memmove(ctypes.byref(turn.message), ctypes.byref(self._raw), ctypes.sizeof(_Message))
        kept = Message(turn, turn.message)
        kept._buffers = []
        for name in ("payload", "stream", "frame"):
            piece = getattr(turn.message, name)
            copy = ctypes.create_string_buffer(_bytes(piece), piece.bytes + 1)
            piece.data = ctypes.addressof(copy)
            kept._buffers.append(copy)
        return kept


Damage = collections.namedtuple("Damage", "archive verdict from_ordinal to_ordinal from_ns to_ns text")
Share = collections.namedtuple(
    "Share", "stream archive given late missed unmatched differing late_p50_ns late_p99_ns late_max_ns")
State = collections.namedtuple("State", "live overruns next_ordinal recorder_alive blocks_read event_late")


class _Owner:
    """Has something in the library that must be freed once."""

    def __reduce_ex__(self, protocol):
        raise TypeError("a %s cannot be copied or pickled: open another" % type(self).__name__)


class Source(_Owner):
    """The messages of an archive, of several as one, or of one that is being recorded. One thread reads them; stop()
    and close() may be called from any.

    archives    a path, or several
    from_, to   ns, a datetime, or words ("2026-11-22T08:00Z", "+10m"), as nanoseconds() takes them: received in
                [from_, to)
    stream      globs with commas between: "btcusdt@*,*@trade"
    follow      at the end go on with what is being recorded; spin: without sleeping
    events      also event records, control frames, our own frames, bytes that broke the protocol
    order       "received", or "event": by the venue's time (looks ahead)
    state       books as messages of kind state: 0 after a start in the middle, 1 always, -1 never
    duplicates  of several archives: False each message once, True all of them, None each once even of one
    """

    def __init__(self, archives, *, from_=None, to=None, stream=None, follow=False, spin=False, events=False,
                 order="received", state=0, duplicates=False, library=None):
        self._library, self._source = load(library), None
        self._paths = _paths(archives)
        if order not in ("received", "event"):
            raise ValueError("order is received or event, not %r" % order)
        globs = _whole(stream.encode()) if stream else None
        options = _Options(self._time(from_), self._time(to), globs, follow, events, spin, order == "event", state,
                           -1 if duplicates is None else int(duplicates))
        self._error, self._turn, self._stopped = _Error(), _Turn(self._library), False
        self._alone = threading.RLock()  # held in every call: a close() elsewhere must not free what is in use
        self._waits = follow and not spin
        self._take = self._library.tape_source_try if follow else self._library.tape_source_next
        self._source = self._library.tape_source_open_all(self._paths, len(self._paths), options, self._error)
        if not self._source:
            raise TapeError(self._error.text.decode("utf-8", "replace"), self._error.status)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    def close(self):
        """Its messages are stale from then on. A second time it does nothing."""
        if not getattr(self, "_source", None):
            return
        self._stopped = True
        with self._alone:
            source, self._source = self._source, None
            if source:
                self._turn.number += 1
                self._library.tape_source_close(source)

    def _time(self, when):
        return _in_ns(when, self._paths, self._library)

    def _open(self):
        if not self._source:
            raise ValueError("the source is closed")
        return self._source

    def _check(self, got):
        if got < 0:
            raise TapeError(self._error.text.decode("utf-8", "replace"), got)
        return got

    def __iter__(self):
        return self

    def __next__(self):
        message = self._get(True)
        if message is None:
            raise StopIteration
        return message

    def _get(self, waits):
        turn, idle = self._turn, 0.0002
        while True:
            with self._alone:
                source = self._open()
                turn.number += 1
                got = self._take(source, turn.message, self._error)
                if got == 1:
                    return Message(turn, turn.message)
                if got != 2:
                    self._check(got)
                    return None
            if not waits or self._stopped:
                return None
            if self._waits:  # here, not in the library, where Ctrl-C would have to wait for a message
                time.sleep(idle)
                idle = min(idle * 1.25, 0.002)
            if self._stopped:
                return None

    def next(self):
        """The next message, or None at the end. When following it waits."""
        return self._get(True)

    def poll(self):
        """As next(), but None at once when following and nothing is there."""
        return self._get(False)

    def run(self, on_message):
        """on_message(message) for each; ends at the end, or once it returns True."""
        for message in self:
            if on_message(message) is True:
                return

    def seek(self, when):
        """The next message is the first received at or after that time; the books come before it."""
        with self._alone:
            self._turn.number += 1
            self._check(self._library.tape_source_seek(self._open(), self._time(when), self._error))

    def stop(self):
        """Makes a loop that waits end; from any thread, and from a signal handler."""
        with self._alone:
            self._library.tape_source_stop(self._open())
            self._stopped = True

    @property
    def now_ns(self):
        """The virtual clock: replay_ns of the message given last; None before the first."""
        with self._alone:
            return _integer(self._library.tape_source_now(self._open()))

    @property
    def state(self):
        """Where it stands: live or in the segments, overruns, the next ordinal ..."""
        found = _State()
        with self._alone:
            self._library.tape_source_read_state(self._open(), found)
        return State(bool(found.live), found.overruns, found.next_ordinal, bool(found.recorder_alive),
                     found.blocks_read, found.event_late)

    def _rows(self, call, structure, kind):
        found, row = [], structure()
        with self._alone:
            while call(self._open(), len(found), row) == 1:
                values = (getattr(row, name) for name in kind._fields)
                found.append(kind(*(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values)))
        return found

    @property
    def damages(self):
        """The damaged places that were passed over (of very many the first thousand)."""
        return self._rows(self._library.tape_source_damage, _Damage, Damage)

    @property
    def shares(self):
        """Of several archives: what each brought of each stream. Complete at the end."""
        return self._rows(self._library.tape_source_share, _Share, Share)


# ---- books ----


class Book(_Owner):
    """The book of one depth stream ("btcusdt@depth@100ms"), by its venue's rules; without venue they are found by
    the stream's name and its first update. apply() depth ticks and a snapshot's; restore() that of a state
    message: after a seek back it is older than the book, and apply() would pass it over."""

    def __init__(self, stream, venue=None, library=None):
        self._library, self._book = load(library), None
        self._error = _Error()
        self._book = self._library.tape_book_for(venue.encode() if venue else None, stream.encode(), self._error)
        if not self._book:
            raise TapeError(self._error.text.decode("utf-8", "replace"), self._error.status)

    def __del__(self):
        book, self._book = getattr(self, "_book", None), None
        if book:
            self._library.tape_book_free(book)

    def apply(self, tick):
        """True when the book has changed."""
        return self._take(self._library.tape_book_apply, tick)

    def restore(self, tick):
        """The book becomes that of a state message, whatever it was; True when that tells it."""
        return self._take(self._library.tape_book_restore, tick)

    def _take(self, call, tick):
        got = call(self._book, tick._raw, self._error)  # pylint: disable=protected-access
        if got < 0:
            raise TapeError(self._error.text.decode("utf-8", "replace"), got)
        return got == 1

    def reset(self, cause=""):
        self._library.tape_book_reset(self._book, cause.encode())

    @property
    def state(self):
        """unknown, waiting, known or broken; cause says why it is not known."""
        return self._library.tape_book_state_word(self._library.tape_book_state(self._book)).decode()

    @property
    def cause(self):
        return self._library.tape_book_cause(self._book).decode("utf-8", "replace")

    @property
    def last_id(self):
        return _integer(self._library.tape_book_last_id(self._book))

    def _levels(self, side, limit):
        count, level, found = self._library.tape_book_levels(self._book, side), _Level(), []
        for index in range(count if limit is None else min(limit, count)):
            if self._library.tape_book_level(self._book, side, index, level) == 1:
                found.append((_decimal(level.price), _decimal(level.quantity)))
        return found

    def bids(self, limit=None):
        """[(price, quantity), ...] from the best; empty while it is not known."""
        return self._levels(0, limit)

    def asks(self, limit=None):
        return self._levels(1, limit)

    def json(self, limit=0):
        """As the venue's REST answer."""
        room = self._library.tape_book_print(self._book, limit, None, 0)
        text = ctypes.create_string_buffer(max(room, 0) + 1)
        got = self._library.tape_book_print(self._book, limit, ctypes.addressof(text), len(text))
        return text.raw[:max(got, 0)]
