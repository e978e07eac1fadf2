package link

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// TestRekey: a key is on the disk before the server hears of it, and outlives
// whatever happens until there are credentials for it: an answer that is lost, one
// that is no good, a crash. Then it is the key, and the order that came again
// after a crash calls for no other.
func TestRekey(t *testing.T) {
	f, other := newForger(t), newForger(t)
	c, dir := credentials(t, f.authority, "001", f.url), t.TempDir()+"/fleet"
	old, err := c.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Save(dir); err != nil {
		t.Fatal(err)
	}
	asked := make(chan *nats.Msg, 64)
	if _, err := f.nc.ChanSubscribe(fleet.RekeySubject("001"), asked); err != nil {
		t.Fatal(err)
	}
	if err := f.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var first string
	// brought waits until the agent brings its key, which is on the disk by then.
	brought := func() *nats.Msg {
		t.Helper()
		m := <-asked
		var q fleet.RekeyRequest
		if err := fleet.Decode(m.Data, &q); err != nil {
			t.Fatal(err)
		}
		p, ok, err := identity.BegunKey(dir, identity.RekeyFile, old)
		if err != nil || !ok {
			t.Fatalf("the key that it brings is not on its disk: %v", err)
		}
		stored, err := (&identity.Credentials{Seed: p.Seed}).PublicKey()
		if err != nil || stored != q.Key || first != "" && q.Key != first {
			t.Fatalf("brought %s after %q; %s is on the disk (%v)", q.Key, first, stored, err)
		}
		first = q.Key
		return m
	}
	agent := func(a *identity.Authority, id, key string) string {
		t.Helper()
		text, err := a.Agent(id, "web-"+id, key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	says := func(m *nats.Msg, r fleet.RekeyReply) {
		t.Helper()
		if err := m.Respond(encode(r)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(o *AgentOptions) { o.Dir = dir }

	h := newHand(t, c, at)
	until(t, "the agent has asked for orders", h.Synced)
	f.says(fleet.LiveSubject("001"), f.signed(5, "001", fleet.KindRotate, fleet.Rotate{By: "me"}), 0)
	m := brought()
	for i, bad := range []fleet.RekeyReply{
		{}, {JWT: "x"}, {Error: "not now"},
		{JWT: c.JWT},                                // of the old key
		{JWT: agent(f.authority, "002", first)},     // another's
		{JWT: agent(other.authority, "001", first)}, // of another fleet
	} {
		says(m, bad)
		until(t, fmt.Sprintf("answer %d is refused", i), func() bool { return h.diary.count("does not take this agent's new key") == i+1 })
		if now, err := identity.LoadCredentials(dir); err != nil || now.JWT != c.JWT {
			t.Fatalf("after answer %d: %+v, %v", i, now, err)
		}
		h.wantKey()
		m = brought()
	}
	// It stops here, and starts again: the order is dealt with.
	until(t, "the order is dealt with", func() bool { return h.Cursor() == 5 })
	h.Close()
	h = newHand(t, c, at, func(o *AgentOptions) { o.At = fleet.Place{Seq: 5} })
	says(brought(), fleet.RekeyReply{JWT: agent(f.authority, "001", first)})
	var now *identity.Credentials
	until(t, "the key is stored", func() bool {
		now, err = identity.LoadCredentials(dir)
		return err == nil && now.JWT != c.JWT
	})
	if key, err := now.PublicKey(); err != nil || key != first || !now.Rotated.Equal(f.signed(5, "001", fleet.KindRotate, fleet.Rotate{}).Issued()) {
		t.Errorf("the key is %s of the order of %v, %v; want %s of order 5", key, now.Rotated, err, first)
	}

	// The cursor was lost on the way: the order is there again.
	f.answers(fleet.SyncReply{Orders: []fleet.Signed{f.signed(5, "001", fleet.KindRotate, fleet.Rotate{By: "me"}), f.order(6, fleet.All)}})
	h = newHand(t, now, at)
	until(t, "what follows is done", func() bool { return h.done() == "6" })
	if _, ok, err := identity.BegunKey(dir, identity.RekeyFile, first); ok || err != nil {
		t.Errorf("it began with another key (%v)", err)
	}
	if len(asked) > 0 {
		t.Error("it brought another key")
	}
}
