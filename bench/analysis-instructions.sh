#!/bin/sh
# Counts the instructions that the analysis engine takes for an event, alerts and
# all, without garbage collection. Unlike times these do not depend on what else
# the machine does, so that two builds can be compared anywhere. Needs valgrind.
#   bench/analysis-instructions.sh [CONFORMANCE]     EVENTS=16000 by default
set -eu
cd "$(dirname "$0")/.."
data=${1:-${RIPOSTE_CONFORMANCE:-../shared/conformance}}
events=${EVENTS:-16000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/analysis" ./bench/analysis
count() {
	GOGC=off GOMAXPROCS=1 valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null "$dir/analysis" --stock "$data" \
		--dialect "$1" --input "$dir/mixed.log" --events "$2" 2>&1 >/dev/null | sed -n 's/.*refs: *//; s/,//g; /^[0-9]*$/p' | tail -n 1
}
"$dir/analysis" --stock "$data" --make mixed --events 200000 --output "$dir/mixed.log"
for dialect in ossec wazuh; do
	all=$(count $dialect "$events")
	load=$(count $dialect 1)
	echo "$dialect mixed: $(((all - load) / events)) instructions an event"
done
