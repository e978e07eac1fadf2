// Package restart answers with a restart: of OSSEC or Wazuh where one of them
// runs on this host, else of riposte itself; or of a named service of the
// system. A restart is one-time and cannot be taken back, and none happens
// twice within a minute, however often it is asked for: a restart writes log
// lines, and log lines are what riposte answers.
package restart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// ErrTooSoon is the error of a restart that comes too soon after the last.
var ErrTooSoon = errors.New("too soon after the last restart")

// Options say what is restarted and how.
type Options struct {
	// Roots are the folders in which OSSEC or Wazuh may be installed; nil for
	// the usual ones.
	Roots []string
	// Reexec makes riposte replace itself in place, its state kept. It must
	// return at once and let the restart follow when the receipt of this order
	// is written. nil: riposte cannot.
	Reexec func() error
	// Stamp is a file that remembers the last restart beyond riposte's own; ""
	// for memory alone.
	Stamp string
	Every time.Duration  // not more often than this; 0 for a minute
	Limit time.Duration  // for one restart; 0 for two minutes
	Run   enforce.Runner // nil for enforce.Exec
	OS    string         // whose services these are; "" for runtime.GOOS
}

// usualRoots are where the projects' own installers and packages put them.
var usualRoots = map[string][]string{
	"linux":   {"/var/ossec", "/opt/ossec"},
	"freebsd": {"/usr/local/ossec-hids", "/var/ossec"},
	"openbsd": {"/var/ossec"},
	"darwin":  {"/Library/Ossec", "/var/ossec"},
}

func (o Options) filled() Options {
	if o.OS == "" {
		o.OS = runtime.GOOS
	}
	if o.Roots == nil {
		o.Roots = usualRoots[o.OS]
	}
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Limit <= 0 {
		o.Limit = 2 * time.Minute
	}
	if o.Run == nil {
		o.Run = enforce.Exec
	}
	return o
}

// Restart is the mechanism of restart-ossec and restart-wazuh.
type Restart struct {
	o    Options
	turn turn
}

var _ enforce.Mechanism = (*Restart)(nil)

// New returns the mechanism.
func New(o Options) *Restart {
	o = o.filled()
	return &Restart{o: o, turn: turn{stamp: o.Stamp, every: o.Every}}
}

// Name is "restart".
func (r *Restart) Name() string { return "restart" }

// Kind is None: a restart acts on the host as a whole.
func (r *Restart) Kind() riposte.Kind { return riposte.None }

// Durable is false: there is nothing to take back.
func (r *Restart) Durable() bool { return false }

// Apply restarts once, for the first of the effects.
func (r *Restart) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return each(ctx, effects, func(ctx context.Context, e *enforce.Effect) enforce.Result {
		if err := r.turn.take(); err != nil {
			return enforce.Result{Err: fmt.Errorf("restart: %w", err)}
		}
		ctx, cancel := context.WithTimeout(ctx, r.o.Limit)
		defer cancel()
		said, err := r.restart(ctx, e.Command.Executable)
		return enforce.Result{Output: said, Err: err}
	})
}

// Undo does nothing.
func (r *Restart) Undo(_ context.Context, effects []enforce.Effect) []enforce.Result {
	return nothing(effects)
}

// restart restarts what monitors this host. A system that is installed but does
// not run is left as it is: starting what somebody has stopped is no restart.
func (r *Restart) restart(ctx context.Context, executable string) (said string, err error) {
	if r.o.OS == "windows" {
		for _, name := range []string{"WazuhSvc", "OssecSvc"} {
			out, _, err := r.o.Run(ctx, []string{"sc.exe", "query", name}, nil)
			if err == nil && strings.Contains(string(out), "RUNNING") {
				return restartService(ctx, r.o, name)
			}
		}
		return r.reexec()
	}
	for _, control := range r.controls(executable) {
		out, _, err := r.o.Run(ctx, []string{control, "status"}, nil)
		if err != nil && len(out) == 0 {
			return "", fmt.Errorf("restart: %w", err)
		}
		if strings.Contains(string(out), " is running") {
			out, complaint, err := r.o.Run(ctx, []string{control, "restart"}, nil)
			if err != nil {
				return output(out, complaint), fmt.Errorf("restart: %w", err)
			}
			return "restarted by " + control, nil
		}
	}
	return r.reexec()
}

// controls returns the control programs that are there, the one that the
// executable's name asks for first.
func (r *Restart) controls(executable string) []string {
	names := []string{"ossec-control", "wazuh-control"}
	if strings.Contains(executable, "wazuh") {
		names[0], names[1] = names[1], names[0]
	}
	var found []string
	for _, root := range r.o.Roots {
		for _, n := range names {
			if file := enforce.Find(filepath.Join(root, "bin", n)); file != "" {
				found = append(found, file)
			}
		}
	}
	return found
}

func (r *Restart) reexec() (string, error) {
	if r.o.Reexec == nil {
		return "", errors.New("restart: neither OSSEC nor Wazuh runs here, and riposte cannot restart itself")
	}
	if err := r.o.Reexec(); err != nil {
		return "", fmt.Errorf("restart of riposte: %w", err)
	}
	return "riposte restarts itself", nil
}

// turn lets one restart pass in a while, and remembers it in a file so that
// the riposte that is restarted knows of it.
type turn struct {
	stamp string
	every time.Duration

	mu   sync.Mutex
	last time.Time
}

func (t *turn) take() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	last := t.last
	if t.stamp != "" {
		if b, err := os.ReadFile(t.stamp); err == nil {
			if at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(b))); err == nil && at.After(last) {
				last = at
			}
		}
	}
	// A stamp from the future comes of a clock that was set back; it binds
	// nobody.
	if ago := now.Sub(last); !last.IsZero() && ago >= 0 && ago < t.every {
		return fmt.Errorf("%w: that was %v ago, and not more than one every %v is done", ErrTooSoon, ago.Round(time.Second), t.every)
	}
	t.last = now
	if t.stamp == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(t.stamp), 0o700); err != nil {
		return fmt.Errorf("remember the restart: %w", err)
	}
	if err := os.WriteFile(t.stamp, []byte(now.UTC().Format(time.RFC3339Nano)+"\n"), 0o600); err != nil {
		return fmt.Errorf("remember the restart: %w", err)
	}
	return nil
}

// each applies the effects one after the other until ctx ends.
func each(ctx context.Context, effects []enforce.Effect, do func(context.Context, *enforce.Effect) enforce.Result) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range effects {
		if out[i].Err = ctx.Err(); out[i].Err == nil {
			out[i] = do(ctx, &effects[i])
		}
		out[i].NoUndo = true
	}
	return out
}

// nothing is the undo of what has none.
func nothing(effects []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range out {
		out[i].NoUndo = true
	}
	return out
}

// output is what a program printed, for a result.
func output(stdout, stderr []byte) string {
	const most = 4 << 10
	return enforce.Visible(enforce.Cut(string(stdout)+string(stderr), most))
}
