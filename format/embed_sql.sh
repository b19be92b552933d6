#!/bin/sh
# embed_sql.sh FILE: a C source that holds FILE's text, less comments and empty lines, as
# tape_index_schema.
set -eu
printf '/* Generated from %s. */\nextern const char tape_index_schema[];\n' "$1"
printf 'const char tape_index_schema[] =\n'
awk '
    /^ *--/ || /^ *$/ { next }
    { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); printf "    \"%s\\n\"\n", $0 }
    END { print "    \"\";" }
' "$1"
