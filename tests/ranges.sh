#!/bin/sh
# TRINE_RANGES on the hip plugin, on the simulator with a roctx of our own: a range an op, closed again, and none unasked.
# Usage: ranges.sh TOOL SIMULATOR_FOLDER FAKE_ROCTX
tool=$1 simulator=$2 fake=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$fake" "$folder/librocprofiler-sdk-roctx.so.1"
export LD_LIBRARY_PATH="$simulator:$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
passed=0 failed=0

# expect WHAT COMMAND...
expect() {
    what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $what"; fi
}

# The ranges that a check of one op leaves in $folder/marks.
check() { "$tool" check --backend hip --op fill --max-work 50 2>&1 | grep '^range' > "$folder/marks"; }

check
expect 'no range without the variable' test ! -s "$folder/marks"
TRINE_RANGES=1 check
begun=$(grep -c '^range trine_fill at 0$' "$folder/marks") ended=$(grep -c '^range ends at 0$' "$folder/marks")
expect "ranges of the op: $begun" test "$begun" -gt 0
expect "as many ends: $ended" test "$begun" = "$ended"
expect 'nothing else' test "$(wc -l < "$folder/marks")" = $((begun + ended))
rm "$folder/librocprofiler-sdk-roctx.so.1"
TRINE_RANGES=1 check
expect 'no range without the library' test ! -s "$folder/marks"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
