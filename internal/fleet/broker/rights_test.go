package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/lab"
)

// testRights tries what an agent and the holder of a token may and may not do.
func testRights(t *testing.T, p *place) {
	t.Run("an agent's own subjects", func(t *testing.T) {
		heard := make(chan *nats.Msg, 16)
		for _, s := range []string{fleet.PresenceSubject("*"), fleet.SyncSubject("*"), fleet.RekeySubject("*")} {
			sub, err := p.server.ChanSubscribe(s, heard)
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Unsubscribe()
		}
		if err := p.server.Flush(); err != nil {
			t.Fatal(err)
		}
		agent := p.connect(t, p.agent(t, "001").Options())
		all, err := agent.SubscribeSync(fleet.LiveSubject(fleet.All))
		if err != nil {
			t.Fatal(err)
		}
		mine, err := agent.SubscribeSync(fleet.LiveSubject("001"))
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{fleet.EventSubject("001"), fleet.ReceiptSubject("001")} {
			if m, err := agent.Request(s, []byte("x"), 20*time.Second); err != nil || m.Header.Get("Status") != "" {
				t.Errorf("%s: %v %v", s, m, err)
			}
		}
		lab.Until(t, "interest of the server's", func() bool {
			go func() { // the server answers
				select {
				case m := <-heard:
					_ = m.Respond([]byte("yes"))
				case <-time.After(5 * time.Second):
				}
			}()
			m, err := agent.Request(fleet.SyncSubject("001"), []byte("x"), 5*time.Second)
			return err == nil && string(m.Data) == "yes"
		})
		if err := agent.Publish(fleet.PresenceSubject("001"), []byte("alive")); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-heard:
			if m.Subject != fleet.PresenceSubject("001") || string(m.Data) != "alive" {
				t.Errorf("heard %s %q", m.Subject, m.Data)
			}
		case <-time.After(20 * time.Second):
			t.Error("the agent's presence is not heard")
		}
		for to, sub := range map[string]*nats.Subscription{fleet.All: all, "001": mine} {
			if _, err := p.js.Publish(t.Context(), fleet.OrderSubject(to), []byte("order")); err != nil {
				t.Fatal(err)
			}
			m, err := sub.NextMsg(20 * time.Second)
			if err != nil {
				t.Fatalf("an order to %s is not heard: %v", to, err)
			}
			if m.Header.Get("Nats-Sequence") == "" {
				t.Errorf("an order to %s has no sequence: %v", to, m.Header)
			}
		}
		agent.quiet(t)
	})

	t.Run("an agent as another", func(t *testing.T) {
		// Whoever listens to everything hears nothing of it.
		stranger := make(chan *nats.Msg, 256)
		sub, err := p.server.ChanSubscribe(">", stranger)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
		if err := p.server.Flush(); err != nil {
			t.Fatal(err)
		}
		agent := p.connect(t, p.agent(t, "001").Options())
		for _, s := range []string{
			fleet.EventSubject("002"), fleet.ReceiptSubject("002"), fleet.PresenceSubject("002"), fleet.SyncSubject("002"), fleet.RekeySubject("002"),
			fleet.OrderSubject(fleet.All), fleet.OrderSubject("001"), fleet.LiveSubject(fleet.All), fleet.LiveSubject("001"), fleet.LiveSubject("002"),
			fleet.JoinSubject, fleet.EventSubject("001") + ".x", "riposte.event", "riposte", "x",
			"$JS.API.INFO", "$JS.API.STREAM.DELETE.ORDERS", "$JS.ACK.EVENTS.x.1.1.1.1.1", "$KV." + fleet.AgentBucket + ".002",
			identity.ClaimsSubject, "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO2",
			fleet.Inbox("001") + ".x", fleet.Inbox("002") + ".x", "_INBOX.x", "_R_.x",
		} {
			if err := agent.Publish(s, []byte("forged")); err != nil {
				t.Fatal(err)
			}
			agent.refused(t, "Permissions Violation", "Publish", `"`+s+`"`)
		}
		for _, s := range []string{
			fleet.LiveSubject("002"), fleet.LiveSubject("*"), "riposte.live.>", fleet.OrderSubject("*"), fleet.OrderSubject("001"),
			fleet.EventSubject("*"), fleet.EventSubject("001"), fleet.SyncSubject("*"), fleet.JoinSubject, fleet.PresenceSubject("*"),
			">", "*.*.*", "$JS.>", "$KV.>", "$SYS.>", "_INBOX.>", "_INBOX.*.>", fleet.Inbox("002") + ".>", "_R_.>",
		} {
			sub, err := agent.SubscribeSync(s)
			if err != nil {
				t.Fatal(err)
			}
			agent.refused(t, "Permissions Violation", "Subscription", `"`+s+`"`)
			_ = sub.Unsubscribe()
		}
		// In a queue of the servers' it would take their work away.
		if _, err := agent.QueueSubscribeSync(fleet.SyncSubject("*"), "servers"); err != nil {
			t.Fatal(err)
		}
		agent.refused(t, "Permissions Violation", "Subscription")
		agent.quiet(t)
		if err := p.server.Flush(); err != nil {
			t.Fatal(err)
		}
		for len(stranger) > 0 {
			if m := <-stranger; string(m.Data) == "forged" {
				t.Errorf("%s arrived", m.Subject)
			}
		}
		if p.said != nil && !strings.Contains(p.said.String(), `Publish Violation`) {
			t.Error("the broker's log says nothing of it")
		}
	})

	t.Run("many subscriptions", func(t *testing.T) {
		agent := p.connect(t, p.agent(t, "001").Options())
		for i := range 100 {
			if _, err := agent.SubscribeSync(fmt.Sprintf("%s.%d", fleet.Inbox("001"), i)); err != nil {
				break // cut off already
			}
		}
		agent.refused(t, "maximum subscriptions exceeded")
	})

	t.Run("large messages", func(t *testing.T) {
		agent := p.connect(t, p.agent(t, "001").Options())
		m := nats.NewMsg(fleet.ReceiptSubject("001"))
		m.Header.Set(nats.MsgIdHdr, "001.1.1")
		m.Data = make([]byte, fleet.MaxMessage)
		if _, err := agent.RequestMsg(m, 20*time.Second); err != nil {
			t.Errorf("the largest that the fleet knows: %v", err)
		}
		// Who plays by the rules is told the bound; testMalformed breaks them.
		lab.Until(t, "the bound", func() bool { return agent.MaxPayload() == identity.MaxPayload })
	})

	t.Run("a token's holder", func(t *testing.T) {
		text, err := p.authority.NewToken(identity.TokenOptions{URLs: p.urls, ID: identity.NewTokenID(), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		token, err := identity.ParseToken(text)
		if err != nil {
			t.Fatal(err)
		}
		holder := p.connect(t, token.Options())
		sub, err := p.server.Subscribe(fleet.JoinSubject, func(m *nats.Msg) { _ = m.Respond([]byte("welcome")) })
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
		if err := p.server.Flush(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "the answer", func() bool {
			m, err := holder.Request(fleet.JoinSubject, []byte("please"), 5*time.Second)
			return err == nil && string(m.Data) == "welcome"
		})
		holder.quiet(t)
		for _, s := range []string{fleet.EventSubject(token.ID), fleet.EventSubject("001"), fleet.SyncSubject("001"), "$JS.API.INFO", fleet.OrderSubject(fleet.All)} {
			if err := holder.Publish(s, []byte("forged")); err != nil {
				t.Fatal(err)
			}
			holder.refused(t, "Permissions Violation", "Publish", `"`+s+`"`)
		}
		for _, s := range []string{fleet.JoinSubject, "_INBOX.join.>", "_INBOX.>", fleet.LiveSubject(fleet.All)} {
			sub, err := holder.SubscribeSync(s)
			if err != nil {
				t.Fatal(err)
			}
			holder.refused(t, "Permissions Violation", "Subscription", `"`+s+`"`)
			_ = sub.Unsubscribe()
		}
	})
}

// testCredentials tries to get in.
func testCredentials(t *testing.T, p *place) {
	try := func(opts ...nats.Option) error {
		nc, err := nats.Connect(p.urls[0], append(opts, nats.NoReconnect(), nats.Timeout(20*time.Second))...)
		if err == nil {
			nc.Close()
		}
		return err
	}
	good := p.agent(t, "001")
	if err := try(good.Options()...); err != nil {
		t.Fatal(err)
	}
	refused := func(name string, opts ...nats.Option) {
		t.Helper()
		if err := try(opts...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("nobody", secure(p.authority.ClientTLS()))
	refused("a password", secure(p.authority.ClientTLS()), nats.UserInfo("riposte", "riposte"))
	other := *good
	other.Seed = p.agent(t, "002").Seed
	refused("another's key under the credentials", other.Options()...)

	stranger := newAuthority(t)
	other = *good
	var err error
	if other.JWT, err = stranger.Agent("001", "web-01", must(t)(good.PublicKey())); err != nil {
		t.Fatal(err)
	}
	refused("another authority's credentials", other.Options()...)

	claims, seed, err := stranger.ServerUser()
	if err != nil {
		t.Fatal(err)
	}
	refused("another authority's server", secure(p.authority.ClientTLS()), nats.UserJWTAndSeed(claims, string(seed)))

	other = *good
	b := []byte(good.JWT)
	b[len(b)/2] ^= 1
	other.JWT = string(b)
	refused("credentials that were changed", other.Options()...)

	text, err := p.authority.NewToken(identity.TokenOptions{URLs: p.urls, ID: identity.NewTokenID(), Expires: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	token, err := identity.ParseToken(text)
	if !errors.Is(err, identity.ErrTokenExpired) {
		t.Fatal(err)
	}
	if err := try(token.Options()...); err == nil {
		t.Error("an expired token gets in")
	}
}

// testRevocation cuts an agent's connection by telling the broker.
func testRevocation(t *testing.T, p *place) {
	c, other := p.agent(t, "001"), p.agent(t, "002")
	closed := make(chan time.Time, 1)
	agents := make([]client, len(p.urls)) // one at each node
	for i, url := range p.urls {
		one := *c
		one.URLs = []string{url}
		agents[i] = client{Conn: dial(t, url, append(one.Options(), nats.NoReconnect(),
			nats.ClosedHandler(func(*nats.Conn) { closed <- time.Now() }))...)}
	}
	stays := p.connect(t, other.Options())
	claims, err := p.authority.AccountJWT([]string{must(t)(c.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m, err := p.system.Request(identity.ClaimsSubject, []byte(claims), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range agents {
		select {
		case at := <-closed:
			t.Logf("cut after %s", at.Sub(began))
		case <-time.After(20 * time.Second):
			t.Fatalf("not cut; the broker answered %s", m.Data)
		}
	}
	for i, url := range p.urls {
		one := *c
		one.URLs = []string{url}
		if nc, err := nats.Connect(url, append(one.Options(), nats.NoReconnect())...); !errors.Is(err, nats.ErrAuthorization) {
			if err == nil {
				nc.Close()
			}
			t.Errorf("node %d lets the removed agent in: %v", i, err)
		}
	}
	stays.quiet(t)
	if !stays.IsConnected() {
		t.Error("another agent was cut off, too")
	}
	// A new key under the same id is another matter.
	p.connect(t, p.agent(t, "001").Options()).quiet(t)
	// Only the system account may say so.
	agent := p.connect(t, other.Options())
	if err := agent.Publish(identity.ClaimsSubject, []byte(claims)); err != nil {
		t.Fatal(err)
	}
	agent.refused(t, "Permissions Violation")
}

func must(t *testing.T) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}
