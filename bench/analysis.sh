#!/bin/sh
# Measures the analysis engine with the stock rulesets of both systems: a mixed
# corpus made from all visible samples, and an sshd brute force, seeded.
#   bench/analysis.sh [CONFORMANCE]     EVENTS=1000000 by default
set -eu
cd "$(dirname "$0")/.."
data=${1:-${RIPOSTE_CONFORMANCE:-../shared/conformance}}
events=${EVENTS:-1000000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/analysis" ./bench/analysis
printf '%-8s %-6s %7s %10s %9s %9s %9s %8s %9s\n' ruleset corpus workers events/s 'user s/M' 'sys s/M' alerts load/ms 'RSS/MB'
for dialect in ossec wazuh; do
	for corpus in mixed sshd; do
		"$dir/analysis" --stock "$data" --dialect $dialect --make $corpus --events 200000 --output "$dir/$dialect-$corpus.log" >/dev/null
		for workers in 1 2; do
			"$dir/analysis" --stock "$data" --dialect $dialect --workers $workers --input "$dir/$dialect-$corpus.log" --events "$events" >"$dir/out.json"
			python3 - "$dir/out.json" $dialect $corpus <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
print("%-8s %-6s %7d %10d %9.2f %9.2f %9d %8.0f %9.0f" % (sys.argv[2], sys.argv[3], r["workers"], r["events_per_second"],
      r["user_cpu_s_per_million"], r["system_cpu_s_per_million"], r["alerts_written"], r["load_ms"], r["peak_resident_kb"] / 1024))
PY
		done
	done
done
