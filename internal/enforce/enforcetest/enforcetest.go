// Package enforcetest holds the contract that every mechanism keeps, as tests
// that run against the real thing: a kernel in a namespace of its own, a real
// file, or, where the system is not at hand, its tool played by a recorder.
package enforcetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// Suite says how a mechanism is made and what its host can do.
type Suite struct {
	// New returns the mechanism on the host under test. It is called more than
	// once in a test: the second instance is the first after a restart, so no
	// memory may be shared between them.
	New func(t testing.TB) enforce.Mechanism
	// Target returns the i-th target, all different. Default: Addresses.
	Target func(i int) riposte.Target
	// Bulk is how many effects the bulk test applies. Default: 5000.
	Bulk int
	// Timed says that the host itself holds the end of an effect.
	Timed bool
	// Marked says that the host itself holds what is riposte's, so that a new
	// instance lists the effects of an earlier one.
	Marked bool
	// InForce asks the host, not through the mechanism, whether target is in
	// force. Optional.
	InForce func(t testing.TB, target riposte.Target) bool
	// Foreign puts something of somebody else's on the host, near to what the
	// mechanism makes, and returns a check that it is still there unchanged.
	// It is given the target whose effect comes nearest. Optional.
	Foreign func(t testing.TB, near riposte.Target) (unchanged func(t testing.TB))
}

// Addresses is a mixture of IPv4 and IPv6 addresses with a prefix of either
// family among every sixteen. No target covers another.
func Addresses(i int) riposte.Target {
	var text string
	switch i % 16 {
	case 7:
		text = fmt.Sprintf("10.%d.%d.0/24", i>>12&0xff, i>>4&0xff)
	case 15:
		text = fmt.Sprintf("2001:db8:f000:%x::/64", i>>4)
	case 1, 3, 5, 9, 11, 13:
		text = fmt.Sprintf("2001:db8::%x:%x", i>>16, i&0xffff)
	default:
		text = netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}).String()
	}
	return address(text)
}

func address(text string) riposte.Target {
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		panic(err)
	}
	return target
}

// Run runs the contract. Every part leaves the host as it found it.
func (s Suite) Run(t *testing.T) {
	if s.Target == nil {
		s.Target = Addresses
	}
	if s.Bulk == 0 {
		s.Bulk = 5000
	}
	t.Run("described", s.described)
	t.Run("apply and undo", s.applyUndo)
	t.Run("undo of the absent", s.undoAbsent)
	t.Run("again", s.again)
	t.Run("renewal", s.renewal)
	t.Run("without end", s.withoutEnd)
	t.Run("one bad among good", s.oneBad)
	t.Run("same target twice", s.twice)
	t.Run("cancelled", s.cancelled)
	t.Run("restart", s.restart)
	t.Run("bulk", s.bulk)
	t.Run("foreign", s.foreign)
	t.Run("listed meanwhile", s.listedMeanwhile)
}

func (s Suite) described(t *testing.T) {
	m := s.New(t)
	if m.Name() == "" {
		t.Error("the mechanism has no name")
	}
	if got, want := m.Kind(), s.Target(0).Kind; got != want {
		t.Errorf("acts on a target of kind %v, the suite's are %v", got, want)
	}
	if r := m.Apply(t.Context(), nil); len(r) != 0 {
		t.Errorf("results of applying nothing: %v", r)
	}
	if r := m.Undo(t.Context(), nil); len(r) != 0 {
		t.Errorf("results of undoing nothing: %v", r)
	}
}

func (s Suite) applyUndo(t *testing.T) {
	m := s.New(t)
	s.wantInForce(t, m)
	want := s.effects(0, 16, time.Hour)
	s.apply(t, m, want)
	s.wantInForce(t, m, want...)
	s.undo(t, m, want[:5])
	s.wantInForce(t, m, want[5:]...)
	s.undo(t, m, want[5:])
	s.wantInForce(t, m)
}

func (s Suite) undoAbsent(t *testing.T) {
	m := s.New(t)
	all := s.effects(0, 12, time.Hour)
	s.undo(t, m, all) // nothing was ever applied
	s.apply(t, m, all[:6])
	s.undo(t, m, all) // half of them are there
	s.wantInForce(t, m)
	s.undo(t, m, all)
}

func (s Suite) again(t *testing.T) {
	m := s.New(t)
	all := s.effects(0, 16, time.Hour)
	s.apply(t, m, all)
	s.apply(t, m, all[:8])
	s.apply(t, m, all)
	s.wantInForce(t, m, all...)
	s.undo(t, m, all) // one undo is enough
	s.wantInForce(t, m)
}

