package iptables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/conntrack"
)

// Mechanism blocks addresses and prefixes with iptables and ipset. Apply and
// Undo are used by one goroutine at a time, List by another beside it.
type Mechanism struct {
	run      enforce.Runner
	sets     *sets
	lister   *sets // the same sets, over another socket
	families [2]*family
	checked  [2]time.Time     // when the family's rules were last seen in place
	flows    *conntrack.Table // nil: this kernel tracks no connections
}

var _ enforce.Lister = (*Mechanism)(nil)

// trust is for how long rules that were seen in place are taken to be there:
// looking takes a few milliseconds.
const trust = time.Second

// New opens the mechanism in the network namespace of the calling thread; run
// runs the iptables tools. It changes nothing yet. It fails where the kernel has
// no ipset, iptables is not installed, or the process has not the right to use
// them. Without ip6tables only IPv6 targets fail.
func New(run enforce.Runner) (*Mechanism, error) {
	m := &Mechanism{run: run, families: families()}
	if _, err := m.families[0].read(context.Background(), run); err != nil {
		return nil, fmt.Errorf("iptables: %w", err)
	}
	var err error
	if m.sets, err = openSets(); err != nil {
		return nil, fmt.Errorf("iptables: %w", err)
	}
	if m.lister, err = openSets(); err != nil {
		m.sets.conn.Close()
		return nil, fmt.Errorf("iptables: %w", err)
	}
	if flows, err := conntrack.Open(); err == nil { // a kernel may do without
		m.flows = flows
	}
	return m, nil
}

// Close closes the mechanism's sockets. What is in force stays in force.
func (m *Mechanism) Close() error {
	err := errors.Join(m.sets.conn.Close(), m.lister.conn.Close())
	if m.flows != nil {
		err = errors.Join(err, m.flows.Close())
	}
	return err
}

// Name returns "iptables".
func (m *Mechanism) Name() string { return Name }

// Kind returns riposte.Address.
func (m *Mechanism) Kind() riposte.Kind { return riposte.Address }

// Durable returns false: the kernel forgets at a restart of the machine.
func (m *Mechanism) Durable() bool { return false }

// split sorts members by family. A hash:net set has no room for a prefix of
// length 0: these are returned apart.
func split(members []*enforce.Member) (out [2][]*enforce.Member, everything []*enforce.Member) {
	for _, member := range members {
		switch {
		case member.Prefix.Bits() == 0:
			everything = append(everything, member)
		case member.Prefix.Addr().Is4():
			out[0] = append(out[0], member)
		default:
			out[1] = append(out[1], member)
		}
	}
	return out, everything
}

// Apply blocks the targets, sees to the rules, reads the targets back, and
// deletes their entries in the connection table.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	byFamily, everything := split(enforce.Members(effects, results))
	enforce.FailAll(everything, results, errors.New("iptables: an ipset cannot hold the prefix of all addresses"))
	var blocked []netip.Prefix
	for i, members := range byFamily {
		f := m.families[i]
		done := chunks(ctx, members, results, func(some []*enforce.Member) error { return m.put(f, some) })
		if len(done) == 0 {
			continue
		}
		if err := m.ensure(ctx, i); err != nil {
			enforce.FailAll(done, results, fmt.Errorf("iptables: %w", err))
			continue
		}
		for _, member := range done {
			m.verify(f, member, results)
			blocked = append(blocked, member.Prefix)
		}
	}
	m.cut(ctx, blocked, results)
	return results
}

// put adds members to the family's set, which it makes first where it is gone.
func (m *Mechanism) put(f *family, members []*enforce.Member) error {
	err := m.sets.put(f, members)
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := m.sets.create(f); err != nil {
		return err
	}
	return m.sets.put(f, members)
}

// ensure sees to the family's rules, unless they were seen a moment ago.
func (m *Mechanism) ensure(ctx context.Context, i int) error {
	if time.Since(m.checked[i]) < trust {
		return nil
	}
	if err := m.families[i].ensure(ctx, m.run); err != nil {
		return err
	}
	m.checked[i] = time.Now()
	return nil
}

// verify reads a member back. A set that lost it again has been flushed.
func (m *Mechanism) verify(f *family, member *enforce.Member, results []enforce.Result) {
	there, err := m.sets.has(f, member.Prefix)
	if err == nil && !there && !member.Over(time.Now()) {
		err = errors.New("it is not there")
	}
	if err != nil {
		member.Fail(results, fmt.Errorf("iptables: the kernel took %s, but reading it back: %w", member.Prefix, err))
		return
	}
	for _, i := range member.Effects {
		results[i].Verified = there
	}
}

// Undo lets the targets through again.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	byFamily, _ := split(enforce.Members(effects, results)) // of the others none is in force
	for i, members := range byFamily {
		f := m.families[i]
		chunks(ctx, members, results, func(some []*enforce.Member) error {
			if err := m.sets.remove(f, some); !errors.Is(err, unix.ENOENT) {
				return err
			}
			return nil // no set, nothing blocked
		})
	}
	return results
}

// chunks does members in chunks, until ctx ends or one fails, and returns those
// that were done; the others' results tell why not.
func chunks(ctx context.Context, members []*enforce.Member, results []enforce.Result, do func([]*enforce.Member) error) (done []*enforce.Member) {
	for at := 0; at < len(members); at += chunk {
		err := ctx.Err()
		if err == nil {
			err = do(members[at:min(at+chunk, len(members))])
		}
		if err != nil {
			enforce.FailAll(members[at:], results, fmt.Errorf("iptables: %w", err))
			return members[:at]
		}
	}
	return members
}

// cut deletes the connection entries of what is now blocked. They are blocked
// already, so a failure is remarked upon and fails no effect.
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

// List returns what is blocked, with the end that the kernel holds. Where a
// family's rules are not in place, so that its set blocks nothing or not surely,
// nothing of it is listed: applying the effects again mends it.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	var out []enforce.Effect
	for _, f := range m.families {
		var found []enforce.Effect
		err := m.lister.list(f, func(p netip.Prefix, until time.Time) {
			found = append(found, enforce.Effect{Target: enforce.AddressTarget(p), Until: until})
		})
		if err != nil {
			return nil, fmt.Errorf("iptables: %w", err)
		}
		if len(found) == 0 {
			continue
		}
		s, err := f.read(ctx, m.run)
		if err != nil {
			return nil, fmt.Errorf("iptables: %w", err)
		}
		if s.whole(f) {
			out = append(out, found...)
		}
	}
	return out, nil
}
