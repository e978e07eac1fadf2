package enforce

import (
	"fmt"
	"net/netip"
	"time"

	"riposte"
)

// Member is one prefix that a call's effects ask for, as a mechanism wants it
// that keeps a set of addresses.
type Member struct {
	Prefix  netip.Prefix // masked; a single address has its full length
	Until   time.Time    // of the last of its effects
	Effects []int        // indices of its effects, hence of its results
}

// Members returns the prefixes that effects ask for, each once, in the order in
// which they first occur. An effect whose target is no address has failed in
// results, and is left out.
func Members(effects []Effect, results []Result) []*Member {
	out := make([]*Member, 0, len(effects))
	known := make(map[netip.Prefix]*Member, len(effects))
	for i := range effects {
		p, ok := effects[i].Target.Prefix()
		if !ok {
			results[i].Err = fmt.Errorf("%s %q is not an address", effects[i].Target.Kind, effects[i].Target)
			continue
		}
		m := known[p]
		if m == nil {
			m = &Member{Prefix: p}
			known[p] = m
			out = append(out, m)
		}
		m.Until = effects[i].Until
		m.Effects = append(m.Effects, i)
	}
	return out
}

// Fail files err as the result of the member's effects.
func (m *Member) Fail(results []Result, err error) {
	for _, i := range m.Effects {
		results[i].Err = err
	}
}

// FailAll files err as the result of all members' effects.
func FailAll(members []*Member, results []Result, err error) {
	for _, m := range members {
		m.Fail(results, err)
	}
}

// Over reports whether the member's end has passed.
func (m *Member) Over(now time.Time) bool { return !m.Until.IsZero() && !m.Until.After(now) }

// AddressTarget is the target of a prefix, canonical as riposte.ParseTarget
// makes it.
func AddressTarget(p netip.Prefix) riposte.Target {
	if p.IsSingleIP() {
		return riposte.Target{Kind: riposte.Address, Value: p.Addr().String()}
	}
	return riposte.Target{Kind: riposte.Address, Value: p.Masked().String()}
}
