package broker

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/lab"
)

// place is a broker, or several, with a server connected.
type place struct {
	authority *identity.Authority
	urls      []string
	replicas  int
	server    *nats.Conn
	system    *nats.Conn
	js        jetstream.JetStream
	said      *lab.Log // what the embedded broker logged; nil for a cluster
}

func newAuthority(t *testing.T) *identity.Authority {
	t.Helper()
	a, err := identity.Init(t.TempDir()+"/authority", identity.InitOptions{Names: []string{"broker.example"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// startAt starts an embedded broker; what o leaves out is chosen here.
func startAt(t *testing.T, o Options) *Broker {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir() + "/broker"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func dial(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// serve connects a server and makes the streams that it would make.
func (p *place) serve(t *testing.T, more ...nats.Option) {
	t.Helper()
	user, err := p.authority.ServerOptions()
	if err != nil {
		t.Fatal(err)
	}
	p.server = dial(t, strings.Join(p.urls, ","), append(user, more...)...)
	if user, err = p.authority.SystemOptions(); err != nil {
		t.Fatal(err)
	}
	p.system = dial(t, strings.Join(p.urls, ","), append(user, more...)...)
	if p.js, err = jetstream.New(p.server); err != nil {
		t.Fatal(err)
	}
	for _, c := range []jetstream.StreamConfig{
		{Name: fleet.EventStream, Subjects: []string{fleet.EventSubject("*")}},
		{Name: fleet.ReceiptStream, Subjects: []string{fleet.ReceiptSubject("*")}},
		{Name: fleet.OrderStream, Subjects: []string{fleet.OrderSubject("*")}, RePublish: &jetstream.RePublish{
			Source: fleet.OrderSubject(">"), Destination: fleet.LiveSubject(">"),
		}},
	} {
		c.Replicas = p.replicas
		var err error
		lab.Until(t, "the stream "+c.Name, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err = p.js.CreateOrUpdateStream(ctx, c)
			return err == nil
		})
	}
}

// embedded is a place with an embedded broker.
func embedded(t *testing.T) *place {
	t.Helper()
	log := new(lab.Log)
	a := newAuthority(t)
	b := startAt(t, Options{Authority: a, Log: slog.New(slog.NewTextHandler(log, nil))})
	p := &place{authority: a, urls: []string{b.URL()}, replicas: 1, said: log}
	p.serve(t, b.Options()...)
	return p
}

// agent makes the credentials of an agent.
func (p *place) agent(t *testing.T, id string) *identity.Credentials {
	t.Helper()
	seed, key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := p.authority.Agent(id, "web-"+id, key)
	if err != nil {
		t.Fatal(err)
	}
	return &identity.Credentials{
		ID: id, Name: "web-" + id, JWT: claims, Seed: seed,
		CA: p.authority.CAPEM(), OrderKeys: []string{p.authority.OrderKey()}, URLs: p.urls,
	}
}

// client is a connection and what the broker complains about on it.
type client struct {
	*nats.Conn
	errs chan error
}

func (p *place) connect(t *testing.T, opts []nats.Option) client {
	t.Helper()
	c := client{errs: make(chan error, 1024)}
	c.Conn = dial(t, strings.Join(p.urls, ","), append(opts, nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.errs <- err }))...)
	return c
}

// refused waits for a complaint that holds all these words.
func (c client) refused(t *testing.T, words ...string) {
	t.Helper()
	select {
	case err := <-c.errs:
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("read %q, expected %q in it", err, w)
			}
		}
	case <-time.After(20 * time.Second):
		t.Errorf("not refused: %q", words)
	}
}

// quiet checks that the broker has nothing to complain about.
func (c client) quiet(t *testing.T) {
	t.Helper()
	if err := c.FlushTimeout(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.errs:
		t.Errorf("refused: %v", err)
	default:
	}
}
