#!/usr/bin/env python3
"""The strategy of moving_average.c in Python: the same frames, the same lines.

    moving_average.py [--follow] ARCHIVE...

Buys when the average of the last 8 trades rises above that of the last 64, sells when it falls below.
"""
import collections
import signal
import sys

import tapedeck

FAST, SLOW = 8, 64


class Averages:
    """One stream's last trades."""

    def __init__(self):
        self.prices, self.fast_sum, self.slow_sum, self.is_above = collections.deque(), 0, 0, 0

    def on_trade(self, price):
        """Returns what to do now: BUY, SELL or None."""
        self.prices.append(price)
        self.fast_sum += price - (self.prices[-FAST - 1] if len(self.prices) > FAST else 0)
        self.slow_sum += price - (self.prices.popleft() if len(self.prices) > SLOW else 0)
        if len(self.prices) < SLOW:
            return None
        apart = self.fast_sum - self.slow_sum // (SLOW // FAST)
        was_above, self.is_above = self.is_above, (apart > 0) - (apart < 0) or self.is_above
        if not was_above or self.is_above == was_above:
            return None
        return "BUY" if self.is_above > 0 else "SELL"


def main(words):
    follow = words[:1] == ["--follow"]
    archives, streams = words[follow:], collections.defaultdict(Averages)
    if not archives or archives[0].startswith("-"):
        print("usage: moving_average.py [--follow] ARCHIVE...", file=sys.stderr)
        return 2
    with tapedeck.Source(archives, stream="*@trade,*@aggTrade", follow=follow) as source:
        signal.signal(signal.SIGINT, lambda *_: source.stop())
        for message in source:
            tick = message.tick()
            if tick.kind not in ("trade", "aggTrade") or not tick.price:
                continue
            price = int(tick.price.scaleb(8))  # whole numbers, as in C: the same on any machine
            decision = streams[message.stream].on_trade(price)
            if decision:
                print(message.replay_ns, message.ordinal, message.stream, decision, format(tick.price, "f"), flush=True)
        damages = len(source.damages)
    if damages:
        print("moving_average.py: %d damaged places were passed over" % damages, file=sys.stderr)
    return 3 if damages else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except tapedeck.TapeError as failure:
        print("moving_average.py: %s" % failure, file=sys.stderr)
        sys.exit(1)
