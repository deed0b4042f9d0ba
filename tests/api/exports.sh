#!/bin/sh
# What shared objects export: libtrine its public functions, all of them declared in a header; a plugin its table.
# Usage: exports.sh NM INCLUDE_FOLDER LIBTRINE [PLUGIN...]
nm=$1 include=$2 library=$3
shift 3
passed=0 failed=0

# expect CONDITION TEXT
expect() {
    if [ "$1" = yes ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$2"
    fi
}

# has LINES LINE: prints yes if the line is one of them
has() {
    printf '%s\n' "$1" | grep -qx "$2" && echo yes
}

# A sanitizer's own symbols are none of ours.
exported() {
    "$nm" -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | grep -v '^__\(asan\|ubsan\|odr_asan\|lsan\)' | sort -u
}

declared=$(cat "$include"/trine/*.h | grep -o 'trine_[a-z0-9_]*' | sort -u)
functions=$(cat "$include"/trine/*.h | sed -n 's/^TRINE_API .*[ *]\(trine_[a-z0-9_]*\)(.*/\1/p')
symbols=$(exported "$library")
for symbol in $symbols; do
    case $symbol in
    trine_*) expect "$(has "$declared" "$symbol")" "$library exports $symbol, which no header declares" ;;
    *) expect no "$library exports $symbol" ;;
    esac
done
for function in $functions; do
    expect "$(has "$symbols" "$function")" "$library does not export $function"
done
for plugin in "$@"; do
    symbols=$(exported "$plugin" | tr '\n' ' ')
    expect "$([ "$symbols" = 'trine_plugin ' ] && echo yes)" "$plugin should export trine_plugin alone, not $symbols"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
