#!/usr/bin/python3
"""The replayer that people write, as a peer: gzip lines "<ns> <payload>" to python3-websockets clients, each
due at its place after the first, asyncio.sleep until then. --speed 0: as fast as it goes.

    replayer.py --port-file FILE --speed N LINES.gz

Serves one client, then prints how late it was, the drift at the end, and its CPU, as JSON.
"""
import argparse
import asyncio
import gzip
import json
import pathlib
import time

try:  # websockets 13 and later
    from websockets.asyncio.server import serve
except ImportError:
    from websockets.legacy.server import serve


async def replay(socket, path, speed, late):
    first, began = None, time.monotonic_ns()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            stamp, payload = line.rstrip("\n").split(" ", 1)
            first = int(stamp) if first is None else first
            if speed:
                due = began + (int(stamp) - first) / speed
                wait = due - time.monotonic_ns()
                if wait > 0:
                    await asyncio.sleep(wait / 1e9)
                late.append(time.monotonic_ns() - due)
            else:
                late.append(0)
            await socket.send(payload)


async def main(options):
    late, done = [], asyncio.Event()
    times = {}

    async def handle(socket, _path=None):
        times["cpu"], times["wall"] = time.process_time(), time.monotonic()
        await replay(socket, options.lines, options.speed, late)
        times["cpu"], times["wall"] = time.process_time() - times["cpu"], time.monotonic() - times["wall"]
        await socket.close()
        done.set()

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        pathlib.Path(options.port_file).write_text(str(server.sockets[0].getsockname()[1]), encoding="ascii")
        await done.wait()
    drift = late[-1]
    late.sort()
    print(json.dumps({"messages": len(late), "p50_us": late[len(late) // 2] / 1e3, "cpu_s": times["cpu"],
                      "p99_us": late[len(late) * 99 // 100] / 1e3, "drift_us": drift / 1e3,
                      "cpu": times["cpu"] / times["wall"]}))


parser = argparse.ArgumentParser()
parser.add_argument("--port-file", required=True)
parser.add_argument("--speed", type=float, default=1)
parser.add_argument("lines")
asyncio.run(main(parser.parse_args()))
