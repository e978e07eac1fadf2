package link

import (
	"testing"
	"time"
)

// TestUnheard: an agent to whom the broker does not pass on orders gets them all
// the same, and hears those that follow.
func TestUnheard(t *testing.T) {
	_, m, h := pair(t, func(o *AgentOptions) { o.Recheck = 200 * time.Millisecond })
	for _, sub := range h.listening {
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Issue(t.Context(), []Message{order("unheard")}); err != nil {
		t.Fatal(err)
	}
	until(t, "it is done", func() bool { return h.done() == "unheard" })
	n := 0
	more := func() {
		t.Helper()
		n++
		if err := m.Issue(t.Context(), orderIDs(n, n+1)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "it subscribes anew", func() bool {
		more() // the one before may have been on its way
		return h.diary.count("subscribed to them anew") > 0
	})
	heard := h.listening[0]
	until(t, "orders are heard", func() bool {
		more()
		n, err := heard.Delivered()
		return err == nil && n > 0
	})
}
