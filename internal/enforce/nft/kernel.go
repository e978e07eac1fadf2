//go:build linux

package nft

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
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
	reader
	generation uint32      // 0: the table has not been looked at yet
	sets       []set       // that the table has
	held       map[set]int // about how many elements are in them
	renewing   int         // so many transactions more are not tried as plain additions
}

// A large transaction is tried as a plain addition, which costs a third: many
// elements at once are new ones, or such as were lost. A refusal costs as much as
// some ten of them, so that it is not tried again soon after one.
const (
	large     = 100
	afterThat = 100
)

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

// errBusy says that nothing can be done or read between two changes of others.
var errBusy = errors.New("the ruleset is changed by somebody else all the time")

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
		plain := len(elements) >= large && k.renewing == 0
		if plain {
			encodeAdd(&k.request, k.generation, s, elements, time.Now())
		} else {
			encodePut(&k.request, k.generation, s, elements, time.Now())
			k.renewing = max(k.renewing-1, 0)
		}
		err = k.conn.Do(&k.request, nil)
		switch {
		case err == nil:
			k.committed(s, len(elements))
			return nil
		case plain && errors.Is(err, unix.EEXIST):
			k.renewing = afterThat
			continue
		case errors.Is(err, unix.ERESTART):
			err = errBusy
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

// mostly reports whether n elements are so large a part of the set, and so
// many, that reading all of it is faster than asking for each.
func (k *kernel) mostly(s set, n int) bool { return n > lookups && k.held[s] <= 3*n }
