#!/bin/sh
# Every public header compiles by itself, as C11 and as C++17, without a warning.
# Usage: headers.sh INCLUDE_FOLDER BUILD_INCLUDE_FOLDER CC [CXX]
include=$1 build=$2 cc=$3 cxx=${4:-}
passed=0 failed=0
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT

# compile FILE COMMAND...: one header in one language
compile() {
    file=$1
    shift
    if "$@" -I "$include" -I "$build" -Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only "$source/$file"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$file does not compile by itself: $*"
    fi
}

echo '#include <dlpack/dlpack.h>' > "$source/probe.c"
has_dlpack=yes
$cc -fsyntax-only "$source/probe.c" 2> /dev/null || has_dlpack=no
for header in "$include"/trine/*.h; do
    name=$(basename "$header" .h)
    [ "$name" = dlpack ] && [ $has_dlpack = no ] && continue
    # twice: a header must bear to be included again
    printf '#include "trine/%s.h"\n#include "trine/%s.h"\n' "$name" "$name" | tee "$source/$name.c" > "$source/$name.cc"
    compile "$name.c" $cc -std=c11 -Wstrict-prototypes
    [ -z "$cxx" ] || compile "$name.cc" $cxx -std=c++17
done
[ -n "$cxx" ] || echo "(no C++ compiler: as C only)"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
