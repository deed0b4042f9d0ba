#!/bin/sh
# Installs what is built into a scratch prefix and uses it from there as a stranger would: through pkg-config and through CMake,
# with plugins, without, and after the prefix was moved. Nothing is rebuilt.
# Usage: install.sh SOURCE_FOLDER BUILD_FOLDER FAKE_PLUGIN CC
source=$1 build=$2 fake=$3 cc=$4
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DESTDIR

# expect TEXT COMMAND...: the command succeeds
expect() {
    text=$1
    shift
    if "$@" > "$work/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $text ($*)"
        tail -20 "$work/output"
    fi
}

finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] && [ $passed -gt 0 ]
    exit
}

# says TEXT COMMAND...: the command's output contains the text
says() {
    wanted=$1
    shift
    "$@" 2>&1 | grep -qF "$wanted"
}

# ---- Install, and find the pieces ----
expect 'meson install' meson install -C "$build" --no-rebuild --quiet --destdir "$work/destination"
pc=$(find "$work/destination" -name trine.pc)
if [ -z "$pc" ]; then
    expect 'trine.pc is installed' false
    finish
fi
configured=$(sed -n 's/^prefix=//p' "$pc")
root=$work/first
mv "$work/destination$configured" "$root"

# Sets the paths that depend on where the prefix is.
locate() {
    root=$1
    config=$(find "$root" -name trine.pc -exec dirname {} +)
    libraries=$(dirname "$config")
    cmake_files=$libraries/cmake/trine
}
locate "$root"
for file in "$source"/include/trine/*.h "$source/core/ops.def"; do
    name=$(basename "$file")
    expect "$name is installed" cmp "$file" "$root/include/trine/$name"
done
expect 'the library has its names' test -e "$libraries/libtrine.so" -a -e "$libraries/libtrine.so.0"
expect 'nothing of the tests is installed' test -z "$(find "$root" -name '*fake*' -o -name '*test*')"

# ---- A program, and one that says where the library looks for plugins ----
program=$source/examples/minimal.c
if [ ! -f "$program" ]; then
    program=$work/minimal.c
    cat > "$program" <<'PROGRAM'
#include <stdio.h>
#include <trine/trine.h>

int main(void)
{
    float x[3] = {1, 2, 3};
    trine_stream *stream;
    if (trine_stream_create(NULL, &stream) != TRINE_OK) return 1;
    trine_tensor t = trine_tensor_1d(x, TRINE_F32, 3);
    if (trine_scale(stream, &(trine_scale_args){.x = t, .y = t, .value = 2}) != TRINE_OK) return 1;
    trine_stream_destroy(stream);
    return x[2] == 6 ? 0 : 1;
}
PROGRAM
fi
cat > "$work/where.c" <<'PROGRAM'
#include <stdio.h>
#include <trine/trine.h>

int main(void)
{
    int32_t count = 0;
    trine_status status = trine_device_count("cuda", &count);
    printf("%s %d %s\n", trine_status_name(status), (int)count, status == TRINE_OK ? "" : trine_error_text());
    return 0;
}
PROGRAM

# run PROGRAM: with the library of this prefix, wherever that is
run() {
    LD_LIBRARY_PATH=$libraries TRINE_PLUGIN_DIR='' "$@"
}

# ---- pkg-config ----
if command -v pkg-config > /dev/null; then
    flags() { PKG_CONFIG_PATH=$config pkg-config --define-variable=prefix="$root" "$@" trine; }
    expect 'pkg-config knows trine' flags --exists
    expect 'pkg-config knows the version' test "$(flags --modversion)" = "$("$source/scripts/version")"
    trine=$(flags --cflags --libs)
    expect 'compiles through pkg-config' $cc -std=c11 -Wall -Wextra -Werror "$program" $trine -o "$work/by_pkg_config"
    expect 'compiles through pkg-config' $cc "$work/where.c" $trine -o "$work/where"
else
    echo '(no pkg-config)'
    expect 'compiles' $cc "$program" -I "$root/include" -L "$libraries" -ltrine -o "$work/by_pkg_config"
    expect 'compiles' $cc "$work/where.c" -I "$root/include" -L "$libraries" -ltrine -o "$work/where"
fi
expect 'runs with what is installed' run "$work/by_pkg_config"

# ---- CMake ----
# cmake_project VERSION: configures and builds a project that wants this version
cmake_project() {
    mkdir -p "$work/project"
    cat > "$work/project/CMakeLists.txt" <<PROJECT
cmake_minimum_required(VERSION 3.10)
project(stranger C)
find_package(trine $1 REQUIRED)
add_executable(by_cmake "$program")
target_link_libraries(by_cmake trine::trine)
PROJECT
    rm -rf "$work/project/build"
    cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$root" -DCMAKE_C_COMPILER="$cc" &&
        cmake --build "$work/project/build"
}
cmake_refuses() {
    ! cmake_project "$1"
}
has_cmake=no # which takes one word as the compiler
command -v cmake > /dev/null && [ "${cc%% *}" = "$cc" ] && has_cmake=yes
if [ $has_cmake = yes ]; then
    version=$("$source/scripts/version")
    expect 'builds through CMake' cmake_project ''
    expect 'runs, built by CMake' run "$work/project/build/by_cmake"
    expect 'CMake takes the version that is there' cmake_project "$version"
    expect 'CMake refuses a later version' cmake_refuses 99.0
else
    echo '(no cmake)'
fi

# ---- Plugins: beside the library, wherever that is ----
cp "$fake" "$libraries/libtrine-cuda.so"
expect 'finds the plugin beside itself' says 'TRINE_OK 2' run "$work/where"
cp -R "$root" "$work/second place"
rm -rf "$root"
locate "$work/second place"
expect 'finds the plugin after the prefix was moved' says 'TRINE_OK 2' run "$work/where"
expect 'runs after the prefix was moved' run env TRINE_BACKEND=cpu "$work/by_pkg_config"
if [ $has_cmake = yes ]; then
    expect 'builds through CMake after the prefix was moved' cmake_project ''
fi
if [ -x "$root/bin/trine" ]; then
    expect 'the tool finds the library after the prefix was moved' env -u LD_LIBRARY_PATH "$root/bin/trine" --version
fi
rm -f "$libraries"/libtrine-*.so
expect 'says where it looked for the plugin' says "there is no plugin $libraries/libtrine-cuda.so" run "$work/where"
expect 'runs without plugins' run "$work/by_pkg_config"
finish
