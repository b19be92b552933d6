#!/usr/bin/env python3
"""tape-replay play on a terminal: keys pause, step, seek, loop and quit; the status line; the terminal is
given back at the end, on a stop, and when a signal ends the process; who shares it is left alone."""
import array
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "demo"))
import rig  # noqa: E402
from rig import expect, expect_equal  # noqa: E402

BEGIN = 1795334400000000000
SECOND = 10**9
RAW = termios.ICANON | termios.ECHO


def own_terminal():
    """In the child: a session of its own, the terminal on standard error its controlling one; signals as from a
    shell, whoever runs the test, nohup included."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    fcntl.ioctl(2, termios.TIOCSCTTY, 0)


# A shell's part: without a process beside it in its session, a process is not stopped by SIGTSTP.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(2, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
os.write(1, b"%d\\n" % child)
os.close(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Terminal:
    """tape-replay play with standard input and error on a pseudo-terminal, standard output a pipe."""

    def __init__(self, archive, *words, environment=None, shell=False):
        self.primary, self.secondary = pty.openpty()
        self.shown = b""
        env = {**os.environ, "TERM": "xterm", **(environment or {})}
        command = [str(rig.BUILD / "tape-replay"), "play", "--format", "hft", *words, str(archive)]
        self.process = subprocess.Popen([rig.PYTHON, "-c", SHELL, *command] if shell else command,
                                        stdin=self.secondary, stderr=self.secondary, stdout=subprocess.PIPE,
                                        preexec_fn=own_terminal, env=env)
        self.player = int(self.process.stdout.readline()) if shell else self.process.pid

    def is_raw(self):
        return termios.tcgetattr(self.secondary)[3] & RAW == 0

    def is_cooked(self):
        return termios.tcgetattr(self.secondary)[3] & RAW == RAW

    def wait_until(self, truth, what):
        end = time.monotonic() + rig.PATIENCE_S
        while not truth():
            self.read(0.02)
            expect(time.monotonic() < end, "%s never came; shown last: %r" % (what, self.shown[-300:]))

    def read(self, seconds=0):
        if select.select([self.primary], [], [], seconds)[0]:
            self.shown += os.read(self.primary, 65536)

    def press(self, keys):
        os.write(self.primary, keys.encode())

    def show(self, pattern):
        """Waits until it has shown that; what came before is forgotten."""
        self.wait_until(lambda: re.search(pattern, self.shown, re.S), pattern)
        self.shown = self.shown[re.search(pattern, self.shown, re.S).end():]

    def lines(self, count):
        return [self.process.stdout.readline() for _ in range(count)]

    def end(self):
        rest = self.process.stdout.read()
        code = self.process.wait(rig.PATIENCE_S)
        self.read(0.05)
        return rest, code

    def __enter__(self):
        self.wait_until(self.is_raw, "the keys are taken")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        os.close(self.primary)
        os.close(self.secondary)


def keys(archive, lines):
    with Terminal(archive, "--paused", "--receipt", str(archive) + ".receipt", environment={"NO_COLOR": "1"}) as terminal:
        terminal.press(".")
        expect_equal(terminal.lines(1), lines[:1], "one message")
        terminal.press(">")
        expect_equal(terminal.lines(3), lines[1:4], "one stamp")
        terminal.press("\033[C")  # 10 s on
        terminal.show(rb"paused 1x  2026-11-22T08:00:20\.0Z")
        terminal.press(".")
        expect_equal(terminal.lines(1), [lines[5]], "after ten seconds")
        terminal.press("\033[D\033[D\033[D\033[D")  # not before the begin
        terminal.show(rb"paused 1x  2026-11-22T08:00:00\.0Z")
        terminal.press(".")
        expect_equal(terminal.lines(1), lines[:1], "back at the begin")
        terminal.press("[")
        terminal.show(rb"tape-replay: the loop begins at 2026-11-22T08:00:00\.000000000Z")
        terminal.press(">>]")
        expect_equal(terminal.lines(4), lines[1:5], "two stamps")
        terminal.show(rb"tape-replay: the loop ends at 2026-11-22T08:00:15\.000000000Z")
        terminal.press("l.")
        terminal.show(rb"loop 1")
        expect_equal(terminal.lines(1), lines[:1], "the loop begins anew")
        terminal.press("++++++++++++++++ ")  # a loop of 15 s takes less than a ms
        expect_equal(terminal.lines(8), (lines[1:4] + lines[:1]) * 2, "twice around")
        terminal.press("?")
        terminal.show(rb"  space  pause, go on\r\n")
        # Nobody reads any more, until the pipe is full: keys work all the same.
        waiting = array.array("i", [0])

        def is_full():
            fcntl.ioctl(terminal.process.stdout, termios.FIONREAD, waiting)
            return waiting[0] > 60000
        terminal.wait_until(is_full, "a full pipe")
        terminal.press("?")
        terminal.show(rb"  space  pause, go on\r\n")
        terminal.press("q")
        code = terminal.process.wait(rig.PATIENCE_S)
        expect_equal(code, 0, "exit code")
        expect(terminal.is_cooked(), "the terminal is given back at the end")
        told = json.loads(pathlib.Path(str(archive) + ".receipt").read_text(encoding="utf-8"))
        expect_equal(told["end"], "signal", "why it ended")
        expect(told["seeks"] == 5 and told["loops"] >= 2, told)


def to_the_end(archive, lines):
    with Terminal(archive, "--paused", "--receipt", str(archive) + ".receipt") as terminal:
        terminal.press("l.>")
        expect_equal(terminal.lines(4), lines[:4], "in a loop over all of it")
        terminal.press("l1\033[C\033[C\033[C\033[C\033[C\033[C\033[C\033[C0 ")
        rest, code = terminal.end()
        expect_equal((rest, code), (lines[-1], 0), "the rest of it")
        expect(terminal.is_cooked(), "the terminal is given back at the end")
        told = json.loads(pathlib.Path(str(archive) + ".receipt").read_text(encoding="utf-8"))
        expect_equal((told["end"], told["seeks"], told["messages"]), ("archive", 8, 5), "the receipt")


def quit_key(archive):
    with Terminal(archive, "--paused") as terminal:
        terminal.press("+q")
        rest, code = terminal.end()
        expect_equal((rest, code), (b"", 0), "q")
        expect(b"played 0 messages" in terminal.shown and b"ended early: signal" in terminal.shown, terminal.shown)
        expect(terminal.is_cooked(), "the terminal is given back")


def pasted(scratch):
    """Ten thousand keys at once are no typing: the first of them work, the rest is told and passed over."""
    lines = [b'%d {"n":%d}\n' % (BEGIN + i * SECOND, i) for i in range(2000)]
    archive = scratch / "many"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "many.txt", [l[:-1] for l in lines]), archive)
    with Terminal(archive, "--paused") as terminal:
        for _ in range(10):
            terminal.press("." * 1000)
        terminal.show(rb"tape-replay: \d+ keys are passed over: they came faster than they work\r\n")
        terminal.press("q")
        rest, code = terminal.end()
        expect_equal(code, 0, "exit code")
        given = rest.splitlines(keepends=True)
        expect(32 <= len(given) < 2000 and given == lines[:len(given)], "%d messages" % len(given))


def type_ahead(archive):
    """What is typed behind the quit is the shell's."""
    with Terminal(archive, "--paused") as terminal:
        terminal.press("qls\n")
        terminal.end()
        expect(select.select([terminal.secondary], [], [], 1)[0], "it is still there")
        expect_equal(os.read(terminal.secondary, 10), b"ls\n", "all of it")


