//go:build linux

package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// The child process of TestKillAtEveryStep is told what to do by these.
const (
	childDir  = "EXECUTOR_CHILD_DIR"
	childKill = "EXECUTOR_CHILD_KILL" // step and count: "applied 2"; none: recover and check
)

// disk is a mechanism whose effects are lines in files: a script's way of
// things, which doubles what it does twice.
type disk struct {
	name, dir string
	durable   bool
}

func (d *disk) Name() string       { return d.name }
func (d *disk) Kind() riposte.Kind { return riposte.Address }
func (d *disk) Durable() bool      { return d.durable }
func (d *disk) file(t riposte.Target) string {
	return filepath.Join(d.dir, d.name, t.Value)
}

func (d *disk) Apply(_ context.Context, es []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(es))
	for i := range es {
		if es[i].State != "" {
			out[i].State = es[i].State
			continue
		}
		f, err := os.OpenFile(d.file(es[i].Target), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString("block\n")
			err = errors.Join(err, f.Close())
		}
		out[i] = enforce.Result{Err: err, State: "mine"}
	}
	return out
}

func (d *disk) Undo(_ context.Context, es []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(es))
	for i := range es {
		data, err := os.ReadFile(d.file(es[i].Target))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if rest := bytes.TrimPrefix(data, []byte("block\n")); err == nil && len(rest) > 0 {
			err = os.WriteFile(d.file(es[i].Target), rest, 0o600)
		} else if err == nil {
			err = os.Remove(d.file(es[i].Target))
		}
		out[i].Err = err
	}
	return out
}

// table is a disk that can be listed and does nothing twice: a packet filter's
// way.
type table struct{ disk }

func (d *table) Apply(_ context.Context, es []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(es))
	for i := range es {
		out[i].Err = os.WriteFile(d.file(es[i].Target), []byte("block\n"), 0o600)
	}
	return out
}

func (d *table) List(context.Context) ([]enforce.Effect, error) {
	names, err := os.ReadDir(filepath.Join(d.dir, d.name))
	var out []enforce.Effect
	for _, n := range names {
		out = append(out, enforce.Effect{Target: riposte.Target{Kind: riposte.Address, Value: n.Name()}})
	}
	return out, err
}

// child is the process that is killed, and the one that picks up what is left.
func child(dir string) error {
	fw := &table{disk{name: "fw", dir: dir}}
	sh := &disk{name: "sh", dir: dir, durable: true}
	for _, d := range []string{"fw", "sh"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	j, rep, err := journal.Open(filepath.Join(dir, "journal.db"), journal.Options{Reserve: -1})
	if err != nil {
		return err
	}
	if len(rep.Words()) > 0 {
		return fmt.Errorf("a crash is no damage: %v", rep.Words())
	}
	step, count, killing := strings.Cut(os.Getenv(childKill), " ")
	nth, _ := strconv.Atoi(count)
	var seen atomic.Int32
	o := Options{Journal: j, Mechanisms: []enforce.Mechanism{fw, sh}, Resolve: func(c riposte.Command) (enforce.Mechanism, error) {
		if c.Name == "fw" {
			return fw, nil
		}
		return sh, nil
	}}
	if killing {
		o.Step = func(s string) {
			if s == step && int(seen.Add(1)) == nth {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	x := New(o)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	<-x.Ready()
	if killing {
		if err := work(ctx, x); err != nil {
			return err
		}
	} else if err := inspect(ctx, dir, j); err != nil {
		return err
	}
	cancel()
	return errors.Join(<-done, j.Close())
}

// work passes every step several times.
func work(ctx context.Context, x *Executor) error {
	n := 0
	do := func(command string, target int, timeout time.Duration) error {
		n++
		_, err := x.Do(ctx, []riposte.Order{{ID: fmt.Sprintf("o%d-%d", os.Getpid(), n), Command: riposte.Command{Name: command}, Target: addr(target),
			Timeout: timeout, Ladder: []time.Duration{2 * short}, Issued: time.Now()}})
		return err
	}
	for round := range 2 {
		for _, c := range []string{"fw", "sh"} {
			for target := range 2 {
				timeout := short
				if target == 1 {
					timeout = time.Hour
				}
				if err := errors.Join(do(c, 10*round+target, timeout), do(c, 10*round+target, timeout)); err != nil {
					return err
				}
			}
		}
		if _, err := x.Undo(ctx, Selection{Target: addr(1).Value}, "uid 0", nil); err != nil && !errors.Is(err, ErrNothing) {
			return err
		}
		time.Sleep(2 * short)
	}
	return nil
}

// short is how long a block lasts that is to end while the child lives.
const short = 20 * time.Millisecond

// inspect checks that host and journal agree.
func inspect(ctx context.Context, dir string, j *journal.Journal) error {
	time.Sleep(2 * short) // what was put back for the rest of its time is over, too
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := compareFiles(ctx, dir, j)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(time.Millisecond) // something may be ending just now
	}
}

func compareFiles(ctx context.Context, dir string, j *journal.Journal) error {
	list, err := j.InForce(ctx, journal.Filter{})
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, l := range list {
		if l.Phase != journal.Held || !l.Until.IsZero() && time.Now().After(l.Until) {
			return fmt.Errorf("%s on %s is %s until %s", l.Mechanism, l.Target, l.Phase, l.Until)
		}
		want[filepath.Join(dir, l.Mechanism, l.Target.Value)] = true
	}
	for _, d := range []string{"fw", "sh"} {
		names, err := os.ReadDir(filepath.Join(dir, d))
		if err != nil {
			return err
		}
		for _, n := range names {
			p := filepath.Join(dir, d, n.Name())
			if data, _ := os.ReadFile(p); string(data) != "block\n" || !want[p] {
				return fmt.Errorf("%s holds %q, and that it should be there is %v", p, data, want[p])
			}
			delete(want, p)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("in the journal and not on the host: %v", want)
	}
	v, err := j.Verify(ctx)
	if err == nil && v.Fault != nil {
		err = fmt.Errorf("audit: %s", v.Fault.Text)
	}
	return err
}

// A process is killed at every step, several times over, and another picks up
// what it left.
func TestKillAtEveryStep(t *testing.T) {
	counts := []int{1, 2, 5}
	if os.Getenv("RIPOSTE_SOAK") != "" {
		counts = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	}
	for _, step := range Steps() {
		for _, n := range counts {
			t.Run(fmt.Sprintf("%s %d", step, n), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				run := func(kill string) (*exec.Cmd, string, error) {
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), childDir+"="+dir, childKill+"="+kill)
					out, err := cmd.CombinedOutput()
					return cmd, string(out), err
				}
				cmd, out, err := run(fmt.Sprintf("%s %d", step, n))
				if err == nil && n > 2 {
					return // not passed that often
				}
				if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
					t.Fatalf("it was to be killed at this step: %v\n%s", err, out)
				}
				if _, out, err := run(""); err != nil {
					t.Errorf("after the restart: %v\n%s", err, out)
				}
			})
		}
	}
}
