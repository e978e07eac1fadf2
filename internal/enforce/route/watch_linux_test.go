package route

import (
	"testing"

	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestWatch(t *testing.T) {
	m := open(t)
	for _, text := range []string{"203.0.113.1", "2001:db8::/64"} {
		mine := func() {
			must(t, m.Apply, effect(t, text), effect(t, "198.51.100.7"), effect(t, "2001:db8:1::1"))
			must(t, m.Undo, effect(t, "198.51.100.7"), effect(t, "2001:db8:1::1"))
		}
		enforcetest.Watched(t, m, mine, func() { lab.Here(t).Run(t, "ip", "route", "del", "blackhole", text, "proto", "114") })
		if len(m.own.expected) != 0 {
			t.Errorf("still to be heard of: %v", m.own.expected)
		}
	}
}
