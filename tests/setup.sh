#!/bin/sh
# Installs the Debian packages that are missing: tests/setup.sh [run|check|bench]
#   run    what `make demo` needs; check adds what `make check` and `make fuzz` need; bench what `make
#   bench` needs. Says nothing when everything is there; asks for the package lists only when something
#   is missing. As root it calls apt-get, else through sudo; where neither works it says what to install.
set -eu

run="gcc libc6-dev make pkg-config libssl-dev libzstd-dev libsqlite3-dev libcjson-dev
     python3 python3-websockets openssl sqlite3 zstd gzip curl ca-certificates"
check="$run chromium nodejs node-ws g++ clang-14 clang-format-14 libclang-rt-14-dev libcmocka-dev valgrind mandoc
       binutils git zlib1g-dev" # which `pkg-config --static sqlite3` names
bench="$run g++ valgrind libboost-dev libboost-system-dev libwslay-dev"

case "${1:-run}" in
run) wanted=$run ;;
check) wanted=$check ;;
bench) wanted=$bench ;;
*)
    echo "tests/setup.sh: '$1' is none of run, check, bench" >&2
    exit 2
    ;;
esac

# A package counts as installed under its own name or under that of one that provides it, so that
# pkgconf serves for pkg-config. Where commands may come from elsewhere, the command will do.
installed() {
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
        sed -n 's/^installed //p' | sed 's/([^)]*)//g; s/,/ /g' | tr -s ' ' '\n'
}

missing_of() {
    have=$(installed)
    for package in $wanted; do
        printf '%s\n' "$have" | grep -qxF -e "$package" || printf '%s ' "$package"
    done
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "tests/setup.sh: no dpkg and apt-get here; on Debian 12 the packages are:" $wanted >&2
    exit 0
fi

missing=$(missing_of)
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "tests/setup.sh: missing: $missing" >&2
        echo "tests/setup.sh: neither root nor sudo here; please run: apt-get install $missing" >&2
        exit 1
    fi
    as_root=sudo
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    # shellcheck disable=SC2086
    if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        echo "tests/setup.sh: apt-get $* failed (above: its last lines)" >&2
        echo "tests/setup.sh: please install by hand: $missing" >&2
        exit 1
    fi
}

echo "installing: $missing"
apt update
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing

missing=$(missing_of)
if [ -n "$missing" ]; then
    echo "tests/setup.sh: still missing after apt-get: $missing" >&2
    exit 1
fi
