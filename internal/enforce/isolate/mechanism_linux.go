package isolate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/enforce"
)

// The names in the kernel.
const (
	tableName = "riposte_isolate"
	setName   = "lasting"
)

// Mechanism isolates this host. It is used by one goroutine at a time.
type Mechanism struct{ o Options }

var _ enforce.Lister = (*Mechanism)(nil)

// New opens the mechanism in the network namespace of the calling thread, which
// must be that of its callers, too. It changes nothing yet. It fails when the
// kernel has no nftables, or the process not the right to use them.
func New(o Options) (*Mechanism, error) {
	if _, err := read(); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	return &Mechanism{o: o}, nil
}

// Name returns "isolation".
func (m *Mechanism) Name() string { return Name }

// Kind returns riposte.None: it is the host itself that is isolated.
func (m *Mechanism) Kind() riposte.Kind { return riposte.None }

// Durable returns false: the kernel forgets at a restart of the machine.
func (m *Mechanism) Durable() bool { return false }

// Apply isolates the host, or renews the end and the list of those who pass, in
// one transaction. Of several effects the last one holds.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	var last *enforce.Effect
	for i := range effects {
		if results[i].Err = refused(&effects[i]); results[i].Err == nil {
			last = &effects[i]
		}
	}
	if last == nil {
		return results
	}
	said, err := m.isolate(ctx, last)
	for i := range results {
		if results[i].Err == nil {
			results[i] = enforce.Result{Err: err, Verified: err == nil, Output: said}
		}
	}
	return results
}

// refused returns why an effect is not to be had.
func refused(e *enforce.Effect) error {
	switch {
	case e.Target.Kind != riposte.None:
		return fmt.Errorf("%s: it is the host that is isolated, not %s %s", Name, e.Target.Kind, e.Target)
	case e.Until.IsZero() && !e.Force:
		return fmt.Errorf("%s: without a timeout it would last for ever; give one, or force it", Name)
	}
	return nil
}

// isolate asks who passes, makes the table and reads it back.
func (m *Mechanism) isolate(ctx context.Context, e *enforce.Effect) (said string, err error) {
	p, err := m.ask(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", Name, err)
	}
	if len(p.managers)+len(p.keep)+len(p.admins) == 0 && !e.Force {
		return "", fmt.Errorf("%s: nobody would be left to talk to; name a manager or a network to keep, or force it", Name)
	}
	if err := build(p, e.Until); err != nil {
		return "", fmt.Errorf("%s: making table inet %s: %w", Name, tableName, err)
	}
	s, err := read()
	if over := !e.Until.IsZero() && !e.Until.After(time.Now()); err == nil && !over && (!s.isolated || s.until.IsZero() != e.Until.IsZero()) {
		err = errors.New("it is not there")
	}
	if err != nil {
		return "", fmt.Errorf("%s: the kernel took table inet %s, but reading it back: %w", Name, tableName, err)
	}
	return "left to talk to: " + p.words(), nil
}

// ask makes the list of those who pass. Administrators whose sessions cannot be
// told are no reason to leave the host open.
func (m *Mechanism) ask(ctx context.Context) (p passes, err error) {
	p = passes{keep: m.o.Keep, resolvers: m.o.Resolvers, dhcp: m.o.DHCP}
	if m.o.Managers != nil {
		if p.managers, err = m.o.Managers(ctx); err != nil {
			return p, fmt.Errorf("finding the managers, who could not end it then: %w", err)
		}
	}
	if m.o.Admins != nil {
		p.admins, _ = m.o.Admins(ctx)
	}
	// A mapped address is IPv4 on the wire, and a zone is not there at all.
	p.managers = slices.Clone(p.managers)
	for i, a := range p.managers {
		p.managers[i] = netip.AddrPortFrom(plain(a.Addr()), a.Port())
	}
	p.admins, p.resolvers = slices.Clone(p.admins), slices.Clone(p.resolvers)
	for _, list := range [][]netip.Addr{p.admins, p.resolvers} {
		for i := range list {
			list[i] = plain(list[i])
		}
	}
	return p, nil
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// words tells people who passes.
func (p *passes) words() string {
	text := "loopback"
	add := func(what string, n int, list any) {
		if n > 0 {
			text += fmt.Sprintf("; %s %v", what, list)
		}
	}
	add("managers", len(p.managers), p.managers)
	add("networks", len(p.keep), p.keep)
	add("open sessions from", len(p.admins), p.admins)
	add("resolvers", len(p.resolvers), p.resolvers)
	if p.dhcp {
		text += "; DHCP"
	}
	return text
}

// Undo lets the host talk again.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	wanted := false
	for i := range effects {
		wanted = wanted || effects[i].Target.Kind == riposte.None
	}
	results := make([]enforce.Result, len(effects))
	if !wanted {
		return results
	}
	err := ctx.Err()
	if err == nil {
		err = remove()
	}
	if err != nil {
		return enforce.Fail(effects, fmt.Errorf("%s: %w", Name, err))
	}
	return results
}

