package route

import (
	"context"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/netevents"
	"riposte/internal/enforce/nfnetlink"
)

var _ enforce.Watcher = (*Table)(nil)

// Watch calls changed when somebody else deletes one of our routes. It listens
// in the network namespace of the calling thread. A route that wins over ours is
// not heard of: that is for the comparison now and then.
func (t *Table) Watch(ctx context.Context, changed func()) error {
	t.own.watch(1)
	defer t.own.watch(-1)
	return netevents.Listen(ctx, unix.NETLINK_ROUTE, []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE}, func(e netevents.Event) {
		if t.byOthers(e) {
			changed()
		}
	})
}

// byOthers reports whether somebody else may have deleted a route of ours.
func (t *Table) byOthers(e netevents.Event) bool {
	if e.Type == 0 { // events were lost, with deletions of our own perhaps
		t.own.forget()
		return true
	}
	p, ok := deleted(e)
	return ok && !t.own.heard(p)
}

// deleted returns the prefix of a null route of ours that is gone.
func deleted(e netevents.Event) (netip.Prefix, bool) {
	b := e.Body
	if e.Type != unix.RTM_DELROUTE || len(b) < unix.SizeofRtMsg {
		return netip.Prefix{}, false
	}
	family, bits, table, protocol, typ := b[0], b[1], b[4], b[5], b[7]
	if table != unix.RT_TABLE_MAIN || protocol != uint8(Protocol) || typ != unix.RTN_BLACKHOLE {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(nfnetlink.Find(b[unix.SizeofRtMsg:], unix.RTA_DST))
	if !ok { // the default route has no destination
		if a = netip.IPv4Unspecified(); family == unix.AF_INET6 {
			a = netip.IPv6Unspecified()
		}
	}
	p, err := a.Prefix(int(bits))
	return p, err == nil
}

// remove deletes our route to a prefix.
func (t *Table) remove(p netip.Prefix) error {
	t.own.expect(p)
	err := t.handle.RouteDel(nullRoute(p))
	if err != nil {
		t.own.heard(p)
	}
	return err
}

// deletions are those of our own that are still to be heard of.
type deletions struct {
	mu       sync.Mutex
	watching int
	expected map[netip.Prefix]int
}

func (d *deletions) watch(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watching += by; d.watching == 0 {
		d.expected = nil
	}
}

// forget gives up on those that are still to come: one that was lost would stand
// for somebody else's later.
func (d *deletions) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expected = nil
}

func (d *deletions) expect(p netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watching == 0 {
		return
	}
	if d.expected == nil {
		d.expected = map[netip.Prefix]int{}
	}
	d.expected[p]++
}

// heard reports whether a deletion was expected.
func (d *deletions) heard(p netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.expected[p]
	switch {
	case n == 0:
		return false
	case n == 1:
		delete(d.expected, p)
	default:
		d.expected[p] = n - 1
	}
	return true
}
