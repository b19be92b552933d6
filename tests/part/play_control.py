#!/usr/bin/env python3
"""tape-replay play --control: an HTTP client pauses, steps, seeks, loops and changes the speed while it
plays; the output is what the commands say and nothing else; bad and foreign requests change nothing."""
import http.client
import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
HOUR = 3600 * 10**9


class Player:
    """A paused play whose messages are an hour apart: nothing leaves by itself."""

    def __init__(self, archive, *words):
        self.process = subprocess.Popen(
            [str(rig.BUILD / "tape-replay"), "play", "--paused", "--format", "hft", "--control", "127.0.0.1:0",
             *words, str(archive)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        said = self.process.stderr.readline().decode()
        found = re.fullmatch(r"tape-replay: control at http://127\.0\.0\.1:(\d+)/control\n", said)
        expect(found, "the address is told: %r" % said)
        self.port = int(found[1])

    def ask(self, path="/control/play", body=None, method=None, headers=None):
        """(HTTP status, JSON)"""
        request = urllib.request.Request("http://127.0.0.1:%d%s" % (self.port, path), method=method,
                                         data=body if body is None or isinstance(body, bytes) else json.dumps(body).encode(),
                                         headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=rig.PATIENCE_S) as answer:
                expect_equal(answer.headers["Content-Type"], "application/json", "content type")
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.loads(refusal.read())

    def do(self, what, **more):
        code, state = self.ask(body=dict({"do": what}, **more))
        expect_equal(code, 200, "%s %s: %s" % (what, more, state))
        return state

    def refused(self, code, words, **request):
        found, answer = self.ask(**request)
        expect_equal((found, answer), (code, {"error": words}), "%s" % request)

    def lines(self, count):
        return [self.process.stdout.readline() for _ in range(count)]

    def wait_for(self, key, value):
        end = time.monotonic() + rig.PATIENCE_S
        while True:
            state = self.ask()[1]
            if state.get(key) == value:
                return state
            expect(time.monotonic() < end, "%s never became %s: %s" % (key, value, state))
            time.sleep(0.01)

    def end(self, wanted=0):
        rest, said = self.process.communicate(timeout=rig.PATIENCE_S)
        expect_equal(self.process.returncode, wanted, "exit code; it said %s" % said)
        return rest, said.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def commands(archive, lines):
    with Player(archive) as player:
        state = player.ask("/control")[1]["sessions"][0]
        expect_equal((state["session"], state["phase"], state["speed"], state["messages"]), ("play", "paused", 1, 0), "at first")
        expect_equal(state, player.ask()[1], "a list and its row")
        expect_equal(state["position_ns"], str(BEGIN), "where it stands")
        player.do("step-frame")
        expect_equal(player.lines(1), lines[:1], "the first message")
        expect_equal(player.wait_for("messages", 1)["replay_ns"], str(BEGIN), "the virtual clock")
        player.do("step-time")
        expect_equal(player.lines(3), lines[1:4], "three of one stamp")
        state = player.do("seek", to="2026-11-22T13:00:00Z")
        expect_equal((state["position"], state["phase"]), ("2026-11-22T13:00:00.000000000Z", "paused"), "after a seek")
        player.do("step-frame")
        expect_equal(player.lines(1), [lines[7]], "the message sought")
        player.do("loop", **{"from": str(BEGIN + 2 * HOUR), "to": "+4h"})
        # Hours pass in a moment.
        expect_equal(player.do("speed", speed=1e6)["speed"], 1000000, "speed")
        player.do("resume")
        expect_equal(player.lines(6), lines[4:6] * 3, "the loop")
        state = player.do("pause")
        expect_equal(state["loop"]["from_ns"], str(BEGIN + 2 * HOUR), "its begin")
        expect_equal(state["loop"]["to_ns"], str(BEGIN + 4 * HOUR), "its end")
        expect(state["loops"] >= 2, "loops are counted: %s" % state)
        expect("loop" not in player.do("unloop"), "no longer")
        player.do("seek", to="-0s")
        player.do("speed", speed="max")
        player.do("resume")
        rest, said = player.end()
        expect(rest.endswith(lines[-1]), "the last message")
        expect(" seeks" in said and " loops" in said, said)


def refusals(archive):
    with Player(archive) as player:
        refused = player.refused
        span = "2026-11-22T08:00:00.000000000Z to 2026-11-22T17:00:00.000000000Z"
        refused(400, "this is no JSON: {\"do\":\"pause\"}", body=b"pause")
        refused(400, "unknown command \"puase\" (did you mean \"pause\"?)", body={"do": "puase"})
        refused(400, "unknown key \"spped\" (did you mean \"speed\"?)", body={"do": "speed", "spped": 1})
        refused(400, "2026-11-22T07:59:59.999999999Z is outside of what is played: " + span,
                body={"do": "seek", "to": str(BEGIN - 1)})
        refused(400, "2027-01-01T00:00:00.000000000Z is outside of what is played: " + span,
                body={"do": "loop", "from": "2027-01-01"})
        refused(404, "no such session: there is \"play\"", path="/control/main")
        refused(404, "no such session: there is \"play\"", path="/control/main", body={"do": "pause"})
        refused(405, "name the session: POST /control/<session>", path="/control", body={"do": "pause"})
        refused(405, "/control takes GET and POST", method="DELETE")
        refused(403, "a page of http://evil.example must not command this player", body={"do": "resume"},
                headers={"Origin": "http://evil.example"})
        refused(403, "sent to evil.example, but this player listens on loopback only", body={"do": "resume"},
                headers={"Host": "evil.example"})
        connection = http.client.HTTPConnection("127.0.0.1", player.port, timeout=rig.PATIENCE_S)
        connection.request("GET", "/elsewhere")
        expect_equal(connection.getresponse().status, 404, "another path")
        connection.close()
        state = player.ask()[1]
        expect_equal((state["phase"], state["messages"]), ("paused", 0), "none of them did anything")
        player.process.terminate()
        player.end()


def bad_addresses(archive):
    with Player(archive) as player:
        _, said = rig.call("tape-replay", "play", "--control", "127.0.0.1:%d" % player.port, archive, wanted=1)
        expect_equal(said, "tape-replay: --control: listen on 127.0.0.1:%d: another program listens there already: "
                     "choose another port, or 0 for any free one\n" % player.port,
                     "a port that is taken")
        player.process.terminate()
        player.end()
    _, said = rig.call("tape-replay", "play", "--paused", archive, wanted=2)
    expect_equal(said, "tape-replay: --paused could never go on: no terminal, and no --control\n", "nobody to resume it")


def same_digest(archive, lines):
    """A run that was paused and changed its speed emits the same bytes."""
    plain = json.loads(rig.call("tape-replay", "play", "--speed", "max", "--format", "hft", "--json", archive)[1])
    with Player(archive) as player:
        player.do("step-frame")
        player.do("speed", speed=10)
        player.do("resume")
        player.do("pause")
        player.do("speed", speed=20)
        player.do("resume")
        player.do("speed", speed="max")
        rest, said = player.end()
    expect_equal(rest, b"".join(lines), "all of it")
    expect("sha256 %s\n" % plain["sha256"] in said, said)


def main(scratch):
    hours = [0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    lines = [b'%d {"stream":"btcusdt@trade","data":%d}\n' % (BEGIN + hour * HOUR, i) for i, hour in enumerate(hours)]
    archive = scratch / "tape"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "lines.txt", [l[:-1] for l in lines]), archive)
    commands(archive, lines)
    refusals(archive)
    bad_addresses(archive)
    same_digest(archive, lines)


rig.run_main(main)
