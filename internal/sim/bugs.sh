#!/usr/bin/env bash
# Copyright (c) The Cairn Authors
# SPDX-License-Identifier: MPL-2.0
#
# bugs.sh [PATCH...]: a check that has never failed is not yet a check. Plants each
# bug of testdata/bugs (or those named) in a copy of the working tree and runs the
# simulator over it; fails unless the simulator finds every one, and finds nothing
# in the copy without a bug. CAIRN_SIM_SEEDS sets the number of seeds, 2000 without.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
seeds=${CAIRN_SIM_SEEDS:-2000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ $# -gt 0 ]; then
	mapfile -t patches < <(realpath "$@")
else
	patches=("$root"/internal/sim/testdata/bugs/*.patch)
fi
[ -e "${patches[0]}" ] || { echo "no patches in internal/sim/testdata/bugs"; exit 1; }

# The simulator needs no more of the module than this.
copy() {
	mkdir -p "$1/internal"
	cp "$root/go.mod" "$root/go.sum" "$1/"
	cp -r "$root/internal/workflow" "$root/internal/engine" "$root/internal/sim" "$1/internal/"
}

simulate() {
	(cd "$1" && env -u CAIRN_SIM_SEED CAIRN_SIM_SEEDS="$seeds" go test ./internal/sim -count=1 -timeout 30m) >"$1/output" 2>&1
}

copy "$work/clean"
if ! simulate "$work/clean"; then
	echo "the simulator fails without any bug planted:"
	tail -n 40 "$work/clean/output"
	exit 1
fi
echo "no bug planted: $seeds seeds are clean"

missed=0
for patch in "${patches[@]}"; do
	name=$(basename "$patch" .patch)
	tree=$work/$name
	copy "$tree"
	if ! (cd "$tree" && git apply --whitespace=nowarn "$patch" && go vet ./internal/engine ./internal/sim) >"$tree/output" 2>&1; then
		echo "$name: the patch does not apply or compile; write it anew:"
		cat "$tree/output"
		missed=$((missed + 1))
	elif simulate "$tree"; then
		echo "$name: NOT FOUND in $seeds seeds"
		missed=$((missed + 1))
	elif seed=$(grep -oiE -m1 'seed[ =:]*[0-9]+' "$tree/output"); then
		echo "$name: found, $seed"
	else
		echo "$name: the tests failed, but not in a seed:"
		tail -n 40 "$tree/output"
		missed=$((missed + 1))
	fi
	rm -rf "$tree"
done
[ $missed -eq 0 ] || { echo "$missed of ${#patches[@]} bugs were not found by the simulator"; exit 1; }
echo "all ${#patches[@]} bugs found"
