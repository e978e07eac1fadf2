package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/conntrack"
)

// Mechanism blocks addresses and prefixes with nftables. It is used by one
// goroutine at a time.
type Mechanism struct {
	kernel *kernel
	flows  *conntrack.Table // nil: this kernel tracks no connections
}

var _ enforce.Lister = (*Mechanism)(nil)

// New opens the mechanism in the network namespace of the calling thread. It
// changes nothing yet: the table is made by the first Apply. It fails when the
// kernel has no nftables, or the process not the right to use them.
func New() (*Mechanism, error) {
	k, err := dial()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	m := &Mechanism{kernel: k}
	if flows, err := conntrack.Open(); err == nil { // a kernel may do without
		m.flows = flows
	}
	return m, nil
}

// Close closes the mechanism's sockets. What is in force stays in force.
func (m *Mechanism) Close() error {
	err := m.kernel.conn.Close()
	if m.flows != nil {
		err = errors.Join(err, m.flows.Close())
	}
	return err
}

// Name returns "nftables".
func (m *Mechanism) Name() string { return Name }

// Kind returns riposte.Address.
func (m *Mechanism) Kind() riposte.Kind { return riposte.Address }

// Durable returns false: the kernel forgets at a restart of the machine.
func (m *Mechanism) Durable() bool { return false }

// batch is the effects that go into one set, each target once.
type batch struct {
	set      set
	elements []element
	effects  [][]int // for each element, the indices of its effects
	place    map[netip.Prefix]int
}

// sort groups effects by their set, in the order in which the sets first occur.
// Of two effects on one target the later one's end holds.
func sort(effects []enforce.Effect, results []enforce.Result) []*batch {
	var batches []*batch
	bySet := make(map[set]*batch, 2)
	for i, e := range effects {
		p, ok := e.Target.Prefix()
		if !ok {
			results[i].Err = fmt.Errorf("nftables: %s is not an address", e.Target)
			continue
		}
		s := setOf(p)
		b := bySet[s]
		if b == nil {
			b = &batch{set: s, place: make(map[netip.Prefix]int)}
			bySet[s] = b
			batches = append(batches, b)
		}
		at, known := b.place[p]
		if !known {
			at = len(b.elements)
			b.place[p] = at
			b.elements = append(b.elements, element{prefix: p})
			b.effects = append(b.effects, nil)
		}
		b.elements[at].until = e.Until
		b.effects[at] = append(b.effects[at], i)
	}
	return batches
}

// Apply blocks the targets, a thousand in one transaction, reads them back, and
// deletes their entries in the connection table.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	var blocked []netip.Prefix
	for _, b := range sort(effects, results) {
		done := b.chunks(ctx, results, func(elements []element) error {
			return m.kernel.put(b.set, elements)
		})
		b.verify(m.kernel, results, done)
		for _, e := range done {
			blocked = append(blocked, e.prefix)
		}
	}
	m.cut(ctx, blocked, results)
	return results
}

// Undo lets the targets through again.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	for _, b := range sort(effects, results) {
		b.chunks(ctx, results, func(elements []element) error {
			return m.kernel.remove(b.set, elements)
		})
	}
	return results
}

// chunks does the batch in chunks, until ctx ends or one fails, and returns the
// elements that were done; the others' results tell why not.
func (b *batch) chunks(ctx context.Context, results []enforce.Result, do func([]element) error) (done []element) {
	var err error
	at := 0
	for at < len(b.elements) {
		if err = ctx.Err(); err != nil {
			break
		}
		end := min(at+chunk, len(b.elements))
		if err = do(b.elements[at:end]); err != nil {
			break
		}
		at = end
	}
	for _, indices := range b.effects[at:] {
		for _, i := range indices {
			results[i].Err = fmt.Errorf("nftables: %w", err)
		}
	}
	return b.elements[:at]
}

// drift is how far from what was asked an end may be that the kernel tells: it
// counts in milliseconds, and some time passes between asking and telling.
const drift = time.Second

// verify reads back the elements that were done, the first of the batch. What
// ended meanwhile need not be there.
func (b *batch) verify(k *kernel, results []enforce.Result, done []element) {
	verified := make([]bool, len(done))
	confirm := func(got element) {
		place, ok := b.place[got.prefix]
		if !ok || place >= len(done) {
			return
		}
		want := done[place].until
		verified[place] = want.IsZero() == got.until.IsZero() && got.until.Sub(want).Abs() < drift
	}
	if k.mostly(b.set, len(done)) {
		// A set that is being moved to a larger hash may hide a few, and an
		// error will meet us again: both are left to the questions below.
		all, _ := k.dump(b.set)
		for _, e := range all {
			confirm(e)
		}
	}
	var missing []element
	for i, e := range done {
		if !verified[i] {
			missing = append(missing, e)
		}
	}
	err := k.find(b.set, missing, confirm)
	now := time.Now()
	for i, e := range done {
		over := !e.until.IsZero() && !e.until.After(now)
		for _, at := range b.effects[i] {
			results[at].Verified = verified[i]
			if !verified[i] && !over {
				results[at].Err = unverified(e, err)
			}
		}
	}
}

func unverified(e element, cause error) error {
	if errors.Is(cause, errors.ErrUnsupported) {
		return nil // taken on the kernel's word
	}
	if cause == nil {
		cause = errors.New("it is not there, or has another end")
	}
	return fmt.Errorf("nftables: the kernel took %s, but reading it back: %w", e.prefix, cause)
}

// cut deletes the connection entries of what is now blocked: connections that
// were handed to a flowtable bypass the chains until then. Everything else is
// blocked already, so a failure is remarked upon and fails no effect.
func (m *Mechanism) cut(ctx context.Context, blocked []netip.Prefix, results []enforce.Result) {
	if m.flows == nil || len(blocked) == 0 {
		return
	}
	_, err := m.flows.Cut(ctx, blocked)
	if err == nil {
		return
	}
	for i := range results {
		if results[i].Err == nil {
			results[i].Output = fmt.Sprintf("connection entries were left in place: %v", err)
		}
	}
}

// List returns what is blocked, with the end that the kernel holds. When the
// table is not whole, so that its sets block nothing or not surely, the list is
// empty: applying the effects again mends it.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	skeleton, err := readSkeleton()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	if !skeleton.whole(nil) {
		return nil, nil
	}
	var out []enforce.Effect
	for _, s := range skeleton.sets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		elements, err := m.kernel.dump(s)
		if err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		for _, e := range elements {
			out = append(out, enforce.Effect{Target: target(e.prefix), Until: e.until})
		}
	}
	return out, nil
}

func target(p netip.Prefix) riposte.Target {
	if p.IsSingleIP() {
		return riposte.Target{Kind: riposte.Address, Value: p.Addr().String()}
	}
	return riposte.Target{Kind: riposte.Address, Value: p.String()}
}
