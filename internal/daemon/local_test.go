package daemon

import (
	"testing"

	"riposte"
	"riposte/internal/fleet/identity"
)

// TestLocalCause: an order has the same name when the alert is answered again
// after a crash, also when other responses have come or gone meanwhile, and no
// other order has it.
func TestLocalCause(t *testing.T) {
	l := &local{a: &agent{credentials: &identity.Credentials{ID: "001"}}}
	other := &local{a: &agent{credentials: &identity.Credentials{ID: "002"}}}
	orders := func(names ...string) (os []riposte.Order) {
		for _, n := range names {
			os = append(os, riposte.Order{Command: riposte.Command{Name: n}})
		}
		return os
	}
	a, b := &riposte.Alert{ID: "1.1048576"}, &riposte.Alert{ID: "1.1048577"}
	before, after := orders("drop", "mail", "drop"), orders("new", "drop", "drop")
	if l.cause(a, before, 0) != l.cause(a, after, 1) || l.cause(a, before, 2) != l.cause(a, after, 2) {
		t.Error("another name for the same order")
	}
	seen := map[string]bool{"1.1048576 0": true} // the server's
	for _, name := range []string{
		l.cause(a, before, 0), l.cause(a, before, 1), l.cause(a, before, 2), l.cause(a, after, 0), l.cause(b, before, 0), other.cause(a, before, 0),
	} {
		if seen[name] {
			t.Errorf("two orders are called %q", name)
		}
		seen[name] = true
	}
}
