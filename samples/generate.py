#!/usr/bin/env python3
"""Made-up exchange messages in the layouts that Binance sends in 2026, one a line:

    <receive time, ns since the Unix epoch> <payload>

which is what `tape-record --import` reads. The same options give the same bytes on any Python from 3.9
on: every random draw is Random(seed).getrandbits(), every quantity an integer until it is printed.

What is made to be right, so that a checker of gaps finds none: trade ids `t` rise by one a symbol;
aggregate trades `a` rise by one, and `f` is the `l` before plus one; a futures depth update's `pu` is the
`u` before it (ids are shared by all symbols, so `U` is not `pu` + 1, as with the venue); a spot depth
update's `U` is the `u` before plus one; a bookTicker's `u` only rises and skips; no receive time is
lower than the one before, and event times never follow the receive time.

What is made to be hard: arrivals come in bursts (one taker order is up to hundreds of messages 0.4 to 1.4
us apart, with long quiet between: heavy tails on both), timers of all symbols fire together, field order
differs between streams, klines hold blanks after their inner commas, spot bookTicker and partial depth
carry neither `e` nor time, liquidations are rare.

    generate.py --seed 1 --count 1000
    generate.py --venue spot --symbols btcusdt,ethusdt --streams trade,depth@100ms --seconds 60 --rate 300
"""
import argparse
import heapq
import random
import sys
import zlib

DEFAULT_START_NS = 1795600000000000000  # 2026-11-25T09:46:40Z
MS = 1_000_000
VENUES = ("usdm", "spot", "coinm")
DEFAULT_SYMBOLS = {
    "usdm": ("btcusdt", "ethusdt", "bnbusdt"),
    "spot": ("btcusdt", "ethusdt", "bnbusdt"),
    "coinm": ("btcusd_perp", "ethusd_perp"),
}
DEFAULT_STREAMS = {
    "usdm": ("aggTrade", "trade", "bookTicker", "depth@100ms", "markPrice@1s", "kline_1m", "forceOrder"),
    "spot": ("aggTrade", "trade", "bookTicker", "depth@100ms", "depth20@100ms", "kline_1m"),
    "coinm": ("aggTrade", "trade", "bookTicker", "depth@100ms", "markPrice@1s", "kline_1m", "forceOrder"),
}
# symbol: price in ticks, decimals of the price, ticks are this many units of the last decimal, decimals
# of the quantity, largest usual quantity in its last decimal.
INSTRUMENTS = {
    "btcusdt": (961234, 2, 10, 3, 4000),
    "ethusdt": (312457, 2, 1, 3, 60000),
    "bnbusdt": (85012, 3, 10, 2, 30000),
    "btcusd_perp": (961230, 1, 1, 0, 2000),
    "ethusd_perp": (312450, 2, 1, 0, 5000),
}
OTHER_INSTRUMENT = (18123, 4, 10, 0, 20000)


class Dice:
    """Draws that are the same on every Python: only getrandbits is used."""

    def __init__(self, seed):
        self.bits = random.Random(seed).getrandbits

    def below(self, n):
        return self.bits(40) % n

    def halvings(self, most):
        """0 with chance 1/2, 1 with 1/4, 2 with 1/8 ...: the heavy tails are 2 to this power."""
        draw = self.bits(most) | (1 << most)
        return (draw & -draw).bit_length() - 1


def fixed(value, decimals):
    if decimals == 0:
        return str(value)
    text = str(value).rjust(decimals + 1, "0")
    return text[:-decimals] + "." + text[-decimals:]


class Symbol:
    """One instrument's state: price and quote, ids, and what the timed streams have yet to tell."""

    def __init__(self, name, venue):
        self.name, self.upper, self.venue = name, name.upper(), venue
        ticks, self.price_decimals, self.tick, self.quantity_decimals, self.largest = INSTRUMENTS.get(
            name, OTHER_INSTRUMENT)
        self.pair = self.upper.split("_")[0]
        self.spot_zeros = ""
        if venue == "spot":  # spot prints eight decimals whatever the tick
            self.tick *= 10 ** (8 - self.price_decimals)
            self.spot_zeros = "0" * (8 - self.quantity_decimals)
            self.price_decimals = 8
        base = zlib.crc32(name.encode())
        self.bid, self.ask = ticks, ticks + 1
        self.bid_quantity = self.ask_quantity = self.largest // 3 + 1
        self.trade_id = 4_000_000_000 + base % 1_000_000_000
        self.aggregate_id = 2_000_000_000 + base % 500_000_000
        self.update_id = self.told_update_id = 50_000_000_000 + base  # spot only; futures share one
        self.first_update_id = 0
        self.event = 0  # the last event time told
        self.levels = ({}, {})  # bids, asks changed since the last depth update: price -> quantity
        self.untold = []        # trades since the last aggregate: [id, price, quantity, time, maker]
        self.candle = None

    def price(self, ticks):
        return fixed(ticks * self.tick, self.price_decimals)

    def quantity(self, value):
        if self.spot_zeros and self.quantity_decimals == 0:
            return str(value) + "." + self.spot_zeros
        return fixed(value, self.quantity_decimals) + self.spot_zeros

    def value(self, ticks, quantity):
        """price x quantity, as klines print it, in one unit finer than its parts need"""
        return fixed(ticks * self.tick * quantity, self.price_decimals + self.quantity_decimals)