def signals(archive):
    """Whatever ends the process, but SIGKILL, gives the terminal back first."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGALRM):
        with Terminal(archive, "--paused") as terminal:
            terminal.show(rb"0 messages")
            terminal.process.send_signal(number)
            _, code = terminal.end()
            expect_equal(code, 0 if number in (signal.SIGINT, signal.SIGTERM) else -number, "signal %d" % number)
            expect(terminal.is_cooked(), "the terminal after signal %d" % number)


def second_signal(scratch):
    """A consumer that does not read keeps the first signal waiting in a write; the second one ends it."""
    lines = [b"%d %s" % (BEGIN, b"x" * 100000)] * 20
    archive = scratch / "stuck"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "stuck.txt", lines), archive)
    with Terminal(archive, "--speed", "max") as terminal:
        def sleeps():
            return "S (sleeping)" in pathlib.Path("/proc/%d/status" % terminal.process.pid).read_text(encoding="ascii")
        terminal.wait_until(sleeps, "a full pipe")
        terminal.process.send_signal(signal.SIGINT)
        terminal.process.send_signal(signal.SIGINT)
        code = terminal.process.wait(rig.PATIENCE_S)
        expect(code in (0, -signal.SIGINT), "exit code %s" % code)
        expect(terminal.is_cooked(), "the terminal is given back")


def stopped_and_continued(archive, lines):
    with Terminal(archive, "--paused", shell=True) as terminal:
        def is_stopped():
            return "T (stopped)" in pathlib.Path("/proc/%d/status" % terminal.player).read_text(encoding="ascii")

        for line in lines[:3]:
            os.kill(terminal.player, signal.SIGTSTP)
            terminal.wait_until(is_stopped, "it stops")
            expect(terminal.is_cooked(), "stopped: the terminal is the shell's")
            os.kill(terminal.player, signal.SIGCONT)
            terminal.wait_until(terminal.is_raw, "continued: the keys are ours")
            terminal.press(".")
            expect_equal(terminal.lines(1), [line], "and work")
        terminal.press("q")
        terminal.end()
        expect(terminal.is_cooked(), "the end")


def another_program(archive):
    """A pager at the end of the pipe sets the terminal up for itself: its keys, its settings."""
    with Terminal(archive, "--paused") as terminal:
        mine = termios.tcgetattr(terminal.secondary)
        mine[6][termios.VMIN] = 1
        termios.tcsetattr(terminal.secondary, termios.TCSANOW, mine)
        terminal.press("q")
        time.sleep(0.3)
        expect_equal(terminal.process.poll(), None, "q was not for us")
        expect_equal(os.read(terminal.secondary, 10), b"q", "it is still there")
        terminal.process.terminate()
        terminal.end()
        expect_equal(termios.tcgetattr(terminal.secondary)[6][termios.VMIN], 1, "its settings are left alone")


def status_line(archive):
    for environment, colour in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
        with Terminal(archive, "--paused", environment=environment) as terminal:
            terminal.show(rb"\r\x1b\[K" + (rb"\x1b\[33mpaused 1x\x1b\[0m" if colour else rb"paused 1x") +
                          rb"  2026-11-22T08:00:00\.0Z  0 messages" + (rb"\x1b\[0m" if colour else rb""))
            terminal.read(0.8)
            expect_equal(terminal.shown, b"", "what has not changed is not drawn again")
            terminal.press("q")
            terminal.end()
            expect(colour or b"\x1b[3" not in terminal.shown, terminal.shown)
    # Never with --json, nor where TERM says that nothing can be redrawn.
    for words, environment in ((("--json",), {}), ((), {"TERM": "dumb"})):
        with Terminal(archive, "--paused", *words, environment=environment) as terminal:
            terminal.press(".")
            terminal.lines(1)
            time.sleep(0.6)
            terminal.press("q")
            terminal.end()
            expect(b"paused" not in terminal.shown, terminal.shown)


def main(scratch):
    seconds = [0, 10, 10, 10, 15, 20, 40, 60, 90]
    lines = [b'%d {"n":%d}\n' % (BEGIN + second * SECOND, i) for i, second in enumerate(seconds)]
    archive = scratch / "tape"
    rig.call("tape-record", "--import", rig.write_lines(scratch / "lines.txt", [l[:-1] for l in lines]), archive)
    keys(archive, lines)
    to_the_end(archive, lines)
    quit_key(archive)
    pasted(scratch)
    type_ahead(archive)
    signals(archive)
    second_signal(scratch)
    stopped_and_continued(archive, lines)
    another_program(archive)
    status_line(archive)


rig.run_main(main)
