#!/bin/sh
# The installed tree as a user has it: tape.h compiles alone in C11 and C++17, the samples in C build with
# what pkg-config says, shared and static, strategy.c prints the trades of an archive and of one that is being
# recorded, samples/tapedeck.py finds the library and decides as its twin in C does; the library exports
# tape_* only and names nothing that prints, exits or reads the environment.
# plain build only: it installs, and links programs that know no sanitizer.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/tapedeck-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree

fail()
{
    echo "FAILED: $*"
    exit 1
}

make -s -C "$root" install BUILD="$BUILD" DESTDIR="$tree" prefix=/usr >"$scratch/install.log" 2>&1 ||
    fail "make install: $(cat "$scratch/install.log")"
for file in bin/tape-record bin/tape-replay lib/libtapedeck.a lib/libtapedeck.so.0 include/tape.h \
    lib/pkgconfig/tapedeck.pc share/man/man1/tape-replay.1 share/man/man3/libtapedeck.3; do
    [ -s "$tree/usr/$file" ] || fail "$file is not installed"
done

export PKG_CONFIG_SYSROOT_DIR="$tree" PKG_CONFIG_LIBDIR="$tree/usr/lib/pkgconfig:$(pkg-config --variable pc_path pkg-config)"
export PKG_CONFIG_PATH="$tree/usr/lib/pkgconfig"
# One build is installed under two prefixes: each .pc names its own.
make -s -C "$root" install BUILD="$BUILD" prefix="$scratch/home" >"$scratch/install.log" 2>&1 ||
    fail "make install again: $(cat "$scratch/install.log")"
for named in "$scratch/home $scratch/home" "$tree/usr /usr"; do
    grep -qxF "prefix=${named#* }" "${named% *}/lib/pkgconfig/tapedeck.pc" || fail "tapedeck.pc: not prefix=${named#* }"
done
cflags=$(pkg-config --cflags tapedeck) libs=$(pkg-config --libs tapedeck)

echo '#include <tape.h>
int main(void)
{
    struct tape_book_level level = {{{0, 0}, 0, 0, 0}, {{0, 0}, 0, 0, 0}};
    struct tape_book *book = tape_book_for("spot", "btcusdt@depth@100ms", 0);
    int found = tape_book_state(book) == TAPE_BOOK_UNKNOWN && tape_book_level(book, 0, 0, &level) == 0;
    tape_book_free(book);
    return !found || tape_source_layout("tape_message") == 0 || tape_source_open("", 0, 0) != 0;
}' >"$scratch/alone.c"
cp "$scratch/alone.c" "$scratch/alone.cc"
strict="-Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2086
cc -std=c11 $strict $cflags -o "$scratch/alone_c" "$scratch/alone.c" $libs || fail "C11"
# shellcheck disable=SC2086
c++ -std=c++17 $strict $cflags -o "$scratch/alone_cc" "$scratch/alone.cc" $libs || fail "C++17"
# shellcheck disable=SC2086
cc -std=c11 $strict $cflags -o "$scratch/strategy" "$root/samples/strategy.c" $libs || fail "strategy.c"
for sample in moving_average market_maker; do
    # shellcheck disable=SC2086
    cc -std=c11 $strict $cflags -o "$scratch/$sample" "$root/samples/$sample.c" $libs || fail "$sample.c"
done
[ "$(wc -l <"$root/samples/strategy.c")" -le 30 ] || fail "strategy.c has more than 30 lines"
# shellcheck disable=SC2086
cc $cflags -o "$scratch/strategy_static" "$root/samples/strategy.c" "$tree/usr/lib/libtapedeck.a" \
    $(pkg-config --static --libs-only-l tapedeck | sed 's/-ltapedeck//') || fail "static"

readelf -d "$tree/usr/lib/libtapedeck.so.0" | grep -q 'SONAME.*\[libtapedeck.so.0\]' || fail "SONAME"
others=$(nm -D --defined-only "$tree/usr/lib/libtapedeck.so.0" | awk '$2 ~ /[A-Z]/ {print $3}' | grep -v '^tape_' || true)
[ -z "$others" ] || fail "exports that are not tape_*: $others"
named=$(nm -D -u "$tree/usr/lib/libtapedeck.so.0" | awk '{print $2}' | sed 's/@.*//' |
    grep -xE 'printf|puts|putchar|perror|vprintf|fprintf|exit|_exit|abort|getenv|secure_getenv|setlocale' || true)
[ -z "$named" ] || fail "the library names: $named"

