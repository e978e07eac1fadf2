// Package script runs the active-response scripts that people already have.
//
// A script is a file in the active-response/bin folder of an OSSEC or Wazuh
// installation. Four generations of scripts are called in four ways (see
// Generation); by default a script is told what to do in two of them at once,
// in its arguments and in a line of JSON on its standard input, so that a
// script written for OSSEC, Wazuh 3 or Wazuh 4 runs unchanged.
//
// No shell is involved, the environment is clean, the input always ends in
// time, the run time is limited, and what the script printed and how it ended
// is in the result. The contracts come from spec/active-response.md, sections
// 3.3, 3.4, 4 and 7.
package script

import (
	"context"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// Options say where scripts are and how they are run. Every zero value has a
// default but Dir.
type Options struct {
	Dir         string                      // the active-response/bin folder
	Host        string                      // name of this host, origin.name of the JSON forms
	Generation  Generation                  // of scripts that Generations does not name
	Generations map[string]Generation       // by file name
	Pins        map[string]string           // file name → SHA-256 in hexadecimal; an other file is refused
	User        string                      // account the scripts run as; "" for riposte's own
	Limit       time.Duration               // run time of one call; 0 for a minute
	Grace       time.Duration               // after which the input ends for a script that has read its line and asks nothing; 0 for a second, or five where nobody can tell whether it was read
	Parallel    int                         // scripts running at once; 0 for eight
	Output      int                         // bytes of its output that are kept; 0 for 64 KiB
	EncodeAlert func(*riposte.Alert) []byte // one alert in Wazuh 4's alerts.json layout; nil for the target alone
}

// Runner runs the scripts of one folder. It is safe for concurrent use.
type Runner struct {
	o     Options
	slots chan struct{} // one for each script that runs
	as    *account

	mu         sync.Mutex
	mechanisms map[string]*Mechanism
}

// account is the dropped user that scripts run as.
type account struct {
	uid, gid uint32
	home     string
}

// New returns a runner. It fails when the account to run as is unknown; a
// folder that does not exist is one without scripts.
func New(o Options) (*Runner, error) {
	if o.Limit <= 0 {
		o.Limit = time.Minute
	}
	if o.Grace <= 0 {
		o.Grace = usualGrace
	}
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	if o.Output <= 0 {
		o.Output = 64 << 10
	}
	if o.Dir != "" {
		dir, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("script folder: %w", err)
		}
		o.Dir = dir
	}
	r := &Runner{o: o, slots: make(chan struct{}, o.Parallel), mechanisms: map[string]*Mechanism{}}
	if o.User != "" {
		as, err := lookUp(o.User)
		if err != nil {
			return nil, fmt.Errorf("account to run scripts as: %w", err)
		}
		r.as = as
	}
	return r, nil
}

func lookUp(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%s has no numeric user id on this system", name)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%s has no numeric group id on this system", name)
	}
	return &account{uid: uint32(uid), gid: uint32(gid), home: u.HomeDir}, nil
}

// Mechanism returns the mechanism that runs the command's executable with its
// extra arguments. Commands that agree in both, and in what they act on, share
// one; what else they expect an effect's own command says. The file need not exist yet: Apply says so when it does not.
func (r *Runner) Mechanism(cmd riposte.Command) *Mechanism {
	kind := riposte.None
	switch {
	case slices.Contains(cmd.Expect, riposte.Address):
		kind = riposte.Address
	case len(cmd.Expect) > 0:
		kind = cmd.Expect[0]
	}
	name := strings.Join(append([]string{"script " + cmd.Executable}, cmd.ExtraArgs...), " ")
	key := kind.String() + " " + name
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.mechanisms[key]
	if m == nil {
		m = &Mechanism{r: r, cmd: cmd, name: name, kind: kind}
		r.mechanisms[key] = m
	}
	return m
}

// Mechanisms returns what Mechanism has returned so far, by name.
func (r *Runner) Mechanisms() []*Mechanism {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Mechanism, 0, len(r.mechanisms))
	for _, m := range r.mechanisms {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *Mechanism) int { return strings.Compare(a.name, b.name) })
	return out
}

// Mechanism is one executable with its extra arguments.
type Mechanism struct {
	r    *Runner
	cmd  riposte.Command // the first that had it made
	name string
	kind riposte.Kind
}

var _ enforce.Parallel = (*Mechanism)(nil)

// Name is "script", the file name and the extra arguments.
func (m *Mechanism) Name() string { return m.name }

// Kind is what the command expects: an address rather than anything else.
func (m *Mechanism) Kind() riposte.Kind { return m.kind }

// Durable is true: nobody knows what a script leaves behind.
func (m *Mechanism) Durable() bool { return true }

// Parallel is how many scripts may run at a time, those of all mechanisms taken
// together.
func (m *Mechanism) Parallel() int { return cap(m.r.slots) }

