// Command conformance runs the real systems' own suites on their whole stock
// rulesets, in both dialects, and counts for each suite how many cases come to
// the real verdict: decoder, rule and level. It reads the data named by
// RIPOSTE_CONFORMANCE (default ../shared/conformance).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"riposte/internal/analysis"
	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/suite"
)

func main() {
	dir := os.Getenv("RIPOSTE_CONFORMANCE")
	if dir == "" {
		dir = filepath.Join("..", "shared", "conformance")
	}
	if _, err := os.Stat(dir); err != nil {
		fmt.Printf("conformance: skipped, there is no data in %s (RIPOSTE_CONFORMANCE)\n", dir)
		return
	}
	passed, failed := 0, 0
	for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
		p, f, err := run(dir, d)
		if err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(1)
		}
		passed, failed = passed+p, failed+f
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

// run runs one dialect's cases and prints a line a suite.
func run(dir string, d ossec.Dialect) (passed, failed int, err error) {
	opts, err := suite.Stock(dir, d, true)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	set, found := ruleset.Load(opts)
	took := time.Since(start)
	if set == nil {
		return 0, 0, fmt.Errorf("%s: the stock ruleset does not load: %v", d, found[0])
	}
	name := filepath.Join(dir, d.String(), "cases.jsonl")
	src, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, err
	}
	cases, found := suite.ParseJSONL(name, src)
	if ossec.Failed(found) {
		return 0, 0, found[0]
	}
	fmt.Printf("%s: %d rules, %d decoders, loaded in %v\n", d, len(set.Rules), len(set.Decoders), took.Round(time.Millisecond))

	byFile := map[string][]suite.Case{}
	for _, c := range cases {
		byFile[c.File] = append(byFile[c.File], c)
	}
	var files []string
	for f := range byFile {
		files = append(files, f)
	}
	sort.Strings(files)
	runner := suite.NewRunner(set, analysis.Options{Host: "vm"}, time.Now())
	for _, f := range files {
		r := runner.Run(byFile[f])
		passed, failed = passed+r.Passed, failed+r.Failed
		fmt.Printf("  %-44s %4d passed, %d failed\n", filepath.Base(f), r.Passed, r.Failed)
		for _, x := range r.Failures {
			fmt.Println("    " + x.String())
		}
	}
	return passed, failed, nil
}
