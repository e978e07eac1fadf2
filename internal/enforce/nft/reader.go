//go:build linux

package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/nfnetlink"
)

// reader reads from the kernel over a socket of its own, for one goroutine at a
// time.
type reader struct {
	conn    *nfnetlink.Conn
	request nfnetlink.Request
}

// openReader opens a socket and sees whether nftables answers.
func openReader() (reader, error) {
	conn, err := nfnetlink.Dial()
	if err != nil {
		return reader{}, err
	}
	r := reader{conn: conn}
	if _, err := r.readGeneration(); err != nil {
		conn.Close()
		if errors.Is(err, unix.EPERM) {
			return reader{}, fmt.Errorf("no right to change the firewall (CAP_NET_ADMIN): %w", err)
		}
		return reader{}, fmt.Errorf("this kernel has no nftables: %w", err)
	}
	return r, nil
}

// readGeneration asks for the generation of the ruleset: a number that grows
// with every transaction of anybody.
func (r *reader) readGeneration() (gen uint32, err error) {
	r.request.Reset()
	r.request.Message(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETGEN, unix.NLM_F_ACK, unix.NFPROTO_UNSPEC, 0)
	err = r.conn.Do(&r.request, func(m nfnetlink.Message) {
		gen = uint32(nfnetlink.Uint(nfnetlink.Find(m.Attrs, unix.NFTA_GEN_ID)))
	})
	if err != nil {
		return 0, fmt.Errorf("reading the ruleset's generation: %w", err)
	}
	return gen, nil
}

// lookups is how many elements are asked for in one request: the answers, one
// message each, must fit into the socket's receive buffer.
const lookups = 500

// find asks for elements by their keys, and passes on those that are there. The
// error is errors.ErrUnsupported on kernels that cannot be asked so.
func (r *reader) find(s set, elements []*enforce.Member, each func(element)) error {
	for len(elements) > 0 {
		n := min(len(elements), lookups)
		r.request.Reset()
		message(&r.request, unix.NFT_MSG_GETSETELEM, unix.NLM_F_ACK, s, elements[:n], time.Time{})
		answered, now := 0, time.Now()
		var malformed error
		err := r.conn.Do(&r.request, func(m nfnetlink.Message) {
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

// read passes on the elements of a set, by and large: a set that has grown is
// moved to a larger hash by and by, and a reading of several messages meanwhile
// repeats elements and leaves out others. Its error is nfnetlink.ErrInterrupted
// when the kernel noticed.
func (r *reader) read(s set, each func(element)) error {
	r.request.Reset()
	r.request.Message(unix.NFNL_SUBSYS_NFTABLES, unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, unix.NFPROTO_INET, 0)
	r.request.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	r.request.String(unix.NFTA_SET_ELEM_LIST_SET, s.String())
	now := time.Now()
	var malformed error
	err := r.conn.Do(&r.request, func(m nfnetlink.Message) {
		malformed = errors.Join(malformed, decode(m, s, now, each))
	})
	if malformed != nil {
		return malformed
	}
	return err
}

// dumps is how often a set is read while it is found to change.
const dumps = 5

// dump returns all elements of a set. One whose reading repeats some is read
// again, and what any reading found counts.
func (r *reader) dump(s set) ([]element, error) {
	type found struct {
		until   time.Time
		reading int
	}
	all := make(map[netip.Prefix]found)
	for reading := range dumps {
		repeated := false
		err := r.read(s, func(e element) {
			f, known := all[e.prefix]
			repeated = repeated || known && f.reading == reading
			all[e.prefix] = found{until: e.until, reading: reading}
		})
		if errors.Is(err, nfnetlink.ErrInterrupted) {
			repeated, err = true, nil
		}
		if err != nil {
			return nil, fmt.Errorf("listing set %s: %w", s, err)
		}
		if !repeated {
			break
		}
	}
	out := make([]element, 0, len(all))
	for p, f := range all {
		out = append(out, element{prefix: p, until: f.until})
	}
	return out, nil
}
