package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// run is one self-test under way.
type run struct {
	o      Options
	report *Report
	street *street
	paths  []*path
	words  words
}

// Run tests a mechanism. The error says why nothing could be tested: no root,
// no namespaces, no such mechanism. Whether the mechanism bites is in the
// report, which is complete unless ctx ended.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Patience <= 0 {
		o.Patience = 500 * time.Millisecond
	}
	if o.Stamina <= 0 {
		o.Stamina = 15 * time.Second
	}
	if o.Run == nil {
		o.Run = enforce.Exec
	}
	r := &run{o: o, report: &Report{Started: time.Now()}}
	if os.Geteuid() != 0 {
		return nil, errors.New("selftest: it needs root, to make network namespaces")
	}
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	err := r.all(ctx, &wait)
	r.report.Took = time.Since(r.report.Started)
	if err != nil {
		return nil, fmt.Errorf("selftest: %w", err)
	}
	r.report.Passed = r.report.Count(Failed) == 0 && ctx.Err() == nil
	return r.report, nil
}

// all goes through the phases.
func (r *run) all(ctx context.Context, wait *sync.WaitGroup) (err error) {
	start := time.Now()
	if r.street, err = newStreet(); err != nil {
		return err
	}
	defer r.street.close()
	if err := r.pave(ctx, wait); err != nil {
		return err
	}
	defer func() {
		for _, p := range r.paths {
			p.hangUp()
		}
	}()
	built := Step{Phase: "setup", Name: "a peer, a host and a container", Outcome: Passed, Took: time.Since(start)}
	if r.street.bridge != nil {
		built.Detail = fmt.Sprintf("the container is cabled directly, this kernel has no bridge: %v", r.street.bridge)
	}
	r.done(built)

	var m enforce.Mechanism
	start = time.Now()
	if err := r.street.host.do(func() (err error) { m, err = r.o.Open(); return err }); err != nil {
		return fmt.Errorf("opening the mechanism: %w", err)
	}
	defer func() {
		if c, ok := m.(io.Closer); ok {
			err = errors.Join(err, r.street.host.do(c.Close))
		}
	}()
	r.report.Mechanism = m.Name()
	if m.Kind() != riposte.Address {
		return fmt.Errorf("%s acts on a %s; only what blocks addresses can be proved with packets", m.Name(), m.Kind())
	}
	r.done(Step{Phase: "setup", Name: "opening " + m.Name(), Outcome: Passed, Took: time.Since(start)})

	r.probe(ctx, "before", r.open)
	effects := r.effects()
	if r.apply(ctx, m, effects) {
		r.probe(ctx, "blocked", r.blocked)
	}
	// Whatever became of the block, it is taken back.
	if r.undo(ctx, m, effects) {
		r.probe(ctx, "undone", r.open)
	}
	return nil
}

// done files a step.
func (r *run) done(s Step) {
	r.report.Steps = append(r.report.Steps, s)
	if r.o.Progress != nil {
		r.o.Progress(s)
	}
}

// effects is the block of the peer's first address, in both families.
func (r *run) effects() (out []enforce.Effect) {
	for _, f := range r.street.families {
		target := enforce.AddressTarget(netip.PrefixFrom(f.target, f.target.BitLen()))
		out = append(out, enforce.Effect{Order: "selftest", Target: target, Until: time.Now().Add(time.Hour), By: "selftest"})
	}
	return out
}

// apply blocks, and sees whether the mechanism lists what it did.
func (r *run) apply(ctx context.Context, m enforce.Mechanism, effects []enforce.Effect) bool {
	start := time.Now()
	var results []enforce.Result
	err := r.street.host.do(func() error { results = m.Apply(ctx, effects); return nil })
	took := time.Since(start)
	ok := err == nil
	for i, res := range results {
		s := Step{Phase: "block", Name: r.street.families[i].name + ": block " + effects[i].Target.Value, Outcome: Passed, Took: took, Detail: res.Output}
		switch {
		case res.Err != nil:
			s.Outcome, s.Detail, ok = Failed, res.Err.Error(), false
		case !res.Verified:
			s.Outcome, s.Detail = Partly, "the mechanism did not read it back"
		}
		effects[i].State = res.State
		r.done(s)
	}
	if ok {
		r.listed(ctx, m, "block", len(effects))
	}
	return ok
}

// undo takes the block back.
func (r *run) undo(ctx context.Context, m enforce.Mechanism, effects []enforce.Effect) bool {
	start := time.Now()
	var results []enforce.Result
	err := r.street.host.do(func() error { results = m.Undo(ctx, effects); return nil })
	took := time.Since(start)
	ok := err == nil
	for i, res := range results {
		s := Step{Phase: "undo", Name: r.street.families[i].name + ": let " + effects[i].Target.Value + " go", Outcome: Passed, Took: took, Detail: res.Output}
		if res.Err != nil {
			s.Outcome, s.Detail, ok = Failed, res.Err.Error(), false
		}
		r.done(s)
	}
	if ok {
		r.listed(ctx, m, "undo", 0)
	}
	return ok
}

// listed checks the mechanism's own list.
func (r *run) listed(ctx context.Context, m enforce.Mechanism, phase string, want int) {
	lister, ok := m.(enforce.Lister)
	if !ok {
		return
	}
	start := time.Now()
	var list []enforce.Effect
	err := r.street.host.do(func() (err error) { list, err = lister.List(ctx); return err })
	s := Step{Phase: phase, Name: fmt.Sprintf("%d in its list", want), Outcome: Passed, Took: time.Since(start)}
	switch {
	case err != nil:
		s.Outcome, s.Detail = Failed, err.Error()
	case len(list) != want:
		s.Outcome, s.Detail = Failed, fmt.Sprintf("%d are listed", len(list))
	}
	r.done(s)
}

// probe tries all paths at once, silence takes its time, and files what judge
// makes of each.
func (r *run) probe(ctx context.Context, phase string, judge func(context.Context, *path) (Outcome, string)) {
	steps := make([]Step, len(r.paths))
	var wait sync.WaitGroup
	for i, p := range r.paths {
		wait.Go(func() {
			start := time.Now()
			outcome, detail := judge(ctx, p)
			steps[i] = Step{Phase: phase, Name: p.name, Outcome: outcome, Detail: detail, Took: time.Since(start)}
		})
	}
	wait.Wait()
	for _, s := range steps {
		r.done(s)
	}
}

// open judges a path that shall let through. Neighbours must get to know each
// other, and a stalled connection takes its time to go on.
func (r *run) open(ctx context.Context, p *path) (Outcome, string) {
	if p.missing != nil {
		return Skipped, p.missing.Error()
	}
	for deadline := time.Now().Add(r.o.Stamina); ; {
		_, err := p.try(ctx)
		switch {
		case err == nil:
			return Passed, ""
		case ctx.Err() != nil, time.Now().After(deadline):
			return Failed, fmt.Sprintf("nothing gets through: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// blocked judges a path while the block is in force.
func (r *run) blocked(ctx context.Context, p *path) (Outcome, string) {
	if p.missing != nil {
		return Skipped, p.missing.Error()
	}
	if p.bystander {
		return r.open(ctx, p)
	}
	arrived, err := p.try(ctx)
	switch {
	case ctx.Err() != nil:
		return Failed, ctx.Err().Error()
	case err == nil && p.minor != "":
		return Partly, p.minor
	case err == nil:
		return Failed, "it gets through"
	case arrived:
		return Partly, "no answer gets back, but what is sent still arrives"
	}
	return Passed, ""
}
