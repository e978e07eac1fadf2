package riposte_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCrossBuilds compiles the binary for every system it is meant for. That
// takes a minute and a half of a processor each when nothing is cached, so the
// other processors are left to TestEverySystem.
func TestCrossBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped with -short: builds the binary five times")
	}
	for _, target := range []string{"linux/arm64", "windows/amd64", "darwin/arm64", "freebsd/amd64", "openbsd/amd64"} {
		t.Run(target, func(t *testing.T) {
			cmd := exec.Command("go", "build", "-o", os.DevNull, "./cmd/riposte")
			cmd.Env = environ(target)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// environ is the environment of a go command that works for GOOS/GOARCH.
func environ(target string) []string {
	goos, arch, _ := strings.Cut(target, "/")
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+arch)
}

// TestEverySystem checks the binary's types for the other processor of every
// system: what the compiler would refuse there is refused here, at a fraction of
// the time, because no code is made.
func TestEverySystem(t *testing.T) {
	for _, target := range []string{"linux/amd64", "windows/arm64", "darwin/amd64", "freebsd/arm64", "openbsd/arm64"} {
		t.Run(target, func(t *testing.T) {
			if err := typecheck(target); err != nil {
				t.Error(err)
			}
		})
	}
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	ImportMap  map[string]string // as written: as meant
	Module     *struct{ Main bool }
}

// checked holds the packages that were checked, for those that import them.
type checked struct {
	packages map[string]*types.Package
	names    map[string]string // the ImportMap of the one that imports
}

func (c *checked) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if meant, ok := c.names[path]; ok {
		path = meant
	}
	if p := c.packages[path]; p != nil {
		return p, nil
	}
	return nil, errors.New("not checked yet: " + path)
}

// typecheck checks the types of the binary for GOOS/GOARCH: of packages that
// are not ours the declarations, of ours the functions' bodies, too.
func typecheck(target string) error {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module", "./cmd/riposte")
	cmd.Env = environ(target)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	_, arch, _ := strings.Cut(target, "/")
	done := checked{packages: map[string]*types.Package{}}
	ours := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; { // what is imported comes first
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		main := p.Module != nil && p.Module.Main
		if main {
			ours++
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		done.names = p.ImportMap
		conf := types.Config{Importer: &done, IgnoreFuncBodies: !main, Sizes: types.SizesFor("gc", arch)}
		if done.packages[p.ImportPath], err = conf.Check(p.ImportPath, fset, files, nil); err != nil {
			return err
		}
	}
	if ours < 20 {
		return fmt.Errorf("only %d packages of ours were checked", ours)
	}
	return nil
}
