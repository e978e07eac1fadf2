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

// Mechanism blocks addresses and prefixes with nftables. Apply and Undo are used
// by one goroutine at a time, List by another beside it.
type Mechanism struct {
	kernel *kernel
	lister reader
	flows  *conntrack.Table // nil: this kernel tracks no connections
}

var _ enforce.Lister = (*Mechanism)(nil)

// New opens the mechanism in the network namespace of the calling thread. It
// changes nothing yet: the table is made by the first Apply. It fails when the
// kernel has no nftables, or the process not the right to use them.
func New() (*Mechanism, error) {
	r, err := openReader()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	m := &Mechanism{kernel: &kernel{reader: r, held: make(map[set]int)}}
	if m.lister, err = openReader(); err != nil {
		r.conn.Close()
		return nil, fmt.Errorf("nftables: %w", err)
	}
	if flows, err := conntrack.Open(); err == nil { // a kernel may do without
		m.flows = flows
	}
	return m, nil
}

// Close closes the mechanism's sockets. What is in force stays in force.
func (m *Mechanism) Close() error {
	err := errors.Join(m.kernel.conn.Close(), m.lister.conn.Close())
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

// batch is the members of one set.
type batch struct {
	set     set
	members []*enforce.Member
}

// group sorts members by their set, in the order in which the sets first occur.
func group(members []*enforce.Member) []*batch {
	var batches []*batch
	bySet := make(map[set]*batch, 2)
	for _, m := range members {
		s := setOf(m.Prefix)
		b := bySet[s]
		if b == nil {
			b = &batch{set: s}
			bySet[s] = b
			batches = append(batches, b)
		}
		b.members = append(b.members, m)
	}
	return batches
}

// Apply blocks the targets, a thousand in one transaction, reads them back, and
// deletes their entries in the connection table.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	var blocked []netip.Prefix
	for _, b := range group(enforce.Members(effects, results)) {
		start := time.Now()
		done := b.chunks(ctx, results, m.kernel.put)
		verify(m.kernel, b.set, done, results, start)
		for _, member := range done {
			blocked = append(blocked, member.Prefix)
		}
	}
	m.cut(ctx, blocked, results)
	return results
}

// Undo lets the targets through again.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	for _, b := range group(enforce.Members(effects, results)) {
		b.chunks(ctx, results, m.kernel.remove)
	}
	return results
}

// chunks does the batch in chunks, until ctx ends or one fails, and returns the
// members that were done; the others' results tell why not.
func (b *batch) chunks(ctx context.Context, results []enforce.Result, do func(set, []*enforce.Member) error) (done []*enforce.Member) {
	for at := 0; at < len(b.members); at += chunk {
		err := ctx.Err()
		if err == nil {
			err = do(b.set, b.members[at:min(at+chunk, len(b.members))])
		}
		if err != nil {
			enforce.FailAll(b.members[at:], results, fmt.Errorf("nftables: %w", err))
			return b.members[:at]
		}
	}
	return b.members
}

// drift is how far from what was asked an end may be that the kernel tells: it
// counts in milliseconds, and the time to an end is told and taken down at two
// moments. On a machine that stalls these are as far apart as everything took.
const drift = time.Second

// verify reads back members that were put into a set since start. What ended
// meanwhile need not be there.
func verify(k *kernel, s set, members []*enforce.Member, results []enforce.Result, start time.Time) {
	if len(members) == 0 {
		return
	}
	wanted := make(map[netip.Prefix]*enforce.Member, len(members))
	for _, m := range members {
		wanted[m.Prefix] = m
	}
	confirm := func(got element) {
		m := wanted[got.prefix]
		if m == nil || m.Until.IsZero() != got.until.IsZero() || got.until.Sub(m.Until).Abs() > drift+time.Since(start) {
			return
		}
		for _, i := range m.Effects {
			results[i].Verified = true
		}
		delete(wanted, got.prefix)
	}
	if k.mostly(s, len(members)) {
		// What a reading leaves out, or an error, is left to the questions below.
		n := 0
		if err := k.read(s, func(e element) { n++; confirm(e) }); err == nil {
			k.held[s] = n
		}
	}
	missing := make([]*enforce.Member, 0, len(wanted))
	for _, m := range wanted {
		missing = append(missing, m)
	}
	err := k.find(s, missing, confirm)
	now := time.Now()
	for _, m := range wanted {
		if !m.Over(now) {
			m.Fail(results, unverified(m, err))
		}
	}
}

func unverified(m *enforce.Member, cause error) error {
	if errors.Is(cause, errors.ErrUnsupported) {
		return nil // taken on the kernel's word
	}
	if cause == nil {
		cause = errors.New("it is not there, or has another end")
	}
	return fmt.Errorf("nftables: the kernel took %s, but reading it back: %w", m.Prefix, cause)
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

// whole reads the table, and returns nil if it is not whole. A table that is not
// whole while the ruleset changes may have been read half before and half after
// a change, and is read again.
func (m *Mechanism) whole() (*skeleton, error) {
	for range attempts {
		before, err := m.lister.readGeneration()
		if err != nil {
			return nil, err
		}
		k, err := readSkeleton()
		if err != nil {
			return nil, err
		}
		if k.whole(nil) {
			return k, nil
		}
		after, err := m.lister.readGeneration()
		if err != nil {
			return nil, err
		}
		if before == after {
			return nil, nil
		}
	}
	return nil, errBusy
}

// List returns what is blocked, with the end that the kernel holds. When the
// table is not whole, so that its sets block nothing or not surely, the list is
// empty: applying the effects again mends it.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	skeleton, err := m.whole()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	if skeleton == nil {
		return nil, nil
	}
	var out []enforce.Effect
	for _, s := range skeleton.sets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		elements, err := m.lister.dump(s)
		if err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		for _, e := range elements {
			out = append(out, enforce.Effect{Target: enforce.AddressTarget(e.prefix), Until: e.until})
		}
	}
	return out, nil
}
