#!/bin/sh
# Checks every op on the CPU at one level. 77, a skip, on a processor without it.
# Usage: check_level.sh TOOL ARCH [options of trine check]
tool=$1 arch=$2
shift 2
output=$(mktemp)
trap 'rm -f "$output"' EXIT
"$tool" check --backend cpu --arch "$arch" "$@" > "$output" 2>&1
status=$?
cat "$output"
if [ $status -ne 0 ] && grep -q "^skipped cpu $arch:.*more than the processor has" "$output"; then exit 77; fi
exit $status
