package executor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/journal"
)

// host is an executor on a fake host, in a synctest bubble.
type host struct {
	testing.TB
	path   string
	o      Options
	fw     *lister      // "fw", "fw2": a packet filter
	sh     *parallel    // "sh", "sh2": a script
	once   *fake        // "once": what leaves nothing to undo
	file   *lister      // "file": hosts.deny
	clock  atomic.Int64 // what the wall clock is ahead of time, a time.Duration
	noBoot bool

	x      *Executor
	j      *journal.Journal
	cancel context.CancelFunc
	done   chan error
	told   []riposte.Receipt
	serial int
}

// sleep lets time pass and everything happen that is due then.
func (h *host) sleep(d time.Duration) {
	for _, f := range []*fake{h.fw.fake, h.sh.fake, h.file.fake, h.once} {
		f.mu.Lock() // so that what the test set before is seen after
		f.calls = slices.Clip(f.calls)
		f.mu.Unlock()
	}
	time.Sleep(d)
	synctest.Wait()
}

// ahead is by how much the wall clock is wrong.
func (h *host) ahead() time.Duration { return time.Duration(h.clock.Load()) }

func newHost(t testing.TB) *host {
	h := &host{TB: t, path: filepath.Join(t.TempDir(), "journal.db")}
	h.fw = &lister{fake: newFake("fw")}
	h.sh = &parallel{fake: newFake("sh")}
	h.sh.fake.parallel, h.sh.durable = 4, true
	h.sh.script = true
	h.once = newFake("once")
	h.once.kind = riposte.None
	h.once.sheds, h.sh.sheds = true, true
	h.file = &lister{fake: newFake("file")}
	h.file.durable = true
	h.o.ForgetAfter = 30 * 24 * time.Hour
	return h
}

func (h *host) mechanism(c riposte.Command) (enforce.Mechanism, error) {
	switch strings.TrimRight(c.Name, "2") {
	case "fw":
		return h.fw, nil
	case "sh":
		return h.sh, nil
	case "once":
		return h.once, nil
	case "file":
		return h.file, nil
	}
	return nil, errors.New("no such executable")
}

func (h *host) start() {
	h.Helper()
	var err error
	var rep *journal.Report
	if h.j, rep, err = journal.Open(h.path, journal.Options{Reserve: -1}); err != nil {
		h.Fatal(err)
	}
	if w := rep.Words(); len(w) > 0 {
		h.Errorf("the journal: %v", w)
	}
	o := h.o
	o.Journal, o.Host = h.j, "000"
	if !h.noBoot {
		o.Boot = fmt.Sprint("boot ", h.sh.boot)
	}
	if o.Resolve == nil {
		o.Resolve = h.mechanism
	}
	o.Mechanisms = append(o.Mechanisms, h.fw, h.file)
	o.Notify = func(r riposte.Receipt) { h.told = append(h.told, r) }
	o.Now = func() time.Time { return time.Now().Add(h.ahead()) }
	h.x = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan error, 1)
	x, done := h.x, h.done
	go func() { done <- x.Run(ctx) }()
	synctest.Wait()
}

func (h *host) stop() {
	h.Helper()
	h.cancel()
	if err := <-h.done; err != nil {
		h.Errorf("stop: %v", err)
	}
	if err := h.j.Close(); err != nil {
		h.Errorf("close the journal: %v", err)
	}
}

func (h *host) order(command string, target riposte.Target, timeout time.Duration, ladder ...time.Duration) riposte.Order {
	h.serial++
	return riposte.Order{
		ID: fmt.Sprintf("o%04d", h.serial), Command: riposte.Command{Name: command, Executable: command + ".sh"}, Target: target,
		Timeout: timeout, Ladder: ladder, Issued: time.Now().Add(h.ahead()), By: "rule 5712",
		Alert: &riposte.Alert{ID: fmt.Sprintf("1.%d", h.serial), Rule: riposte.Rule{ID: 5712}},
	}
}

// do carries orders out and returns what became of each, in short.
func (h *host) do(orders ...riposte.Order) string {
	h.Helper()
	rs, err := h.x.Do(context.Background(), orders)
	if err != nil {
		h.Errorf("do: %v", err)
	}
	var out []string
	for _, r := range rs {
		s := r.Outcome.String()
		if !r.Until.IsZero() {
			s += " " + r.Until.Sub(time.Now().Add(h.ahead())).Round(time.Second).String()
		}
		if r.Rung > 0 {
			s += fmt.Sprintf(" rung %d", r.Rung)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func (h *host) want(what, got, want string) {
	h.Helper()
	if got != want {
		h.Errorf("%s: %s, want %s", what, got, want)
	}
}

// history is what was told since the last call: outcome, command, target.
func (h *host) history() string {
	synctest.Wait()
	var out []string
	for _, r := range h.told {
		out = append(out, fmt.Sprintf("%s %s %s", r.Outcome, r.Command, r.Target))
	}
	h.told = nil
	return strings.Join(out, ", ")
}

// agree checks that the host is as the journal says.
func (h *host) agree() {
	h.Helper()
	synctest.Wait()
	now := time.Now().Add(h.ahead())
	wanted := map[string]bool{}
	list, err := h.j.InForce(context.Background(), journal.Filter{})
	if err != nil {
		h.Fatal(err)
	}
	for _, l := range list {
		if l.Phase != journal.Held {
			h.Errorf("%s on %s is %s", l.Command.Name, l.Target, l.Phase)
		}
		if !l.Until.IsZero() && !l.Until.After(now) {
			h.Errorf("%s on %s was over at %s, it is %s", l.Command.Name, l.Target, l.Until, now)
		}
		wanted[l.Mechanism+" "+l.Target.String()] = true
	}
	for _, f := range []*fake{h.fw.fake, h.sh.fake, h.file.fake, h.once} {
		f.mu.Lock()
		for t := range f.table {
			k := f.name + " " + t.String()
			if !wanted[k] {
				h.Errorf("%s is on the host and not in the journal", k)
			}
			delete(wanted, k)
		}
		if f.overlap {
			h.Errorf("%s was used for one target twice at a time", f.name)
		}
		f.mu.Unlock()
	}
	for k := range wanted {
		h.Errorf("%s is in the journal and not on the host", k)
	}
	if v, err := h.j.Verify(context.Background()); err != nil || v.Fault != nil {
		h.Errorf("audit: %+v %v", v.Fault, err)
	}
}

// in runs a test on a started host in a bubble, and checks that everything ends
// in agreement.
func in(t *testing.T, prepare func(*host), do func(*host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		if prepare != nil {
			prepare(h)
		}
		h.start()
		do(h)
		h.agree()
		h.stop()
	})
}
