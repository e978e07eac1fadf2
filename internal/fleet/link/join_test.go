package link

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// holder is whoever holds an enrolment token.
func (b *bed) holder() (token identity.Token, nc *nats.Conn) {
	b.t.Helper()
	text, err := b.authority.NewToken(identity.TokenOptions{URLs: []string{b.broker.URL()}, ID: identity.NewTokenID(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		b.t.Fatal(err)
	}
	if token, err = identity.ParseToken(text); err != nil {
		b.t.Fatal(err)
	}
	if nc, err = nats.Connect(b.broker.URL(), token.Options()...); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return token, nc
}

// TestJoinWithoutKey: a server signs an answer for a public key only, and for
// nothing else that an order could be addressed to.
func TestJoinWithoutKey(t *testing.T) {
	b := newBed(t)
	var said diary
	b.server("one", func(o *ServerOptions) { o.Log = said.logger() })
	token, nc := b.holder()
	_, public, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	in, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(key string) {
		t.Helper()
		q := fleet.JoinRequest{Key: key, Host: "web-01"}
		if q.Token, err = token.Proof(public); err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest(fleet.JoinSubject, in.Subject, encode(q)); err != nil {
			t.Fatal(err)
		}
	}
	for i, key := range []string{"", fleet.All, "001", b.authority.Account(), public[1:], public + "A"} {
		ask(key)
		until(t, "it is refused: "+key, func() bool { return said.count("an enrolment without a public key is refused") == i+1 })
	}
	ask(public) // of a token that nobody knows
	reply, err := in.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	e, err := fleet.Open(signedCore(reply), []string{b.authority.OrderKey()}, public)
	if err != nil || e.To != public {
		t.Errorf("answered %+v, %v", e, err)
	}
	if n, _, err := in.Pending(); n != 0 || err != nil {
		t.Errorf("%d more answers were signed (%v)", n, err)
	}
}
