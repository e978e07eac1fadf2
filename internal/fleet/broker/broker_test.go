package broker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

func TestEmbeddedBrokerServesServerAndAgent(t *testing.T) {
	a, err := identity.Init(t.TempDir()+"/a", identity.InitOptions{Names: []string{"broker.example"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Start(context.Background(), Options{Authority: a, Listen: "127.0.0.1:0", StoreDir: t.TempDir() + "/s", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	user, err := a.ServerOptions()
	if err != nil {
		t.Fatal(err)
	}
	in, err := nats.Connect("", append(user, b.Options()...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := nats.Connect(b.URL(), user...)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	seed, key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := a.Agent("001", "web-01", key)
	if err != nil {
		t.Fatal(err)
	}
	c := identity.Credentials{ID: "001", Name: "web-01", JWT: claims, Seed: seed, CA: a.CAPEM(), OrderKeys: []string{a.OrderKey()}, URLs: []string{b.URL()}}
	agent, err := nats.Connect(b.URL(), c.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	sub, err := in.SubscribeSync(fleet.SyncSubject("*"))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Flush(); err != nil {
		t.Fatal(err)
	}
	go func() {
		if m, err := sub.NextMsg(5 * time.Second); err == nil {
			_ = m.Respond([]byte("yes"))
		}
	}()
	m, err := agent.Request(fleet.SyncSubject("001"), []byte("?"), 5*time.Second)
	if err != nil || string(m.Data) != "yes" {
		t.Fatal(m, err)
	}
}
