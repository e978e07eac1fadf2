//go:build linux

package nft

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName names our table; its family is inet, so that it sees both IPv4 and
// IPv6.
const tableName = "riposte"

// priority is ten places before raw (-300).
const priority = -310

// direction is one of the table's two chains: where it hooks in, and which
// address of a packet it looks at.
type direction struct {
	chain    string
	hook     *nftables.ChainHook
	off4     uint32 // of the address in the IPv4 header
	off6     uint32 // and in the IPv6 header
	priority nftables.ChainPriority
}

func directions() [2]direction {
	return [2]direction{
		{chain: "prerouting", hook: nftables.ChainHookPrerouting, off4: 12, off6: 8, priority: priority},
		{chain: "postrouting", hook: nftables.ChainHookPostrouting, off4: 16, off6: 24, priority: priority},
	}
}

// skeleton is the table with its chains, sets and rules, without the elements.
type skeleton struct {
	table *nftables.Table // nil: there is none
	sound bool            // nothing is of a shape that can only be made anew
	sets  []set           // ours, in order
	rules [2][]string     // of both directions, as shape prints them
	hooks [2]bool         // the chain is there and hooked as it should be
}

// whole reports whether the skeleton drops all that its sets hold, and that it
// has a set for each of want.
func (k *skeleton) whole(want []set) bool {
	if k.table == nil || !k.sound {
		return false
	}
	for _, s := range want {
		if !slices.Contains(k.sets, s) {
			return false
		}
	}
	for i, d := range directions() {
		if !k.hooks[i] || !slices.Equal(k.rules[i], shapes(d, k.sets)) {
			return false
		}
	}
	return true
}

// readSkeleton reads what there is of the table.
func readSkeleton() (*skeleton, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	k := &skeleton{sound: true}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("listing tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == tableName {
			k.table = t
			k.sound = t.Flags == 0 // not dormant
		}
	}
	if k.table == nil {
		return k, nil
	}
	if err := k.readSets(c); err != nil {
		return nil, err
	}
	return k, k.readChains(c)
}

func (k *skeleton) readSets(c *nftables.Conn) error {
	sets, err := c.GetSets(k.table)
	if err != nil {
		return fmt.Errorf("listing sets: %w", err)
	}
	for _, s := range sets {
		ours, ok := parseSet(s.Name)
		if !ok {
			continue
		}
		if !s.HasTimeout || s.Interval || s.IsMap || s.Timeout != 0 || int(s.KeyType.Bytes) != ours.width()/8 {
			k.sound = false
		}
		k.sets = append(k.sets, ours)
	}
	slices.SortFunc(k.sets, compare)
	return nil
}

func (k *skeleton) readChains(c *nftables.Conn) error {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("listing chains: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != tableName {
			continue
		}
		for i, d := range directions() {
			if chain.Name != d.chain {
				continue
			}
			k.hooks[i] = chain.Type == nftables.ChainTypeFilter && chain.Hooknum != nil && *chain.Hooknum == *d.hook &&
				chain.Priority != nil && *chain.Priority == d.priority
			if !k.hooks[i] {
				k.sound = false
			}
			rules, err := c.GetRules(k.table, chain)
			if err != nil {
				return fmt.Errorf("listing rules: %w", err)
			}
			for _, r := range rules {
				k.rules[i] = append(k.rules[i], shape(r.Exprs))
			}
		}
	}
	return nil
}

// mend makes the skeleton whole for the sets it has and those of want. What is
// of the right shape stays, with its elements; a table that is not sound is
// made anew, and the caller's elements are missing until they are applied again.
func (k *skeleton) mend(want []set) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	have, hooks, rules := k.sets, k.hooks, k.rules
	if k.table != nil && !k.sound {
		c.DelTable(table)
	}
	if k.table == nil || !k.sound {
		c.AddTable(table)
		have, hooks, rules = nil, [2]bool{}, [2][]string{}
	}
	sets := slices.Concat(k.sets, want)
	slices.SortFunc(sets, compare)
	sets = slices.Compact(sets)
	for _, s := range sets {
		if slices.Contains(have, s) {
			continue
		}
		if err := c.AddSet(describe(table, s), nil); err != nil {
			return err
		}
	}
	accept := nftables.ChainPolicyAccept
	for i, d := range directions() {
		chain := &nftables.Chain{
			Name: d.chain, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: d.hook, Priority: &d.priority, Policy: &accept,
		}
		if !hooks[i] {
			c.AddChain(chain)
		} else if slices.Equal(rules[i], shapes(d, sets)) {
			continue
		} else {
			c.FlushChain(chain)
		}
		for _, s := range sets {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: expressions(d, s)})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("making table inet %s: %w", tableName, err)
	}
	return nil
}