class Market:
    """All symbols of a venue; messages() walks through time."""

    def __init__(self, venue="usdm", symbols=None, streams=None, seed=1, rate=500,
                 start_ns=DEFAULT_START_NS):
        if venue not in VENUES:
            raise ValueError("venue '%s' is none of %s" % (venue, ", ".join(VENUES)))
        if rate < 1:
            raise ValueError("rate %s is below 1 a second" % rate)
        self.venue, self.futures = venue, venue != "spot"
        self.dice = Dice(seed)
        self.symbols = [Symbol(name, venue) for name in symbols or DEFAULT_SYMBOLS[venue]]
        self.streams = list(streams or DEFAULT_STREAMS[venue])
        self.update_id = 9_100_000_000_000
        if self.futures:
            for symbol in self.symbols:
                symbol.told_update_id = self.update_id - symbol.trade_id % 1000
        self.now = start_ns
        self.owed = 0  # ns of quiet for the messages made so far, so that the mean rate comes out
        self.timers = []  # (due, sequence, interval, emit, symbol, stream)
        timed_rate = 0
        for stream in self.streams:
            for symbol in self.symbols:
                timed_rate += self.wind(stream, symbol)
        self.share = 1_000_000_000 // max(rate - timed_rate, rate // 4, 1)
        self.quotes = "bookTicker" in self.streams
        self.trades = "trade" in self.streams
        self.liquidations = self.futures and "forceOrder" in self.streams

    def wind(self, stream, symbol):
        """Starts the timer of a timed stream; returns how many messages a second it makes."""
        kind, _, speed = stream.partition("@")
        default = {"depth": 250 if self.futures else 1000, "markPrice": 3000}.get(kind, 250)
        milliseconds = {"": default, "0ms": 50, "1s": 1000}.get(speed) or int(speed[:-2] or 0)
        if kind == "aggTrade":
            milliseconds, emit = 100, self.aggregate_trades
        elif kind == "depth":
            emit = self.depth
        elif kind in ("depth5", "depth10", "depth20"):
            emit = self.partial_depth
        elif kind == "markPrice" and self.futures:
            emit = self.mark_price
        elif kind.startswith("kline_"):
            emit = self.kline
        elif kind in ("trade", "bookTicker") or kind == "forceOrder" and self.futures:
            return 0
        else:
            raise ValueError("stream '%s' is not one that %s messages can be made for" %
                             (stream, self.venue))
        interval = milliseconds * MS
        due = self.now - self.now % interval + interval
        heapq.heappush(self.timers, (due, len(self.timers), interval, emit, symbol, stream))
        return 0 if kind == "aggTrade" else 1000 // milliseconds

    # ---- time ----

    def messages(self):
        """Endless: (receive ns, stream, payload)."""
        while True:
            yield from self.until(self.now + self.quiet())
            symbol = self.symbols[min(self.dice.halvings(6), len(self.symbols) - 1)]
            left = self.burst_length()
            while left > 0:
                for item in self.happening(symbol):
                    self.now += 400 + self.dice.below(1000)
                    self.owed += self.share
                    left -= 1
                    yield (self.now,) + item
                if not self.quotes:  # what happened is told by timed streams alone
                    self.owed += self.share
                    left -= 1

    def burst_length(self):
        power = self.dice.halvings(9)
        return (1 << power) + self.dice.below(1 << power)

    def quiet(self):
        """Time that the messages made so far still owe, times a heavy-tailed draw, at most 250 ms."""
        draw = (4 << self.dice.halvings(5)) + self.dice.below(16)
        quiet = min(max(self.owed, self.share) * draw // 16, 250 * MS)
        self.owed -= quiet
        return quiet

    def until(self, when):
        while self.timers and self.timers[0][0] <= when:
            due, sequence, interval, emit, symbol, stream = self.timers[0]
            heapq.heapreplace(self.timers, (due + interval, sequence, interval, emit, symbol, stream))
            self.now = max(self.now, due + 20_000 + self.dice.below(2 * MS))
            for item in emit(symbol, stream):
                self.now += 600 + self.dice.below(3000)
                self.owed += self.share if stream == "aggTrade" else 0
                yield (self.now,) + item
        self.now = max(self.now, when)

    def event_ms(self, symbol):
        """The venue's event time: 0.7 to 20 ms before it is received, rising within a symbol."""
        late = 700_000 + self.dice.below(1 + (300_000 << self.dice.halvings(6)))
        symbol.event = max(symbol.event, (self.now - late) // MS)
        return symbol.event

    # ---- what happens ----

    def next_update_id(self, symbol):
        """Futures ids are shared by all symbols (and by symbols that nobody asked for)."""
        if self.futures:
            self.update_id += 1 + self.dice.below(40)
            symbol.update_id = self.update_id
        else:
            symbol.update_id += 1
        if not symbol.first_update_id:
            symbol.first_update_id = symbol.update_id
        return symbol.update_id

    def change_level(self, symbol, side, ticks, quantity):
        self.next_update_id(symbol)
        symbol.levels[side][ticks] = quantity

    def happening(self, symbol):
        roll = self.dice.below(100)
        if roll < 22:
            yield from self.trade(symbol)
        yield from self.quote(symbol)
        if roll % 3 == 0:  # somewhere deeper in the book, seen by depth alone
            side = self.dice.below(2)
            away = 1 + self.dice.below(2 << self.dice.halvings(8))
            ticks = max(1, symbol.bid - away if side == 0 else symbol.ask + away)
            gone = self.dice.below(4) == 0
            self.change_level(symbol, side, ticks, 0 if gone else self.size(symbol))

    def size(self, symbol):
        return 1 + self.dice.below(max(1, symbol.largest >> self.dice.halvings(7)))

    def quote(self, symbol):
        move = self.dice.below(16)
        if move == 0 and symbol.bid > 2:
            self.change_level(symbol, 0, symbol.bid, 0)
            symbol.bid, symbol.ask = symbol.bid - 1, symbol.ask - 1
        elif move == 1:
            self.change_level(symbol, 1, symbol.ask, 0)
            symbol.bid, symbol.ask = symbol.bid + 1, symbol.ask + 1
        if move & 2:
            symbol.bid_quantity = self.size(symbol)
            self.change_level(symbol, 0, symbol.bid, symbol.bid_quantity)
        else:
            symbol.ask_quantity = self.size(symbol)
            self.change_level(symbol, 1, symbol.ask, symbol.ask_quantity)
        if self.quotes:
            yield self.book_ticker(symbol)

    def trade(self, symbol):
        maker = self.dice.below(2) == 0  # the buyer is the maker: the taker sold
        ticks = symbol.bid if maker else symbol.ask
        for _ in range(1 + self.dice.halvings(5)):
            symbol.trade_id += 1
            quantity = self.size(symbol)
            event = self.event_ms(symbol)
            at = event - self.dice.below(2)
            symbol.untold.append((symbol.trade_id, ticks, quantity, at, maker))
            self.feed_candle(symbol, symbol.trade_id, ticks, quantity, at, maker)
            if self.trades:
                yield self.trade_message(symbol, ticks, quantity, event, at, maker)
        if self.liquidations and self.dice.below(300) == 0:
            yield self.force_order(symbol, ticks, maker)

    def feed_candle(self, symbol, trade_id, ticks, quantity, at, maker):
        opened = at - at % 60000
        candle = symbol.candle
        if not candle or candle["t"] != opened:
            candle = symbol.candle = {"t": opened, "f": trade_id, "o": ticks, "h": ticks, "l": ticks,
                                      "v": 0, "n": 0, "q": 0, "V": 0, "Q": 0}
        candle.update(L=trade_id, c=ticks, h=max(candle["h"], ticks), l=min(candle["l"], ticks),
                      v=candle["v"] + quantity, n=candle["n"] + 1, q=candle["q"] + ticks * quantity)
        if not maker:
            candle.update(V=candle["V"] + quantity, Q=candle["Q"] + ticks * quantity)

    # ---- messages, field by field in the venue's order ----

    def wrap(self, symbol, stream, data):
        name = symbol.name + "@" + stream
        return name, '{"stream":"%s","data":%s}' % (name, data)

    def product(self):
        """The field that tells USD-M from COIN-M since 2026-06-30."""
        return {"usdm": ',"st":1', "coinm": ',"st":2', "spot": ""}[self.venue]

    def trade_message(self, symbol, ticks, quantity, event, at, maker):
        p, q, m = symbol.price(ticks), symbol.quantity(quantity), "true" if maker else "false"
        if self.futures:
            data = ('{"e":"trade","E":%d,"T":%d,"s":"%s","t":%d,"p":"%s","q":"%s","X":"MARKET","m":%s%s}' %
                    (event, at, symbol.upper, symbol.trade_id, p, q, m, self.product()))
        else:
            data = ('{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}' %
                    (event, symbol.upper, symbol.trade_id, p, q, at, m))
        return self.wrap(symbol, "trade", data)

    def aggregate_trades(self, symbol, stream):
        """Trades of one price and side become one aggregate, up to 100 ms late."""
        trades, symbol.untold = symbol.untold, []
        first = 0
        for i, trade in enumerate(trades):
            if i + 1 < len(trades) and trades[i + 1][1] == trade[1] and trades[i + 1][4] == trade[4]:
                continue
            group, first = trades[first:i + 1], i + 1
            symbol.aggregate_id += 1
            event = max(self.event_ms(symbol), group[-1][3])
            p, q = symbol.price(trade[1]), symbol.quantity(sum(t[2] for t in group))
            m = "true" if trade[4] else "false"
            middle = '"p":"%s","q":"%s",%s"f":%d,"l":%d,"T":%d,"m":%s' % (
                p, q, '"nq":"%s",' % q if self.venue == "usdm" else "", group[0][0], group[-1][0],
                group[0][3], m)
            if self.futures:
                data = '{"e":"aggTrade","E":%d,"a":%d,"s":"%s",%s%s}' % (
                    event, symbol.aggregate_id, symbol.upper, middle, self.product())
            else:
                data = '{"e":"aggTrade","E":%d,"s":"%s","a":%d,%s,"M":true}' % (
                    event, symbol.upper, symbol.aggregate_id, middle)
            yield self.wrap(symbol, stream, data)

    def book_ticker(self, symbol):
        quote = '"b":"%s","B":"%s","a":"%s","A":"%s"' % (
            symbol.price(symbol.bid), symbol.quantity(symbol.bid_quantity),
            symbol.price(symbol.ask), symbol.quantity(symbol.ask_quantity))
        if not self.futures:
            return self.wrap(symbol, "bookTicker", '{"u":%d,"s":"%s",%s}' %
                             (symbol.update_id, symbol.upper, quote))
        event = self.event_ms(symbol)
        return self.wrap(symbol, "bookTicker",
                         '{"e":"bookTicker","u":%d,"s":"%s","ps":"%s",%s,"T":%d,"E":%d%s}' %
                         (symbol.update_id, symbol.upper, symbol.pair, quote,
                          event - self.dice.below(2), event, self.product()))

    def levels(self, symbol, side):
        levels = sorted(symbol.levels[side].items(), reverse=side == 0)
        symbol.levels[side].clear()
        return "[" + ",".join('["%s","%s"]' % (symbol.price(p), symbol.quantity(q)) for p, q in levels) + "]"

    def depth(self, symbol, stream):
        if not symbol.first_update_id:
            return
        first, symbol.first_update_id = symbol.first_update_id, 0
        before, symbol.told_update_id = symbol.told_update_id, symbol.update_id
        event = self.event_ms(symbol)
        sides = '"b":%s,"a":%s' % (self.levels(symbol, 0), self.levels(symbol, 1))
        if self.futures:
            data = ('{"e":"depthUpdate","E":%d,"T":%d,"s":"%s","ps":"%s","U":%d,"u":%d,"pu":%d,%s%s}' %
                    (event, event - self.dice.below(9), symbol.upper, symbol.pair, first,
                     symbol.update_id, before, sides, self.product()))
        else:
            data = '{"e":"depthUpdate","E":%d,"s":"%s","U":%d,"u":%d,%s}' % (
                event, symbol.upper, first, symbol.update_id, sides)
        yield self.wrap(symbol, stream, data)

    def partial_depth(self, symbol, stream):
        count = int(stream.partition("@")[0][len("depth"):])
        bids, asks = (
            "[" + ",".join('["%s","%s"]' % (symbol.price(max(1, best + step * i)),
                                            symbol.quantity(self.size(symbol)))
                           for i in range(count)) + "]"
            for best, step in ((symbol.bid, -1), (symbol.ask, 1)))
        if self.futures:
            event = self.event_ms(symbol)
            u = self.next_update_id(symbol)
            data = ('{"e":"depthUpdate","E":%d,"T":%d,"s":"%s","ps":"%s","U":%d,"u":%d,"pu":%d,"b":%s,"a":%s%s}'
                    % (event, event, symbol.upper, symbol.pair, u - 7, u, u - 9, bids, asks,
                       self.product()))
        else:
            data = '{"lastUpdateId":%d,"bids":%s,"asks":%s}' % (symbol.update_id, bids, asks)
        yield self.wrap(symbol, stream, data)

    def mark_price(self, symbol, stream):
        event = (self.now - 20_000) // MS
        event -= event % 1000
        mark = fixed(symbol.bid * symbol.tick * 10 ** (8 - symbol.price_decimals) +
                     self.dice.below(100_000_000), 8)
        index = fixed(symbol.bid * symbol.tick * 10 ** (8 - symbol.price_decimals) +
                      self.dice.below(90_000_000), 8)
        funded = event - event % 28_800_000 + 28_800_000
        data = ('{"e":"markPriceUpdate","E":%d,"s":"%s","p":"%s","ap":"%s","P":"%s","i":"%s","r":"0.0000%04d"'
                ',"T":%d%s}' % (event, symbol.upper, mark, mark, index, index, self.dice.below(10000),
                                funded, self.product()))
        yield self.wrap(symbol, stream, data)

    def kline(self, symbol, stream):
        candle = symbol.candle
        if not candle:
            return
        interval = stream.partition("_")[2]
        k = ", ".join((
            '"t":%d' % candle["t"], '"T":%d' % (candle["t"] + 59999), '"s":"%s"' % symbol.upper,
            '"i":"%s"' % interval, '"f":%d' % candle["f"], '"L":%d' % candle["L"],
            '"o":"%s"' % symbol.price(candle["o"]), '"c":"%s"' % symbol.price(candle["c"]),
            '"h":"%s"' % symbol.price(candle["h"]), '"l":"%s"' % symbol.price(candle["l"]),
            '"v":"%s"' % symbol.quantity(candle["v"]), '"n":%d' % candle["n"], '"x":false',
            '"q":"%s"' % symbol.value(1, candle["q"]), '"V":"%s"' % symbol.quantity(candle["V"]),
            '"Q":"%s"' % symbol.value(1, candle["Q"]), '"B":"0"'))
        yield self.wrap(symbol, stream, '{"e":"kline","E":%d,"s":"%s","k":{%s}}' %
                        (self.event_ms(symbol), symbol.upper, k))

    def force_order(self, symbol, ticks, sold):
        quantity, event = symbol.quantity(self.size(symbol)), self.event_ms(symbol)
        data = ('{"e":"forceOrder","E":%d,"o":{"s":"%s","S":"%s","o":"LIMIT","f":"IOC","q":"%s","p":"%s",'
                '"ap":"%s","X":"FILLED","l":"%s","z":"%s","T":%d,"ps":"%s"%s}}' %
                (event, symbol.upper, "SELL" if sold else "BUY", quantity, symbol.price(ticks),
                 symbol.price(ticks), quantity, quantity, event - 3, symbol.pair, self.product()))
        return self.wrap(symbol, "forceOrder", data)


def words(text):
    return [word for word in text.split(",") if word]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--venue", choices=VENUES, default="usdm")
    parser.add_argument("--symbols", type=words, metavar="A,B", help="default: two or three large ones")
    parser.add_argument("--streams", type=words, metavar="X,Y",
                        help="as in <symbol>@X; default: one of each kind the venue has")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=500, help="messages a second at the mean, about")
    parser.add_argument("--start", type=int, default=DEFAULT_START_NS, metavar="NS")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--count", type=int, help="stop after so many messages (default 1000)")
    length.add_argument("--seconds", type=int, help="stop after so much of the market's time")
    options = parser.parse_args()
    try:
        market = Market(options.venue, options.symbols, options.streams, options.seed, options.rate,
                        options.start)
    except ValueError as wrong:
        parser.error(str(wrong))
    left = options.count if options.count or options.seconds else 1000
    end = options.start + options.seconds * 1_000_000_000 if options.seconds else None
    out = sys.stdout
    try:
        for ns, _, payload in market.messages():
            if end is not None and ns >= end or left is not None and left <= 0:
                break
            out.write("%d %s\n" % (ns, payload))
            if left is not None:
                left -= 1
        out.flush()
    except BrokenPipeError:
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
