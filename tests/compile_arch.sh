#!/bin/sh
# compile_arch.sh ARCH FILES COMPILER FLAGS...: device files (a comma between them) compile for an arch that this build has no code for.
arch=$1 files=$2; shift 2
passed=0 failed=0
for file in $(echo "$files" | tr , ' '); do
    if "$@" --offload-arch="$arch" --cuda-device-only -c "$file" -o /dev/null; then passed=$((passed + 1)); else
        echo "FAILED: $file for $arch"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
