#!/bin/sh
# Measures what the documentation quotes. Prints the machine, then one section
# a figure. Sections whose data or rights are missing say so.
set -u
cd "$(dirname "$0")/.." || exit 1
echo "machine: $(uname -sm), kernel $(uname -r), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(go version | cut -d' ' -f3)"
data=${RIPOSTE_CONFORMANCE:-../shared/conformance}

echo; echo "== response: log line to kernel, burst =="
if [ "$(id -u)" = 0 ]; then go run ./bench/response; else echo "skipped: needs root"; fi

echo; echo "== scale: many blocks =="
if [ "$(id -u)" = 0 ]; then go run ./bench/scale; else echo "skipped: needs root"; fi

echo; echo "== analysis: the stock rulesets =="
if [ -d "$data" ]; then bench/analysis.sh "$data"; else echo "skipped: no rulesets under $data (RIPOSTE_CONFORMANCE)"; fi

echo; echo "== parts =="
go test -run '^$' -bench . -benchmem ./internal/... 2>&1 | grep -E '^(Benchmark|pkg:)'
