package route

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce/enforcetest"
	"riposte/internal/enforce/netevents"
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

// Of what was lost nothing is expected any more: a deletion of ours that was among
// it does not hide somebody else's.
func TestLostDeletions(t *testing.T) {
	p := enforcetest.Prefix("203.0.113.1")
	gone := netevents.Event{Type: unix.RTM_DELROUTE, Body: append(
		[]byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, uint8(Protocol), 0, unix.RTN_BLACKHOLE, 0, 0, 0, 0},
		binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 8), unix.RTA_DST)...)}
	gone.Body = append(gone.Body, p.Addr().AsSlice()...)
	m := &Table{}
	m.own.watch(1)
	m.own.expect(p)
	if m.byOthers(gone) || !m.byOthers(gone) {
		t.Fatal("one deletion of ours is one of ours, the next is not")
	}
	m.own.expect(p)
	if !m.byOthers(netevents.Event{}) || !m.byOthers(gone) {
		t.Error("a deletion that was lost hides somebody else's")
	}
}
