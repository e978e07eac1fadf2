package executor

import (
	"context"
	"testing"

	"riposte"
)

// What another response goes on in place of is taken back, and its offender is
// not let off: until that one ends, an offence is the same offence.
func TestCoveredIsNotLetOff(t *testing.T) {
	in(t, nil, func(h *host) {
		undo := func(s Selection) riposte.Receipt {
			rs, err := h.x.Undo(context.Background(), s, "riposte", nil)
			if err != nil || len(rs) != 1 {
				t.Fatalf("undo: %v %v", rs, err)
			}
			return rs[0]
		}
		o := h.order("fw", addr(1), 600*sec, 3600*sec)
		h.want("first", h.do(o), "verified 10m0s")
		r := undo(Selection{Keys: []riposte.Key{o.Key(), {Command: "fw", Target: addr(7)}}, Reason: "covered by 203.0.0.0/24", Covered: true})
		h.want("reason", r.Reason, "covered by 203.0.0.0/24")
		h.want("while it is covered", h.do(h.order("fw", addr(1), 600*sec, 3600*sec)), "verified 10m0s")
		undo(Selection{Keys: []riposte.Key{o.Key()}})
		h.want("after it was let off", h.do(h.order("fw", addr(1), 600*sec, 3600*sec)), "verified 1h0m0s rung 1")
	})
}

// A start that only observes puts nothing back, yet takes back what is over.
func TestAStartThatObservesPutsNothingBack(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 600*sec), h.order("sh", addr(1), 600*sec), h.order("fw", addr(2), 6000*sec))
		h.stop()
		h.reboot()
		h.fw.asked()
		h.sh.asked()
		h.o.Observe = func(riposte.Command) bool { return true }
		h.start()
		<-h.x.Ready()
		if _, err := h.x.Reconcile(context.Background(), true); err != nil {
			t.Error(err)
		}
		h.want("the filter", h.fw.asked(), "")
		h.want("the script", h.sh.asked(), "")
		h.sleep(601 * sec)
		h.want("the filter, when the time was up", h.fw.asked(), "undo 203.0.0.1")
		h.want("the script, when the time was up", h.sh.asked(), "undo 203.0.0.1")
		h.stop()
		h.o.Observe = nil
		h.start()
		<-h.x.Ready()
		h.want("the filter, by a start that acts", h.fw.asked(), "apply 203.0.0.2")
	})
}

// What leaves nothing to undo says so.
func TestOnce(t *testing.T) {
	in(t, nil, func(h *host) {
		rs, err := h.x.Do(context.Background(), []riposte.Order{h.order("sh", addr(1), 0), h.order("sh", addr(1), 60*sec), h.order("fw", addr(1), 0)})
		if err != nil || len(rs) != 3 || !rs[0].Once || rs[1].Once || rs[2].Once {
			t.Errorf("%+v %v", rs, err)
		}
	})
}
