package fleet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"riposte"
)

func someEvents() *Events {
	at := time.Date(2026, 3, 1, 12, 0, 0, 999_999_999, time.UTC)
	return &Events{Epoch: math.MaxUint64, N: 7, Batches: []riposte.Batch{
		{Events: []riposte.Event{
			{Time: at, Location: "/var/log/auth.log", Text: "Mar  1 12:00:00 web sshd[1]: Failed password"},
			{Time: at.Add(1), Location: "/var/log/auth.log", Text: ""},
			{Time: at.Add(-time.Hour), Location: "", Text: "\x00\xff\n", Cut: true},
			{Time: time.Time{}, Location: "192.0.2.1", Text: `{"a":1}`, Format: riposte.FormatJSON},
		}},
		{},
		{Events: []riposte.Event{
			{Time: time.Unix(math.MaxInt64/2, 0), Location: "EventChannel\xfe", Format: riposte.FormatEventChannel, Text: strings.Repeat("x", 70_000)},
			{Time: time.Unix(-math.MaxInt64/2, 999), Location: "EventChannel\xfe"},
		}},
	}}
}

func TestEventsTravel(t *testing.T) {
	c := NewCodec()
	analysed := someEvents()
	analysed.Analysed = true
	for _, e := range []*Events{{}, {Epoch: 1, N: 2, Batches: []riposte.Batch{{}}}, someEvents(), {Analysed: true}, analysed} {
		packed := c.AppendEvents([]byte("before"), e)
		if !bytes.HasPrefix(packed, []byte("before")) {
			t.Fatal("what stood before is gone")
		}
		got, err := c.DecodeEvents(packed[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestWhatDoesNotTravel(t *testing.T) {
	c := NewCodec()
	got, err := c.DecodeEvents(c.AppendEvents(nil, &Events{Batches: []riposte.Batch{{
		Source: "file:/a", Position: "9", Events: []riposte.Event{{Text: "x", Agent: riposte.Agent{ID: "009", Name: "forged"}, Number: 7}},
	}}}))
	if err != nil {
		t.Fatal(err)
	}
	if b := got.Batches[0]; b.Source != "" || b.Position != "" || b.Events[0].Agent != (riposte.Agent{}) || b.Events[0].Number != 0 {
		t.Errorf("%+v", b)
	}
}

// That events were analysed where they come from is in one byte of the message:
// without it they are packed as ever.
func TestDisown(t *testing.T) {
	c := NewCodec()
	plain, analysed := someEvents(), someEvents()
	analysed.Analysed = true
	packed, want := c.AppendEvents(nil, analysed), c.AppendEvents(nil, plain)
	if bytes.Equal(packed, want) || want[0] != 0x11 {
		t.Fatalf("format %#x of plain events, %#x of analysed ones", want[0], packed[0])
	}
	for range 2 {
		if Disown(packed); !bytes.Equal(packed, want) {
			t.Fatal("not the message that was never analysed")
		}
	}
	Disown(nil)
	receipts := []byte{formatReceipts}
	if Disown(receipts); receipts[0] != formatReceipts {
		t.Error("receipts were changed")
	}
}

func TestStamp(t *testing.T) {
	c := NewCodec()
	packed := c.AppendEvents(nil, someEvents())
	if err := Stamp(packed, 3, 4); err != nil {
		t.Fatal(err)
	}
	got, err := c.DecodeEvents(packed)
	want := someEvents()
	want.Epoch, want.N = 3, 4
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if epoch, n, err := Numbers(packed); epoch != 3 || n != 4 || err != nil {
		t.Errorf("numbers %d and %d, %v", epoch, n, err)
	}
	if _, _, err := Numbers(packed[:16]); !errors.Is(err, ErrMalformed) {
		t.Errorf("the numbers of a message that is too short: %v", err)
	}
	if err := Stamp(packed[:16], 1, 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("a message that is too short was numbered: %v", err)
	}
}

// content packs what AppendEvents never would.
func content(c *Codec, format byte, b []byte) []byte { return c.pack(nil, format, 1, 1, b) }

func TestDecodeEventsRefuses(t *testing.T) {
	c := NewCodec()
	good := c.AppendEvents(nil, someEvents())
	event := func(b ...byte) []byte { return content(c, formatEvents, append([]byte{1, 1}, b...)) }
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	many := binary.AppendUvarint([]byte{1}, MaxEvents+1)
	many = append(many, make([]byte, minEvent*(MaxEvents+1))...)
	for _, bad := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrMalformed},
		{"another format", append([]byte{formatReceipts}, good[1:]...), ErrMalformed},
		{"a format to come", append([]byte{0x13}, good[1:]...), ErrMalformed},
		{"only the head", good[:packedHead], nil}, // an empty frame is checked below
		{"cut short", good[:len(good)-1], ErrMalformed},
		{"a changed byte", append(append([]byte{}, good[:40]...), append([]byte{good[40] ^ 1}, good[41:]...)...), ErrMalformed},
		{"more behind", append(append([]byte{}, good...), 'x'), ErrMalformed},
		{"too long", make([]byte, MaxMessage+1), ErrTooLarge},
		{"no batch count", content(c, formatEvents, nil), ErrMalformed},
		{"more batches than bytes", content(c, formatEvents, huge), ErrMalformed},
		{"more events than bytes", content(c, formatEvents, append([]byte{1}, huge...)), ErrMalformed},
		{"too many events", content(c, formatEvents, many), ErrMalformed},
		{"an event that is cut short", event(0, 0, 0, 0), ErrMalformed},
		{"unknown flags", event(4, 0, 0, 0, 0), ErrMalformed},
		{"unknown format", event(0, 3, 0, 0, 0), ErrMalformed},
		{"nanoseconds below a second", event(0, 0, 0, 1, 0), ErrMalformed},
		{"nanoseconds beyond a second", event(append(append([]byte{0, 0, 0}, binary.AppendVarint(nil, int64(time.Second))...), 0)...), ErrMalformed},
		{"a text longer than there is", event(0, 0, 0, 0, 9), ErrMalformed},
		{"a location longer than there is", event(append([]byte{2, 0, 0, 0}, huge...)...), ErrMalformed},
		{"a number without end", event(bytes.Repeat([]byte{0xff}, 30)...), ErrMalformed},
		{"bytes behind the last event", event(0, 0, 0, 0, 0, 0), ErrMalformed},
	} {
		t.Run(bad.name, func(t *testing.T) {
			e, err := c.DecodeEvents(bad.in)
			if bad.want == nil {
				bad.want = ErrMalformed
			}
			if !errors.Is(err, bad.want) || e != nil {
				t.Errorf("%v, want %v", err, bad.want)
			}
		})
	}
	if e, err := c.DecodeEvents(event(0, 0, 0, 0, 0)); err != nil || !e.Batches[0].Events[0].Time.Equal(time.Unix(0, 0)) {
		t.Errorf("the least event: %v", err)
	}
}

// A few kilobytes must not become gigabytes.
func TestBombsAreRefused(t *testing.T) {
	c := NewCodec()
	bomb := content(c, formatEvents, make([]byte, MaxUnpacked+1))
	// The same without the size in its head.
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for range MaxUnpacked/(1<<20) + 1 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	unsaid := append(append([]byte{}, bomb[:packedHead]...), b.Bytes()...)
	for _, in := range [][]byte{bomb, unsaid} {
		if len(in) > MaxMessage {
			t.Fatalf("the bomb takes %d bytes", len(in))
		}
		if _, err := c.DecodeEvents(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("events: %v", err)
		}
		in[0] = formatReceipts
		if _, err := c.DecodeReceipts(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("receipts: %v", err)
		}
	}
}

func someReceipts() *Receipts {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	return &Receipts{Epoch: 3, N: 9, Receipts: []riposte.Receipt{
		{Order: "o1", Host: "001", Time: at, Outcome: riposte.Applied, Command: "drop", Target: riposte.Target{Kind: riposte.Address, Value: "192.0.2.1"}, Mechanism: "nftables", Until: at.Add(time.Hour), Rung: 2, By: "rule 1", Rule: 1, Alert: "1.1"},
		{Order: "o2", Host: "001", Time: at, Outcome: riposte.Failed, Target: riposte.Target{Kind: riposte.File, Value: "/tmp/\xff\n"}, Output: "\x00\xfe\n{", Once: true, Reason: "no\nway"},
	}}
}

func TestReceiptsTravel(t *testing.T) {
	c := NewCodec()
	for _, r := range []*Receipts{{Receipts: []riposte.Receipt{}}, someReceipts()} {
		packed, err := c.AppendReceipts([]byte("b"), r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.DecodeReceipts(packed[1:])
		if d := cmp.Diff(r, got); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	}
	if _, err := c.AppendReceipts(nil, &Receipts{Receipts: []riposte.Receipt{{Order: "o7", Time: time.Unix(1<<40, 0)}}}); err == nil || !strings.Contains(err.Error(), "o7") {
		t.Errorf("a time that cannot be written: %v", err)
	}
}

func TestDecodeReceiptsRefuses(t *testing.T) {
	c := NewCodec()
	for name, in := range map[string][]byte{
		"nothing":        nil,
		"events":         c.AppendEvents(nil, someEvents()),
		"cut short":      content(c, formatReceipts, []byte("{}")),
		"no JSON":        content(c, formatReceipts, []byte("{}\nx\n")),
		"an empty line":  content(c, formatReceipts, []byte("\n")),
		"no outcome":     content(c, formatReceipts, []byte(`{"outcome":"danced"}`+"\n")),
		"too many":       content(c, formatReceipts, bytes.Repeat([]byte("{}\n"), MaxReceipts+1)),
		"one too long":   content(c, formatReceipts, []byte(`{"by":"`+strings.Repeat("x", MaxMessage)+"\"}\n")),
		"message length": make([]byte, MaxMessage+1),
	} {
		if r, err := c.DecodeReceipts(in); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) || r != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneCodecForMany(t *testing.T) {
	c := NewCodec()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 50 {
				e := &Events{N: uint64(k), Batches: []riposte.Batch{{Events: []riposte.Event{{Time: time.Unix(1, 0), Text: strings.Repeat(fmt.Sprint(i), k)}}}}}
				got, err := c.DecodeEvents(c.AppendEvents(nil, e))
				if d := cmp.Diff(e, got); d != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, d)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The fuzzers of packed messages get the content and have it packed, so that
// they need not guess the compression, and take it as the message, too.
func FuzzEvents(f *testing.F) {
	c := NewCodec()
	good := c.AppendEvents(nil, someEvents())
	f.Add(good)
	if plain, err := c.dec.DecodeAll(good[packedHead:], nil); err == nil {
		f.Add(plain)
	}
	f.Add([]byte{1, 2, 3, 1, 2, 2, 1, 'a', 1, 'b', 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, content(c, formatEvents, b), content(c, formatAnalysed, b)} {
			e, err := c.DecodeEvents(in)
			if err != nil {
				continue
			}
			again, err := c.DecodeEvents(c.AppendEvents(nil, e))
			if d := cmp.Diff(e, again); d != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		}
	})
}

func FuzzReceipts(f *testing.F) {
	c := NewCodec()
	good, err := c.AppendReceipts(nil, someReceipts())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{\"outcome\":\"applied\",\"_bytes\":{\"Target.Value\":\"/w==\"}}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, content(c, formatReceipts, b)} {
			r, err := c.DecodeReceipts(in)
			if err != nil {
				continue
			}
			for i := range r.Receipts {
				if r.Receipts[i].Outcome == 0 {
					r.Receipts[i].Outcome = riposte.Applied // no receipt leaves it out
				}
			}
			packed, err := c.AppendReceipts(nil, r)
			if err != nil || len(packed) > MaxMessage {
				continue
			}
			again, err := c.DecodeReceipts(packed)
			if d := cmp.Diff(r, again); d != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
		}
	})
}

// benchEvents are lines as a busy host has them, 1,000 in a message.
func benchEvents() *Events {
	b := riposte.Batch{}
	at := time.Unix(1_772_366_400, 0)
	for i := range 1000 {
		at = at.Add(time.Duration(i*7919%100_000) * time.Microsecond)
		b.Events = append(b.Events, riposte.Event{Time: at, Location: "/var/log/auth.log", Text: fmt.Sprintf(
			"Mar  1 12:%02d:%02d web-01 sshd[%d]: Failed password for invalid user admin%d from 203.0.113.%d port %d ssh2", i/60%60, i%60, 20_000+i*17%9000, i%100, i*31%256, 30_000+i*7907%30_000)})
	}
	return &Events{Epoch: 1, N: 1, Batches: []riposte.Batch{b}}
}

func BenchmarkAppendEvents(b *testing.B) {
	c, e := NewCodec(), benchEvents()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = c.AppendEvents(buf[:0], e)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(len(buf))/1000, "bytes/event")
}

func BenchmarkDecodeEvents(b *testing.B) {
	c := NewCodec()
	packed := c.AppendEvents(nil, benchEvents())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.DecodeEvents(packed); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkReceipts(b *testing.B) {
	c := NewCodec()
	r := &Receipts{}
	for range 1000 {
		r.Receipts = append(r.Receipts, someReceipts().Receipts[0])
	}
	for b.Loop() {
		packed, err := c.AppendReceipts(nil, r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.DecodeReceipts(packed); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "receipts/s")
}

func BenchmarkSealOpen(b *testing.B) {
	s := signer(b)
	for b.Loop() {
		if _, err := Open(sealed(b, s, envelope()), []string{s.Public()}, "002"); err != nil {
			b.Fatal(err)
		}
	}
}
