package link

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"riposte"
	"riposte/internal/fleet"
)

// TestPack: records hold all events in their order, fit a message whatever they
// hold, a position comes with or behind the last event before it, and what one
// batch holds belongs together.
func TestPack(t *testing.T) {
	c := fleet.NewCodec()
	rapid.Check(t, func(t *rapid.T) {
		var batches []riposte.Batch
		var want []string
		ends := map[int]bool{0: true} // events up to the ends of batches
		due := map[string]int{}       // source: events before its position
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range rapid.IntRange(0, 4).Draw(t, "batches") {
			b := riposte.Batch{Source: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source")}
			for range rapid.IntRange(0, 20).Draw(t, "events") {
				text := make([]byte, rapid.SampledFrom([]int{0, 10, 100, 3000, 64 << 10}).Draw(t, "length"))
				for i := range text {
					text[i] = byte(random.Uint32()) // does not shrink
				}
				b.Events = append(b.Events, riposte.Event{Text: string(text), Location: "log"})
				want = append(want, string(text))
			}
			ends[len(want)] = true
			if rapid.Bool().Draw(t, "has a position") {
				b.Position = "x"
				due[b.Source] = len(want)
			}
			batches = append(batches, b)
		}
		n, analysed := 0, rapid.Bool().Draw(t, "analysed")
		err := Pack(c, batches, analysed, func(payloads [][]byte, positions map[string]string) error {
			if len(payloads) == 0 {
				t.Fatal("no records")
			}
			for _, payload := range payloads {
				if len(payload) > fleet.MaxMessage {
					t.Fatalf("a record of %d bytes", len(payload))
				}
				e, err := c.DecodeEvents(payload)
				if err != nil || e.Analysed != analysed {
					t.Fatalf("analysed: %v, %v", !analysed, err)
				}
				for _, b := range e.Batches {
					for i := range b.Events {
						if b.Events[i].Text != want[n] {
							t.Fatalf("event %d is another", n)
						}
						n++
					}
				}
			}
			if !ends[n] {
				t.Fatalf("records end in the middle of a batch, with event %d", n)
			}
			for source := range positions {
				if at, ok := due[source]; !ok || at <= n {
					delete(due, source)
				}
			}
			return nil
		})
		if err != nil || n != len(want) || len(due) > 0 {
			t.Fatalf("%d of %d events, positions that were not given or too soon: %v, %v", n, len(want), due, err)
		}
	})
}
