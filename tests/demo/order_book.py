"""The order book behind the local exchange's depth streams, as its REST endpoint tells it."""
import json
import urllib.parse

LIMIT_DEFAULT, LIMIT_MAX = 500, 1000
PATHS = {"usdm": "/fapi/v1/depth", "spot": "/api/v3/depth", "coinm": "/dapi/v1/depth"}


class OrderBook:
    """One symbol's levels, price text to quantity text, with every diff since the market began."""

    def __init__(self):
        self.sides, self.last, self.event_ms = ({}, {}), 0, 0

    def apply(self, payload):
        """A depth diff, as it is sent: in the wrapper."""
        diff = json.loads(payload)["data"]
        for side, key in zip(self.sides, "ba"):
            for price, quantity in diff[key]:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.last, self.event_ms = diff["u"], diff["E"]

    def answer(self, limit):
        bids = sorted(self.sides[0].items(), key=lambda level: -float(level[0]))
        asks = sorted(self.sides[1].items(), key=lambda level: float(level[0]))
        return {"lastUpdateId": self.last, "E": self.event_ms, "T": self.event_ms,
                "bids": bids[:limit], "asks": asks[:limit]}


class OrderBooks:
    """Of a whole market."""

    def __init__(self, venue):
        self.path, self.books = PATHS[venue], {}

    def follow(self, stream, payload):
        """Any message of the market, in order, before it is sent."""
        symbol, kind = stream.split("@")[:2]
        if kind == "depth":
            self.books.setdefault(symbol.upper(), OrderBook()).apply(payload)

    def request(self, target):
        """(status, JSON) of GET target; None when it is not for us."""
        path, _, query = target.partition("?")
        if path != self.path:
            return None
        asked = dict(urllib.parse.parse_qsl(query))
        book, limit = self.books.get(asked.get("symbol", "").upper()), asked.get("limit", str(LIMIT_DEFAULT))
        if book is None:
            return 400, '{"code":-1121,"msg":"Invalid symbol."}'
        if not limit.isdigit() or not 0 < int(limit) <= LIMIT_MAX:
            return 400, '{"code":-1130,"msg":"Data sent for parameter \'limit\' is not valid."}'
        return 200, json.dumps(book.answer(int(limit)), separators=(",", ":"))
