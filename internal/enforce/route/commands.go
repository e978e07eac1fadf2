package route

import (
	"context"
	"fmt"
	"net/netip"

	"riposte"
	"riposte/internal/enforce"
)

// Commands blocks addresses and prefixes with null routes made by a system's
// own tools. Whether a route is there is read from the table itself, never from
// what a tool says or from its exit status, which differ from release to
// release and from language to language. It is used by one goroutine at a time.
type Commands struct {
	run  enforce.Runner
	sys  system
	mine map[netip.Prefix]struct{} // applied by this process and not undone
}

var _ enforce.Lister = (*Commands)(nil)

// system is what differs between the systems: the commands that add, delete and
// print routes, and how the null routes are told in what is printed.
type system struct {
	add, del func(netip.Prefix) []string
	show     func(v6 bool) []string
	parse    func(out []byte, v6 bool) []netip.Prefix
}

func newCommands(run enforce.Runner, sys system) *Commands {
	return &Commands{run: run, sys: sys, mine: make(map[netip.Prefix]struct{})}
}

// Name returns "null route".
func (c *Commands) Name() string { return Name }

// Kind returns riposte.Address.
func (c *Commands) Kind() riposte.Kind { return riposte.Address }

// Durable returns false: none of the systems keeps such routes over a restart.
func (c *Commands) Durable() bool { return false }

// Apply makes the routes, and reads them back.
func (c *Commands) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	complaints := c.each(ctx, members, c.sys.add)
	there, err := c.table(ctx, members)
	for i, m := range members {
		failure := err
		if _, ok := there[m.Prefix]; err == nil && !ok {
			if failure = complaints[i]; failure == nil {
				failure = fmt.Errorf("no route to %s came about", m.Prefix)
			}
		}
		if failure != nil {
			m.Fail(results, fmt.Errorf("%s: %w", Name, failure))
			continue
		}
		c.mine[m.Prefix] = struct{}{}
		for _, i := range m.Effects {
			results[i].Verified = true
		}
	}
	return results
}

// Undo deletes the routes, and sees that they are gone.
func (c *Commands) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	complaints := c.each(ctx, members, c.sys.del)
	there, err := c.table(ctx, members)
	for i, m := range members {
		failure := err
		if _, ok := there[m.Prefix]; ok {
			if failure = complaints[i]; failure == nil {
				failure = fmt.Errorf("the route to %s stays", m.Prefix)
			}
		}
		if failure != nil {
			m.Fail(results, fmt.Errorf("%s: %w", Name, failure))
			continue
		}
		delete(c.mine, m.Prefix)
	}
	return results
}

// each runs a command for each member and returns what each complained of.
func (c *Commands) each(ctx context.Context, members []*enforce.Member, command func(netip.Prefix) []string) []error {
	complaints := make([]error, len(members))
	for i, m := range members {
		if ctx.Err() != nil {
			break // table will say so
		}
		_, _, complaints[i] = c.run(ctx, command(m.Prefix), nil)
	}
	return complaints
}

// table reads the null routes of the families that members are of.
func (c *Commands) table(ctx context.Context, members []*enforce.Member) (map[netip.Prefix]struct{}, error) {
	out := make(map[netip.Prefix]struct{})
	for _, v6 := range []bool{false, true} {
		wanted := false
		for _, m := range members {
			wanted = wanted || m.Prefix.Addr().Is6() == v6
		}
		if !wanted {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		printed, _, err := c.run(ctx, c.sys.show(v6), nil)
		if err != nil {
			return nil, fmt.Errorf("reading the routing table: %w", err)
		}
		for _, p := range c.sys.parse(printed, v6) {
			out[p] = struct{}{}
		}
	}
	return out, nil
}

// List returns those of the routes made by this process that are still there.
// The system does not tell whose a null route is, so what an earlier process
// made is not among them until it is applied again.
func (c *Commands) List(ctx context.Context) ([]enforce.Effect, error) {
	members := make([]*enforce.Member, 0, len(c.mine))
	for p := range c.mine {
		members = append(members, &enforce.Member{Prefix: p})
	}
	there, err := c.table(ctx, members)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	var out []enforce.Effect
	for _, m := range members {
		if _, ok := there[m.Prefix]; ok {
			out = append(out, enforce.Effect{Target: enforce.AddressTarget(m.Prefix)})
		}
	}
	return out, nil
}

// Close does nothing: no socket is held.
func (c *Commands) Close() error { return nil }
