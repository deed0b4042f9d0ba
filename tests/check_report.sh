#!/bin/sh
# The report of `trine check --json`: what somebody with another device sends. The fake plugin, which computes nothing, gives the
# failures. 77, a skip, without python3.
# Usage: check_report.sh TOOL FAKE_PLUGIN
tool=$1 fake=$2
command -v python3 >/dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$fake" "$folder/libtrine-cuda.so"

"$tool" check --backend cpu --op softmax --max-work 3000 --json "$folder/cpu.json" > "$folder/cpu.txt" || exit 1
TRINE_PLUGIN_DIR=$folder "$tool" check --backend cuda:0 --op scale --max-work 3000 --json "$folder/fake.json" > "$folder/fake.txt"
[ $? = 1 ] || { echo "a device that computes nothing passes"; exit 1; }
"$tool" check --op scale --json "$folder/there/is/none.json" 2> "$folder/none.txt"
[ $? = 2 ] || { echo "a report that can't be written is no error"; exit 1; }
for wrong in 'check --max-work few' 'check --op scale more' 'bench --time 0' chek; do
    "$tool" $wrong > "$folder/wrong.txt" 2>&1
    [ $? = 2 ] || { echo "trine $wrong is no error"; exit 1; }
done
for command in info check bench compare; do "$tool" $command --help > "$folder/help.txt" || { echo "trine $command --help fails"; exit 1; }; done

python3 - "$folder" "$("$tool" --version | sed -n 's/^trine //p')" <<'EOF'
import json, pathlib, re, sys

folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
passed = failed = 0


def expect(what, ok):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("failed:", what)


def counts(name):
    text = (folder / name).read_text()
    last = re.search(r"(\d+) refused, (\d+) left out\n(\d+) passed, (\d+) failed", text)
    return dict(zip(("refused", "left_out", "passed", "failed"), map(int, last.groups())))


for name in ("cpu", "fake"):
    report = json.loads((folder / f"{name}.json").read_text())
    expect(f"{name}: header", report["type"] == "check" and report["format"] == 1 and report["complete"])
    expect(f"{name}: versions", report["version"] == version and report["commit"] and report["compiler"] and report["system"])
    expect(f"{name}: options", "--max-work" in report["options"] and str(folder) not in json.dumps(report["options"]))
    expect(f"{name}: backends", [b["name"] for b in report["backends"]] == ["cuda", "hip", "cpu"])
    ops = [op for t in report["targets"] for op in t["ops"]]
    for key, value in counts(f"{name}.txt").items():
        expect(f"{name}: {key}", report[key] == value == sum(op[key] for op in ops))
    for t in report["targets"]:
        expect(f"{name}: device", t["name"] and t["arch"] and t["backend"] and "driver" in t)
    if name == "cpu":
        expect("cpu: no failures", report["failed"] == 0 and not any("failures" in op for op in ops))
        expect("cpu: worst error", 0 < report["worst_error"] <= 1 and "softmax" in report["worst_case"])
        expect("cpu: the family", {op["op"] for op in ops} >= {"softmax", "log_softmax"})
    else:
        first = ops[0]["failures"][0]
        expect("fake: failures", report["failed"] > 10 and len(ops[0]["failures"]) == 10)
        expect("fake: the first", first["case"].startswith("scale") and first["variant"] and "should be" in first["text"])
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
EOF
