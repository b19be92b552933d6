#!/usr/bin/env python3
"""The ws of node as the server, over TLS, as fast as it can: every payload comes back byte for byte in order.
Skipped where Debian's node-ws is not installed."""
import pathlib
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect  # noqa: E402


def main(scratch):
    rig.make_certificates(scratch)
    found = rig.node(pathlib.Path(__file__).with_suffix(".js"), scratch / "lines.txt", scratch / "server.pem",
                     scratch / "server.key")
    if not found:
        rig.skip("node-ws is not installed")
    command, environment = found
    capture = rig.real_data("hftbacktest/usdm_ethusdt_20240808.txt.zst")
    lines = rig.lines_of(capture, 60000) if capture else rig.generate("--count", 60000, "--rate", 3000)
    rig.write_lines(scratch / "lines.txt", lines)
    archive = scratch / "tape"
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        port = int(server.stdout.readline().split()[1])
        with rig.Recorder(scratch, "--url", "wss://localhost:%d" % port, "--ca", scratch / "ca.pem", archive,
                          "btcusdt@trade") as recorder:
            expect(int(server.stdout.readline().split()[1]) == len(lines), "the server sent it all")
            wanted = b"".join(line.split(b" ", 1)[1] + b"\n" for line in lines)
            recorder.wait_until(lambda: "1000" in recorder.text() or "that was all" in recorder.text(),
                                "the close is told")
            recorder.stop(signal.SIGINT)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    found = rig.play(archive, "--format", "raw").partition(b"\n")[2]
    expect(found.startswith(wanted), "what came back is not what was sent")
    rig.verify(archive)


rig.run_main(main)
