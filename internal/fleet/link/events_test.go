package link

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte"
	"riposte/internal/fleet"
)

// TestEvents: a new leader reads again what was judged and is still remembered,
// and then what was not, each message of an agent once.
func TestEvents(t *testing.T) {
	b := newBed(t)
	one := b.server("one")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	one.sends("001", 7, 1, "a", "b")
	r := one.reads(map[string]string{})
	first := r.wants(t, "001 a b")
	if first.Events[1].Number != first.Events[0].Number+1 || Number(first.Events[1].Number) != 1 {
		t.Errorf("numbers %d and %d", first.Events[0].Number, first.Events[1].Number)
	}
	one.sends("001", 7, 2, "c")
	one.sends("001", 7, 1, "a", "b") // an answer was lost, too long ago for the broker to know
	one.sends("002", 7, 1, "d")
	second := r.wants(t, "001 c")
	third := r.wants(t, "002 d")
	positions := map[string]string{}
	positions[first.Source], positions["file"] = first.Position, "not the fleet's"
	positions[second.Source] = second.Position
	if err := r.Judged(t.Context(), positions); err != nil {
		t.Fatal(err)
	}
	one.end()

	// The third was not judged, or that is not on record. The second server has
	// never read a message: what it knows of them is in the replay.
	two := b.server("two")
	two.candidate(nil)
	until(t, "two leads", two.Leads)
	again := two.reads(map[string]string{})
	again.wants(t, "again:001 a b")
	again.wants(t, "again:001 c")
	if got := again.wants(t, "002 d"); got.Events[0].Number != third.Events[0].Number {
		t.Error("another number for the same event, so another id for its alert")
	}
	<-again.Settled()
	two.sends("001", 7, 2, "c")
	two.sends("001", 8, 1, "e")
	last := again.wants(t, "001 e")
	if err := again.Judged(t.Context(), map[string]string{last.Source: last.Position}); err != nil {
		t.Fatal(err)
	}
	again.stop()

	// Back on the same server: what it has on its disk counts, too.
	f := two.sends("001", 8, 2, "f")
	once := two.reads(map[string]string{})
	for _, want := range []string{"again:001 a b", "again:001 c", "again:002 d", "again:001 e"} {
		once.wants(t, want)
	}
	got := once.wants(t, "001 f")
	once.stop()
	two.sends("001", 8, 2, "f")
	two.sends("001", 8, 3, "g")
	known := two.reads(map[string]string{got.Source: got.Position}) // judged, but the broker was not told
	for _, want := range []string{"again:001 a b", "again:001 c", "again:002 d", "again:001 e", "again:001 f", "001 g"} {
		known.wants(t, want)
	}
	if Number(got.Events[0].Number) != f {
		t.Errorf("read at %d what was stored at %d", Number(got.Events[0].Number), f)
	}
}

// TestEventsOtherPositions: a server that led long ago does not take what it has
// on its disk for the truth.
func TestEventsOtherPositions(t *testing.T) {
	b := newBed(t)
	two := b.server("two")
	two.candidate(nil)
	until(t, "two leads", two.Leads)
	two.sends("001", 1, 1, "a")
	two.sends("001", 1, 2, "b")
	r := two.reads(map[string]string{})
	a := r.wants(t, "001 a")
	lost := r.wants(t, "001 b")
	r.stop()
	_, ns, _, err := parsePosition(a.Position)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.state.Put(t.Context(), positionKey, encode(judged{Seq: 1, Time: time.Unix(0, ns), Server: "one"})); err != nil {
		t.Fatal(err)
	}
	// This server had judged b, but another has led since and will not have known.
	r = two.reads(map[string]string{a.Source: lost.Position})
	r.wants(t, "again:001 a")
	r.wants(t, "001 b")
	r.stop()

	// A position that lies behind the end of the stream is of another broker.
	if _, err := two.state.Put(t.Context(), positionKey, encode(judged{Seq: 1, Time: time.Unix(0, ns), Server: "two"})); err != nil {
		t.Fatal(err)
	}
	r = two.reads(map[string]string{"agent:009": "5000 1 " + history{}.String()})
	r.wants(t, "again:001 a")
	r.wants(t, "001 b")
}

