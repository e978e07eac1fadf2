package nft

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/enforce/netevents"
	"riposte/internal/lab"
)

func TestWatch(t *testing.T) {
	lab.Need(t, "nft")
	m := open(t)
	mine := func() {
		t.Helper()
		var effects []enforce.Effect
		for i := range 20 {
			effects = append(effects, effect(t, fmt.Sprintf("203.0.113.%d", i+1), time.Hour))
		}
		for _, r := range append(m.Apply(t.Context(), effects), m.Undo(t.Context(), effects[1:])...) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	here := lab.Here(t)
	enforcetest.Watched(t, m, mine, func() { here.Run(t, "nft", "delete element inet riposte v4 { 203.0.113.1 }") })
	enforcetest.Watched(t, m, mine, func() { here.Run(t, "nft", "flush ruleset") })
	// Somebody else's table is his business.
	if byOthers(netevents.Event{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, Body: append([]byte{unix.NFPROTO_INET, 0, 0, 0, 10, 0, 1, 0}, "other\x00\x00\x00"...)}, 1) {
		t.Error("another table counts as ours")
	}
}
