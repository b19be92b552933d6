#!/usr/bin/env python3
"""Off the terminal the recorder says how it is doing in one logfmt line every ten seconds
(plain build only: it waits for the line, and the other tests have the sanitizers' eyes)."""
import pathlib
import re
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect  # noqa: E402

LOGFMT = re.compile(r'([a-z_]+=("([^"\\]|\\.)*"|[^ "=]+)( |$))+$')


def main(scratch):
    archive = scratch / "tape"
    with rig.Exchange(scratch / "log", "--rate", 500, "--symbols", "btcusdt") as exchange:
        with rig.Recorder(scratch, "--url", exchange.url, archive, "btcusdt@trade") as recorder:
            recorder.wait_until(lambda: re.search(r"frames=\d*[1-9]", recorder.text()), "a progress line")
            recorder.stop(signal.SIGINT)
            said = recorder.text()
        exchange.stop()
    lines = said.splitlines()
    progress = [line for line in lines if re.search(r"frames=\d*[1-9]", line)]
    for line in lines:
        expect(LOGFMT.match(line), "not logfmt: %r" % line)
    expect("\r" not in said and "\x1b" not in said, "terminal tricks off the terminal: %r" % said)
    for key in ("streams", "bytes"):
        expect(re.search(r"%s[a-z_]*=" % key, progress[0]), "progress has no %s: %s" % (key, progress[0]))


rig.run_main(main)
