package file

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) {
	if os.Getenv("RIPOSTE_FOLLOW") != "" {
		followInChild()
		return
	}
	goleak.VerifyTestMain(m)
}

// rig runs followers over a directory of its own, one after the other, and
// keeps the positions that they tell as the daemon does.
type rig struct {
	t         *testing.T
	dir       string
	positions map[string]string
	log       *lab.Log
	out       chan riposte.Batch
	stop      func()
	polled    bool // without inotify
	now       func() time.Time
	linger    time.Duration
	f         *Follower
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), positions: map[string]string{}, log: &lab.Log{}}
	t.Cleanup(func() { r.halt() })
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// run starts a follower. What it tells of its first look must be received
// before files are changed.
func (r *rig) run(inputs ...Input) {
	r.t.Helper()
	for i := range inputs {
		if !filepath.IsAbs(inputs[i].Location) {
			inputs[i].Location = r.path(inputs[i].Location)
		}
	}
	f, err := New(Options{Inputs: inputs, Positions: maps.Clone(r.positions), Log: slog.New(slog.NewTextHandler(r.log, nil)), Poll: 20 * time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	r.f = f
	if r.polled {
		f.begins = func() (*watcher, error) { return &watcher{}, nil }
	}
	if r.now != nil {
		f.now = r.now
	}
	if r.linger > 0 {
		f.flushAfter, f.linger = r.linger, r.linger
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan riposte.Batch)
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, out) }()
	r.out = out
	var stopped sync.Once
	r.stop = func() {
		stopped.Do(func() {
			cancel()
			if err := <-done; err != nil {
				r.t.Errorf("Run: %v", err)
			}
		})
	}
}

func (r *rig) halt() {
	if r.stop != nil {
		r.stop()
	}
}

// next receives one batch and keeps its position.
func (r *rig) next() riposte.Batch {
	r.t.Helper()
	select {
	case b := <-r.out:
		r.positions[b.Source] = b.Position
		return b
	case <-time.After(10 * time.Second):
		r.t.Fatalf("nothing comes; logged:\n%s", r.log)
		return riposte.Batch{}
	}
}

// want receives events until as many as texts have come and compares them.
func (r *rig) want(texts ...string) []riposte.Event {
	r.t.Helper()
	var got []riposte.Event
	for len(got) < len(texts) {
		got = append(got, r.next().Events...)
	}
	for i, ev := range got {
		if i >= len(texts) || ev.Text != texts[i] {
			r.t.Fatalf("event %d is %q; got %q, want %q", i, ev.Text, textsOf(got), texts)
		}
	}
	return got
}

// told receives batches without events until n of them have come: the word of
// the first look.
func (r *rig) told(n int) {
	r.t.Helper()
	for range n {
		if b := r.next(); len(b.Events) > 0 {
			r.t.Fatalf("events %q, expected a position only", textsOf(b.Events))
		}
	}
}

func textsOf(events []riposte.Event) []string {
	var out []string
	for _, ev := range events {
		out = append(out, ev.Text)
	}
	return out
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) append(name, text string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) rename(from, to string) {
	r.t.Helper()
	if err := os.Rename(r.path(from), r.path(to)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := os.Remove(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// copyTruncate copies a file and truncates it, with nothing written in between.
func (r *rig) copyTruncate(from, to string) {
	r.t.Helper()
	text, err := os.ReadFile(r.path(from))
	if err == nil {
		err = os.WriteFile(r.path(to), text, 0o600)
	}
	if err == nil {
		err = os.Truncate(r.path(from), 0)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// numbered returns lines like "a-1" … "a-n", each long enough to be told apart
// by the hashes of a mark.
func numbered(prefix string, from, to int) (text string, list []string) {
	var b strings.Builder
	for i := from; i <= to; i++ {
		line := fmt.Sprintf("%s-%06d Nov 23 06:00:00 web1 sshd[42]: Failed password for root", prefix, i)
		list = append(list, line)
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String(), list
}
