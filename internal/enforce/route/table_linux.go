package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/enforce"
)

// Table blocks addresses and prefixes with blackhole routes in the main routing
// table. Apply and Undo are used by one goroutine at a time, List by another
// beside it.
type Table struct {
	handle *netlink.Handle
	lister *netlink.Handle // another socket, so that a long list holds nobody up
	own    deletions
}

var _ enforce.Lister = (*Table)(nil)

// New opens the routing table of the calling thread's network namespace. It
// changes nothing yet. The runner is for systems whose table has to be changed
// by a tool.
func New(enforce.Runner) (*Table, error) {
	var handles [2]*netlink.Handle
	for i := range handles {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			if i > 0 {
				handles[0].Close()
			}
			return nil, fmt.Errorf("%s: opening the routing table: %w", Name, err)
		}
		// From Linux 4.20 on the kernel itself leaves out what is not asked
		// for: a router has a million other routes. Before, the library does.
		_ = h.SetStrictCheck(true)
		handles[i] = h
	}
	return &Table{handle: handles[0], lister: handles[1]}, nil
}

// Close closes the table's sockets. What is in force stays in force.
func (t *Table) Close() error {
	t.handle.Close()
	t.lister.Close()
	return nil
}

// Name returns "null route".
func (t *Table) Name() string { return Name }

// Kind returns riposte.Address.
func (t *Table) Kind() riposte.Kind { return riposte.Address }

// Durable returns false: the kernel forgets at a restart of the machine.
func (t *Table) Durable() bool { return false }

// nullRoute is our route for a prefix. IPv6 takes a metric of 0 for 1024, which
// would lose to most other routes to the same prefix.
func nullRoute(p netip.Prefix) *netlink.Route {
	r := &netlink.Route{
		Table: unix.RT_TABLE_MAIN, Type: unix.RTN_BLACKHOLE, Protocol: Protocol,
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
	}
	if p.Addr().Is6() {
		r.Priority = 1
	}
	return r
}

// Apply makes the routes, and asks the kernel whether it still finds a way.
func (t *Table) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	var ours map[netip.Prefix]struct{} // read when first needed
	for _, m := range enforce.Members(effects, results) {
		err := ctx.Err()
		if err == nil {
			err = t.handle.RouteAdd(nullRoute(m.Prefix))
		}
		if errors.Is(err, unix.EEXIST) {
			if ours == nil {
				ours, err = read(ctx, t.handle)
			} else {
				err = nil
			}
			if _, there := ours[m.Prefix]; err == nil && !there {
				err = fmt.Errorf("somebody else has a route to %s", m.Prefix)
			}
		}
		verified := false
		if err == nil {
			verified, err = t.verify(m.Prefix)
		}
		if err != nil {
			m.Fail(results, fmt.Errorf("%s: %w", Name, err))
			continue
		}
		for _, i := range m.Effects {
			results[i].Verified = verified
		}
	}
	return results
}

// verify asks the kernel for the way to a prefix, which shall be none. When a
// single address still has one, another table is looked into before the main
// one, and the null route, which would be of no effect, is taken away again.
// For a prefix the answer holds for its first address only: a part of it may
// well have a longer route.
func (t *Table) verify(p netip.Prefix) (bool, error) {
	_, err := t.handle.RouteGet(p.Addr().AsSlice())
	switch {
	case errors.Is(err, unix.EINVAL): // how Linux words "blackhole"
		return true, nil
	case err != nil || !p.IsSingleIP():
		return false, nil
	}
	if err := t.remove(p); err != nil {
		return false, fmt.Errorf("taking away a route without effect: %w", err)
	}
	return false, fmt.Errorf("%s is reached by another routing table (ip rule), which comes before the main table", p.Addr())
}

// Undo deletes the routes. One that somebody else made is not ours to delete.
func (t *Table) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	for _, m := range enforce.Members(effects, results) {
		err := ctx.Err()
		if err == nil {
			err = t.remove(m.Prefix)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			m.Fail(results, fmt.Errorf("%s: %w", Name, err))
		}
	}
	return results
}

// List returns our routes. They have no end of their own.
func (t *Table) List(ctx context.Context) ([]enforce.Effect, error) {
	ours, err := read(ctx, t.lister)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	out := make([]enforce.Effect, 0, len(ours))
	for p := range ours {
		out = append(out, enforce.Effect{Target: enforce.AddressTarget(p)})
	}
	return out, nil
}

// readings is how often the table is read while it is found to change.
const readings = 5

// read reads our routes.
func read(ctx context.Context, h *netlink.Handle) (map[netip.Prefix]struct{}, error) {
	out := make(map[netip.Prefix]struct{})
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_BLACKHOLE, Protocol: Protocol}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		var err error
		for range readings {
			if err = ctx.Err(); err != nil {
				return nil, err
			}
			err = h.RouteListFilteredIter(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE|netlink.RT_FILTER_PROTOCOL, func(r netlink.Route) bool {
				if p, ok := prefixOf(r.Dst, family); ok {
					out[p] = struct{}{}
				}
				return true
			})
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		// A host without a single route has no table, and so says the kernel.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("listing routes: %w", err)
		}
	}
	return out, nil
}

func prefixOf(n *net.IPNet, family int) (netip.Prefix, bool) {
	if n == nil { // the default route
		if family == netlink.FAMILY_V4 {
			return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
		}
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if family == netlink.FAMILY_V4 {
		a = a.Unmap()
	}
	p := netip.PrefixFrom(a, bits)
	return p, ok && p.IsValid()
}
