#!/usr/bin/python3
"""index.db as the outside sees it: the sqlite3 shell dumps, asks and checks it.

Live writing, catching up after kills and a rebuild give the same dump; every view runs; other accounts read it
after the recorder stopped; real captures hold what is known of them."""
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STORY = BUILD / "tests/part/index_story"
DATA = pathlib.Path(os.environ.get("TAPE_DATA", ROOT.parent / "shared" / "data"))
VIEWS = ("v_coverage", "v_gap", "v_latency", "v_connection", "v_storage", "v_subscription")


def story(*words, **options):
    return subprocess.run([str(STORY), *map(str, words)], stdout=subprocess.PIPE, text=True, check=True, **options).stdout


def shell(archive, sql, *flags, prefix=()):
    done = subprocess.run([*prefix, "sqlite3", *flags, str(archive / "index.db"), sql], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and not done.stderr, (sql, done.stdout, done.stderr)
    return done.stdout


def dump(archive):
    return shell(archive, ".dump", "-readonly")


def remove_index(archive):
    for path in archive.glob("index.db*"):
        path.unlink()


def same_dumps(scratch):
    for seed in range(1, 5):
        archive = scratch / f"life{seed}"
        story("write", archive, seed, 6000, seed % 2)
        # SQLite's own files stay: accounts that may only read need them
        assert (archive / "index.db-wal").exists() and (archive / "index.db-shm").exists()
        live = dump(archive)
        assert live.count("\n") > 3000, len(live)
        remove_index(archive)
        story("catch_up", archive)
        assert dump(archive) == live, f"seed {seed}: a rebuild differs"
        assert story("catch_up", archive) == "0 blocks\n"
        assert dump(archive) == live
        assert story("compare", archive) == "0 differences\n"


def killed_while_catching_up(scratch):
    archive = scratch / "killed"
    story("write", archive, 21, 60000, 1)
    live = dump(archive)
    remove_index(archive)
    began = time.monotonic()
    story("catch_up", archive)
    whole = time.monotonic() - began
    remove_index(archive)
    chance = random.Random(3)
    kills = 0
    for _ in range(30):
        process = subprocess.Popen([str(STORY), "catch_up", str(archive)], stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 0.7 * whole))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
    story("catch_up", archive)
    assert kills > 0, "never killed in the middle"
    assert dump(archive) == live, f"after {kills} kills the dump differs"
    print(f"{kills} kills while catching up, dump identical")


def asked_while_written(scratch):
    """Readers of the growing file are never refused and never see half a transaction."""
    archive = scratch / "growing"
    writer = subprocess.Popen([str(STORY), "write", str(archive), "33", "60000", "1"])
    asked = 0
    while writer.poll() is None:
        if not (archive / "index.db-wal").exists():
            continue
        agree = subprocess.run(["sqlite3", "-readonly", "-cmd", ".timeout 5000", str(archive / "index.db"),
                                "SELECT count(*) FROM sqlite_schema"], stdout=subprocess.PIPE, text=True)
        if agree.returncode or agree.stdout == "0\n":
            continue  # it is only being made
        agree = shell(archive, "SELECT (SELECT coalesce(sum(records), 0) FROM block) = "
                               "(SELECT value + 0 FROM meta WHERE key = 'next_ordinal'), "
                               "(SELECT coalesce(sum(messages), 0) FROM stream) = "
                               "(SELECT coalesce(sum(messages), 0) FROM v_coverage)",
                      "-readonly", "-cmd", ".timeout 5000")
        assert agree == "1|1\n", agree
        asked += 1
    assert writer.wait() == 0 and asked > 3, asked
    print(f"asked {asked} times while it was written")


