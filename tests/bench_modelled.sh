#!/bin/sh
# trine bench on the simulated GPU gives modelled figures, and neither it nor trine compare shows them as measured.
# Usage: bench_modelled.sh TOOL FOLDER_OF_THE_SIMULATOR
tool=$(realpath "$1") simulator=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
check() { # what, command
    if eval "$2" > /dev/null 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED $1"; fi
}
cd "$work" || exit 1
simulated() { LD_LIBRARY_PATH=$simulator AMDSIM_ARCH=$1 "$tool" bench --backend hip --op sum --dtype f32 --quick --max-work 40000 --json "$1.json" > "$1.txt" 2>&1; }
for arch in gfx90a gfx942 gfx1100; do
    check "bench on $arch" "simulated $arch"
    check "$arch: a header that says modelled" "head -n 1 $arch.json | grep -q '\"modelled\":true'"
    check "$arch: a result with counters" "grep -q '\"modelled\":{\"kernel\":\"[^\"]*reduce.*\"vgprs\":[1-9].*\"shares\":{\"vector\":[01]' $arch.json"
    check "$arch: bytes are at least the op's own" "sed -n 's/.*\"bytes\":\([0-9]*\),.*\"bytes_read\":\([0-9]*\),.*/\1 \2/p' $arch.json | awk '{ if (\$2 >= 0.9 * \$1) good = 1 } END { exit !good }'"
    check "$arch: nothing that stands for a measured time" "! grep -q '\"median\"\|\"gbps\"\|\"percent_of_roofline\"' $arch.json"
    check "$arch: the table says so" "grep -q 'modelled by the simulator.*not measured' $arch.txt"
done
check "bench on the CPU" "'$tool' bench --backend cpu --op sum --dtype f32 --quick --max-work 40000 --time 0.01 --no-peers --json cpu.json"
check "compare" "'$tool' compare --html page.html cpu.json gfx942.json gfx90a.json > compare.txt"
check "modelled times are marked" "grep -q '~[0-9.]* us' compare.txt && grep -q '~[0-9.]* us' page.html"
check "what the mark means" "grep -q 'modelled, not measured' compare.txt && grep -q 'modelled by a simulator' page.html"
check "no speed of a modelled time beside a measured one" "! grep -q 'times the' compare.txt"
check "modelled beside modelled" "'$tool' compare gfx942.json gfx90a.json | grep -q 'times the modelled speed'"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