func describe(table *nftables.Table, s set) *nftables.Set {
	d := &nftables.Set{
		Table: table, Name: s.String(), HasTimeout: true, // without it, element timeouts are ignored
		KeyType: nftables.TypeIPAddr, KeyByteOrder: binaryutil.BigEndian,
	}
	if s.v6 {
		d.KeyType = nftables.TypeIP6Addr
	}
	return d
}

// expressions is the rule that drops packets whose address is in the set:
//
//	ip saddr & 255.255.255.0 @v4_24 counter drop
func expressions(d direction, s set) []expr.Any {
	family, offset, length := byte(unix.NFPROTO_IPV4), d.off4, uint32(4)
	if s.v6 {
		family, offset, length = unix.NFPROTO_IPV6, d.off6, 16
	}
	es := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
	}
	if s.bits != s.width() {
		es = append(es, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: length, Mask: s.mask(), Xor: make([]byte, length)})
	}
	return append(es,
		&expr.Lookup{SourceRegister: 1, SetName: s.String()},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop})
}

// shapes is what the rules of a direction must look like, for shape.
func shapes(d direction, sets []set) []string {
	out := make([]string, len(sets))
	for i, s := range sets {
		out[i] = shape(expressions(d, s))
	}
	return out
}

// shape prints what a rule does, leaving out what differs between a rule as it
// was asked for and the same rule as the kernel lists it: counts and handles.
func shape(es []expr.Any) string {
	var b strings.Builder
	for _, e := range es {
		switch e := e.(type) {
		case *expr.Meta:
			fmt.Fprintf(&b, "meta %d;", e.Key)
		case *expr.Cmp:
			fmt.Fprintf(&b, "cmp %d %x;", e.Op, e.Data)
		case *expr.Payload:
			fmt.Fprintf(&b, "payload %d %d %d;", e.Base, e.Offset, e.Len)
		case *expr.Bitwise:
			fmt.Fprintf(&b, "mask %x %x;", e.Mask, e.Xor)
		case *expr.Lookup:
			fmt.Fprintf(&b, "lookup %s %t;", e.SetName, e.Invert)
		case *expr.Counter:
			b.WriteString("counter;")
		case *expr.Verdict:
			fmt.Fprintf(&b, "verdict %d", e.Kind)
		default:
			fmt.Fprintf(&b, "%T;", e)
		}
	}
	return b.String()
}

// ensure makes the table whole for want, and returns the generation of the
// ruleset at which it was seen to be, with the sets it has.
func ensure(generation func() (uint32, error), want []set) (uint32, []set, error) {
	want = append([]set{single4, single6}, want...)
	var refused error
	for range 6 {
		gen, err := generation()
		if err != nil {
			return 0, nil, err
		}
		k, err := readSkeleton()
		if err != nil {
			return 0, nil, err
		}
		if k.whole(want) {
			return gen, k.sets, nil
		}
		// Another hand may be at work between reading and mending; then the
		// mending is refused, and looking again is the remedy.
		if refused = k.mend(want); refused != nil && !errors.Is(refused, unix.EEXIST) && !errors.Is(refused, unix.ENOENT) && !errors.Is(refused, unix.EBUSY) {
			return 0, nil, refused
		}
	}
	if refused == nil {
		refused = errors.New("it is changed by somebody else all the time")
	}
	return 0, nil, fmt.Errorf("table inet %s cannot be kept whole: %w", tableName, refused)
}
