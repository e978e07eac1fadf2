package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/spool"
	"riposte/internal/lab"
)

// diary is a log that can be read while it is written.
type diary struct{ lab.Log }

func (d *diary) count(words string) int { return strings.Count(d.String(), words) }

func (d *diary) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&d.Log, nil)) }

// credentials make up an agent.
func credentials(t testing.TB, a *identity.Authority, id, url string) *identity.Credentials {
	t.Helper()
	seed, public, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := a.Agent(id, "web-"+id, public)
	if err != nil {
		t.Fatal(err)
	}
	return &identity.Credentials{ID: id, Name: "web-" + id, JWT: jwt, Seed: seed, CA: a.CAPEM(), OrderKeys: []string{a.OrderKey()}, URLs: []string{url}}
}

// hand is an agent that notes what it is told.
type hand struct {
	*Agent
	diary diary
	leave func()
	mu    sync.Mutex
	did   []string
}

func (h *hand) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.did = append(h.did, what)
}

// done is what the agent did.
func (h *hand) done() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.did, " ")
}

// newHand runs an agent.
func newHand(t *testing.T, c *identity.Credentials, change ...func(*AgentOptions)) *hand {
	t.Helper()
	h := &hand{}
	sp, err := spool.Open(filepath.Join(t.TempDir(), "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := AgentOptions{
		Credentials: c, Dir: t.TempDir(), Spool: sp, Log: h.diary.logger(),
		SetAt: func(fleet.Place, bool) error { return nil },
		Orders: func(_ context.Context, os []riposte.Order) error {
			for _, o := range os {
				h.note(o.ID)
			}
			return nil
		},
		Undo:         func(_ context.Context, u fleet.Undo) error { h.note("undo:" + u.ID); return nil },
		Bundle:       func(_ context.Context, b fleet.Bundle) error { h.note(fmt.Sprint("bundle:", b.Version)); return nil },
		Receipts:     func(_ context.Context, after int64, _ int) ([]riposte.Receipt, int64, error) { return nil, after, nil },
		ReceiptsSent: func(int64) error { return nil },
		Presence:     func(*fleet.Presence) {},
	}
	for _, c := range change {
		c(&o)
	}
	if h.Agent, err = NewAgent(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.leave = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, ErrNewKey) {
			t.Error(err)
		}
		h.Close()
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(h.diary.String())
		}
	})
	t.Cleanup(h.leave)
	return h
}

// pair is a server that leads and an agent in step with it.
func pair(t *testing.T, change ...func(*AgentOptions)) (*bed, *member, *hand) {
	t.Helper()
	b := newBed(t)
	m := b.server("one")
	m.candidate(nil)
	until(t, "it leads", m.Leads)
	h := newHand(t, b.enrolled(m, "001"), change...)
	until(t, "the agent is in step", h.Synced)
	return b, m, h
}

// forger is a broker that was taken over: it has the certificate, knows nobody
// and lets in everybody, and has heard what the servers once signed.
type forger struct {
	t         *testing.T
	authority *identity.Authority
	nc        *nats.Conn
	signer    *fleet.Signer // the servers', for what they once signed
	url       string

	mu    sync.Mutex
	asked []fleet.SyncRequest
	reply fleet.SyncReply // to whoever asks for orders
}

