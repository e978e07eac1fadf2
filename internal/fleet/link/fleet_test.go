package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/broker"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/ledger"
)

// bed is a real broker, for servers that share it.
type bed struct {
	t         testing.TB
	authority *identity.Authority
	broker    *broker.Broker
	store     string // its folder
}

func newBed(t testing.TB) *bed {
	t.Helper()
	a, err := identity.Init(filepath.Join(t.TempDir(), "authority"), identity.InitOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, authority: a, store: filepath.Join(t.TempDir(), "broker")}
	b.start()
	t.Cleanup(func() { b.broker.Close() })
	return b
}

// start starts the broker.
func (b *bed) start() {
	b.t.Helper()
	var err error
	if b.broker, err = broker.Start(b.t.Context(), broker.Options{Authority: b.authority, Listen: "127.0.0.1:0", StoreDir: b.store,
		MaxStore: 12 << 30, Log: slog.New(slog.DiscardHandler)}); err != nil {
		b.t.Fatal(err)
	}
}

// member is a server on the bed.
type member struct {
	*Server
	t       testing.TB
	told    chan Notice
	end     func() // stops Run and closes the connections, as a killed process would
	leaving context.CancelFunc
	led     chan error
}

// server starts a server.
func (b *bed) server(name string, change ...func(*ServerOptions)) *member {
	b.t.Helper()
	l, err := ledger.Open(filepath.Join(b.t.TempDir(), "fleet.db"))
	if err != nil {
		b.t.Fatal(err)
	}
	m := &member{t: b.t, told: make(chan Notice, 64)}
	o := ServerOptions{Authority: b.authority, Ledger: l, URLs: b.broker.URL(), Connect: b.broker.Options(), Name: name,
		MaxEvents: 1 << 30, KeepFor: time.Hour, Told: func(n Notice) { m.told <- n }, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	if m.Server, err = Dial(b.t.Context(), o); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	m.end = sync.OnceFunc(func() {
		m.Server.Close()
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, nats.ErrConnectionClosed) {
			b.t.Error(err)
		}
		if m.led != nil {
			m.leaving()
			<-m.led
		}
		if err := l.Close(); err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(m.end)
	return m
}

// candidate has a server lead whenever it can. do may be nil.
func (m *member) candidate(do func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	m.leaving, m.led = cancel, make(chan error, 1)
	if do == nil {
		do = func(ctx context.Context) error { <-ctx.Done(); return nil }
	}
	go func() { m.led <- m.Lead(ctx, do) }()
}

func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// sends publishes a message of an agent with one event a text.
func (m *member) sends(agent string, epoch, n uint64, texts ...string) (seq uint64) {
	m.t.Helper()
	ack, err := m.js.Publish(m.t.Context(), fleet.EventSubject(agent), m.pack(epoch, n, texts...))
	if err != nil {
		m.t.Fatal(err)
	}
	return ack.Sequence
}

// pack makes a message with one event a text.
func (m *member) pack(epoch, n uint64, texts ...string) []byte {
	m.t.Helper()
	var b riposte.Batch
	for _, text := range texts {
		b.Events = append(b.Events, riposte.Event{Time: time.Now(), Location: "log", Text: text})
	}
	p := m.codec.AppendEvents(nil, &fleet.Events{Batches: []riposte.Batch{b}})
	if err := fleet.Stamp(p, epoch, n); err != nil {
		m.t.Fatal(err)
	}
	return p
}

// reader reads events as the daemon does.
type reader struct {
	*Events
	out  chan riposte.Batch
	stop func()
}

func (m *member) reads(positions map[string]string) *reader {
	r := &reader{Events: m.Events(positions), out: make(chan riposte.Batch, 1024)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, r.out) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Error(err)
		}
	})
	m.t.Cleanup(r.stop)
	return r
}

// next returns the next batch, as "agent text text", with "again:" before it when
// it was judged by an earlier leader.
func (r *reader) next(t *testing.T) (string, riposte.Batch) {
	t.Helper()
	select {
	case b := <-r.out:
		text := b.Events[0].Agent.ID
		if r.Replayed(b.Events[0].Number) {
			text = "again:" + text
		}
		for _, e := range b.Events {
			text += " " + e.Text
		}
		return text, b
	case <-time.After(30 * time.Second):
		t.Fatal("no batch came")
		return "", riposte.Batch{}
	}
}

func (r *reader) wants(t *testing.T, want string) riposte.Batch {
	t.Helper()
	got, b := r.next(t)
	if got != want {
		t.Fatalf("read %q, want %q", got, want)
	}
	return b
}

// log reads the whole log of orders.
func (m *member) wholeLog() (ids []string) {
	m.t.Helper()
	info, err := m.orders.Info(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for seq := max(info.State.FirstSeq, 1); seq <= info.State.LastSeq; seq++ {
		raw, err := m.orders.GetMsg(m.t.Context(), seq)
		if err != nil {
			m.t.Fatal(err)
		}
		e, err := fleet.Open(fleet.SignedFrom(raw.Data, raw.Header.Get), []string{m.signer.Public()}, tail(raw.Subject))
		if err != nil {
			m.t.Fatal(err)
		}
		if e.Seq != seq {
			m.t.Errorf("the order at %d says that it is at %d", seq, e.Seq)
		}
		ids = append(ids, raw.Header.Get(jetstream.MsgIDHeader))
	}
	return ids
}

func order(id string) Message {
	return Message{ID: id, To: fleet.All, Kind: fleet.KindOrder, Body: riposte.Order{ID: id, Issued: time.Now()}}
}

func orderIDs(from, to int) (ms []Message) {
	for i := from; i < to; i++ {
		ms = append(ms, order(fmt.Sprintf("order-%03d", i)))
	}
	return ms
}

// enrolled makes an agent that the roster knows.
func (b *bed) enrolled(m *member, id string) *identity.Credentials {
	b.t.Helper()
	c := credentials(b.t, b.authority, id, b.broker.URL())
	key, err := c.PublicKey()
	if err != nil {
		b.t.Fatal(err)
	}
	if r, err := m.Roster().Add(b.t.Context(), c.Name, nil, key); err != nil || r.ID != id {
		b.t.Fatalf("enrolled %+v, %v; want %s", r, err, id)
	}
	return c
}
