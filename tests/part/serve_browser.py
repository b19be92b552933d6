#!/usr/bin/env python3
"""A browser's own WebSocket: a page of a local HTTP server connects to `tape-replay serve`, subscribes, counts
and digests what comes, and posts that to the server it came from. A page of another site is turned away. Skipped where
there is no chromium."""
import hashlib
import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
import served  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

STREAMS = ["btcusdt@trade", "btcusdt@depth@100ms"]
PAGE = """<!DOCTYPE html><title>replay</title><script>
const socket = new WebSocket("URL"), texts = [];
let answer = null;
socket.onopen = () => socket.send(JSON.stringify({method: "SUBSCRIBE", params: STREAMS, id: 3}));
socket.onmessage = (event) => {
  if (answer === null) answer = event.data; else texts.push(event.data);
};
socket.onclose = async (event) => {
  const bytes = new TextEncoder().encode(texts.map((text) => text + "\\n").join(""));
  const digest = crypto.subtle ? await crypto.subtle.digest("SHA-256", bytes) : new ArrayBuffer(0);
  const hex = Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0")).join("");
  fetch("/report", {method: "POST", body: JSON.stringify(
    {count: texts.length, code: event.code, reason: event.reason, answer, sha256: hex})});
};
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    page, reports = b"", queue.Queue()

    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.page)

    def do_POST(self):  # pylint: disable=invalid-name
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def browse(browser, scratch, url, *words):
    """What the page reports."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--disable-background-networking", "--disable-component-update",
               "--user-data-dir=%s" % (scratch / "profile"), "--remote-debugging-port=0", *words, url]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            return Pages.reports.get(timeout=rig.PATIENCE_S)
        except queue.Empty:
            raise rig.Failed("the page never reported") from None
        finally:
            process.terminate()


def main(scratch):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        rig.skip("chromium is not installed")
    lines = rig.generate("--count", 3000, "--rate", 3000)
    archive = served.import_lines(scratch, "tape", lines)
    wanted = served.payloads(lines, STREAMS)
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    with served.Server("--speed", "max", archive) as server:
        Pages.page = PAGE.replace("URL", server.url + "/public/stream").replace(
            "STREAMS", json.dumps(STREAMS)).encode()
        found = browse(browser, scratch, "http://localhost:%d/" % pages.server_port)
        expect_equal(found, {"count": len(wanted), "code": 1000, "reason": "end of replay",
                             "answer": '{"result":null,"id":3}',
                             "sha256": hashlib.sha256(b"".join(p + b"\n" for p in wanted)).hexdigest()},
                     "what the browser got")
        found = browse(browser, scratch, "http://elsewhere.test:%d/" % pages.server_port,
                       "--host-resolver-rules=MAP elsewhere.test 127.0.0.1")
        expect_equal((found["count"], found["code"]), (0, 1006), "a page of another site")
        server.stop()
    pages.shutdown()


rig.run_main(main)
