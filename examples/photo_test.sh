#!/bin/sh
# Runs photo (the argument) on the CPU with an image that it makes itself; it must also refuse what is wrong.
set -eu
photo=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$photo" --make-test-image "$folder/in.png"
"$photo" --backend cpu --time 7 "$folder/in.png" "$folder/out"
"$photo" --backend cpu "$folder/out/gray.png" "$folder/again" # a gray one
for name in gray blur invert pattern; do
    [ -s "$folder/out/$name.png" ] && [ -s "$folder/again/$name.png" ]
done
! cmp -s "$folder/in.png" "$folder/out/blur.png"
"$photo" --backend cpu "$folder/out/invert.png" "$folder/twice"
"$photo" --backend cpu "$folder/twice/invert.png" "$folder/thrice"
cmp "$folder/out/invert.png" "$folder/thrice/invert.png" # three negatives are one

printf 'no image' > "$folder/bad.png"
refused() {
    if "$photo" "$@" > "$folder/log" 2>&1; then
        echo "was not refused: photo $*"
        exit 1
    fi
    [ -s "$folder/log" ]
}
refused "$folder/bad.png" "$folder/out"
refused "$folder/missing.png" "$folder/out"
refused --backend nonsense "$folder/in.png" "$folder/out"
refused --time soon "$folder/in.png" "$folder/out"
refused "$folder/in.png"
refused "$folder/in.png" "$folder/in.png/out"
echo "4 images made, 6 mistakes refused"
