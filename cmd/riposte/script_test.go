//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript runs the sessions of testdata/script, which read like a terminal.
// Beside testscript's own commands they have
//
//	riposte ARG…           must exit 0, with ! anything else
//	exits N riposte ARG…   must exit N
//	await REGEXP COMMAND…  runs it until its output matches
//
// riposte reads riposte.yaml of the session, if there is one. RIPOSTE_UPDATE=1
// writes down what cmp finds different.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("RIPOSTE_UPDATE") != "",
		Setup:               asInstalled,
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, errors.New("no such condition")
			}
			return os.Geteuid() == 0 && exec.Command("unshare", "--net", "true").Run() == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"riposte": func(ts *testscript.TestScript, neg bool, args []string) {
				if code := call(ts, args); neg == (code == 0) {
					ts.Fatalf("riposte exits %d", code)
				}
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) < 2 || args[1] != "riposte" {
					ts.Fatalf("usage: exits N riposte ARG…")
				}
				if code := call(ts, args[2:]); strconv.Itoa(code) != args[0] {
					ts.Fatalf("riposte exits %d, not %s", code, args[0])
				}
			},
			"await": await,
		},
	})
}

// asInstalled puts a riposte in the session's PATH and settings that keep all
// of its files in the session's directory.
func asInstalled(e *testscript.Env) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(e.WorkDir, ".bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
	e.Setenv(asRiposte, "1")
	e.Setenv("GORACE", noSleep)
	e.Setenv("TZ", "UTC")
	if err := os.Symlink(exe, filepath.Join(bin, "riposte")); err != nil {
		return err
	}
	for _, name := range []string{"riposte.yaml", "ossec.conf", "bin/once.sh"} { // full paths in them begin with $WORK
		text, err := os.ReadFile(filepath.Join(e.WorkDir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(e.WorkDir, name), bytes.ReplaceAll(text, []byte("$WORK"), []byte(e.WorkDir)), 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// call runs riposte and returns its exit code.
func call(ts *testscript.TestScript, args []string) int {
	const settings = "riposte.yaml"
	if _, err := os.Stat(ts.MkAbs(settings)); err == nil && !slices.Contains(args, "--settings") {
		args = append(slices.Clone(args), "--settings", settings)
	}
	err := ts.Exec("riposte", args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// await runs a command until its output matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: await REGEXP COMMAND…")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if args[1] == "riposte" {
			call(ts, args[2:])
		} else {
			_ = ts.Exec(args[1], args[2:]...) // it may fail until it matches
		}
		out := ts.ReadFile("stdout")
		if want.MatchString(out) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited, but this does not match %q:\n%s%s", args[0], out, ts.ReadFile("stderr"))
		}
	}
}
