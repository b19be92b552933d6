#!/bin/sh
# Joins the public headers, given in order, into tape.h: one self-contained header for C11 and C++.
# Includes of the headers' own kind ("room/file.h") fall away; each keeps its guard.
set -eu
echo '/* Tapedeck: recorded and live market feeds through one parser. See libtapedeck(3).'
echo ' * Joined from the public headers; do not edit. */'
echo '#ifndef TAPE_H'
echo '#define TAPE_H'
for header in "$@"; do
    echo
    sed '/^#include "/d' "$header"
done
echo
echo '#endif'
