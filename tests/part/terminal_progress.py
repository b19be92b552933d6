#!/usr/bin/python3
"""On a terminal the recorder redraws one line, as wide as the terminal at most, and wipes it at the end; NO_COLOR
takes the colours, TERM=dumb the redrawing; nothing that it prints can command the terminal."""
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import fcntl
import time

RECORD = str(pathlib.Path(os.environ["BUILD"]) / "tape-record")
PATIENCE_S = 60
HOSTILE = "evil\x1b[2J\x07name"


def fail(*words):
    print(*words)
    sys.exit(1)


def on_terminal(arguments, environment, columns, enough):
    """Runs the recorder with a terminal as standard error until enough(text) is true; what it wrote there."""
    main_side, its_side = pty.openpty()
    fcntl.ioctl(its_side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    recorder = subprocess.Popen([RECORD, *arguments], stdin=subprocess.PIPE, stderr=its_side,
                                env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment})
    os.close(its_side)
    recorder.stdin.write(b"".join(b"%d %d\n" % (i, i) for i in range(1000)))
    recorder.stdin.flush()
    text, until, stopped = b"", time.monotonic() + PATIENCE_S, False
    while True:
        try:
            piece = os.read(main_side, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
        if not stopped and enough(text.decode("utf-8", "replace")):
            stopped = True
            recorder.stdin.close()
        if time.monotonic() > until:
            recorder.kill()
            fail("too little came:", text)
    recorder.wait(PATIENCE_S)
    os.close(main_side)
    return text.decode("utf-8", "replace"), recorder.returncode


def drawn_lines(text):
    return re.findall(r"\r\x1b\[K((?!tape-record:)[^\r\n\x1b]+)", text)


def redrawn_line(scratch):
    for columns in (200, 80, 40, 10):
        text, code = on_terminal(["--import", "-", str(scratch / f"redrawn{columns}")], {}, columns,
                                 lambda seen: len(drawn_lines(seen)) >= 3)
        lines = drawn_lines(text)
        if code != 0 or len(lines) < 3:
            fail("exit", code, repr(text))
        if any(len(line) >= columns for line in lines):
            fail("a line wraps:", columns, lines)
        if columns == 200 and not all(re.search(r"^\d+ msg/s  1000 messages, .* free$", line) for line in lines[1:]):
            fail("the line says", lines)
        if not re.search(r"\r\x1b\[Ktape-record: 1000 messages \(\d+ bytes\) in ", text):
            fail("the line is not wiped before the last words:", repr(text))


def dumb_terminal(scratch):
    text, code = on_terminal(["--import", "/dev/null", str(scratch / "dumb")], {"TERM": "dumb"}, 80, lambda _: True)
    if code != 0 or "\x1b" in text:
        fail("TERM=dumb:", code, repr(text))
    text, code = on_terminal(["--log-format=logfmt", "--import", "/dev/null", str(scratch / "logfmt")], {}, 80,
                             lambda _: True)
    if code != 0 or "\x1b" in text or " level=info msg=\"0 messages" not in text:
        fail("--log-format=logfmt:", code, repr(text))
    text, code = on_terminal(["--quiet", "--import", "/dev/null", str(scratch / "quiet")], {}, 80, lambda _: True)
    if code != 0 or text != "":
        fail("--quiet:", code, repr(text))


def colours(scratch):
    """An unreachable server is a warning: coloured, unless NO_COLOR says otherwise."""
    def warned(text):
        return "127.0.0.1:1" in text
    for value, coloured in (("", True), ("1", False)):
        archive = scratch / f"colour{value}"
        text, code = on_terminal(["--url=ws://127.0.0.1:1/", "--for=1500ms", str(archive)], {"NO_COLOR": value}, 200, warned)
        if code != 0 or not warned(text):
            fail("exit", code, repr(text))
        if ("\x1b[33mtape-record: " in text) != coloured:
            fail("NO_COLOR=%s:" % value, repr(text))


def hostile_name(scratch):
    archive = scratch / HOSTILE
    text, _ = on_terminal(["--import", "/dev/null", str(archive)], {"TERM": "dumb"}, 80, lambda _: True)
    refused, _ = on_terminal(["--import", scratch / HOSTILE / "no" / "file", str(archive)], {"TERM": "dumb"}, 80,
                             lambda _: True)
    if "evil?[2J?name" not in text + refused or re.search("[\x1b\x07]", text + refused):
        fail("control bytes of a name reach the terminal:", repr(text))


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="tape-part-"))
    redrawn_line(scratch)
    dumb_terminal(scratch)
    colours(scratch)
    hostile_name(scratch)
    shutil.rmtree(scratch)
    print("four widths, dumb, logfmt, quiet, colours")


if __name__ == "__main__":
    main()