// TestEventsJudgedFenced: who does not lead puts nothing on record, and who is
// late does not undo what another put there.
func TestEventsJudgedFenced(t *testing.T) {
	b := newBed(t)
	one := b.server("one")
	one.leading.Store(true)
	one.hold(time.Now().Add(time.Hour))
	one.sends("001", 1, 1, "a")
	one.sends("001", 1, 2, "b")
	r := one.reads(map[string]string{})
	a, second := r.wants(t, "001 a"), r.wants(t, "001 b")
	if err := r.Judged(t.Context(), map[string]string{a.Source: a.Position}); err != nil {
		t.Fatal(err)
	}
	// An answer that was lost: the record is its own, and newer than it knows.
	if _, err := one.state.Put(t.Context(), positionKey, encode(judged{Seq: 1, Server: "one"})); err != nil {
		t.Fatal(err)
	}
	if err := r.Judged(t.Context(), map[string]string{second.Source: second.Position}); err != nil {
		t.Fatal(err)
	}
	one.sends("001", 1, 3, "c")
	c := r.wants(t, "001 c")
	if _, err := one.state.Put(t.Context(), positionKey, encode(judged{Seq: 9, Server: "two"})); err != nil {
		t.Fatal(err)
	}
	if err := r.Judged(t.Context(), map[string]string{c.Source: c.Position}); !errors.Is(err, ErrDeposed) {
		t.Errorf("wrote over another's record: %v", err)
	}
	one.leading.Store(false)
	if err := r.Judged(t.Context(), map[string]string{c.Source: c.Position}); !errors.Is(err, ErrDeposed) {
		t.Errorf("does not lead: %v", err)
	}
}

// TestEventsCleared: what no rule looks back to is cleared, and not before.
func TestEventsCleared(t *testing.T) {
	b := newBed(t)
	s := b.server("one", func(o *ServerOptions) { o.KeepFor = time.Minute })
	e := s.Events(nil)
	start := time.Unix(1e9, 0)
	at := func(seq uint64, after time.Duration) judged { return judged{Seq: seq, Time: start.Add(after)} }
	for _, x := range []struct {
		at   judged
		want uint64
	}{
		{at(1, 0), 0},
		{at(10, 30*time.Second), 0},
		{at(20, 60*time.Second), 0},
		{at(30, 89*time.Second), 0},
		{at(31, 91*time.Second), 10}, // of 30 s, which is more than a minute ago
		{at(32, 92*time.Second), 0},
		{at(50, 200*time.Second), 30},
	} {
		if got := e.clearing(x.at); got != x.want {
			t.Errorf("judged %d at %v: clears up to %d, want %d", x.at.Seq, x.at.Time.Sub(start), got, x.want)
		}
	}
}

// TestEventsAnalysed: an agent says which of its events it judges itself, and not
// so of those that it was to judge and never will.
func TestEventsAnalysed(t *testing.T) {
	f := newForger(t)
	sent := make(chan *nats.Msg, 16)
	if _, err := f.nc.Subscribe(fleet.EventSubject("*"), func(m *nats.Msg) {
		sent <- m
		_ = m.Respond([]byte(`{"stream":"EVENTS","seq":1}`)) // it may be gone
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	c := fleet.NewCodec()
	newHand(t, credentials(t, f.authority, "001", f.url), func(o *AgentOptions) {
		for i, analysed := range []bool{true, false, true} {
			b := riposte.Batch{Source: "log", Position: fmt.Sprint(i), Events: []riposte.Event{{Text: fmt.Sprint(i)}}}
			err := Pack(c, []riposte.Batch{b}, analysed, func(payloads [][]byte, positions map[string]string) error {
				_, err := o.Spool.AppendAll(t.Context(), payloads, positions)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		o.Analysed = func(n uint64) bool { return n <= 2 }
	})
	b := newBed(t)
	s := b.server("one")
	s.candidate(nil)
	until(t, "it leads", s.Leads)
	r := s.reads(map[string]string{})
	for i, want := range []bool{true, false, false} {
		m := <-sent
		if _, err := s.js.Publish(t.Context(), m.Subject, m.Data); err != nil {
			t.Fatal(err)
		}
		batch := r.wants(t, fmt.Sprint("001 ", i))
		if got := batch.Events[0].Agent.Analyses; got != want {
			t.Errorf("event %d is judged by its agent: %v, want %v", i, got, want)
		}
	}
}
