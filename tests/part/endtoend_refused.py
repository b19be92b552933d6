#!/usr/bin/env python3
"""What cannot be recorded ends with one clear error and the documented exit code, and an archive that is
being recorded is left alone: wrong arguments, a second recorder, a directory that cannot be written,
captures that are none."""
import os
import pathlib
import signal
import socket
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
    expect(not (scratch / "nowhere").exists(), "nothing is left of a run that never had a connection")


def never_connected(scratch):
    """A run that had no connection leaves no archive, but never takes away what was there before it."""
    free = socket.create_server(("127.0.0.1", 0))
    url = "ws://127.0.0.1:%d/" % free.getsockname()[1]
    free.close()
    for name, words in (("signal", []), ("duration", ["--for", "300ms"])):
        with rig.Recorder(scratch, "--url", url, *words, scratch / name) as recorder:
            if words:
                recorder.wait()
            else:
                recorder.wait_until(lambda said=recorder: "refused" in said.text(), "the refusal")
                recorder.stop(signal.SIGINT)
            said = "no connection came about: %s, which this run had made, is removed" % (scratch / name)
            expect(said in recorder.text(), recorder.text())
        expect(not (scratch / name).exists(), "%s: nothing is left" % name)
        expect_equal(sorted(path.name for path in pathlib.Path("/dev/shm").glob("tapedeck-*-%d" %
                                                                              recorder.process.pid)), [], "its ring")
    for name in ("empty", "archive"):
        (scratch / name).mkdir()
    rig.call("tape-record", "--import", rig.ROOT / "samples/usdm.txt.zst", scratch / "archive")
    for name in ("empty", "archive"):
        rig.call("tape-record", "--for", "300ms", "--url", url, scratch / name)
        sessions = rig.query(scratch / name, "SELECT session_id FROM session")
        expect_equal(len(sessions), 1 + (name == "archive"), "%s: it was there before" % name)
    # a stranger's file in it: nothing of that goes
    with rig.Recorder(scratch, "--url", url, scratch / "made") as recorder:
        recorder.wait_until(lambda: "refused" in recorder.text(), "the refusal")
        (scratch / "made/notes.txt").write_text("mine")
        recorder.stop(signal.SIGINT)
        expect("is removed" not in recorder.text(), recorder.text())
    expect_equal((scratch / "made/notes.txt").read_text(), "mine", "what is not the archive's")


def connected(scratch):
    """One connection, with hardly a frame: that is kept."""
    with rig.Exchange(scratch / "log2", "--rate", 1, "--symbols", "btcusdt") as exchange:
        rig.call("tape-record", "--for", "1s", "--url", exchange.url, scratch / "quiet", "btcusdt@trade")
        exchange.stop()
    rig.verify(scratch / "quiet")


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
    never_connected(scratch)
    connected(scratch)
    second_recorder(scratch)


rig.run_main(main)
