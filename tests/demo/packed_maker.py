"""Writes packed blocks (codecs 2 and 3) from format/FORMAT.md alone, without our code. It does not look for
small blocks but for all that the format allows: whatever may be chosen is chosen by dice."""
import datetime
import decimal

from maker import compress, frame, put_varint

MASK = (1 << 64) - 1
LITERAL, NUMBER, STRING, LIST = 1, 2, 3, 4
FIXED, SHORTEST, SHORTEST_POINT, EACH, TIME, TIME_SHORTEST = range(6)
DICTIONARY, RAW, UUID = range(3)
ZERO, VARINT, TANS = range(3)
SECONDS = -62167219200, 253402300799  # of the years 0000 to 9999


def signed(value):
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


def put_zigzag(value):
    value = signed(value)
    return put_varint((value << 1 ^ value >> 63) & MASK)


class Bits:
    """Bits from the lowest of the first byte on."""

    def __init__(self):
        self.bytes, self.open, self.width = bytearray(), 0, 0

    def put(self, value, width):
        self.open |= value << self.width
        self.width += width
        if self.width >= 4096:
            whole = self.width // 8
            self.bytes += (self.open & (1 << whole * 8) - 1).to_bytes(whole, "little")
            self.open, self.width = self.open >> whole * 8, self.width - whole * 8

    def end(self):
        assert self.width % 8 == 0
        return bytes(self.bytes) + self.open.to_bytes(self.width // 8, "little")


# ---- tokens and tables --------------------------------------------------------------------------


def split_token(u):
    """(token, extra bits, how many)"""
    if u < 64:
        return u, 0, 0
    k = len(bin(u)) - 3
    below = u - (1 << k)
    if k < 32:
        return 64 + 4 * (k - 6) + (below >> k - 2), below % (1 << k - 2), k - 2
    return 168 + 2 * (k - 32) + (below >> k - 1), below % (1 << k - 1), k - 1


def class_of(token):
    for limit, kind in ((4, token), (8, 4), (16, 5), (64, 6)):
        if token < limit:
            return kind
    return 7


def share_out(wanted, log, dice):
    """Counts of the tokens of one context that add up to the table's size, each at least 1."""
    size, counts = 1 << log, [0] * (max(wanted) + 1)
    for token in wanted:
        counts[token] = 1 + wanted[token] * (size - len(wanted)) // sum(wanted.values())
    while sum(counts) < size:
        counts[dice.choice(list(wanted))] += 1
    return counts


class Table:
    """Of each token its states, as (from, width, state): they lead to [from, from + 2^width)."""

    def __init__(self, counts, log):
        size = 1 << log
        assert sum(counts) == size
        spread, place = {}, 0
        for token, count in enumerate(counts):
            for _ in range(count):
                spread[place] = token
                place = (place + (size >> 1) + (size >> 3) + 3) & size - 1
        assert len(spread) == size
        self.states, seen = {}, list(counts)
        for state in range(size):
            token = spread[state]
            width = 0
            while seen[token] << width < size:
                width += 1
            self.states.setdefault(token, []).append(((seen[token] << width) - size, width, state))
            seen[token] += 1

    def leads_to(self, token, state):
        return next(one for one in self.states[token] if one[0] <= state < one[0] + (1 << one[1]))


def put_stream(tokens, tables, contexts, log, dice):
    count = len(tokens)
    states, steps = [0] * count, [(0, 0)] * count
    for i in reversed(range(count)):
        table, token = tables[contexts[i]], tokens[i][0]
        if i + 4 < count:
            base, width, states[i] = table.leads_to(token, states[i + 4])
            steps[i] = states[i + 4] - base, width
        else:
            states[i] = dice.choice(table.states[token])[2]
    used = 3 + log * min(count, 4) + sum(token[2] for token in tokens) + sum(step[1] for step in steps)
    out = Bits()
    out.put(-used % 8, 3)
    out.put(0, -used % 8)
    for state in states[:4]:
        out.put(state, log)
    for token, step in zip(tokens, steps):
        out.put(token[1], token[2])
        out.put(*step)
    return out.end()


# ---- columns ------------------------------------------------------------------------------------


class Scope:
    def __init__(self, size, outer=None, counts=None):
        self.size, self.outer = size, outer
        self.owner = [i for i, count in enumerate(counts or ()) for _ in range(count)]
        self.is_first = [i == 0 or self.owner[i] != self.owner[i - 1] for i in range(len(self.owner))]


class Column:
    def __init__(self, values, scope, kind="number"):
        self.values, self.scope, self.kind = values, scope, kind
        self.tokens = []
        self.coder_at = None  # where in the pool


class Writer:
    """The three areas of one block, and the dice. `used` counts what was chosen."""

    def __init__(self, dice, used):
        self.pool, self.text, self.bits = bytearray(), bytearray(), bytearray()
        self.dice, self.used, self.columns, self.stamps, self.values = dice, used, [], [], 0

    def varint(self, *values):
        for value in values:
            self.pool += put_varint(value)

    def string(self, data):
        self.pool += put_varint(len(data)) + data

    def chose(self, *what):
        self.used[what] = self.used.get(what, 0) + 1
        return what[-1]

    # ---- predictors ----

    def predictors(self, column, in_template):
        """(number, argument in the pool, column or unit) of all that this column may have."""
        found = [(0, b"", None), (1, b"", None)]
        if not in_template:
            return found
        for number, other in enumerate(self.columns):
            if other.scope is column.scope and other.kind != "uuid":
                found += [(predictor, put_varint(number), other) for predictor in (2, 3, 4)]
            scope = column.scope
            while scope is not other.scope and scope.outer:
                scope = scope.outer
            if scope is other.scope and other.kind == "index":
                found.append((7, put_varint(number), other))
        if column.scope.outer:
            found.append((6, b"", None))
        else:
            unit = self.dice.randrange(10)
            found.append((5, bytes((unit,)), unit))
        return found

    def predicted(self, number, other, column, base):
        values, before = column.values, [base] + column.values[:-1]
        if number == 0:
            return [0] * len(values)
        if number in (2, 4):
            return other.values if number == 2 else [base] + other.values[:-1]
        if number in (3, 5):
            beside = other.values if number == 3 else [signed(s) // 10**other for s in self.stamps]
            return [beside[i] + (values[i - 1] - beside[i - 1] if i else base) for i in range(len(values))]
        if number == 6:
            found, first = [], None
            for i, value in enumerate(values):
                is_first = column.scope.is_first[i]
                found.append((base if first is None else first) if is_first else values[i - 1])
                first = value if is_first else first
            return found
        if number == 7:
            return self.keyed(other, column, before)
        return before

    @staticmethod
    def keyed(other, column, before):
        last, found = {}, []
        for i, value in enumerate(column.values):
            place, scope = i, column.scope
            while scope is not other.scope:
                place, scope = scope.owner[place], scope.outer
            key = other.values[place]
            found.append(last.get(key, before[i]))
            last[key] = value
        return found

    # ---- one column ----

    def column(self, values, scope=None, kind="number"):
        """Writes it as the dice will; with a scope it is one of the template's."""
        column = Column(values, scope or Scope(len(values)), kind)
        assert column.scope.size == len(values)
        if values:
            self.write(column, scope is not None)
        if scope is not None:
            self.columns.append(column)
            self.values += len(values)
        return column

    def write(self, column, in_template):
        dice = self.dice
        number, argument, other = dice.choice(self.predictors(column, in_template))
        base = dice.choice((0, column.values[0], dice.randrange(-300, 300), signed(dice.getrandbits(64))))
        predicted = self.predicted(number, other, column, base)
        parts = [signed(value - guess) for value, guess in zip(column.values, predicted)]
        coder = self.chose("coder", dice.choice((ZERO, VARINT, TANS) if not any(parts) else (VARINT, TANS)))
        sign = dice.randrange(2)
        self.pool += bytes((self.chose("predictor", number),)) + argument
        column.coder_at = len(self.pool)
        self.pool.append(coder | sign << 2 | dice.randrange(2) << 3)
        if coder != ZERO:
            parts = self.divide(parts)
        residuals = [(p << 1 ^ p >> 63) & MASK if sign else p & MASK for p in parts]
        if number not in (0, 2):
            self.pool += put_zigzag(base)
        column.tokens = [split_token(u) for u in residuals]
        if coder == VARINT:
            self.varint(*residuals)
        if coder == TANS:
            self.tans(column, in_template)

    def divide(self, parts):
        """By something that leaves no rest; an odd number never leaves one, modulo 2^64."""
        step = self.dice.choice((1, 1, 10, 25, 1000, self.dice.getrandbits(64) | 1, 3, 2))
        if step % 2:
            inverse = pow(step, -1, 1 << 64)
            if step > 1 and self.dice.randrange(2):
                parts = [signed(part * inverse) for part in parts]
            else:
                step = 1
        elif any(part % step for part in parts):
            step = 1
        else:
            parts = [part // step for part in parts]
        self.varint(step)
        return parts

    def tans(self, column, in_template):
        dice, tokens, scope = self.dice, column.tokens, column.scope
        choices = [(0, None), (1, None)]
        if in_template:
            choices += [(4, i) for i, other in enumerate(self.columns)
                        if other.scope is scope and other.kind != "uuid"]
        if in_template and scope.outer:
            choices += [(2, None), (3, None)]
        context, other = dice.choice(choices)
        kinds = [class_of(token[0]) for token in tokens]
        before = [0] + kinds[:-1]
        if context == 4:
            contexts = [class_of(token[0]) for token in self.columns[other].tokens]
        elif context == 3:
            contexts = [0 if first else min(1 + kind, 7) for first, kind in zip(scope.is_first, before)]
        else:
            contexts = ([0] * len(tokens), before, [int(not first) for first in scope.is_first])[context]
        wanted = [{} for _ in range((1, 8, 2, 8, 8)[context])]
        for token, place in zip(tokens, contexts):
            wanted[place][token[0]] = wanted[place].get(token[0], 0) + 1
        least = max(5, max(len(w) - 1 for w in wanted).bit_length())
        log = dice.randint(least, max(5, min(11, (4 * len(tokens)).bit_length() - 1)))
        self.pool += bytes((log, self.chose("context", context)))
        if context == 4:
            self.varint(other)
            self.pool[self.columns[other].coder_at] |= 8
        tables = []
        for one in wanted:
            counts = share_out(one, log, dice) if one else []
            self.varint(len(counts), *counts)
            tables.append(Table(counts, log) if one else None)
        stream = put_stream(tokens, tables, contexts, log, dice)
        self.varint(len(stream))
        self.bits += stream

    def payload(self):
        areas, sizes = [], [len(self.bits)]
        for area in (bytes(self.text), bytes(self.pool)):
            packed = compress(area, 3) if area and self.dice.randrange(4) else area
            areas.append(packed if len(packed) < len(area) else area)
            sizes += [len(area), len(areas[-1])]
        return b"".join(map(put_varint, sizes)) + bytes(self.bits) + b"".join(areas)


# ---- texts of values, not in the way a reader would make them ------------------------------------


def number_text(form, value, places):
    number = decimal.Decimal(value).scaleb(-places, decimal.Context(prec=40))
    text = format(number, "f") if value else format(decimal.Decimal(0).scaleb(-places), "f")
    while form != FIXED and form != EACH and "." in text and text[-1] in "0.":
        if form == SHORTEST_POINT and text[-2] == ".":
            break
        done, text = text[-1] == ".", text[:-1]
        if done:
            break
    return text.encode()


def time_text(form, value, places):
    second, rest = divmod(value, 10**places)
    cycles, second = divmod(second, 146097 * 86400)  # 400 years
    when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=second)
    text = "%04d" % (when.year + 400 * cycles) + when.strftime("-%m-%dT%H:%M:%S")
    digits = str(rest).zfill(places) if places else ""
    if form == TIME_SHORTEST:
        digits = digits.rstrip("0")
    return (text + ("." + digits if digits else "") + "Z").encode()


def uuid_text(data):
    return b"-".join(data[a:b].hex().encode() for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 16)))


