#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME each (default 10m) and says
# what each found. New inputs that fail are kept by go under testdata/fuzz.
set -u
cd "$(dirname "$0")/.." || exit 1
fuzztime=${FUZZTIME:-10m}
failed=0
for file in $(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' internal ruleset 2>/dev/null | sort); do
	pkg=./$(dirname "$file")
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
		printf '%s %s ' "$pkg" "$target"
		if out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$pkg" 2>&1); then
			printf '%s\n' "$out" | sed -nE 's/.*(execs: [0-9]+).*/\1/p' | tail -1
		else
			failed=$((failed + 1))
			printf 'FAILED\n%s\n' "$out"
		fi
	done
done
exit $((failed > 0))
