#!/usr/bin/env python3
"""An ordinary client of the venue, by python3-websockets: prints time, price and quantity of every trade. The
only thing that tells the venue from a replay is the URL:

    serve_client.py wss://fstream.binance.com btcusdt
    tape-replay serve --speed 10 ./tape &
    serve_client.py ws://127.0.0.1:9080 btcusdt
    serve_client.py 'ws://127.0.0.1:9080?from=+10m&speed=max' btcusdt    (a session of its own)
"""
import asyncio
import json
import sys
import urllib.parse

import websockets


async def main(base, symbol):
    parts = urllib.parse.urlsplit(base)
    url = urllib.parse.urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/public/ws"))
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": [symbol + "@trade"], "id": 1}))
        try:
            while True:
                message = json.loads(await socket.recv())
                if "result" not in message:
                    print(message["T"], message["p"], message["q"])
        except websockets.ConnectionClosed as end:
            print(end, file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.rstrip())
    asyncio.run(main(sys.argv[1], sys.argv[2]))
