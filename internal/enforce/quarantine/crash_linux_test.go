package quarantine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"riposte/internal/enforce"
	"riposte/internal/lab"
)

// child is the process that is killed: it applies or undoes one effect.
func child(step func(string)) int {
	m, err := New(Options{Dir: os.Getenv("QUARANTINE")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m.step = step
	do := m.Apply
	if os.Getenv("QUARANTINE_UNDO") != "" {
		do = m.Undo
	}
	for _, r := range do(context.Background(), []enforce.Effect{effect(os.Getenv("QUARANTINE_FILE"))}) {
		if r.Err != nil {
			fmt.Fprintln(os.Stderr, r.Err)
			return 1
		}
	}
	return 0
}

// TestCrash kills the process at every step of apply and undo. Either the file
// is where it was, or a whole pair is in quarantine; after the restart what was
// begun can be ended, and taken back, and nothing is left lying about.
func TestCrash(t *testing.T) {
	lab.Need(t)
	killed := 0
	for name, place := range places {
		for _, undo := range []bool{false, true} {
			for i := 0; ; i++ {
				steps := crash(t, place, undo, i)
				if i == 0 && len(steps) == 0 {
					t.Fatalf("%s, undo %v: no steps", name, undo)
				}
				if i >= len(steps) {
					break
				}
				killed++
			}
		}
	}
	if killed != 10 {
		t.Errorf("killed at %d steps; the test was written for 10", killed)
	}
}

// crash kills the process at its i-th step, and returns the steps up to there;
// they are fewer when it ended before.
func crash(t *testing.T, place func(testing.TB) string, undo bool, i int) (steps []string) {
	dir, files := place(t), t.TempDir()
	path := filepath.Join(files, "evil")
	before := special(t, path)
	command := func(undo bool) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "QUARANTINE="+dir, "QUARANTINE_FILE="+path)
		if undo {
			cmd.Env = append(cmd.Env, "QUARANTINE_UNDO=1")
		}
		return cmd
	}
	if undo {
		lab.KillAt(t, command(false), "never", 1)
	}
	all, _ := func() ([]string, bool) { // which steps there are, on a twin
		twin := path + ".twin"
		special(t, twin)
		defer os.Remove(twin)
		cmd := command(false)
		cmd.Env = append(cmd.Env, "QUARANTINE_FILE="+twin)
		steps, killed := lab.KillAt(t, cmd, "never", 1)
		cmd = command(true)
		cmd.Env = append(cmd.Env, "QUARANTINE_FILE="+twin)
		back, _ := lab.KillAt(t, cmd, "never", 1)
		if undo {
			steps = back
		}
		return steps, killed
	}()
	if i >= len(all) {
		return all
	}
	steps, killed := lab.KillAt(t, command(undo), all[i], 1)
	when := fmt.Sprintf("undo %v, killed at %s", undo, all[i])
	if !killed || len(steps) != i+1 {
		t.Fatalf("%s: reached %q, killed %v", when, steps, killed)
	}

	e := entry{hash: hashOf(path)}
	original := look(t, path) == before
	pair := strings.HasSuffix(look(t, filepath.Join(dir, e.file())), fmt.Sprintf("%x", "malice malice malice"[:20]))
	if text, err := os.ReadFile(filepath.Join(dir, e.record())); err != nil || !strings.Contains(string(text), path) {
		pair = false
	}
	if !original && !pair {
		t.Errorf("%s: neither the file nor a whole pair is there:\n%s\n%s", when, look(t, path), look(t, filepath.Join(dir, e.file())))
	}
	m := open(t, dir)
	defer m.Close()
	if undo {
		must(t, m.Undo, path)
	}
	must(t, m.Apply, path)
	alone(t, files)
	if list, err := m.List(t.Context()); err != nil || len(list) != 1 || list[0].Target.Value != path {
		t.Errorf("%s: listed %v, %v", when, list, err)
	}
	if said := must(t, m.Undo, path); said != "" {
		t.Errorf("%s: undo said %q", when, said)
	}
	if after := look(t, path); after != before {
		t.Errorf("%s: came back as\n%s\nwent as\n%s", when, after, before)
	}
	alone(t, files, "evil")
	alone(t, dir)
	return all
}