# Trades, one a line, as python's json reads them.
/usr/bin/python3 - "$scratch" <<'PYTHON'
import json, sys
scratch, wanted = sys.argv[1], []
with open(scratch + "/lines.txt", "w", encoding="ascii") as lines:
    for i in range(500):
        ns = 1795334400000000000 + i * 1000
        kind = ("trade", "aggTrade", "bookTicker")[i % 3]
        body = {"e": kind, "s": "BTCUSDT", "p": "%d.10" % i, "q": "0.00%d" % i, "t": i, "a": i, "T": 1, "E": 1}
        if kind == "bookTicker":
            body = {"e": kind, "u": i, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4"}
        else:
            wanted.append("%d BTCUSDT %s x %s\n" % (ns, body["p"], body["q"]))
        lines.write("%d %s\n" % (ns, json.dumps({"stream": "btcusdt@" + kind, "data": body})))
with open(scratch + "/wanted.txt", "w", encoding="ascii") as file:
    file.writelines(wanted)
PYTHON
export LD_LIBRARY_PATH="$tree/usr/lib"
for program in alone_c alone_cc; do
    "$scratch/$program" || fail "$program: $?"
done
"$tree/usr/bin/tape-record" --import "$scratch/lines.txt" "$scratch/tape" >/dev/null 2>&1 || fail "import"
for program in strategy strategy_static; do
    "$scratch/$program" "$scratch/tape" >"$scratch/got.txt" 2>"$scratch/said.txt" || fail "$program: $(cat "$scratch/said.txt")"
    cmp -s "$scratch/got.txt" "$scratch/wanted.txt" || fail "$program: $(diff "$scratch/got.txt" "$scratch/wanted.txt" | head -5)"
done
for words in "" "--help" "--follow" "a b"; do
    for sample in strategy moving_average market_maker; do
        [ "$sample $words" != "moving_average a b" ] && [ "$sample $words" != "market_maker a b" ] || continue
        code=0
        # shellcheck disable=SC2086
        "$scratch/$sample" $words >/dev/null 2>"$scratch/said.txt" || code=$?
        [ $code = 2 ] && grep -q "^usage: $sample " "$scratch/said.txt" ||
            fail "$sample $words: $code, $(cat "$scratch/said.txt")"
    done
done
"$scratch/strategy" "$scratch/none" >/dev/null 2>"$scratch/said.txt" && fail "no archive, and no error"
grep -q "^open $scratch/none: " "$scratch/said.txt" || fail "words: $(cat "$scratch/said.txt")"

# Python: a copy of the file anywhere finds the installed library, the system's or the one it is told.
mkdir "$scratch/python"
cp "$root/samples/tapedeck.py" "$root/samples/moving_average.py" "$scratch/python"
"$root/samples/generate.py" --seed 3 --symbols btcusdt --streams trade,aggTrade --count 3000 >"$scratch/trades.txt"
"$tree/usr/bin/tape-record" --import "$scratch/trades.txt" "$scratch/trades" >/dev/null 2>&1 || fail "import of trades"
"$scratch/moving_average" "$scratch/trades" >"$scratch/wanted_decisions.txt" || fail "moving_average"
[ -s "$scratch/wanted_decisions.txt" ] || fail "moving_average decided nothing"
for library in "" "$tree/usr/lib/libtapedeck.so.0"; do
    TAPEDECK_LIBRARY=$library /usr/bin/python3 -B "$scratch/python/moving_average.py" "$scratch/trades" \
        >"$scratch/got.txt" 2>&1 || fail "moving_average.py: $(cat "$scratch/got.txt")"
    cmp -s "$scratch/got.txt" "$scratch/wanted_decisions.txt" || fail "Python: $(head -3 "$scratch/got.txt")"
done

# Live: the recorder reads from a pipe that is fed while the strategy follows.
mkfifo "$scratch/pipe"
"$tree/usr/bin/tape-record" --import - "$scratch/live" <"$scratch/pipe" >/dev/null 2>&1 &
recorder=$!
exec 3>"$scratch/pipe"
head -n 200 "$scratch/lines.txt" >&3
tries=0
while ! "$tree/usr/bin/tape-replay" ls --json "$scratch/live" 2>/dev/null | grep -q '"recording":true'; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "the recorder never began"
    sleep 0.1
done
"$scratch/strategy" --follow "$scratch/live" >"$scratch/got.txt" 2>"$scratch/said.txt" 3>&- &
strategy=$!
tail -n +201 "$scratch/lines.txt" >&3
exec 3>&-
wait $recorder || fail "the recorder ended with $?"
wait $strategy || fail "the strategy ended with $?: $(cat "$scratch/said.txt")"
cmp -s "$scratch/got.txt" "$scratch/wanted.txt" || fail "live: $(diff "$scratch/got.txt" "$scratch/wanted.txt" | head -5)"
