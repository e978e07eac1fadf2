package identity_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// TestPushLeavesNobodyDeaf: who subscribes to orders while the broker is told
// whose keys are revoked hears them. (A broker that takes new claims has no
// imports for a moment, and does not look again for subscriptions of that moment
// unless the imports are others than before.)
func TestPushLeavesNobodyDeaf(t *testing.T) {
	p := newPlace(t)
	user, err := p.SystemOptions()
	ok(t, err)
	sys, err := nats.Connect(p.b.URL(), append(user, p.b.Options()...)...)
	ok(t, err)
	defer sys.Close()
	if user, err = p.ServerOptions(); err != nil {
		t.Fatal(err)
	}
	server, err := nats.Connect(p.b.URL(), append(user, p.b.Options()...)...)
	ok(t, err)
	defer server.Close()
	seed, key, err := identity.NewKey()
	ok(t, err)
	jwt, err := p.Agent("001", "web-01", key)
	ok(t, err)
	c := identity.Credentials{ID: "001", JWT: jwt, Seed: seed, CA: p.CAPEM(), OrderKeys: []string{p.OrderKey()}, URLs: []string{p.b.URL()}}
	agent, err := nats.Connect(c.URLs[0], c.Options()...)
	ok(t, err)
	defer agent.Close()

	var revoked []string
	for round := range 100 {
		revoked = append(revoked, newKey(t))
		pushed := make(chan error, 1)
		go func() { pushed <- p.Push(t.Context(), sys, revoked) }()
		var subs []*nats.Subscription
		for range 12 {
			sub, err := agent.SubscribeSync(fleet.LiveSubject(fleet.All))
			ok(t, err)
			ok(t, agent.Flush())
			subs = append(subs, sub)
		}
		ok(t, <-pushed)
		ok(t, server.Publish(fleet.LiveSubject(fleet.All), nil))
		for i, sub := range subs {
			if _, err := sub.NextMsg(10 * time.Second); err != nil {
				t.Fatalf("round %d: subscription %d: %v", round, i, err)
			}
			ok(t, sub.Unsubscribe())
		}
	}
}
