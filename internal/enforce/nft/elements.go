//go:build linux

package nft

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/nfnetlink"
)

// element is one member of a set, as the kernel tells it.
type element struct {
	prefix netip.Prefix
	until  time.Time // zero: without end
}

// chunk is how many elements go into one transaction. The attribute that holds
// them has a length of 16 bits, which 1,600 IPv6 elements would fill.
const chunk = 1000

// encodeAdd builds the transaction that adds the elements, and is refused when one
// of them is there.
func encodeAdd(r *nfnetlink.Request, generation uint32, s set, elements []*enforce.Member, now time.Time) {
	r.Reset()
	r.Begin(unix.NFNL_SUBSYS_NFTABLES, generation)
	message(r, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, s, elements, now)
	r.Commit(unix.NFNL_SUBSYS_NFTABLES)
}

// encodePut builds the transaction that makes the elements end as asked, whether
// they are there or not. Adding an element that is there changes its end only
// from Linux 6.12 on, and deleting one that is not there is refused, so it is
// added (or left), deleted, and added, all at one instant.
func encodePut(r *nfnetlink.Request, generation uint32, s set, elements []*enforce.Member, now time.Time) {
	r.Reset()
	r.Begin(unix.NFNL_SUBSYS_NFTABLES, generation)
	message(r, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, s, elements, now)
	message(r, unix.NFT_MSG_DELSETELEM, 0, s, elements, time.Time{})
	message(r, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, s, elements, now)
	r.Commit(unix.NFNL_SUBSYS_NFTABLES)
}

// encodeRemove builds the transaction that deletes the elements, whether they
// are there or not.
func encodeRemove(r *nfnetlink.Request, s set, elements []*enforce.Member) {
	r.Reset()
	r.Begin(unix.NFNL_SUBSYS_NFTABLES, 0)
	message(r, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, s, elements, time.Time{})
	message(r, unix.NFT_MSG_DELSETELEM, unix.NLM_F_ACK, s, elements, time.Time{})
	r.Commit(unix.NFNL_SUBSYS_NFTABLES)
}

// message adds one message with the elements, with their timeouts when now is
// given.
func message(r *nfnetlink.Request, command uint8, flags uint16, s set, elements []*enforce.Member, now time.Time) {
	r.Message(unix.NFNL_SUBSYS_NFTABLES, command, flags, unix.NFPROTO_INET, 0)
	r.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	r.String(unix.NFTA_SET_ELEM_LIST_SET, s.String())
	list := r.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	for _, e := range elements {
		item := r.Nest(unix.NFTA_LIST_ELEM)
		key := r.Nest(unix.NFTA_SET_ELEM_KEY)
		if s.v6 {
			a := e.Prefix.Addr().As16()
			r.Bytes(unix.NFTA_DATA_VALUE, a[:])
		} else {
			a := e.Prefix.Addr().As4()
			r.Bytes(unix.NFTA_DATA_VALUE, a[:])
		}
		r.End(key)
		if !now.IsZero() && !e.Until.IsZero() {
			r.Uint64(unix.NFTA_SET_ELEM_TIMEOUT, timeout(e.Until.Sub(now)))
		}
		r.End(item)
	}
	r.End(list)
}

// timeout is how long the kernel shall hold an element, in its milliseconds.
// What should be over already ends at once; the longest time Go knows, 292
// years, is within the kernel's bounds (584).
func timeout(d time.Duration) uint64 {
	return uint64(max(d, time.Millisecond).Round(time.Millisecond) / time.Millisecond)
}

// decode reads the elements of a message. An element whose time is over may
// still be listed until the kernel sweeps it up: it is left out.
func decode(m nfnetlink.Message, s set, now time.Time, each func(element)) error {
	for typ, list := range nfnetlink.Attributes(m.Attrs) {
		if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		for _, item := range nfnetlink.Attributes(list) {
			var e element
			var err error
			var left uint64
			timed := false
			for typ, value := range nfnetlink.Attributes(item) {
				switch typ {
				case unix.NFTA_SET_ELEM_KEY:
					e.prefix, err = s.prefix(nfnetlink.Find(value, unix.NFTA_DATA_VALUE))
				case unix.NFTA_SET_ELEM_TIMEOUT:
					timed = timed || nfnetlink.Uint(value) > 0
				case unix.NFTA_SET_ELEM_EXPIRATION:
					left = nfnetlink.Uint(value)
				}
			}
			if err != nil {
				return err
			}
			if timed && left == 0 || !e.prefix.IsValid() { // no key: somebody's catch-all
				continue
			}
			if timed {
				e.until = now.Add(time.Duration(min(left, maxMilliseconds)) * time.Millisecond)
			}
			each(e)
		}
	}
	return nil
}

// maxMilliseconds is the longest duration that Go can hold.
const maxMilliseconds = uint64(1<<63-1) / uint64(time.Millisecond)
