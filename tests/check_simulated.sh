#!/bin/sh
# Checks every op of the HIP plugin on a simulated GPU, and that the ops that promise the same bits on every backend give the CPU's.
# Usage: check_simulated.sh TOOL FOLDER_OF_THE_SIMULATOR ARCH [options of trine check]
tool=$1 simulator=$2 arch=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
digests() { grep '^digest' "$1" | sort -u; }

AMDSIM_ARCH=$arch LD_LIBRARY_PATH=$simulator "$tool" check --backend hip --digest "$@" > "$work/hip.txt" 2>&1
status=$?
"$tool" check --backend cpu --exact --digest "$@" > "$work/cpu.txt" || status=1
grep -v '^digest' "$work/hip.txt"
digests "$work/hip.txt" > "$work/hip"
digests "$work/cpu.txt" > "$work/cpu"
comm -23 "$work/hip" "$work/cpu" | tee "$work/wrong" | sed "s/^digest/FAILED $arch, other bits than the CPU's:/"

lines=$(wc -l < "$work/hip") wrong=$(wc -l < "$work/wrong")
[ "$lines" -gt 0 ] || { echo "FAILED $arch gave no digest" && wrong=1 lines=1; }
counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$work/hip.txt" | tail -n 1)
passed=${counts%% *} failed=${counts#*, }
echo "$((${passed:-0} + lines - wrong)) passed, $((${failed%% *} + wrong)) failed"
[ $status -eq 0 ] && [ -n "$counts" ] && [ "$wrong" -eq 0 ]
