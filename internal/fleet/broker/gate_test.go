package broker

import (
	"testing"
	"testing/synctest"
	"time"
)

// A place that nobody gives back is free again after a while; who waits longer
// than may be is turned away; giving back twice frees one place.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := 0
		g := &gate{slots: make(chan struct{}, 2), patience: 3 * held / 2, turn: func() { turns++ }}
		start := time.Now()
		leave, ok := g.enter()
		_, second := g.enter()
		if !ok || !second || turns != 2 || time.Since(start) != 0 {
			t.Fatalf("two places: %v, %v after %v", ok, second, time.Since(start))
		}
		leave()
		leave()
		if len(g.slots) != 1 {
			t.Fatalf("%d places are taken, expected 1", len(g.slots))
		}
		if _, ok := g.enter(); !ok || time.Since(start) != 0 {
			t.Fatalf("the place given back: %v after %v", ok, time.Since(start))
		}
		if _, ok := g.enter(); !ok || time.Since(start) != held {
			t.Fatalf("a place never given back: %v after %v, expected after %v", ok, time.Since(start), held)
		}
		time.Sleep(2 * held) // the timers of all others
		g.patience = held / 2
		for range 2 {
			g.enter()
		}
		start = time.Now()
		if _, ok := g.enter(); ok || time.Since(start) != g.patience {
			t.Fatalf("beyond patience: %v after %v", ok, time.Since(start))
		}
		time.Sleep(2 * held)
		if len(g.slots) != 0 {
			t.Fatalf("%d places are still taken", len(g.slots))
		}
	})
}
