package enforcetest

import (
	"net/netip"
	"testing"

	"riposte"
)

// Prefix returns what text names: one address as the prefix of its length, or a
// prefix.
func Prefix(text string) netip.Prefix {
	p, _ := address(text).Prefix() // of an address there is one
	return p
}

// Table plays the table of addresses that a system's firewall keeps and blocks.
// Its methods are those that a Suite asks for.
type Table map[netip.Prefix]bool

// InForce reports whether a target is in the table.
func (a Table) InForce(_ testing.TB, target riposte.Target) bool { return a[Prefix(target.Value)] }

// Foreign puts an address of the operator's into the table.
func (a Table) Foreign(t testing.TB, _ riposte.Target) func(testing.TB) {
	theirs := Prefix("192.0.2.77")
	a[theirs] = true
	t.Cleanup(func() { delete(a, theirs) })
	return func(t testing.TB) {
		t.Helper()
		if !a[theirs] {
			t.Error("the operator's address is gone from the table")
		}
	}
}
