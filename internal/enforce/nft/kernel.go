//go:build linux

package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/nfnetlink"
)

// kernel is our table in the kernel: it does transactions on its elements and
// reads them back.
//
// Every transaction names the generation of the ruleset at which the table was
// last seen to be whole. When anybody else has changed any of nftables since,
// the kernel refuses it, the table is looked at again, mended if need be, and
// the transaction repeated: nothing is ever reported as blocked by a set that
// no rule looks into, at no cost while nobody interferes.
type kernel struct {
	conn       *nfnetlink.Conn
	request    nfnetlink.Request
	generation uint32      // 0: the table has not been looked at yet
	sets       []set       // that the table has
	held       map[set]int // about how many elements are in them
}

func dial() (*kernel, error) {
	conn, err := nfnetlink.Dial()
	if err != nil {
		return nil, err
	}
	k := &kernel{conn: conn, held: make(map[set]int)}
	if _, err := k.readGeneration(); err != nil {
		conn.Close()
		if errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("no right to change the firewall (CAP_NET_ADMIN): %w", err)
		}
		return nil, fmt.Errorf("this kernel has no nftables: %w", err)
	}
	return k, nil
}

// readGeneration asks for the generation of the ruleset: a number that grows
// with every transaction of anybody.
func (k *kernel) readGeneration() (gen uint32, err error) {
	k.request.Reset()
	k.request.Message(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, unix.NLM_F_ACK, unix.NFPROTO_UNSPEC, 0)
	err = k.conn.Do(&k.request, func(m nfnetlink.Message) {
		gen = uint32(nfnetlink.Uint(nfnetlink.Find(m.Attrs, unix.NFTA_GEN_ID)))
	})
	if err != nil {
		return 0, fmt.Errorf("reading the ruleset's generation: %w", err)
	}
	return gen, nil
}

// look reads the table, and mends it so that it is whole and has a set s.
func (k *kernel) look(s set) (err error) {
	k.generation, k.sets, err = ensure(k.readGeneration, append(k.sets, s))
	if err != nil {
		k.generation, k.sets = 0, nil
	}
	return err
}

// committed counts a transaction of ours, as the kernel does: by one, leaving
// out 0. If others changed the ruleset as well, the sum is wrong, and the next
// transaction that depends on it is refused.
func (k *kernel) committed(s set, elements int) {
	if k.generation != 0 {
		if k.generation++; k.generation == 0 {
			k.generation = 1
		}
	}
	k.held[s] = max(k.held[s]+elements, 0)
}

// attempts is how often a transaction is tried while others change the ruleset.
const attempts = 8

// put blocks at most chunk elements, in one transaction.
func (k *kernel) put(s set, elements []*enforce.Member) (err error) {
	for range attempts {
		if k.generation == 0 || !slices.Contains(k.sets, s) {
			if err := k.look(s); err != nil {
				return err
			}
		}
		encodePut(&k.request, k.generation, s, elements, time.Now())
		err = k.conn.Do(&k.request, nil)
		switch {
		case err == nil:
			k.committed(s, len(elements))
			return nil
		case errors.Is(err, unix.ERESTART):
			err = errors.New("the ruleset is changed by somebody else all the time")
		case errors.Is(err, unix.ENOENT):
			// An element ended between two messages of one transaction, on
			// kernels that do not stop the clock for it; or the table went, on
			// a kernel that does not know generations.
		default:
			k.generation = 0 // who knows what was done
			return err
		}
		k.generation = 0 // look again
	}
	return err
}

// remove lets at most chunk elements through, in one transaction. It needs no
// more of the table than the set: where that is gone nothing is blocked.
func (k *kernel) remove(s set, elements []*enforce.Member) (err error) {
	for range attempts {
		encodeRemove(&k.request, s, elements)
		err = k.conn.Do(&k.request, nil)
		switch {
		case err == nil:
			k.committed(s, -len(elements))
			return nil
		case !errors.Is(err, unix.ENOENT):
			return err
		}
		there, readErr := readSkeleton()
		if readErr != nil {
			return readErr
		}
		if !slices.Contains(there.sets, s) {
			return nil
		}
	}
	return err
}

// lookups is how many elements are asked for in one request: the answers, one
// message each, must fit into the socket's receive buffer.
const lookups = 500

// find asks for elements by their keys, and passes on those that are there. The
// error is errors.ErrUnsupported on kernels that cannot be asked so.
func (k *kernel) find(s set, elements []*enforce.Member, each func(element)) error {
	for len(elements) > 0 {
		n := min(len(elements), lookups)
		k.request.Reset()
		message(&k.request, unix.NFT_MSG_GETSETELEM, unix.NLM_F_ACK, s, elements[:n], time.Time{})
		answered, now := 0, time.Now()
		var malformed error
		err := k.conn.Do(&k.request, func(m nfnetlink.Message) {
			answered++
			malformed = errors.Join(malformed, decode(m, s, now, each))
		})
		switch {
		case malformed != nil:
			return malformed
		case err == nil:
			elements = elements[n:]
		case errors.Is(err, unix.ENOENT) && answered < n:
			// The kernel stops at the first that is absent: go on behind it.
			elements = elements[answered+1:]
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL): // before 4.15
			return errors.ErrUnsupported
		default:
			return fmt.Errorf("reading back set %s: %w", s, err)
		}
	}
	return nil
}

// mostly reports whether n elements are so large a part of the set, and so
// many, that reading all of it is faster than asking for each.
func (k *kernel) mostly(s set, n int) bool { return n > lookups && k.held[s] <= 3*n }

// dumps is how often a set is read while it is found to change.
const dumps = 5

// dump returns all elements of a set. A set that has grown is moved to a larger
// hash by and by, and a dump of several messages meanwhile repeats elements and
// leaves out others; then it is read again, and what any reading found counts.
func (k *kernel) dump(s set) ([]element, error) {
	type found struct {
		until   time.Time
		reading int
	}
	all := make(map[netip.Prefix]found)
	for reading := range dumps {
		k.request.Reset()
		k.request.Message(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, unix.NFPROTO_INET, 0)
		k.request.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
		k.request.String(unix.NFTA_SET_ELEM_LIST_SET, s.String())
		repeated, now := false, time.Now()
		var malformed error
		err := k.conn.Do(&k.request, func(m nfnetlink.Message) {
			malformed = errors.Join(malformed, decode(m, s, now, func(e element) {
				f, known := all[e.prefix]
				repeated = repeated || known && f.reading == reading
				all[e.prefix] = found{until: e.until, reading: reading}
			}))
		})
		if errors.Is(err, nfnetlink.ErrInterrupted) {
			repeated, err = true, nil
		}
		if err = errors.Join(err, malformed); err != nil {
			return nil, fmt.Errorf("listing set %s: %w", s, err)
		}
		if !repeated {
			break
		}
	}
	out := make([]element, 0, len(all))
	k.held[s] = len(all)
	for p, f := range all {
		out = append(out, element{prefix: p, until: f.until})
	}
	return out, nil
}