// List returns the isolation, if it is in force.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	s, err := read()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	if !s.isolated {
		return nil, nil
	}
	return []enforce.Effect{{Until: s.until}}, nil
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// build makes the table anew, in one transaction.
func build(p passes, until time.Time) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := table()
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	lasting := &nftables.Set{Table: t, Name: setName, KeyType: nftables.TypeNFProto, HasTimeout: true}
	var timeout time.Duration
	if !until.IsZero() {
		timeout = max(time.Until(until), time.Millisecond)
	}
	if err := c.AddSet(lasting, []nftables.SetElement{
		{Key: []byte{unix.NFPROTO_IPV4}, Timeout: timeout},
		{Key: []byte{unix.NFPROTO_IPV6}, Timeout: timeout},
	}); err != nil {
		return err
	}
	policy := nftables.ChainPolicyAccept
	for _, d := range directions() {
		chain := c.AddChain(&nftables.Chain{
			Name: d.chain, Table: t, Type: nftables.ChainTypeFilter, Hooknum: d.hook, Priority: &d.priority, Policy: &policy,
		})
		for _, rule := range p.rules(d) {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: rule})
		}
	}
	return c.Flush()
}

// remove takes the table away, if it is there.
func remove() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.AddTable(table())
	c.DelTable(table())
	if err := c.Flush(); err != nil {
		return fmt.Errorf("deleting table inet %s: %w", tableName, err)
	}
	return nil
}

// state is what the kernel says.
type state struct {
	isolated bool
	until    time.Time
}

// read reads the table. A host is isolated when both chains are hooked where
// they should be, end in the drop, and both families are to be dropped.
func read() (s state, err error) {
	c, err := nftables.New()
	if err != nil {
		return s, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return s, fmt.Errorf("listing tables: %w", err)
	}
	at := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName })
	if at < 0 || tables[at].Flags != 0 { // dormant
		return s, nil
	}
	hooked, err := dropping(c)
	if err != nil || hooked != len(directions()) {
		return s, gone(err)
	}
	set, err := c.GetSetByName(table(), setName)
	if err != nil {
		return s, gone(err)
	}
	elements, err := c.GetSetElements(set)
	if err != nil {
		return s, gone(err)
	}
	for _, e := range elements {
		if e.Expires > 0 {
			s.until = time.Now().Add(e.Expires)
		}
	}
	s.isolated = len(elements) == 2
	return s, nil
}

// gone passes on err, unless it says that what was looked at went meanwhile.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// dropping counts our chains that are hooked and end in the drop.
func dropping(c *nftables.Conn) (n int, err error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return 0, fmt.Errorf("listing chains: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != tableName || chain.Hooknum == nil || chain.Priority == nil || *chain.Priority != priority {
			continue
		}
		rules, err := c.GetRules(table(), chain)
		if err != nil {
			return 0, fmt.Errorf("listing rules: %w", err)
		}
		if len(rules) == 0 {
			continue
		}
		for i, e := range rules[len(rules)-1].Exprs {
			v, ok := e.(*expr.Verdict)
			if ok && v.Kind == expr.VerdictDrop && i > 0 {
				n++
			}
		}
	}
	return n, nil
}