# ---- random blocks ------------------------------------------------------------------------------


class Template:
    """A random program for some rows; write() gives its columns and the rows' texts."""

    def __init__(self, dice, rows):
        self.dice, self.rows, self.nodes = dice, rows, 0
        self.program = self.grow(0, dice.randrange(1, 9))

    def grow(self, depth, count):
        program = []
        for _ in range(count):
            kinds = [LITERAL, NUMBER, NUMBER, STRING] + [LIST, LIST] * (depth < 4 and self.nodes < 60)
            kind = self.dice.choice(kinds)
            self.nodes += 1
            inner = self.noise(1, 12) if kind == LITERAL else None
            if kind == LIST:
                inner = self.grow(depth + 1, self.dice.randrange(1, 5)) if self.dice.randrange(3) else self.pair()
            program.append((kind, inner))
        return program

    def pair(self):
        """The element of a list that venues send most: two numbers, as ["1.5","2"]."""
        words = [(LITERAL, self.noise(1, 11)) for _ in range(3)]
        first = words[:1] * self.dice.randrange(2)
        return first + [(NUMBER, None), words[1], (NUMBER, None)] + words[2:] * self.dice.randrange(2)

    def noise(self, low, high):
        return bytes(self.dice.choice(b'{}[]",:ab01 \x00\xff') for _ in range(self.dice.randrange(low, high)))

    def write(self, to, stamps):
        to.columns, to.stamps = [], stamps
        self.write_program(to, self.program)
        return self.texts(to, self.program, Scope(self.rows))

    def write_program(self, to, program):
        for kind, inner in program:
            to.pool.append(to.chose("node", kind))
            if kind == LITERAL:
                to.string(inner)
            elif kind == LIST:
                self.write_program(to, inner)
        to.pool.append(0)

    def texts(self, to, program, scope):
        parts = [[b""] * scope.size]
        for kind, inner in program:
            if kind == LITERAL:
                parts.append([inner] * scope.size)
            elif kind == LIST:
                most = self.dice.choice((1, 3, 6)) if scope.size < 500 else 1
                counts = [self.dice.randrange(most + 1) for _ in range(scope.size)]
                to.column(counts, scope)
                elements = self.texts(to, inner, Scope(sum(counts), scope, counts))
                ends = [sum(counts[:i]) for i in range(len(counts) + 1)]
                parts.append([b",".join(elements[a:b]) for a, b in zip(ends, ends[1:])])
            else:
                parts.append((self.numbers if kind == NUMBER else self.strings)(to, scope))
        return [b"".join(one) for one in zip(*parts)]

    def walk(self, count, low, high, is_whole=False):
        """Values as they come in life, and as they do not."""
        dice = self.dice
        style = dice.randrange(6)
        values, value = [], dice.randrange(low, high + 1) if style else max(low, min(0, high))
        steps = (1, 7, 1000, 10**6)[dice.randrange(4)]
        for _ in range(count):
            if style == 1:
                value = dice.randrange(low, high + 1)
            elif style == 2:
                value = dice.choice((low, high, max(low, min(0, high))))
            elif style == 3:
                value = signed(dice.getrandbits(dice.randrange(1, 65)))
            elif style == 4 or is_whole:
                value += dice.randrange(-steps, steps + 1)
            elif style == 5:
                value += steps
            value = max(low, min(value, high))
            values.append(value)
        return values

    def numbers(self, to, scope):
        dice = self.dice
        form = to.chose("format", dice.randrange(6))
        to.pool.append(form)
        least = form in (SHORTEST, SHORTEST_POINT, TIME_SHORTEST)
        places = [dice.randrange(least, 10 if form >= TIME else 19)] * scope.size
        if form == EACH:
            places = [dice.randrange(19) for _ in range(scope.size)]
            to.column(places, scope)
        else:
            to.pool.append(places[0] if places else 5)
        low, high = -10**18 + 1, 10**18 - 1
        if form >= TIME:
            unit = 10**(places[0] if places else 5)
            low, high = max(-1 << 63, SECONDS[0] * unit), min((1 << 63) - 1, SECONDS[1] * unit + unit - 1)
        values = self.walk(scope.size, low, high)
        if dice.randrange(3) == 0:
            values = [dice.randrange(-200, 200) * 10**dice.randrange(4) for _ in values]
        to.column(values, scope)
        text = number_text if form < TIME else time_text
        return [text(form, value, one) for value, one in zip(values, places)]

    def strings(self, to, scope):
        dice = self.dice
        form = to.chose("form", dice.randrange(3))
        if form == DICTIONARY:
            return self.dictionary(to, scope)
        to.pool.append(form)
        if form == UUID:
            ids = [dice.randbytes(16) for _ in range(scope.size)]
            to.bits += b"".join(ids)
            to.columns.append(Column(ids, scope, "uuid"))
            to.values += scope.size
            return [uuid_text(one) for one in ids]
        texts = [self.noise(0, 30) for _ in range(scope.size)]
        to.column([len(text) for text in texts], scope)
        to.text += b"".join(texts)
        return texts

    def dictionary(self, to, scope):
        dice = self.dice
        to.pool.append(DICTIONARY)
        count = min(dice.choice((1, 2, 5, 300)), max(1, scope.size))
        entries = [self.noise(0, 10) for _ in range(count)]
        to.varint(len(entries))
        for entry in entries:
            to.string(entry)
        column = to.column([dice.randrange(len(entries)) for _ in range(scope.size)], scope, "index")
        return [entries[index] for index in column.values]


