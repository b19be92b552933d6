#!/bin/sh
# embed.sh FILE.json...: writes C source that holds the venue profiles. Names are the file names.
set -eu
export LC_ALL=C

echo '/* Made from format/venues/ by embed.sh. */'
echo '#include "format/venue_profile.h"'
for file; do
    name=$(basename "$file" .json)
    echo
    echo "static const char $(printf %s "$name" | tr -c 'a-z0-9' _)[] = {"
    od -An -v -tu1 "$file" | awk '{ for (i = 1; i <= NF; i++) printf "%s,", ($i > 127 ? $i - 256 : $i); print "" }'
    echo '0};'
done
echo
echo 'const struct tape_venue_source tape_venue_sources[] = {'
for file; do
    name=$(basename "$file" .json)
    id=$(printf %s "$name" | tr -c 'a-z0-9' _)
    echo "    {\"$name\", $id, sizeof $id - 1},"
done
echo '    {0, 0, 0},'
echo '};'
