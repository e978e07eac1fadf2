package link

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// TestEventsSentAgainMuchLater: an answer is lost, the broker forgets the message
// (these have no ID for it to know), the stream loses it, and another server
// leads that has never read it. What the agent sends again is known all the same.
func TestEventsSentAgainMuchLater(t *testing.T) {
	for _, way := range []string{"room", "time"} {
		t.Run(way, func(t *testing.T) {
			b := newBed(t)
			options := func(o *ServerOptions) {
				if way == "room" {
					o.MaxEvents = 1 << 20
				} else {
					o.KeepFor = time.Nanosecond
				}
			}
			one := b.server("one", options)
			one.candidate(nil)
			until(t, "one leads", one.Leads)
			r := one.reads(map[string]string{})
			if way == "time" { // time has passed since the last clearing
				r.mu.Lock()
				r.marks = []judged{{Time: time.Now().Add(-time.Hour)}, {Seq: 1 << 40, Time: time.Now().Add(-time.Minute)}}
				r.mu.Unlock()
			}
			positions := map[string]string{}
			judge := func(agent string, n uint64, text string) {
				t.Helper()
				until(t, "there is room", func() bool {
					_, err := one.js.Publish(t.Context(), fleet.EventSubject(agent), one.pack(7, n, text))
					return err == nil
				})
				batch := r.wants(t, agent+" "+text)
				positions[batch.Source] = batch.Position
				if way == "time" { // what is judged is cleared at the next look
					r.mu.Lock()
					r.marks[1].Seq = Number(batch.Events[0].Number) + 1
					r.mu.Unlock()
				}
				if err := r.Judged(t.Context(), positions); err != nil {
					t.Fatal(err)
				}
			}
			judge("001", 1, "a")
			if way == "room" {
				noise := make([]byte, 50<<10) // what does not become shorter
				for i := range uint64(20) {
					_, _ = rand.Read(noise) // never fails
					judge("002", i+1, hex.EncodeToString(noise))
				}
			}
			one.sends("001", 7, 2, "b")
			until(t, "the first message is cleared", func() bool {
				info, err := one.events.Info(t.Context())
				return err == nil && info.State.FirstSeq > 1
			})
			one.end() // b is not judged

			two := b.server("two", options)
			two.candidate(nil)
			until(t, "two leads", two.Leads)
			two.sends("001", 7, 1, "a")
			two.sends("001", 7, 3, "c")
			again := two.reads(map[string]string{})
			want := []string{"001 b", "001 c"}
			for len(want) > 0 {
				text, batch := again.next(t)
				if again.Replayed(batch.Events[0].Number) {
					continue
				}
				if text != want[0] {
					t.Fatalf("read %.30q, want %q", text, want[0])
				}
				want = want[1:]
			}
		})
	}
}

// TestShared: two servers that write what they know keep what the other wrote;
// who is removed is forgotten.
func TestShared(t *testing.T) {
	b := newBed(t)
	s := b.server("one")
	one, two := &shared{s: s.Server, of: map[string]history{}}, &shared{s: s.Server, of: map[string]history{}}
	taken := func(ns ...uint64) (h history) {
		for _, n := range ns {
			h.take(7, n)
		}
		return h
	}
	save := func(x *shared) {
		t.Helper()
		if err := x.save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.roster.Add(t.Context(), "web-01", nil, key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		one.note(fmt.Sprintf("%03d", 2+i), taken(1, 3))
	}
	one.note(gone.ID, taken(1))
	save(one)
	two.note("002", taken(2))
	save(two) // has not seen what one wrote
	one.note("002", taken(4))
	save(one)
	if _, err := s.roster.Remove(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	one.note(gone.ID, taken(2))
	save(one)

	three := &shared{s: s.Server, of: map[string]history{}}
	if err := three.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	three.each(func(agent string, h history) { got[agent] = h.String() })
	if len(got) != 300 || got["002"] != taken(1, 2, 3, 4).String() || got["301"] != taken(1, 3).String() {
		t.Errorf("%d agents, 002 %s, 301 %s", len(got), got["002"], got["301"])
	}
	if _, err := s.state.Put(t.Context(), shelfKey(5), []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if err := three.load(context.WithoutCancel(t.Context())); err == nil {
		t.Error("nonsense is taken for a history")
	}
}