func (s Suite) renewal(t *testing.T) {
	m := s.New(t)
	for _, d := range []time.Duration{time.Hour, 3 * time.Hour, 10 * time.Minute, 30 * 24 * time.Hour / 2} {
		all := s.effects(0, 16, d)
		s.apply(t, m, all)
		s.wantInForce(t, m, all...)
	}
	mixed := s.effects(0, 16, 2*time.Hour) // with and without end, new and known
	for i := range mixed {
		if i%3 == 0 {
			mixed[i].Until = time.Time{}
		}
	}
	mixed = append(mixed, s.effects(16, 20, time.Hour)...)
	s.apply(t, m, mixed)
	s.wantInForce(t, m, mixed...)
	s.undo(t, m, mixed)
	s.wantInForce(t, m)
}

func (s Suite) withoutEnd(t *testing.T) {
	m := s.New(t)
	all := s.effects(0, 16, 0)
	s.apply(t, m, all)
	s.wantInForce(t, m, all...)
	s.undo(t, m, all)
	s.wantInForce(t, m)
}

// oneBad: an effect that cannot be had fails alone.
func (s Suite) oneBad(t *testing.T) {
	m := s.New(t)
	all := s.effects(0, 9, time.Hour)
	bad := all[4]
	bad.Target = riposte.Target{Kind: riposte.File + 1, Value: "neither fish nor flesh"}
	batch := slices.Insert(slices.Clone(all), 4, bad)
	for name, results := range map[string][]enforce.Result{"apply": m.Apply(t.Context(), batch)} {
		if len(results) != len(batch) {
			t.Fatalf("%s: %d results for %d effects", name, len(results), len(batch))
		}
		for i, r := range results {
			if (r.Err != nil) != (i == 4) {
				t.Errorf("%s %v: %v", name, batch[i].Target, r.Err)
			}
		}
	}
	s.wantInForce(t, m, all...)
	for i, r := range m.Undo(t.Context(), batch) {
		if r.Err != nil && i != 4 {
			t.Errorf("undo %v: %v", batch[i].Target, r.Err)
		}
	}
	s.wantInForce(t, m)
}

// twice: of two effects on one target in one call the later holds.
func (s Suite) twice(t *testing.T) {
	m := s.New(t)
	first, last := s.effects(0, 8, time.Hour), s.effects(0, 8, 5*time.Hour)
	s.apply(t, m, append(slices.Clone(first), last...))
	s.wantInForce(t, m, last...)
	s.undo(t, m, append(slices.Clone(first), last...))
	s.wantInForce(t, m)
}

func (s Suite) cancelled(t *testing.T) {
	m := s.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	held, wanted := s.effects(0, 3, time.Hour), s.effects(3, 6, time.Hour)
	s.apply(t, m, held)
	for name, results := range map[string][]enforce.Result{"apply": m.Apply(ctx, wanted), "undo": m.Undo(ctx, held)} {
		if len(results) != 3 {
			t.Fatalf("%s: %d results for 3 effects", name, len(results))
		}
		for _, r := range results {
			if !errors.Is(r.Err, context.Canceled) {
				t.Errorf("%s after cancellation: %v", name, r.Err)
			}
		}
	}
	s.wantInForce(t, m, held...)
	s.undo(t, m, held)
}

// restart: another instance finds, renews and undoes what the first one did.
func (s Suite) restart(t *testing.T) {
	all := s.effects(0, 16, time.Hour)
	s.apply(t, s.New(t), all)
	m := s.New(t)
	if s.Marked {
		s.wantInForce(t, m, all...)
	}
	renewed := s.effects(0, 4, 2*time.Hour)
	s.apply(t, m, renewed)
	if s.Marked {
		s.wantInForce(t, m, append(renewed, all[4:]...)...)
	}
	m = s.New(t)
	s.undo(t, m, all)
	s.wantInForce(t, m)
}

func (s Suite) bulk(t *testing.T) {
	m := s.New(t)
	all := s.effects(0, s.Bulk, time.Hour)
	s.apply(t, m, all)
	s.wantInForce(t, m, all...)
	s.undo(t, m, all[:s.Bulk/2])
	s.wantInForce(t, m, all[s.Bulk/2:]...)
	s.undo(t, m, all)
	s.wantInForce(t, m)
}

