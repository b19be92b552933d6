"""The house rules that a program can check. Prints each breach with its place; exits 1 when there is one."""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))
ROOMS = ("format", "record", "replay")
TOP_LEVEL = {"Makefile", "README.md", "LICENSE", "record", "replay", "format", "tests", "samples"}
MAY_INCLUDE = {"format": {"format"}, "record": {"format", "record"}, "replay": {"format", "replay"}}
FUNCTION_MAX_LINES = 70
LINE_MAX = 100
# Calls that format/ must not name: it knows bytes and files, no network, terminal or environment.
OUTSIDE = re.compile(
    r"^(socket|connect|bind|listen|accept4?|sendto|sendmsg|send|recv|recvfrom|recvmsg|setsockopt|"
    r"getaddrinfo|epoll_\w+|poll|select|isatty|tc[gs]etattr|ioctl|getenv|secure_getenv|setenv|"
    r"printf|fprintf|puts|putchar|perror|vprintf|exit|_exit|abort|system|popen|SSL_\w+|BIO_\w+|"
    r"EVP_\w+|stdout|stderr|stdin)(@.*)?$")
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|alloca)\s*\(")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
WORKPLACE = re.compile(r"(/work/|/tmp/h/|\bissue #?\d|shared/(facts|design))")
VAGUE = re.compile(r"(utils?|common|misc|manager|helpers?)\.(c|h|py|sh)$")
# A file may export a second noun that its header introduces.
SECOND_NOUN = {"summary": {"summariser"}, "venue": set()}

breaches = []


def breach(place, words):
    breaches.append(f"{place}: {words}")


def tracked():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def check_top_level(files):
    for name in sorted({relative(f).split("/")[0] for f in files}):
        if name not in TOP_LEVEL and not name.startswith("."):
            breach(name, "does not belong at the top level")


def includes_of(path):
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.M)


def check_includes(sources):
    graph = {}
    for path in sources:
        room = relative(path).split("/")[0]
        for name in includes_of(path):
            if room in ROOMS:
                if "/" not in name:
                    breach(relative(path), f'include "{name}" does not name its room')
                elif name.split("/")[0] not in MAY_INCLUDE[room]:
                    breach(relative(path), f"{room}/ must not include {name}")
            graph.setdefault(relative(path), set()).add(name)
    state = {}

    def visit(name, trail):
        if state.get(name) == "done":
            return
        if name in trail:
            breach(name, "include cycle: " + " -> ".join(trail[trail.index(name):] + [name]))
            return
        for other in graph.get(name, ()):
            visit(other, trail + [name])
        state[name] = "done"

    for name in list(graph):
        visit(name, [])


def check_headers_alone(headers):
    for path in headers:
        for language in (["cc", "-std=gnu11", "-x", "c"], ["c++", "-std=c++17", "-x", "c++"]):
            if language[0] == "c++" and relative(path).split("/")[0] == "record":
                continue
            done = subprocess.run(language + ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", "-D_GNU_SOURCE", "-I.", "-fsyntax-only",
                                              relative(path)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                breach(relative(path), f"does not compile alone with {language[0]}: {done.stderr[:300]}")


def symbols(path, *flags):
    listed = subprocess.run(["nm", *flags, str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.split() for line in listed.splitlines() if line.strip() and not line.endswith(":")]


def check_objects():
    found = False
    for room in ROOMS:
        for path in sorted((BUILD / room).glob("*.o")):
            found = True
            source = ROOT / room / (path.stem + ".c")
            if room == "format" and source.exists():
                for words in symbols(path, "-u"):
                    if OUTSIDE.match(words[-1]):
                        breach(relative(source), f"names {words[-1]}, which is not for format/")
            if source.exists() and path.stem != "main":
                check_exports(source, path)
    if not found:
        breach(str(BUILD), "no objects to look at: build first")


def check_exports(source, path):
    first = source.stem.split("_")[0]
    nouns = {first} | SECOND_NOUN.get(first, set())
    for words in symbols(path, "-g", "--defined-only"):
        name = words[-1]
        if not any(name == f"tape_{noun}" or name.startswith(f"tape_{noun}_") for noun in nouns):
            breach(relative(source), f"exports {name}: not tape_{first}_…")


def check_text(path):
    name = relative(path)
    if VAGUE.search(name):
        breach(name, "the name says nothing")
    text = path.read_text(encoding="utf-8")
    is_code = path.suffix in (".c", ".h")
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{name}:{number}"
        if name != "tests/lint.py":
            if UNFINISHED.search(line):
                breach(place, "unfinished work")
            if WORKPLACE.search(line):
                breach(place, "speaks of a workplace")
        if is_code and BANNED.search(line):
            breach(place, "unbounded or unchecked function")
        if is_code and len(line) > LINE_MAX:
            breach(place, f"longer than {LINE_MAX} characters")
        if line != line.rstrip():
            breach(place, "white space at the end")
    if text and not text.endswith("\n"):
        breach(name, "no newline at the end")


def check_function_length(path):
    start = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start > FUNCTION_MAX_LINES:
                breach(f"{relative(path)}:{start}", f"a function of {number - start} lines (at most {FUNCTION_MAX_LINES})")
            start = None


def check_layout(sources):
    done = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *[relative(p) for p in sources]],
                          cwd=ROOT, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        places = sorted({line.split(": ")[0].rsplit(":", 2)[0] for line in done.stderr.splitlines() if "error:" in line})
        for place in places:
            breach(place, "layout differs from clang-format")


def check_scripts(files):
    for path in files:
        if path.suffix == ".sh":
            if subprocess.run(["sh", "-n", str(path)]).returncode:
                breach(relative(path), "is no valid shell script")
        elif path.suffix == ".py":
            try:
                compile(path.read_text(encoding="utf-8"), str(path), "exec")
            except SyntaxError as error:
                breach(relative(path), f"is no valid Python: {error}")
        elif path.suffix in (".1", ".3"):
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(path)], stdout=subprocess.PIPE, text=True)
            for line in done.stdout.splitlines():
                breach(relative(path), line.split(": ", 2)[-1])


def main():
    files = tracked()
    code = [p for p in files if p.suffix in (".c", ".h") and not relative(p).startswith(".")]
    text = [p for p in files if p.suffix in (".c", ".h", ".py", ".sh", ".sql", ".md", ".json", ".1", ".3", ".in")
            or p.name in ("Makefile", "run")]
    check_top_level(files)
    check_includes(code)
    check_headers_alone([p for p in code if p.suffix == ".h" and relative(p).split("/")[0] in ROOMS])
    check_objects()
    for path in text:
        check_text(path)
    for path in code:
        check_function_length(path)
    check_layout(code)
    check_scripts(files)
    for words in breaches:
        print(words)
    print(f"{len(files)} files, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
