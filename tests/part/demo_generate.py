#!/usr/bin/env python3
"""The generator keeps what its documentation says: valid JSON, unbroken sequences, field order, rates,
the same bytes for the same seed on every Python here, and the committed sample is what it makes
(plain build only: no program of ours runs)."""
import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENERATE = ROOT / "samples" / "generate.py"
FIELDS = {
    ("usdm", "aggTrade"): "e,E,a,s,p,q,nq,f,l,T,m,st",
    ("usdm", "trade"): "e,E,T,s,t,p,q,X,m,st",
    ("usdm", "bookTicker"): "e,u,s,ps,b,B,a,A,T,E,st",
    ("usdm", "depthUpdate"): "e,E,T,s,ps,U,u,pu,b,a,st",
    ("usdm", "markPriceUpdate"): "e,E,s,p,ap,P,i,r,T,st",
    ("usdm", "kline"): "e,E,s,k",
    ("usdm", "forceOrder"): "e,E,o",
    ("spot", "aggTrade"): "e,E,s,a,p,q,f,l,T,m,M",
    ("spot", "trade"): "e,E,s,t,p,q,T,m,M",
    ("spot", "bookTicker"): "u,s,b,B,a,A",
    ("spot", "depthUpdate"): "e,E,s,U,u,b,a",
    ("spot", "depth20"): "lastUpdateId,bids,asks",
    ("spot", "kline"): "e,E,s,k",
    ("coinm", "aggTrade"): "e,E,a,s,p,q,f,l,T,m,st",
    ("coinm", "depthUpdate"): "e,E,T,s,ps,U,u,pu,b,a,st",
}


def make(*options, python=sys.executable):
    return subprocess.run([python, str(GENERATE), *options], check=True, stdout=subprocess.PIPE).stdout


def check(truth, what):
    if not truth:
        sys.exit("FAILED: " + what)


def check_venue(venue):
    seen, last, count, before = {}, {}, 0, 0
    for line in make("--venue", venue, "--count", "30000", "--seed", "3").decode().splitlines():
        stamp, payload = line.split(" ", 1)
        message = json.loads(payload)
        check(list(message) == ["stream", "data"], f"{venue}: wrapper of {payload[:80]}")
        data, stream = message["data"], message["stream"]
        kind = data.get("e") or stream.split("@")[1]
        fields = ",".join(data)
        check(seen.setdefault((venue, kind), fields) == fields, f"{venue} {kind}: two layouts")
        check(int(stamp) >= before, f"{venue}: receive times rise")
        before = int(stamp)
        if "E" in data:
            check(data["E"] * 1_000_000 <= int(stamp), f"{venue} {kind}: sent before it is received")
        if kind == "trade":
            check(last.get(stream, data["t"] - 1) + 1 == data["t"], f"{stream}: t + 1")
            last[stream] = data["t"]
        elif kind == "aggTrade":
            a, l = last.get(stream, (data["a"] - 1, data["f"] - 1))
            check(a + 1 == data["a"] and l + 1 == data["f"] and data["f"] <= data["l"], f"{stream}: a, f, l")
            last[stream] = data["a"], data["l"]
        elif kind == "bookTicker":
            check(last.get(stream, 0) < data["u"], f"{stream}: u rises")
            check(float(data["b"]) < float(data["a"]), f"{stream}: bid below ask")
            last[stream] = data["u"]
        elif kind == "depthUpdate" and venue == "spot":
            check(last.get(stream, data["U"] - 1) + 1 == data["U"] <= data["u"], f"{stream}: U = u + 1")
            last[stream] = data["u"]
        elif kind == "depthUpdate":
            check(last.get(stream, data["pu"]) == data["pu"] < data["U"] <= data["u"], f"{stream}: pu = u")
            last[stream] = data["u"]
        elif kind == "kline":
            check('"k":{"t":' in payload and ', "T":' in payload, f"{stream}: blanks inside k")
        count += 1
    check(count == 30000, f"{venue}: count")
    for key, fields in FIELDS.items():
        if key[0] == venue:
            check(seen.get(key) == fields, f"{key}: fields are {seen.get(key)}, not {fields}")


def main():
    for venue in ("usdm", "spot", "coinm"):
        check_venue(venue)
    one = make("--seed", "11", "--count", "5000")
    check(one == make("--seed", "11", "--count", "5000"), "same seed, same bytes")
    check(one != make("--seed", "12", "--count", "5000"), "other seed, other bytes")
    for name in ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14", ""):
        other = shutil.which("python" + (name or "3"))
        if other and subprocess.run([other, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            check(one == make("--seed", "11", "--count", "5000", python=other), f"same bytes with {other}")
    seconds = make("--seconds", "60", "--rate", "400").count(b"\n") / 60
    check(320 < seconds < 480, f"--rate 400 makes {seconds:.0f} a second")
    sample = subprocess.run(["zstd", "-dcq", str(ROOT / "samples/usdm.txt.zst")], check=True,
                            stdout=subprocess.PIPE).stdout
    check(sample == make("--seed", "7", "--count", "5000"), "samples/usdm.txt.zst is --seed 7 --count 5000")
    check((ROOT / "samples/usdm.txt.zst").stat().st_size <= 100_000, "the sample is small")


main()