def questions(archive):
    for view in VIEWS:
        rows = shell(archive, f"SELECT day, typeof(ts), * FROM {view}", "-readonly").splitlines()
        assert rows, view
        assert all(re.match(r"20\d{6}\|real\|", row) for row in rows), (view, rows[0])
    assert shell(archive, "PRAGMA integrity_check") == "ok\n"
    assert shell(archive, "PRAGMA foreign_key_check") == ""
    assert shell(archive, "PRAGMA journal_mode") == "wal\n"
    assert shell(archive, "PRAGMA application_id") == f"{0x5450444b}\n"
    assert shell(archive, "PRAGMA user_version") == "2\n"
    assert shell(archive, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' OR sql LIKE '%VIRTUAL%'") == "0\n"
    strict = shell(archive, "SELECT count(*), sum(strict), sum(wr) FROM pragma_table_list WHERE type = 'table' "
                            "AND schema = 'main' AND name NOT LIKE 'sqlite%'")
    assert strict == "13|13|0\n", strict
    # what the fold says in two places agrees
    assert shell(archive, "SELECT sum(missing) FROM v_gap WHERE kind = 'sequence' AND stream IS NOT NULL") != "\n"
    assert shell(archive, "SELECT count(*) FROM v_coverage WHERE loss = 'undetectable' AND missing IS NOT NULL") == "0\n"
    plan = shell(archive, "EXPLAIN QUERY PLAN SELECT block_id FROM block_stream WHERE stream_id = 1 AND first_ns "
                          "BETWEEN 5 AND 6")
    assert "block_stream_time" in plan, plan


def views_obey_other_engines():
    """DuckDB parses the views in its own dialect: what means something else there is not in them."""
    text = (ROOT / "format/index.sql").read_text(encoding="utf-8")
    views = re.sub(r"--[^\n]*", "", text[text.index("CREATE VIEW"):])
    assert not re.search(r"\b(CAST|USING|date|datetime|strftime|julianday|unixepoch|time)\b", views, re.I)
    assert all("* 1.0 /" in line for line in views.splitlines() if "/" in line)
    for view in VIEWS:
        body = views[views.index(f"CREATE VIEW {view} "):].split(";")[0]
        assert " AS day," in body and " AS ts," in body, view


def another_account(archive):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("skipped: reading as another account needs root and setpriv")
        return
    for path in [archive, *archive.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for above in archive.parents:
        if above.stat().st_mode & 0o001 == 0:
            above.chmod(above.stat().st_mode | 0o011)
    for program in (STORY, *STORY.parents):
        if program.stat().st_mode & 0o001 == 0:
            print("skipped: the build directory is closed to other accounts")
            return
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    before = sorted(path.name for path in archive.iterdir())
    assert "index.db-wal" in before and "index.db-shm" in before, before
    ours = shell(archive, "SELECT count(*) FROM v_coverage", "-readonly")
    assert shell(archive, "SELECT count(*) FROM v_coverage", "-readonly", prefix=nobody) == ours
    command = [*nobody, str(STORY), "compare", str(archive)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout == "0 differences\n"
    assert sorted(path.name for path in archive.iterdir()) == before
    # a copy without SQLite's own files beside it, in a directory that cannot be written
    (archive / "index.db-wal").unlink()
    (archive / "index.db-shm").unlink()
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout == "0 differences\n"
    # a path that looks like a URI and its arguments
    odd = archive.parent / "file:odd?mode=memory#%41 'x'"
    shutil.copytree(archive, odd)
    command = [*nobody, str(STORY), "compare", odd.name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=odd.parent)
    assert done.stdout == "0 differences\n", done.stdout


def real_captures(scratch):
    known = (
        ("usdm_btcusdt_20240808", "binance-usdm", {"btcusdt@trade": "next_id", "btcusdt@depth@0ms": "previous_last",
                                                   "btcusdt@bookTicker": "rising"}),
        ("spot_btcusdt_20240808", "binance-spot", {"btcusdt@trade": "next_id", "btcusdt@depth@100ms": "first_follows",
                                                   "btcusdt@bookTicker": "rising"}),
        ("cm_btcusd_perp_20240808", "binance-coinm", {"btcusd_perp@trade": "next_id",
                                                      "btcusd_perp@depth@0ms": "previous_last",
                                                      "btcusd_perp@bookTicker": "rising"}),
    )
    for name, venue, rules in known:
        path = DATA / "hftbacktest" / f"{name}.txt.zst"
        if not path.exists():
            print(f"skipped: {path} is not there")
            continue
        archive = scratch / name
        with subprocess.Popen(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE) as source:
            story("lines", archive, venue, stdin=source.stdout)
        rows = shell(archive, "SELECT name, sequence_rule, loss_detectable, duplicates, breaks FROM stream "
                              "WHERE name <> '' ORDER BY name", "-readonly").splitlines()
        # its README: every number follows, bookTicker's only rise
        assert rows == [f"{stream}|{rule}|{int(rule != 'rising')}|0|0" for stream, rule in sorted(rules.items())], rows
        lines = subprocess.run(f"zstd -dcq {path} | wc -l", shell=True, stdout=subprocess.PIPE, text=True).stdout
        # (the one REST snapshot is longer than the story's frames may be)
        counted = int(shell(archive, "SELECT sum(messages) FROM v_coverage", "-readonly"))
        assert 0 <= int(lines) - counted <= 1, (lines, counted)
        if venue == "binance-usdm":
            low, high = map(float, shell(archive, "SELECT min(min_ns) * 1e-9, max(max_ns) * 1e-9 FROM v_latency "
                                                  "WHERE stream <> ''", "-separator", " ").split())
            assert -1.3 < low < -1.2 and high < -1.1, (low, high)
        one = dump(archive)
        remove_index(archive)
        story("catch_up", archive)
        assert dump(archive) == one
        print(f"{name}: {counted} messages, no break, no duplicate")


def main():
    if not STORY.exists():
        sys.exit(f"{STORY} is not built")
    views_obey_other_engines()
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        same_dumps(scratch)
        killed_while_catching_up(scratch)
        asked_while_written(scratch)
        questions(scratch / "life1")
        another_account(scratch / "life2")
        real_captures(scratch)


if __name__ == "__main__":
    main()