func newForger(t *testing.T) *forger {
	t.Helper()
	a, err := identity.Init(filepath.Join(t.TempDir(), "authority"), identity.InitOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true,
		TLS: true, TLSConfig: a.ServerTLS(), TLSHandshakeFirst: true, AlwaysEnableNonce: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the broker does not start")
	}
	f := &forger{t: t, authority: a, url: "tls://" + srv.Addr().String()}
	if f.signer, err = fleet.NewSigner(a.OrderSeed()); err != nil {
		t.Fatal(err)
	}
	if f.nc, err = nats.Connect(f.url, nats.Secure(a.ClientTLS()), nats.TLSHandshakeFirst()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nc.Close)
	if _, err := f.nc.Subscribe(fleet.SyncSubject("*"), func(m *nats.Msg) {
		var q fleet.SyncRequest
		_ = fleet.Decode(m.Data, &q) // an agent's own words
		f.mu.Lock()
		f.asked = append(f.asked, q)
		r := f.reply
		f.mu.Unlock()
		if r.Now.IsZero() {
			r.Now = time.Now()
		}
		_ = m.Respond(encode(r)) // it may be gone
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

// answers sets what is said to who asks for orders, and waits until somebody
// asks again.
func (f *forger) answers(r fleet.SyncReply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply, f.asked = r, nil
}

// lastAsked waits until somebody asks.
func (f *forger) lastAsked() (q fleet.SyncRequest) {
	f.t.Helper()
	until(f.t, "somebody asks for orders", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.asked) > 0 {
			q = f.asked[len(f.asked)-1]
		}
		return len(f.asked) > 0
	})
	return q
}

// signed is what the servers once signed.
func (f *forger) signed(seq uint64, to string, kind fleet.Kind, body any) fleet.Signed {
	f.t.Helper()
	return seal(f.t, f.signer, seq, to, kind, body)
}

// newStranger signs with a key that nobody pins.
func newStranger(t *testing.T) *fleet.Signer {
	t.Helper()
	seed, _, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := fleet.NewSigner(seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seal signs what was issued a second after what stands before it.
func seal(t *testing.T, s *fleet.Signer, seq uint64, to string, kind fleet.Kind, body any) fleet.Signed {
	t.Helper()
	out, err := s.Seal(fleet.Envelope{Seq: seq, To: to, Kind: kind, Issued: time.Unix(1_700_000_000+int64(seq), 0), Body: encode(body)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// placeless is what the servers once signed, long after all orders, that stands
// outside the log.
func (f *forger) placeless(to string, kind fleet.Kind, body any) fleet.Signed {
	f.t.Helper()
	s, err := f.signer.Seal(fleet.Envelope{To: to, Kind: kind, Issued: time.Now(), Body: encode(body)})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *forger) order(seq uint64, to string) fleet.Signed {
	return f.signed(seq, to, fleet.KindOrder, riposte.Order{ID: fmt.Sprint(seq)})
}

func (f *forger) undo(seq uint64, to string) fleet.Signed {
	return f.signed(seq, to, fleet.KindUndo, fleet.Undo{ID: fmt.Sprint(seq), All: true})
}

// says publishes a message as if it stood behind last in the log.
func (f *forger) says(subject string, s fleet.Signed, last uint64) {
	f.t.Helper()
	m := message(subject, s)
	m.Header.Set("Nats-Last-Sequence", fmt.Sprint(last))
	if err := f.nc.PublishMsg(m); err != nil {
		f.t.Fatal(err)
	}
}

// TestHostileBroker: a broker can keep things from an agent. It can have nothing
// done that the servers did not say to this agent, and nothing twice.
func TestHostileBroker(t *testing.T) {
	f := newForger(t)
	h := newHand(t, credentials(t, f.authority, "001", f.url), func(o *AgentOptions) { o.eachRefusal = true })
	until(t, "the agent has asked", h.Synced)
	all, mine := fleet.LiveSubject(fleet.All), fleet.LiveSubject("001")

	stranger := newStranger(t)

	// What is genuine is done.
	f.says(all, f.order(1, fleet.All), 0)
	f.says(mine, f.undo(2, "001"), 0)
	want := "1 undo:2"
	until(t, "genuine orders are carried out", func() bool { return h.done() == want })

	// refused fails the test unless each message is refused with these words, and
	// a genuine one behind them is done.
	seq := uint64(2)
	last := map[string]uint64{all: 1, mine: 2}
	refused := func(what, words string, subject string, s fleet.Signed, after uint64) {
		t.Helper()
		before := h.diary.count(words)
		f.says(subject, s, after)
		until(t, what+": "+words, func() bool { return h.diary.count(words) > before })
		seq++
		f.says(all, f.order(seq, fleet.All), last[all])
		last[all] = seq
		want += fmt.Sprintf(" %d", seq)
		until(t, "behind "+what+", what is genuine is done", func() bool { return strings.HasSuffix(h.done(), fmt.Sprint(" ", seq)) })
		if got := h.done(); got != want {
			t.Fatalf("%s: done is %q, want %q", what, got, want)
		}
	}
	const high = 1000
	forged := seal(t, stranger, high, fleet.All, fleet.KindUndo, fleet.Undo{ID: "forged", All: true})
	refused("another's key", "not pinned", all, forged, 0)
	forged.Key = f.signer.Public()
	refused("another's signature", "signature does not fit", all, forged, 0)
	changed := f.order(high, fleet.All)
	changed.Body = bytes.Replace(changed.Body, []byte(`"id":"1000"`), []byte(`"id":"1001"`), 1)
	refused("a changed order", "signature does not fit", all, changed, 0)
	refused("no signature", "not pinned", all, fleet.Signed{Body: []byte(`{"seq":1000}`)}, 0)
	refused("nonsense", "not pinned", all, fleet.Signed{Body: bytes.Repeat([]byte{0xff}, 1000)}, 0)
	refused("another's order", "addressed to another host", mine, f.order(high, "002"), 0)
	refused("another's order, to all", "addressed to another host", all, f.undo(high, "002"), 0)
	refused("an order again", "was here before", all, f.order(1, fleet.All), 0)
	refused("an undo again", "was here before", mine, f.undo(2, "001"), 0)
	refused("an undo again, by the way of all", "came another way", all, f.undo(2, "001"), 0)
	refused("an order to all again, by the agent's own way", "came another way", mine, f.order(last[all], fleet.All), 0)
	refused("an undo that has no place", "came another way", mine, f.undo(0, "001"), 0)
	refused("a bundle in the log", "came another way", mine, f.signed(high, "001", fleet.KindBundle, fleet.Bundle{Version: 9}), 0)
	refused("what is no order", "an order is not understood", mine, f.signed(seq+1, "001", fleet.KindOrder, []int{1}), 2)

	// An answer in the name of the servers is no better.
	ask := func(what, words string, r fleet.SyncReply) {
		t.Helper()
		before := h.diary.count(words)
		f.answers(r)
		f.says(all, f.order(high, fleet.All), high-1) // there is a gap: it asks
		if words == "" {
			f.lastAsked()
		}
		until(t, what+": "+words, func() bool { return words == "" || h.diary.count(words) > before })
		f.answers(fleet.SyncReply{})
		if got := h.done(); got != want {
			t.Fatalf("%s: done is %q, want %q", what, got, want)
		}
	}
	one := func(s fleet.Signed) fleet.SyncReply { return fleet.SyncReply{Orders: []fleet.Signed{s}} }
	ask("an answer with another's key", "not pinned", one(seal(t, stranger, high, "001", fleet.KindOrder, riposte.Order{ID: "forged"})))
	ask("an answer for another", "addressed to another host", one(f.order(high, "002")))
	ask("an answer with what was done", "was here before", one(f.undo(2, "001")))
	ask("an undo in the place of a bundle", "in the place of a bundle", func() fleet.SyncReply { s := f.undo(2, "001"); return fleet.SyncReply{Bundle: &s} }())
	// (All that has no place is issued later than what has been done.)
	ask("a bundle in the place of an order", "in the place of an order", one(f.placeless(fleet.All, fleet.KindBundle, fleet.Bundle{Version: 8})))
	ask("an undo that has no place", "in the place of an order", one(f.placeless("001", fleet.KindUndo, fleet.Undo{ID: "forged", All: true})))
	ask("a bundle with another's key", "not pinned", func() fleet.SyncReply {
		s := seal(t, stranger, 0, fleet.All, fleet.KindBundle, fleet.Bundle{Version: 7})
		return fleet.SyncReply{Bundle: &s}
	}())

	// Orders that come in another order are not done in that order: what stood
	// before is asked for, or is refused when the broker lies about that.
	seq++
	next := []fleet.Signed{f.order(seq, fleet.All), f.order(seq+1, fleet.All), f.order(seq+2, fleet.All)}
	f.answers(fleet.SyncReply{Orders: []fleet.Signed{next[1], next[0], next[1]}})
	before := h.diary.count("was here before")
	f.says(all, next[1], seq)
	until(t, "what is behind a gap is done", func() bool { return strings.HasSuffix(h.done(), fmt.Sprint(" ", seq+1)) })
	until(t, "what stood before it is refused, and so is what came twice", func() bool { return h.diary.count("was here before") >= before+2 })
	f.answers(fleet.SyncReply{})
	f.says(all, next[2], seq+1)
	want += fmt.Sprintf(" %d %d", seq+1, seq+2)
	until(t, "the last is done", func() bool { return strings.HasSuffix(h.done(), fmt.Sprint(" ", seq+2)) })
	if got := h.done(); got != want {
		t.Errorf("done is %q, want %q", got, want)
	}
}

// TestImpostor: who has no certificate of the fleet's does not get as far as
// being asked.
func TestImpostor(t *testing.T) {
	f, g := newForger(t), newForger(t)
	c := credentials(t, f.authority, "001", g.url)
	h := newHand(t, c)
	until(t, "it says why, or is taken in", func() bool { return h.Connected() || h.nc.LastError() != nil })
	if err := h.nc.LastError(); h.Connected() || err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("connected to an impostor: %v, %v", h.Connected(), err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.asked) > 0 {
		t.Error("it asked the impostor for orders")
	}
}

// TestMissed: what was dropped on the way is had later, though something behind
// it has come another way since; and nothing is done twice.
func TestMissed(t *testing.T) {
	f := newForger(t)
	h := newHand(t, credentials(t, f.authority, "001", f.url))
	until(t, "the agent has asked", h.Synced)
	all, mine := fleet.LiveSubject(fleet.All), fleet.LiveSubject("001")
	f.says(all, f.order(1, fleet.All), 0)
	f.says(mine, f.order(3, "001"), 0) // 2, to all, is lost
	until(t, "what came is done", func() bool { return h.done() == "1 3" })
	log := []fleet.Signed{f.order(2, fleet.All), f.order(3, "001"), f.order(4, fleet.All)}
	f.answers(fleet.SyncReply{Orders: log})
	f.says(all, log[2], 2)
	if q := f.lastAsked(); q.After > 1 {
		t.Errorf("it asks for what is after %d", q.After)
	}
	until(t, "what was missed is done", func() bool { return h.done() == "1 3 2 4" })

	// A reader that is too slow does not wait for the next message to tell.
	f.says(mine, f.order(6, "001"), 3) // 5, to all, is lost
	until(t, "what came is done", func() bool { return h.done() == "1 3 2 4 6" })
	f.answers(fleet.SyncReply{Orders: []fleet.Signed{f.order(5, fleet.All), f.order(6, "001")}})
	h.trouble(h.nc, nil, nats.ErrSlowConsumer)
	until(t, "what was missed is done", func() bool { return h.done() == "1 3 2 4 6 5" })
	if h.Cursor() != 6 {
		t.Errorf("the cursor is %d", h.Cursor())
	}
}

// TestMissedAndHeard: what comes over a new connection does not stand for what was
// issued before it and was missed.
func TestMissedAndHeard(t *testing.T) {
	f := newForger(t)
	h := newHand(t, credentials(t, f.authority, "001", f.url))
	until(t, "the agent has asked", h.Synced)
	f.says(fleet.LiveSubject("001"), f.order(1, "001"), 0)
	until(t, "what came is done", func() bool { return h.done() == "1" })

	log := []fleet.Signed{f.order(2, "001"), f.order(3, fleet.All)}
	f.answers(fleet.SyncReply{Error: "not yet"})
	if err := h.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	until(t, "the server cannot be asked", func() bool { return h.diary.count("not yet") > 0 })
	f.says(fleet.LiveSubject(fleet.All), log[1], 0) // 2 was issued while it was away
	until(t, "the agent hears it", func() bool { return len(h.live) > 0 || h.done() != "1" })
	f.answers(fleet.SyncReply{Orders: log})
	until(t, "all is done, in its order", func() bool { return h.done() == "1 2 3" })
}

// TestHostileAgent: whatever an agent sends, the others are served, what it says
// of others is taken as said of itself, and the server says what it refused.
func TestHostileAgent(t *testing.T) {
	b := newBed(t)
	var said diary
	m := b.server("one", func(o *ServerOptions) { o.Log = said.logger() })
	m.candidate(nil)
	until(t, "it leads", m.Leads)
	connect := func(id string) *nats.Conn {
		t.Helper()
		_, public, err := identity.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Roster().Add(t.Context(), "web-"+id, nil, public)
		if err != nil || r.ID != id {
			t.Fatalf("%+v, %v", r, err)
		}
		c := credentials(t, b.authority, id, b.broker.URL())
		nc, err := nats.Connect(c.URLs[0], append(c.Options(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	bad, good := connect("001"), connect("002")
	r := m.reads(nil)

	codec := fleet.NewCodec()
	honest := func(epoch, n uint64, text string) []byte {
		p := codec.AppendEvents(nil, &fleet.Events{Batches: []riposte.Batch{{Events: []riposte.Event{{Time: time.Now(), Location: "log", Text: text}}}}})
		if err := fleet.Stamp(p, epoch, n); err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole := honest(1, 1, "x")
	bomb := codec.AppendEvents(nil, &fleet.Events{Batches: []riposte.Batch{{Events: []riposte.Event{{Text: strings.Repeat("x", fleet.MaxUnpacked+1)}}}}})
	many := make([]riposte.Event, 1<<numberBits)
	crowd := codec.AppendEvents(nil, &fleet.Events{Epoch: 1, N: 7, Batches: []riposte.Batch{{Events: many}}})
	if len(bomb) > fleet.MaxMessage || len(crowd) > fleet.MaxMessage {
		t.Fatalf("the bombs take %d and %d bytes", len(bomb), len(crowd))
	}
	for i, p := range [][]byte{nil, {0}, []byte("events"), whole[:len(whole)-1], append(slices.Clone(whole), 0), bytes.Repeat([]byte{0xff}, 1000), bomb, crowd} {
		before := said.count("events that are not understood")
		if _, err := bad.Request(fleet.EventSubject("001"), p, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := good.Request(fleet.EventSubject("002"), honest(1, uint64(i+1), fmt.Sprint("line ", i)), 20*time.Second); err != nil {
			t.Fatal(err)
		}
		r.wants(t, fmt.Sprint("002 line ", i))
		until(t, fmt.Sprintf("message %d is said to be bad", i), func() bool { return said.count("events that are not understood") > before })
	}
	// Numbers that jump harm nobody but the agent itself, and nothing comes twice.
	for _, n := range []uint64{1, 1 << 63, 5, 1} {
		if _, err := bad.Request(fleet.EventSubject("001"), honest(n, n, fmt.Sprint("jump ", n)), 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	r.wants(t, "001 jump 1")
	r.wants(t, fmt.Sprint("001 jump ", uint64(1<<63)))
	r.wants(t, "001 jump 5")

	// Receipts are its own, whatever they say.
	rs, err := codec.AppendReceipts(nil, &fleet.Receipts{Epoch: 1, N: 1, Receipts: []riposte.Receipt{{Order: "o", Host: "002", Time: time.Now(), Outcome: riposte.Applied,
		Command: "drop", Target: riposte.Target{Kind: riposte.Address, Value: "192.0.2.1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range [][]byte{nil, []byte("receipts"), rs[:len(rs)-1], rs} {
		if _, err := bad.Request(fleet.ReceiptSubject("001"), p, 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the receipt is in the ledger", func() bool {
		list, err := m.o.Ledger.ByOrder(t.Context(), "o")
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 1 && list[0].Host == "001"
	})
	if n := said.count("receipts that are not understood"); n != 3 {
		t.Errorf("%d messages of receipts are said to be bad", n)
	}

	// Signs of life and questions that are none.
	for _, p := range [][]byte{nil, []byte("{"), []byte(`{"now":5}`), bytes.Repeat([]byte(`{"a":`), 1<<14)} {
		if err := bad.Publish(fleet.PresenceSubject("001"), p); err != nil {
			t.Fatal(err)
		}
		if err := bad.Publish(fleet.SyncSubject("001"), p); err != nil {
			t.Fatal(err)
		}
		if _, err := bad.Request(fleet.RekeySubject("001"), p, 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	// It says that it is another, or nobody.
	for i, id := range []string{"002", ""} {
		if err := bad.Publish(fleet.PresenceSubject("001"), encode(fleet.Presence{ID: id, Name: "web-002", Version: "forged"})); err != nil {
			t.Fatal(err)
		}
		until(t, "it is refused", func() bool { return said.count("a sign of life in another's name is refused") == i+1 })
	}
	if m.Present("001") || m.Present("002") {
		t.Error("who said that it is another is heard")
	}
	for id, nc := range map[string]*nats.Conn{"001": bad, "002": good} {
		if err := nc.Publish(fleet.PresenceSubject(id), encode(fleet.Presence{ID: id, Version: "of " + id})); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both are heard", func() bool {
		hosts := m.Hosts()
		return len(hosts) == 2 && hosts[0].State.Version == "of 001" && hosts[1].State.Version == "of 002"
	})
	if r, ok := m.Roster().Get("002"); !ok || r.Name != "web-002" {
		t.Errorf("%+v", r)
	}

	// What is too large for the broker ends the connection of who sent it, only.
	if err := bad.PublishMsg(&nats.Msg{Subject: fleet.EventSubject("001"), Data: make([]byte, fleet.MaxMessage+1<<16)}); err == nil {
		until(t, "the connection is ended, or the message refused", func() bool { return bad.LastError() != nil })
	}
	if _, err := good.Request(fleet.EventSubject("002"), honest(1, 100, "the last line"), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	r.wants(t, "002 the last line")
	// Whoever asks for orders properly is answered.
	q, err := json.Marshal(fleet.SyncRequest{})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := good.Request(fleet.SyncSubject("002"), q, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var reply fleet.SyncReply
	if err := fleet.Decode(msg.Data, &reply); err != nil || reply.Error != "" {
		t.Errorf("%+v, %v", reply, err)
	}
}
