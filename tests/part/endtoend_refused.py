#!/usr/bin/env python3
"""What cannot be recorded ends with one clear error and the documented exit code, and an archive that is
being recorded is left alone: wrong arguments, a second recorder, a directory that cannot be written,
captures that are none."""
import os
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402


def refuse(wanted, *words, says=(), stdin=rig.subprocess.DEVNULL):
    out, said = rig.call("tape-record", *words, wanted=wanted, stdin=stdin)
    for word in says:
        expect(word in said, "%r says nothing of '%s':\n%s" % (words, word, said))
    expect(len(said.strip().splitlines()) <= 3, "%r says more than an error:\n%s" % (words, said))
    expect("Sanitizer" not in said, said)
    return out


def second_recorder(scratch):
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--rate", 500, "--symbols", "btcusdt") as exchange:
        words = ["--url", exchange.url, archive, "btcusdt@trade"]
        with rig.Recorder(scratch, *words) as recorder:
            exchange.wait_for("request", connection=1)
            refuse(1, *words, says=(str(recorder.process.pid), "tape"))
            expect_equal(len([e for e in exchange.drain() if e["event"] == "open"]), 1, "connections")
            sample = rig.ROOT / "samples/usdm.txt.zst"
            refuse(1, "--import", sample, archive, says=(str(recorder.process.pid),))
            refuse(1, "--repair", archive, says=(str(recorder.process.pid),))
            recorder.stop(signal.SIGINT)
        exchange.stop()
    rig.verify(archive)


def unknown_host(scratch):
    words = ["--url", "wss://nowhere.invalid/", "--connections", 2, scratch / "nowhere"]
    _, said = rig.call("tape-record", *words, wanted=1)
    expect_equal(said.count("nowhere.invalid"), 2, "once in the URL, once in the reason:\n%s" % said)


def main(scratch):
    refuse(2, says=("ARCHIVE",))
    refuse(2, scratch / "new", "--no-such-option", says=("--no-such-option",))
    refuse(2, scratch / "new", "BTCUSDT@aggTrade", says=("btcusdt@aggTrade",))
    refuse(2, scratch / "new", "btcusdt@agTrade", says=("agTrade",))
    refuse(2, "--venue", "nasdaq", scratch / "new", "btcusdt@trade", says=("nasdaq", "usdm"))
    refuse(2, "--url", "http://localhost/", scratch / "new", says=("http",))
    expect(not (scratch / "new").exists(), "wrong arguments make no archive")
    refuse(1, "--import", scratch / "absent", scratch / "new", says=("absent",))
    (scratch / "noise").write_bytes(os.urandom(4096))
    refuse(1, "--import", scratch / "noise", scratch / "new2", says=("line 1",))
    (scratch / "file").write_bytes(b"not a directory")
    refuse(1, "--import", rig.ROOT / "samples/usdm.txt.zst", scratch / "file", says=("file",))
    if os.geteuid() != 0:
        (scratch / "locked").mkdir(mode=0o500)
        refuse(1, "--import", rig.ROOT / "samples/usdm.txt.zst", scratch / "locked" / "tape", says=("locked",))
    unknown_host(scratch)
    second_recorder(scratch)


rig.run_main(main)
