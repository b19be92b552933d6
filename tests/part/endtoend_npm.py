#!/usr/bin/env python3
"""npm's ws as the server, over TLS, as fast as it can: every payload comes back byte for byte in order.
Skipped where npm cannot install ws."""
import pathlib
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect  # noqa: E402


def install(folder):
    if not shutil.which("npm") or not shutil.which("node"):
        rig.skip("npm is not installed")
    if (folder / "node_modules/ws/package.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "ws@8"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        rig.skip("npm install ws did not end")
    if done.returncode:
        rig.skip("npm cannot install ws: %s" % done.stdout.decode("utf-8", "replace").strip()[-200:])


def main(scratch):
    install(rig.BUILD / "npm")
    rig.make_certificates(scratch)
    capture = rig.real_data("hftbacktest/usdm_ethusdt_20240808.txt.zst")
    lines = rig.lines_of(capture, 60000) if capture else rig.generate("--count", 60000, "--rate", 3000)
    rig.write_lines(scratch / "lines.txt", lines)
    archive = scratch / "tape"
    server = subprocess.Popen(
        ["node", str(pathlib.Path(__file__).with_suffix(".js")), str(scratch / "lines.txt"),
         str(scratch / "server.pem"), str(scratch / "server.key")], stdout=subprocess.PIPE,
        env=dict(rig.os.environ, NODE_PATH=str(rig.BUILD / "npm/node_modules")))
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
