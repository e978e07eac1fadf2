// Package tool makes a mechanism of a system's own command: pfctl, npfctl, ipfw,
// route, netsh. A mechanism says which commands add and delete addresses and
// which one prints what is in force; this package runs them and believes only
// what is printed. What a tool says when it adds or deletes, and with which exit
// status it ends, differs from release to release and from language to
// language; what is in force afterwards is what counts.
package tool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// System is what differs between the tools. Commands are argument vectors: no
// shell sees them.
type System struct {
	// Name is how receipts call the mechanism.
	Name string
	// Durable says that the system keeps what is in force over a restart.
	Durable bool
	// Ready reports why nothing that is added would block: the firewall is
	// switched off, or has no rule that looks into our table. Optional; asked
	// before an addition, but not twice within a second.
	Ready func(context.Context, enforce.Runner) error
	// Add and Delete are the commands that change the prefixes.
	Add, Delete func([]netip.Prefix) []Command
	// Show is the commands that print what is in force, of the families of the
	// given prefixes at least; Parse reads what one of them printed.
	Show  func([]netip.Prefix) []Command
	Parse func([]byte) []netip.Prefix
	// Once says that adding what is in force already would do it twice.
	Once bool
	// After is run when the prefixes are in force: it ends what was
	// established before. Optional; what it complains of fails nothing.
	After func([]netip.Prefix) []Command
	// Marked says that what is printed is riposte's and nobody else's.
	Marked bool
}

// Command is one call of a tool, and the prefixes that it is about.
type Command struct {
	Argv     []string
	Stdin    []byte
	Prefixes []netip.Prefix
}

// Each makes one command for every prefix.
func Each(prefixes []netip.Prefix, argv func(netip.Prefix) []string) []Command {
	out := make([]Command, len(prefixes))
	for i, p := range prefixes {
		out[i] = Command{Argv: argv(p), Prefixes: prefixes[i : i+1]}
	}
	return out
}

// Client is a prefix as most tools want it: a single address without a length.
func Client(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Mechanism drives a System. Its calls may come from any goroutines, and follow
// upon one another.
type Mechanism struct {
	sys   System
	run   enforce.Runner
	mu    sync.Mutex
	mine  map[netip.Prefix]struct{} // applied by this process and not undone
	ready time.Time                 // when Ready was last content
}

var _ enforce.Lister = (*Mechanism)(nil)

// New makes a mechanism of a system whose tools are run by run.
func New(sys System, run enforce.Runner) *Mechanism {
	return &Mechanism{sys: sys, run: run, mine: make(map[netip.Prefix]struct{})}
}

// Name returns the system's name.
func (m *Mechanism) Name() string { return m.sys.Name }

// Kind returns riposte.Address.
func (m *Mechanism) Kind() riposte.Kind { return riposte.Address }

// Durable reports whether the system keeps what is in force over a restart.
func (m *Mechanism) Durable() bool { return m.sys.Durable }

// trust is for how long a system that was found ready is taken to be.
const trust = time.Second

// Apply adds the targets, reads them back, and ends their connections. A target
// that is not in force afterwards has failed with what the tool complained of.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	if len(members) == 0 {
		return results
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := prefixes(members)
	if err := m.check(ctx); err != nil {
		enforce.FailAll(members, results, fmt.Errorf("%s: %w", m.sys.Name, err))
		return results
	}
	missing, err := m.missing(ctx, wanted)
	if err != nil {
		enforce.FailAll(members, results, fmt.Errorf("%s: %w", m.sys.Name, err))
		return results
	}
	complaints := m.change(ctx, m.sys.Add(missing))
	there, err := m.show(ctx, wanted)
	var blocked []netip.Prefix
	for _, member := range members {
		if _, ok := there[member.Prefix]; ok {
			m.mine[member.Prefix] = struct{}{}
			blocked = append(blocked, member.Prefix)
			for _, i := range member.Effects {
				results[i].Verified = true
			}
			continue
		}
		m.fail(member, results, "it is not in force afterwards", err, complaints)
	}
	if m.sys.After == nil || len(blocked) == 0 {
		return results
	}
	complaints = m.change(ctx, m.sys.After(blocked))
	for _, member := range members {
		if complaint := complaints[member.Prefix]; complaint != nil {
			remark(member, results, complaint)
		}
	}
	return results
}

