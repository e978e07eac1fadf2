package link

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
)

// A store that is nearly full is made half empty, of what is judged alone.
func TestRoomFrom(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, msgs   uint64
		bytes         uint64
		most          int64
		judged, wants uint64
	}{
		{"empty", 1, 0, 0, 1000, 0, 0},
		{"without a bound", 1, 100, 5000, -1, 100, 0},
		{"with room", 1, 100, 740, 1000, 100, 0},
		{"full and judged", 101, 100, 1000, 1000, 200, 152},
		{"full, little judged", 101, 100, 1000, 1000, 110, 111},
		{"full, nothing judged", 101, 100, 1000, 1000, 100, 0},
		{"full, judged long ago", 101, 100, 1000, 1000, 7, 0},
	} {
		st := jetstream.StreamState{FirstSeq: c.first, Msgs: c.msgs, Bytes: c.bytes}
		if got := roomFrom(st, c.most, c.judged); got != c.wants {
			t.Errorf("%s: up to %d, expected %d", c.name, got, c.wants)
		}
	}
}

// A store that was made smaller than what is judged in it takes events again
// when its server begins to read, and loses none that are not judged.
func TestAStoreMadeSmaller(t *testing.T) {
	b := newBed(t)
	one := b.server("one", func(o *ServerOptions) { o.MaxEvents = 8 << 20 })
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	r := one.reads(map[string]string{})
	positions := map[string]string{}
	noise := make([]byte, 100<<10) // what does not become shorter
	const n = 40
	for i := range uint64(n) {
		_, _ = rand.Read(noise) // never fails
		one.sends("001", 7, i+1, hex.EncodeToString(noise))
		_, batch := r.next(t)
		positions[batch.Source] = batch.Position
	}
	if err := r.Judged(t.Context(), positions); err != nil {
		t.Fatal(err)
	}
	r.stop()
	one.sends("001", 7, n+1, "not judged yet")
	one.end()

	two := b.server("two", func(o *ServerOptions) { o.MaxEvents = 1 << 20 })
	two.candidate(nil)
	until(t, "two leads", two.Leads)
	publish := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		p := two.pack(7, n+2, "after it")
		_, err := two.js.Publish(ctx, fleet.EventSubject("001"), p)
		return err
	}
	if err := publish(); err == nil {
		t.Fatal("the store has room: this test shows nothing")
	}
	again := two.reads(map[string]string{})
	until(t, "the store takes events", func() bool { return publish() == nil })
	for {
		text, batch := again.next(t)
		if again.Replayed(batch.Events[0].Number) {
			continue // what was left of what is judged
		}
		if text != "001 not judged yet" {
			t.Fatalf("read %.40q in the place of what was not judged", text)
		}
		again.wants(t, "001 after it")
		return
	}
}