func (s Suite) foreign(t *testing.T) {
	if s.Foreign == nil {
		t.Skip("the suite has no foreign state for this mechanism")
	}
	all := s.effects(0, 16, time.Hour)
	unchanged := s.Foreign(t, all[0].Target)
	m := s.New(t)
	s.wantInForce(t, m)
	s.undo(t, m, all)
	unchanged(t)
	s.apply(t, m, all[1:])
	unchanged(t)
	s.wantInForce(t, m, all[1:]...)
	s.undo(t, m, all)
	unchanged(t)
	s.wantInForce(t, m)
}

// listedMeanwhile: a Lister can be asked while it is at work.
func (s Suite) listedMeanwhile(t *testing.T) {
	m := s.New(t)
	lister, ok := m.(enforce.Lister)
	if !ok {
		t.Skip("the mechanism does not list")
	}
	held, moving := s.effects(0, 16, time.Hour), s.effects(16, 64, time.Hour)
	s.apply(t, m, held)
	done := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-done:
				return
			default:
			}
			list, err := lister.List(t.Context())
			if err == nil && len(list) < len(held) {
				err = fmt.Errorf("only %d of %d are listed", len(list), len(held))
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for range 5 {
		s.apply(t, m, moving)
		s.undo(t, m, moving)
	}
	close(done)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	s.undo(t, m, held)
	s.wantInForce(t, m)
}

// effects makes the effects of targets from to to, which end after d (0: never).
func (s Suite) effects(from, to int, d time.Duration) []enforce.Effect {
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d)
	}
	out := make([]enforce.Effect, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, enforce.Effect{Order: fmt.Sprint("order-", i), Target: s.Target(i), Until: until, By: "enforcetest"})
	}
	return out
}

// apply applies effects, keeps what the mechanism wants to be told on undo in
// their State, and undoes them at the end of the test whatever happens.
func (s Suite) apply(t *testing.T, m enforce.Mechanism, effects []enforce.Effect) {
	t.Helper()
	t.Cleanup(func() { m.Undo(context.Background(), effects) })
	results := m.Apply(t.Context(), effects)
	if len(results) != len(effects) {
		t.Fatalf("apply: %d results for %d effects", len(results), len(effects))
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("apply %v: %v", effects[i].Target, r.Err)
		}
		effects[i].State = r.State
	}
}

func (s Suite) undo(t *testing.T, m enforce.Mechanism, effects []enforce.Effect) {
	t.Helper()
	results := m.Undo(t.Context(), effects)
	if len(results) != len(effects) {
		t.Fatalf("undo: %d results for %d effects", len(results), len(effects))
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("undo %v: %v", effects[i].Target, r.Err)
		}
	}
}

// endSlack is how far a kernel's idea of an end may be from what was asked: a
// kernel that counts in seconds, and the time the test itself takes.
const endSlack = 5 * time.Second

// wantInForce compares the mechanism's list, and the host itself, with want.
func (s Suite) wantInForce(t *testing.T, m enforce.Mechanism, want ...enforce.Effect) {
	t.Helper()
	if s.InForce != nil {
		for i := range min(len(want), 20) {
			if !s.InForce(t, want[i].Target) {
				t.Fatalf("%v is not in force on the host", want[i].Target)
			}
		}
		if len(want) == 0 && s.InForce(t, s.Target(0)) {
			t.Fatalf("%v is in force on the host", s.Target(0))
		}
	}
	lister, ok := m.(enforce.Lister)
	if !ok {
		return
	}
	list, err := lister.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	got := make(map[riposte.Target]enforce.Effect, len(list))
	for _, e := range list {
		if _, dup := got[e.Target]; dup {
			t.Fatalf("%v is listed twice", e.Target)
		}
		got[e.Target] = e
	}
	for _, w := range want {
		g, ok := got[w.Target]
		switch {
		case !ok:
			t.Fatalf("%v is not listed among %d", w.Target, len(got))
		case !s.Timed && !g.Until.IsZero():
			t.Fatalf("%v ends at %v on a host that holds no ends", w.Target, g.Until)
		case s.Timed && w.Until.IsZero() != g.Until.IsZero(),
			s.Timed && g.Until.Sub(w.Until).Abs() > endSlack:
			t.Fatalf("%v ends at %v on the host, want %v", w.Target, g.Until, w.Until)
		}
		delete(got, w.Target)
	}
	for target := range got {
		t.Fatalf("%v is listed, expected only %d others", target, len(want))
	}
}