// Apply runs the script with "add" for each effect: different targets at the
// same time, the effects of one target one after the other. An effect that
// carries the state of an earlier Apply is in force and is left alone, unless
// the machine was started anew since: a script cannot renew a clock, and
// running it twice would leave two rules for one undo.
//
// A call that reached its time limit or died of a signal is followed by one
// with "delete" when the effect has an end, since nobody knows how far it came.
// A script that says no by its exit status is trusted to have left nothing.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return m.each(ctx, effects, m.r.add)
}

// Undo runs the script with "delete" for each effect, with the arguments and
// the message of its "add".
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return m.each(ctx, effects, m.r.delete)
}

// each runs do for every effect, a bounded number of targets at a time.
func (m *Mechanism) each(ctx context.Context, effects []enforce.Effect, do func(context.Context, *enforce.Effect) enforce.Result) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	one := func(i int) {
		e := effects[i]
		if e.Command.Executable == "" {
			e.Command = m.cmd
		}
		results[i] = m.r.withSlot(ctx, &e, do)
	}
	if len(effects) == 1 {
		one(0) // the usual case needs no goroutine
		return results
	}
	turns := make(map[riposte.Target][]int, len(effects))
	var order []riposte.Target
	for i := range effects {
		t := effects[i].Target
		if turns[t] == nil {
			order = append(order, t)
		}
		turns[t] = append(turns[t], i)
	}
	next := make(chan riposte.Target)
	var workers sync.WaitGroup
	for range min(cap(m.r.slots), len(order)) {
		workers.Go(func() {
			for t := range next {
				for _, i := range turns[t] {
					one(i)
				}
			}
		})
	}
	for _, t := range order {
		next <- t
	}
	close(next)
	workers.Wait()
	return results
}

// withSlot runs do when fewer scripts run than may.
func (r *Runner) withSlot(ctx context.Context, e *enforce.Effect, do func(context.Context, *enforce.Effect) enforce.Result) enforce.Result {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return enforce.Result{Err: err}
	}
	return do(ctx, e)
}

func (r *Runner) add(ctx context.Context, e *enforce.Effect) enforce.Result {
	before := readState(e.State)
	if before != nil && before.Boot == bootID() {
		return enforce.Result{State: e.State, NoUndo: before.Once}
	}
	name := e.Command.Executable
	path, err := r.Find(name)
	if err != nil {
		return enforce.Result{Err: err}
	}
	st, err := r.compose(e, r.generation(name, path))
	if err != nil {
		return enforce.Result{Err: fmt.Errorf("script %s is not run: %w", name, err)}
	}
	out := r.call(path, st, riposte.Add).run(ctx)
	st.Keys = out.keys
	st.Once = once(name, st.Generation, out.told)
	res := enforce.Result{Output: out.output, NoUndo: st.Once}
	err = out.failure(name)
	switch {
	case err == nil:
	case out.refused() && before != nil:
		// In force before the machine was started anew, and it may have outlived
		// that: a script that now says no says no more than that.
	case out.broken() && ctx.Err() == nil && !e.Until.IsZero() && !st.Once:
		res.Err = r.takeBack(ctx, path, st, err)
		return res
	default:
		res.Err = err
		return res
	}
	res.State = st.String()
	return res
}

// takeBack runs "delete" for an "add" that came to no orderly end.
func (r *Runner) takeBack(ctx context.Context, path string, st *state, cause error) error {
	out := r.call(path, st, riposte.Delete).run(ctx)
	if err := out.failure(filepath.Base(path)); err != nil {
		return fmt.Errorf("%w; it may be in force in part, for its delete failed too: %v", cause, err)
	}
	return fmt.Errorf("%w; its delete was run", cause)
}

func (r *Runner) delete(ctx context.Context, e *enforce.Effect) enforce.Result {
	name := e.Command.Executable
	st := readState(e.State)
	if st != nil && st.Once {
		return enforce.Result{NoUndo: true}
	}
	path, err := r.Find(name)
	if err != nil {
		return enforce.Result{Err: err}
	}
	if st == nil {
		// The state is lost, by a crash between the effect and its record: the
		// target is all that most scripts look at.
		if st, err = r.compose(e, r.generation(name, path)); err != nil {
			return enforce.Result{Err: fmt.Errorf("script %s is not run: %w", name, err)}
		}
	}
	out := r.call(path, st, riposte.Delete).run(ctx)
	return enforce.Result{Err: out.failure(name), Output: out.output}
}

// generation is the one set for the file, the one set for all, or the one that
// the file's own text shows.
func (r *Runner) generation(name, path string) Generation {
	g, ok := r.o.Generations[name]
	if !ok {
		g = r.o.Generation
	}
	if g == Auto {
		g = detect(path)
	}
	return g
}
