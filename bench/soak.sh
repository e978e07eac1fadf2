#!/bin/sh
# Crashes and restarts, far more than anybody waits for: at least 10,000 in drawn
# lives of a host (LIVES of them, from SEED), and real kills at every step, with
# mechanisms made of files and with every real one. What it did is in
# build/soak.log.
set -u
cd "$(dirname "$0")/.." || exit 1
seed=${SEED:-$(date +%s)}
lives=${LIVES:-1500}
log=build/soak.log
mkdir -p build
echo "seed $seed, $lives lives; details in $log"
failed=0
soak() {
	if ! RIPOSTE_SOAK=1 nice go test -count=1 -timeout 3h -v "$@" >>"$log" 2>&1; then
		failed=1
		echo "FAILED: go test $*"
	fi
}
: >"$log"
soak ./internal/executor -run 'TestProperty$' -rapid.checks="$lives" -rapid.seed="$seed"
soak ./internal/executor -run 'TestKillAtEveryStep$'
soak ./internal/enforce/all -run 'TestKilledAtEveryStep$'
sed -nE 's/.*_test.go:[0-9]+: ([0-9]+ lives.*)/\1/p; s/^--- (PASS|FAIL): (.*)/\1 \2/p' "$log"
echo "$(grep -c -- '    --- PASS: TestKillAtEveryStep' "$log") kills of a process with effects in files"
sed -nE 's/.*: killed ([0-9]+) times/\1/p' "$log" | awk '{ n += $1 } END { print n " kills of a process with real mechanisms" }'
exit $failed
