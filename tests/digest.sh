#!/bin/sh
# The ops that promise the same bits on every backend give them on the simulated GPUs too.
# Usage: digest.sh TOOL FOLDER_OF_THE_SIMULATOR [options of trine check]
tool=$1 simulator=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
digests() { "$tool" check --digest "$@" | grep '^digest' | sort -u; }
digests --backend cpu "$@" > "$work/cpu"
for arch in gfx90a gfx942 gfx1100; do
    AMDSIM_ARCH=$arch LD_LIBRARY_PATH=$simulator digests --backend hip "$@" > "$work/$arch"
    wrong=$(comm -13 "$work/cpu" "$work/$arch" | tee "$work/wrong" | wc -l)
    lines=$(wc -l < "$work/$arch")
    sed "s/^digest/FAILED $arch/" "$work/wrong"
    passed=$((passed + lines - wrong)) failed=$((failed + wrong))
    if [ "$lines" -eq 0 ]; then failed=$((failed + 1)) && echo "FAILED $arch gave no digest"; fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
