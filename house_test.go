package riposte_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// house is the room table of docs/architecture.md: what each room may import
// of this module. A room also owns the rooms below its folder unless they have
// a row of their own. "*" allows everything below the row in this list.
var house = []struct {
	room string
	may  []string
}{
	{"cmd/riposte", []string{"internal/cli"}},
	{"bench", []string{"*"}},
	{"internal/cli", []string{"*"}},
	{"internal/daemon", []string{"*"}},
	{"internal/check", []string{"internal/ossec", "internal/ossec/conf", "internal/response", "internal/settings", ""}},
	{"internal/api", []string{"internal/host", "internal/journal", ""}},
	{"internal/selftest", []string{"internal/enforce", ""}},
	{"internal/audit", []string{"internal/journal", ""}},
	{"internal/executor", []string{"internal/guard", "internal/journal", "internal/enforce", ""}},
	{"internal/fleet/broker", []string{"internal/fleet", "internal/fleet/identity", "internal/host"}},
	{"internal/fleet/identity", []string{"internal/fleet", "internal/host"}},
	{"internal/fleet/link", []string{"internal/fleet", "internal/fleet/identity", "internal/fleet/ledger", "internal/fleet/spool", "internal/host", ""}},
	{"internal/fleet/ledger", []string{"internal/fleet", "internal/record", ""}},
	{"internal/fleet/spool", []string{"internal/host"}},
	{"internal/fleet", []string{""}},
	{"internal/aggregate", []string{""}},
	{"internal/guard", []string{""}},
	{"internal/journal", []string{"internal/record", ""}},
	{"internal/record", []string{""}},
	{"internal/enforce/all", []string{"internal/enforce", "internal/host", ""}},
	{"internal/enforce/enforcetest", []string{"internal/enforce", "internal/lab", ""}},
	{"internal/enforce", []string{"internal/enforce", "internal/host", ""}},
	{"internal/response", []string{"internal/ossec", "internal/ossec/conf", ""}},
	{"internal/facts", []string{"internal/analysis", "internal/host"}},
	{"internal/analysis", []string{"internal/ossec", "internal/ossec/pattern", "internal/ossec/ruleset", "internal/ossec/xml", ""}},
	{"internal/alertlog", []string{"internal/ossec", ""}},
	{"internal/source", []string{"internal/host", "internal/source/file", ""}},
	{"internal/ossec/suite", []string{"internal/ossec", "internal/ossec/xml", "internal/ossec/conf", "internal/ossec/ruleset", "internal/analysis", ""}},
	{"internal/ossec/ruleset", []string{"internal/ossec", "internal/ossec/xml", "internal/ossec/pattern", "internal/ossec/conf"}},
	{"internal/ossec/conf", []string{"internal/ossec", "internal/ossec/xml", "internal/ossec/pattern", ""}},
	{"internal/ossec/pattern", []string{"internal/ossec"}},
	{"internal/ossec/xml", []string{"internal/ossec"}},
	{"internal/ossec", nil},
	{"internal/settings", []string{"internal/ossec", ""}},
	{"internal/host", nil},
	{"ruleset", nil},
	{"internal/lab", []string{""}},
	{"", nil},
}

// roomOf returns the row that owns a folder: the longest room that contains it.
func roomOf(dir string) (int, bool) {
	best := -1
	for i, h := range house {
		if dir == h.room || h.room != "" && strings.HasPrefix(dir, h.room+"/") {
			if best < 0 || len(h.room) > len(house[best].room) {
				best = i
			}
		}
	}
	return best, best >= 0
}

// goFiles calls f for every Go file of the module: those of tests, or all others.
func goFiles(t *testing.T, tests bool, f func(dir, path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (name[0] == '.' || name == "testdata" || name == "build") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") != tests {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "." {
			dir = ""
		}
		f(dir, path, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	seen := 0
	goFiles(t, false, func(dir, path string, file *ast.File) {
		row, ok := roomOf(dir)
		if !ok {
			t.Errorf("%s: folder %q has no row in the room table", path, dir)
			return
		}
		for _, imp := range file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			if name == "C" {
				t.Errorf("%s: imports C; the binary is static", path)
			}
			if name != "riposte" && !strings.HasPrefix(name, "riposte/") {
				continue
			}
			seen++
			target := strings.TrimPrefix(strings.TrimPrefix(name, "riposte"), "/")
			if target == dir {
				continue
			}
			to, ok := roomOf(target)
			if !ok || !allowed(row, to, target) {
				t.Errorf("%s: room %q may not import %q", path, house[row].room, target)
			}
		}
	})
	if seen < 20 {
		t.Fatalf("only %d imports of the module seen: the walk is broken", seen)
	}
}

func allowed(row, to int, target string) bool {
	if row == to && house[row].room != "" {
		return true
	}
	for _, m := range house[row].may {
		if m == "*" && to > row && house[to].room != "internal/lab" {
			return true
		}
		if m == house[to].room || m == target {
			return true
		}
	}
	return false
}

func TestPackagesAreDocumented(t *testing.T) {
	docs := map[string]string{}
	goFiles(t, false, func(dir, _ string, file *ast.File) {
		if file.Doc != nil {
			docs[dir] += file.Doc.Text()
		} else if _, ok := docs[dir]; !ok {
			docs[dir] = ""
		}
	})
	for dir, doc := range docs {
		if len(doc) < 40 {
			t.Errorf("package in %q has no doc comment that says what it is for", dir)
		}
	}
}

// TestNoInitNoGlobals keeps packages free of start-up side effects.
func TestNoInit(t *testing.T) {
	goFiles(t, false, func(_, path string, file *ast.File) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: has an init function", path)
			}
		}
	})
}

// TestSkipsSayWhy lets no test leave itself out without naming what is missing.
func TestSkipsSayWhy(t *testing.T) {
	found := 0
	goFiles(t, true, func(_, path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch f.Sel.Name {
			case "Skip", "Skipf":
				if found++; len(call.Args) == 0 {
					t.Errorf("%s: a test skips without saying what is missing", path)
				}
			case "SkipNow":
				t.Errorf("%s: a test skips without saying what is missing", path)
			}
			return true
		})
	})
	if found == 0 {
		t.Error("no test skips: is this test looking at the right files?")
	}
}

// TestBinaryHasNoTestRooms makes sure that nothing meant for tests is linked.
func TestBinaryHasNoTestRooms(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,CgoFiles", "./cmd/riposte")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			CgoFiles   []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo", p.ImportPath)
		}
		switch {
		case p.ImportPath == "testing", p.ImportPath == "riposte/internal/lab",
			strings.HasPrefix(p.ImportPath, "go.elara.ws"), strings.HasSuffix(p.ImportPath, "enforcetest"):
			t.Errorf("the binary links %s, which is for tests", p.ImportPath)
		}
	}
}