def codec_0_bytes(records, low):
    """How long they would be one after the other."""
    size, before = 0, low
    for recv_ns, _, flags, connection, body in records:
        size += 1 + len(put_varint(flags) + put_zigzag(recv_ns - before) + put_varint(connection) +
                        put_varint(len(body)) + body)
        before = recv_ns
    return size


class RandomBlock:
    """.records (as maker.encode takes them), .payload, .codec, .raw; frames: each a message of its own"""

    def __init__(self, dice, used, rows=None, frames=False):
        self.dice, self.used, self.frames = dice, used, frames
        rows = rows or dice.choice((1, 2, 3, 4, 5, 9, 40, 200))
        groups = dice.randrange(1, min(rows, 5) + 1)
        heads = dice.randrange(groups, min(rows, 8) + 1)
        self.heads = [self.head(i if i < groups else dice.randrange(groups)) for i in range(heads)]
        self.order = list(range(groups)) + [dice.randrange(heads) for _ in range(rows - groups)]
        dice.shuffle(self.order)
        self.stamps = self.some_stamps(rows)
        self.low = min(self.stamps)
        padding = 0
        state = dice.getstate()
        while True:  # until there are bytes enough for the values
            dice.setstate(state)
            self.build(groups, padding)
            if 2 * self.values <= self.raw:
                break
            padding += 1 + (2 * self.values - self.raw) // rows

    def head(self, group):
        dice = self.dice
        if self.frames:
            return 1, dice.choice((0, 1, 3)), dice.choice((1, 300)), 0x82, group
        return (dice.choice((1, 1, 1, 2, 14, 255)), dice.choice((0, 1, 3, 65535)),
                dice.choice((0, 1, 300, (1 << 32) - 1)), dice.choice((0, 0x81, 0x82, 0x81, 1, 255)), group)

    def some_stamps(self, rows):
        dice = self.dice
        at, found = dice.choice((1795600000_000_000_000, -5 * 10**15, 0)), []
        widths = dice.choice((10, 20, 30, 64))
        for _ in range(rows):
            at = signed(at + signed(dice.getrandbits(widths)) - (1 << widths - 1) // 2)
            found.append(at)
        return found

    def build(self, groups, padding):
        dice = self.dice
        to = Writer(dice, self.used)
        to.varint(len(self.heads))
        for kind, flags, connection, form, group in self.heads:
            to.pool += bytes((kind,)) + put_varint(flags) + put_varint(connection)
            to.pool += bytes((form,)) + put_varint(group)
        to.column(self.order)
        to.column([signed(stamp - self.low) for stamp in self.stamps])
        to.varint(groups)
        texts, self.codec = [], 2
        for group in range(groups):
            stamps = [s for s, head in zip(self.stamps, self.order) if self.heads[head][4] == group]
            texts.append(iter(self.group(to, stamps, padding)))
        self.records = []
        for stamp, number in zip(self.stamps, self.order):
            kind, flags, connection, form, group = self.heads[number]
            text = next(texts[group])
            body = bytes((form,)) + frame(text)[1:] if form else text
            self.records.append((stamp, kind, flags, connection, body))
        self.raw = codec_0_bytes(self.records, self.low)
        self.payload, self.values = to.payload(), to.values

    def group(self, to, stamps, padding):
        dice = self.dice
        coding = to.chose("coding", dice.randrange(3) > 0)
        to.pool.append(coding)
        if not coding:
            self.naming(to, dice.randrange(2))
            texts = [dice.randbytes(dice.choice((0, 1, 20, 125, 126, 700))) for _ in stamps]
            if dice.randrange(40) == 0:
                texts[-1] = b"x" * 65536
            to.column([len(text) for text in texts])
            to.text += b"".join(texts)
            return texts
        self.codec = 3
        template = Template(dice, len(stamps))
        named = dice.randrange(len(template.program) + 1)
        if dice.randrange(2):  # a column to name the rows by, of which the number is known beforehand
            template.program.insert(0, (STRING, None))
            template.strings = self.dictionary_first(template)
            to.pool += bytes((to.chose("naming", 2), 0))
        else:
            self.naming(to, named % 2)
        if padding:
            template.program.append((LITERAL, b"p" * padding))
        return template.write(to, stamps)

    @staticmethod
    def dictionary_first(template):
        """The first string of the template becomes a dictionary."""
        others = template.strings

        def strings(to, scope):
            template.strings = others
            return template.dictionary(to, scope)

        return strings

    def naming(self, to, naming):
        to.pool.append(to.chose("naming", naming))
        if naming == 1:
            to.string(self.dice.choice((b"", b"a@trade", b"n" * 255)))
