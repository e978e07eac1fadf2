package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce/nfnetlink"
)

// Commands and attributes, of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	cmdGet    = 1
	cmdDelete = 2
	cmdStats  = 5

	attrOriginal = 1
	attrReply    = 2
	attrZone     = 18
	attrFilter   = 25

	attrTupleIP = 1
	attrV4Src   = 1
	attrV6Src   = 3

	attrStatsEntries = 1

	attrFilterOriginal = 1
	attrFilterReply    = 2
	filterSource       = 1
)

// Table is the connection table of a network namespace. It is used by one
// goroutine at a time.
type Table struct {
	conn    *nfnetlink.Conn
	request nfnetlink.Request
}

// Open opens the table in the network namespace of the calling thread. It fails
// where the kernel tracks no connections, or the process has no right to see.
func Open() (*Table, error) {
	conn, err := nfnetlink.Dial()
	if err != nil {
		return nil, err
	}
	t := &Table{conn: conn}
	if _, err := t.entries(); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// Close closes the table's socket.
func (t *Table) Close() error { return t.conn.Close() }

// entries is how many connections are known: often none, and then there is
// nothing to read through.
func (t *Table) entries() (n uint64, err error) {
	t.request.Reset()
	t.request.Message(unix.NFNL_SUBSYS_CTNETLINK, cmdStats, unix.NLM_F_ACK, unix.AF_UNSPEC, 0)
	err = t.conn.Do(&t.request, func(m nfnetlink.Message) {
		n = nfnetlink.Uint(nfnetlink.Find(m.Attrs, attrStatsEntries))
	})
	if err != nil {
		return 0, fmt.Errorf("counting connections: %w", err)
	}
	return n, nil
}

// Cut deletes the entries of all connections from and to the targets, and
// returns how many there were.
func (t *Table) Cut(ctx context.Context, targets []netip.Prefix) (int, error) {
	if n, err := t.entries(); err != nil || n == 0 {
		return 0, err
	}
	cut := 0
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		wanted := index(targets, family)
		if len(wanted.prefixes) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return cut, err
		}
		entries, err := t.find(family, wanted)
		if err != nil {
			return cut, err
		}
		for _, e := range entries {
			switch err := t.delete(family, e); {
			case err == nil:
				cut++
			case errors.Is(err, unix.ENOENT): // it ended meanwhile
			default:
				return cut, fmt.Errorf("deleting a connection: %w", err)
			}
		}
	}
	return cut, nil
}

// lookup finds out fast whether an address is in any of many prefixes.
type lookup struct {
	prefixes map[netip.Prefix]struct{}
	lengths  []int // that occur
}

func index(targets []netip.Prefix, family uint8) lookup {
	l := lookup{prefixes: make(map[netip.Prefix]struct{})}
	lengths := make(map[int]struct{})
	for _, p := range targets {
		if p.Addr().Is4() != (family == unix.AF_INET) {
			continue
		}
		l.prefixes[p] = struct{}{}
		if _, known := lengths[p.Bits()]; !known {
			lengths[p.Bits()] = struct{}{}
			l.lengths = append(l.lengths, p.Bits())
		}
	}
	return l
}

func (l lookup) contains(a netip.Addr) bool {
	for _, bits := range l.lengths {
		p, err := a.Prefix(bits)
		if err != nil {
			continue
		}
		if _, ok := l.prefixes[p]; ok {
			return true
		}
	}
	return false
}

// entry is what names a connection, as the kernel wrote it.
type entry struct{ original, zone []byte }

// find reads the table for the connections that a target began (it is the
// original's source) or answers (the reply's source, behind any address
// translation). A single address is asked for by name, which the kernel filters
// by from Linux 5.8 on; everything is checked here all the same.
func (t *Table) find(family uint8, wanted lookup) ([]entry, error) {
	var found []entry
	keep := func(m nfnetlink.Message) {
		var e entry
		var match bool
		for typ, value := range nfnetlink.Attributes(m.Attrs) {
			switch typ {
			case attrOriginal:
				e.original = value
				match = match || wanted.contains(source(value))
			case attrReply:
				match = match || wanted.contains(source(value))
			case attrZone:
				e.zone = value
			}
		}
		if match {
			e.original, e.zone = append([]byte(nil), e.original...), append([]byte(nil), e.zone...)
			found = append(found, e)
		}
	}
	if a, ok := wanted.single(); ok {
		for _, side := range []uint16{attrOriginal, attrReply} {
			t.ask(family)
			t.filter(side, a)
			if err := t.answer(keep); err != nil {
				return nil, err
			}
		}
		return found, nil
	}
	t.ask(family)
	return found, t.answer(keep)
}

func (l lookup) single() (a netip.Addr, ok bool) {
	for p := range l.prefixes {
		if len(l.prefixes) == 1 && p.IsSingleIP() {
			return p.Addr(), true
		}
	}
	return a, false
}

func (t *Table) ask(family uint8) {
	t.request.Reset()
	t.request.Message(unix.NFNL_SUBSYS_CTNETLINK, cmdGet, unix.NLM_F_DUMP, family, 0)
}

// filter asks for the connections whose original or reply comes from a.
func (t *Table) filter(side uint16, a netip.Addr) {
	tuple := t.request.Nest(side)
	ip := t.request.Nest(attrTupleIP)
	typ := uint16(attrV4Src)
	if a.Is6() {
		typ = attrV6Src
	}
	t.request.Bytes(typ, a.AsSlice())
	t.request.End(ip)
	t.request.End(tuple)
	filter := t.request.Nest(attrFilter)
	flags := [2]uint32{filterSource, 0}
	if side == attrReply {
		flags[0], flags[1] = 0, filterSource
	}
	t.request.NativeUint32(attrFilterOriginal, flags[0])
	t.request.NativeUint32(attrFilterReply, flags[1])
	t.request.End(filter)
}

func (t *Table) answer(each func(nfnetlink.Message)) error {
	// Entries that came or went while they were read do not matter: those that
	// came are blocked.
	if err := t.conn.Do(&t.request, each); err != nil && !errors.Is(err, nfnetlink.ErrInterrupted) {
		return fmt.Errorf("reading the connection table: %w", err)
	}
	return nil
}

// source is the source address of a tuple.
func source(tuple []byte) netip.Addr {
	ip := nfnetlink.Find(tuple, attrTupleIP)
	src := nfnetlink.Find(ip, attrV4Src)
	if src == nil {
		src = nfnetlink.Find(ip, attrV6Src)
	}
	a, _ := netip.AddrFromSlice(src) // zero is in no prefix
	return a
}

func (t *Table) delete(family uint8, e entry) error {
	t.request.Reset()
	t.request.Message(unix.NFNL_SUBSYS_CTNETLINK, cmdDelete, unix.NLM_F_ACK, family, 0)
	t.request.Bytes(attrOriginal|unix.NLA_F_NESTED, e.original)
	if len(e.zone) > 0 {
		t.request.Bytes(attrZone, e.zone)
	}
	return t.conn.Do(&t.request, nil)
}
