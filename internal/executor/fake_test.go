package executor

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// fake is a mechanism on a host that is only a table. It keeps no memory of its
// own: what is in the table outlives a restart of the executor.
type fake struct {
	name     string
	kind     riposte.Kind
	durable  bool
	parallel int

	mu      sync.Mutex
	table   map[riposte.Target]time.Time // what is on the host, with the end it keeps
	calls   []string                     // what was asked for, in order
	fail    func(verb string, t riposte.Target) error
	delay   func(verb string, t riposte.Target) time.Duration
	result  func(e *enforce.Effect) enforce.Result            // what a successful Apply answers
	applied int                                               // effects put on a target that had none
	doubled int                                               // effects put on a target that had one, which a script would do twice
	largest int                                               // of a batch
	script  bool                                              // leaves alone what it put in force since boot
	sheds   bool                                              // what has no end leaves nothing on the host
	boot    int                                               // counts restarts of the machine
	after   func(verb string, t riposte.Target) time.Duration // delay between doing and saying so
	same    map[riposte.Target]bool                           // targets at work
	overlap bool                                              // two calls for one target at a time
}

func newFake(name string) *fake {
	return &fake{name: name, kind: riposte.Address, table: map[riposte.Target]time.Time{}, same: map[riposte.Target]bool{}}
}

func (f *fake) Name() string       { return f.name }
func (f *fake) Kind() riposte.Kind { return f.kind }
func (f *fake) Durable() bool      { return f.durable }

func (f *fake) Apply(ctx context.Context, es []enforce.Effect) []enforce.Result {
	return f.each(ctx, "apply", es, func(e *enforce.Effect) enforce.Result {
		state := fmt.Sprintf("boot %d", f.boot)
		_, there := f.table[e.Target]
		if f.script && e.State == state {
			return enforce.Result{State: state}
		}
		if there {
			f.doubled++
		} else {
			f.applied++
		}
		if !e.Until.IsZero() || !f.sheds {
			f.table[e.Target] = e.Until
		}
		if f.result != nil {
			return f.result(e)
		}
		if f.script {
			return enforce.Result{State: state}
		}
		return enforce.Result{Verified: true}
	})
}

func (f *fake) Undo(ctx context.Context, es []enforce.Effect) []enforce.Result {
	return f.each(ctx, "undo", es, func(e *enforce.Effect) enforce.Result {
		delete(f.table, e.Target)
		return enforce.Result{}
	})
}

func (f *fake) each(ctx context.Context, verb string, es []enforce.Effect, do func(*enforce.Effect) enforce.Result) []enforce.Result {
	out := make([]enforce.Result, len(es))
	f.mu.Lock()
	f.largest = max(f.largest, len(es))
	f.mu.Unlock()
	for i := range es {
		e := &es[i]
		f.mu.Lock()
		f.overlap = f.overlap || f.same[e.Target]
		f.same[e.Target] = true
		delay := f.delay
		f.mu.Unlock()
		if delay != nil {
			if d := delay(verb, e.Target); d > 0 {
				select {
				case <-time.After(d):
				case <-ctx.Done():
					out[i] = enforce.Result{Err: ctx.Err()}
				}
			}
		}
		f.mu.Lock()
		f.same[e.Target] = false
		f.calls = append(f.calls, verb+" "+e.Target.String())
		if out[i].Err == nil && f.fail != nil {
			out[i].Err = f.fail(verb, e.Target)
		}
		if out[i].Err == nil {
			out[i] = do(e)
		}
		after := f.after
		f.mu.Unlock()
		if after != nil {
			time.Sleep(after(verb, e.Target))
		}
	}
	return out
}

func (f *fake) has(t riposte.Target) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.table[t]
	return ok
}

func (f *fake) asked() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := strings.Join(f.calls, ", ")
	f.calls = nil
	return out
}

// lister is a fake that can be listed.
type lister struct {
	*fake
	broken error
}

func (l *lister) List(context.Context) ([]enforce.Effect, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, l.broken
	}
	var out []enforce.Effect
	for t, until := range l.table {
		out = append(out, enforce.Effect{Target: t, Until: until})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Target.Value < out[j].Target.Value })
	return out, nil
}

// parallel is a fake script.
type parallel struct{ *fake }

func (p *parallel) Parallel() int { return p.fake.parallel }

var errHost = errors.New("the host says no")

func addr(n int) riposte.Target {
	return riposte.Target{Kind: riposte.Address, Value: fmt.Sprintf("203.0.%d.%d", n>>8&255, n&255)}
}
