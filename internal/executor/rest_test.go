package executor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"riposte"
)

// Memory is given back after a burst, once, and not after a day's usual work.
func TestRestAfterMuch(t *testing.T) {
	var rests atomic.Int32
	in(t, func(h *host) { h.o.Rest = func() { rests.Add(1) } }, func(h *host) {
		submit := func(n int) {
			var orders []riposte.Order
			for i := range n {
				o := h.order("fw", riposte.Target{Kind: riposte.Address, Value: addr(i).Value}, time.Hour)
				orders = append(orders, o)
			}
			if err := h.x.Submit(context.Background(), orders); err != nil {
				t.Fatal(err)
			}
			h.sleep(2 * restCalm)
		}
		submit(100)
		if n := rests.Load(); n != 0 {
			t.Errorf("%d rests after little work", n)
		}
		submit(restAfter + 100)
		if n := rests.Load(); n != 1 {
			t.Errorf("%d rests after a burst", n)
		}
		if _, err := h.x.Reconcile(context.Background(), false); err != nil {
			t.Error(err)
		}
		h.sleep(2 * restCalm)
		if n := rests.Load(); n != 2 {
			t.Errorf("%d rests after all was listed", n)
		}
		if _, err := h.x.Undo(context.Background(), Selection{All: true}, "uid 0", nil); err != nil {
			t.Error(err)
		}
		h.sleep(2 * restCalm)
		if n := rests.Load(); n != 3 {
			t.Errorf("%d rests after a burst and its undo", n)
		}
	})
}
