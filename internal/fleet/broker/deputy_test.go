package broker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
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
	sub, err := p.server.Subscribe(fleet.SyncSubject("*"), func(m *nats.Msg) { _ = m.Respond([]byte("{}")) })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := p.server.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{fleet.EventSubject("001"), fleet.SyncSubject("001")} {
		for _, reply := range []string{
			"$KV." + fleet.AgentBucket + ".002", fleet.OrderSubject("all"), "$JS.API.STREAM.PURGE." + fleet.OrderStream,
			fleet.ReceiptSubject("002"),
		} {
			if err := agent.PublishRequest(subject, reply, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What comes back in order comes after all of the above.
	for _, subject := range []string{fleet.EventSubject("001"), fleet.SyncSubject("001")} {
		if _, err := agent.Request(subject, []byte("x"), 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := kv.Get(t.Context(), "002"); err != nil || string(e.Value()) != "the record of 002" {
		t.Errorf("the agent wrote into the roster: %v %v", e, err)
	}
	for name, want := range map[string]uint64{fleet.OrderStream: 1, fleet.ReceiptStream: 0, fleet.EventStream: 5} {
		s, err := p.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().State; got.Msgs != want || got.LastSeq != want {
			t.Errorf("%s: %d messages, the last is %d, expected %d", name, got.Msgs, got.LastSeq, want)
		}
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
		"rights": testRights, "answers": testDeputy, "credentials": testCredentials, "revocation": testRevocation,
		"transport": testTransport, "malformed": testMalformed,
	}
}