// missing is what has to be added of what is wanted.
func (m *Mechanism) missing(ctx context.Context, wanted []netip.Prefix) ([]netip.Prefix, error) {
	if !m.sys.Once {
		return wanted, nil
	}
	there, err := m.show(ctx, wanted)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, p := range wanted {
		if _, ok := there[p]; !ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// Undo deletes the targets, and sees that they are gone.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	if len(members) == 0 {
		return results
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := prefixes(members)
	complaints := m.change(ctx, m.sys.Delete(wanted))
	there, err := m.show(ctx, wanted)
	for _, member := range members {
		if _, stays := there[member.Prefix]; err != nil || stays {
			m.fail(member, results, "it is still in force afterwards", err, complaints)
			continue
		}
		delete(m.mine, member.Prefix)
	}
	return results
}

func prefixes(members []*enforce.Member) []netip.Prefix {
	out := make([]netip.Prefix, len(members))
	for i, m := range members {
		out[i] = m.Prefix
	}
	return out
}

// fail says why a member failed: that nothing could be read, or what the tool
// complained of, or, when it did not, what was found instead.
func (m *Mechanism) fail(member *enforce.Member, results []enforce.Result, found string, err error, complaints map[netip.Prefix]error) {
	if err == nil {
		err = complaints[member.Prefix]
	}
	if err == nil {
		err = errors.New(found)
	}
	member.Fail(results, fmt.Errorf("%s: %s: %w", m.sys.Name, Client(member.Prefix), err))
}

func remark(member *enforce.Member, results []enforce.Result, complaint error) {
	for _, i := range member.Effects {
		results[i].Output = fmt.Sprintf("established connections may go on: %v", complaint)
	}
}

func (m *Mechanism) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.sys.Ready == nil || time.Since(m.ready) < trust {
		return nil
	}
	if err := m.sys.Ready(ctx, m.run); err != nil {
		return err
	}
	m.ready = time.Now()
	return nil
}

// change runs commands until ctx ends, and returns the complaints.
func (m *Mechanism) change(ctx context.Context, commands []Command) map[netip.Prefix]error {
	complaints := make(map[netip.Prefix]error)
	for _, c := range commands {
		if ctx.Err() != nil {
			break // show will say so
		}
		if _, _, err := m.run(ctx, c.Argv, c.Stdin); err != nil {
			for _, p := range c.Prefixes {
				complaints[p] = err
			}
		}
	}
	return complaints
}

// show reads what is in force.
func (m *Mechanism) show(ctx context.Context, wanted []netip.Prefix) (map[netip.Prefix]struct{}, error) {
	there := make(map[netip.Prefix]struct{})
	for _, c := range m.sys.Show(wanted) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, _, err := m.run(ctx, c.Argv, c.Stdin)
		if err != nil {
			return nil, fmt.Errorf("reading what is in force: %w", err)
		}
		for _, p := range m.sys.Parse(out) {
			there[p] = struct{}{}
		}
	}
	return there, nil
}

// List returns what is in force of riposte's: where the system holds no mark of
// whose it is, what was applied by this process and is still there. Where
// nothing would block, nothing is listed.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, nil
	}
	mine := make([]netip.Prefix, 0, len(m.mine))
	for p := range m.mine {
		mine = append(mine, p)
	}
	there, err := m.show(ctx, mine)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.sys.Name, err)
	}
	var out []enforce.Effect
	for p := range there {
		if _, ours := m.mine[p]; ours || m.sys.Marked {
			out = append(out, enforce.Effect{Target: enforce.AddressTarget(p)})
		}
	}
	return out, nil
}

// ParseClient reads an address or a prefix as tools print it, and says whether
// it is one.
func ParseClient(text string) (p netip.Prefix, ok bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.WithZone("").Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err == nil
}
