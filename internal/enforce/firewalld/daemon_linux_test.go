package firewalld

import (
	"context"
	"testing"

	"github.com/godbus/dbus/v5"

	"riposte/internal/lab"
)

// site is a firewalld of the test's own.
type site struct{ *lab.Firewalld }

func newSite(t testing.TB) site {
	t.Helper()
	return site{lab.NewFirewalld(t)}
}

// call calls firewalld over the bus, which is ten times as fast as firewall-cmd.
func (s site) call(t testing.TB, result any, method string, args ...any) {
	t.Helper()
	d, err := dial(s.Bus, make(chan *dbus.Signal, 16))
	if err != nil {
		t.Fatal(err)
	}
	defer d.conn.Close()
	if err := d.call(context.Background(), result, method, args...); err != nil {
		t.Fatalf("%s %v: %v", method, args, err)
	}
}
