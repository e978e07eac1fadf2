package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/lab"
)

// testDeputy: an agent names the subject that it wants its answer
// on, and the broker itself answers an event, with all rights. The answer must not
// get to where the agent may not publish.
func testDeputy(t *testing.T, p *place) {
	agent := p.connect(t, p.agent(t, "001").Options())
	kv, err := p.js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: fleet.AgentBucket, Replicas: p.replicas})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "002", []byte("the record of 002")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.js.Publish(t.Context(), fleet.OrderSubject("all"), []byte("an order")); err != nil {
		t.Fatal(err)
	}
	sub, err := p.server.Subscribe(fleet.SyncSubject("*"), func(m *nats.Msg) {
		if m.Subject != fleet.SyncSubject("001") {
			t.Errorf("%s arrived", m.Subject)
		}
		_ = m.Respond([]byte("{}"))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	heard := make(chan *nats.Msg, 64)
	for _, s := range []string{fleet.PresenceSubject("*"), fleet.RekeySubject("*"), "$JS.ACK.>"} {
		sub, err := p.server.ChanSubscribe(s, heard)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
	}
	if err := p.server.Flush(); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "the server to be heard of where the agent is", func() bool {
		if err := agent.Publish(fleet.PresenceSubject("001"), []byte("first")); err != nil {
			t.Fatal(err)
		}
		_, err := agent.Request(fleet.SyncSubject("001"), []byte("x"), 20*time.Second)
		return err == nil && len(heard) > 0
	})
	for _, subject := range []string{fleet.EventSubject("001"), fleet.SyncSubject("001")} {
		for _, reply := range []string{
			"$KV." + fleet.AgentBucket + ".002", fleet.OrderSubject("all"), "$JS.API.STREAM.PURGE." + fleet.OrderStream,
			fleet.ReceiptSubject("002"), fleet.EventSubject("002"), fleet.PresenceSubject("002"), fleet.RekeySubject("002"), fleet.SyncSubject("002"),
		} {
			if err := agent.PublishRequest(subject, reply, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	agent.quiet(t)
	for _, reply := range []string{"$JS.ACK." + fleet.EventStream + ".x.1.1.1.1.1", "_R_.x", "_GR_.x"} {
		if err := agent.PublishRequest(fleet.EventSubject("001"), reply, []byte("x")); err != nil {
			t.Fatal(err)
		}
		agent.refused(t, "Permissions Violation", "Reply")
	}
	// What comes back in order comes after all of the above.
	for _, subject := range []string{fleet.EventSubject("001"), fleet.SyncSubject("001")} {
		if _, err := agent.Request(subject, []byte("x"), 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	// A presence of the agent's own comes after all that was caused before.
	if err := agent.Publish(fleet.PresenceSubject("001"), []byte("last")); err != nil {
		t.Fatal(err)
	}
	for last := false; !last; {
		select {
		case m := <-heard:
			if last = string(m.Data) == "last"; !last && string(m.Data) != "first" {
				t.Errorf("%s arrived: %s", m.Subject, m.Data)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the agent's presence is not heard")
		}
	}
	if e, err := kv.Get(t.Context(), "002"); err != nil || string(e.Value()) != "the record of 002" {
		t.Errorf("the agent wrote into the roster: %v %v", e, err)
	}
	for name, want := range map[string]uint64{fleet.OrderStream: 1, fleet.ReceiptStream: 0, fleet.EventStream: 9} {
		s, err := p.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().State; got.Msgs != want || got.LastSeq != want {
			t.Errorf("%s: %d messages, the last is %d, expected %d", name, got.Msgs, got.LastSeq, want)
		}
	}
}

// testHeaders: what an agent writes on its events asks the broker for nothing that
// the agent may not have, or that touches the events of others.
func testHeaders(t *testing.T, p *place) {
	stored := func() uint64 {
		s, err := p.js.Stream(t.Context(), fleet.EventStream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.LastSeq
	}
	before := stored()
	agent := p.connect(t, p.agent(t, "001").Options())
	for name, value := range map[string]string{
		"Nats-Rollup": "all", "Nats-TTL": "1s", "Nats-Batch-Id": "x", "Nats-Schedule": "@at 2030-01-01T00:00:00Z", "Nats-Expected-Stream": fleet.OrderStream,
	} {
		m := nats.NewMsg(fleet.EventSubject("001"))
		m.Header.Set(name, value)
		m.Header.Set("Nats-Batch-Sequence", "1")
		if r, err := agent.RequestMsg(m, 20*time.Second); err != nil || !strings.Contains(string(r.Data), `"error":`) {
			t.Errorf("%s: %s: answered %q, %v", name, value, r.Data, err)
		}
	}
	agent.quiet(t)
	for _, to := range []string{fleet.PresenceSubject("002"), fleet.LiveSubject("all"), fleet.RekeySubject("002"), "$JS.API.STREAM.PURGE." + fleet.OrderStream} {
		m := nats.NewMsg(fleet.EventSubject("001"))
		m.Header.Set("Nats-Trace-Dest", to)
		if err := agent.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		agent.refused(t, "Permissions Violation", "Publish", `"`+to+`"`)
	}
	if got := stored(); got != before {
		t.Errorf("%d of them are stored", got-before)
	}
}

func TestEmbedded(t *testing.T) {
	for name, test := range suite() {
		t.Run(name, func(t *testing.T) { test(t, embedded(t)) })
	}
}

// suite is what every broker of a fleet must withstand.
func suite() map[string]func(*testing.T, *place) {
	return map[string]func(*testing.T, *place){
		"rights": testRights, "answers": testDeputy, "headers": testHeaders, "credentials": testCredentials, "revocation": testRevocation,
		"transport": testTransport, "malformed": testMalformed,
	}
}
