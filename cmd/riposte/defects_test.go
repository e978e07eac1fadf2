//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDefectsTableNamesRealTests reads docs/defects.md: every defect has a row
// in order and at least one test, and every test that is named exists.
func TestDefectsTableNamesRealTests(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "defects.md"))
	if err != nil {
		t.Fatal(err)
	}
	row, name := regexp.MustCompile(`^\| (\d+) \|`), regexp.MustCompile("`([a-z/]+) ((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([a-z]+))?`")
	rows := 0
	for line := range strings.Lines(string(text)) {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if rows++; m[1] != strconv.Itoa(rows) {
			t.Errorf("row %d has the number %s", rows, m[1])
		}
		named := name.FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("row %d names no test", rows)
		}
		for _, n := range named {
			if !hasTest(t, filepath.Join(root, n[1]), n[2]) {
				t.Errorf("row %d: there is no %s in %s", rows, n[2], n[1])
			}
			if n[3] == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, n[1], "testdata", "script", n[3]+".txtar")); err != nil {
				t.Errorf("row %d: %v", rows, err)
			}
		}
	}
	if rows != 46 {
		t.Errorf("%d rows, want 46", rows)
	}
}

// hasTest reports whether a package has a test of that name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
