package fleet

import (
	"encoding/binary"
	"fmt"
	"time"

	"riposte"
)

// Events is one message of events: a record of the sender's spool. Epoch and N
// together never repeat. Source and Position of the batches do not travel: they
// are the sender's own business. Neither does the agent: the receiver knows it
// from the subject.
type Events struct {
	Epoch, N uint64
	Analysed bool // the agent has judged them itself, and answers what is for it alone
	Batches  []riposte.Batch
}

// The content is: the number of batches, and for each the number of its events
// and the events. An event is a byte of flags, its format, its time as seconds
// and nanoseconds beyond the event before, its location unless that is the one
// before, and its text. Numbers are varints, strings have their length before
// them.
const (
	flagCut      = 1 << 0
	flagLocation = 1 << 1
	flagsKnown   = flagCut | flagLocation

	minBatch = 1
	minEvent = 5
)

// AppendEvents appends the packed message to dst. With a message below
// MaxUnpacked, and text of some hundred kilobytes in all, it is shorter than
// MaxMessage.
func (c *Codec) AppendEvents(dst []byte, e *Events) []byte {
	buf := c.buffer()
	defer c.release(buf)
	b := binary.AppendUvarint((*buf)[:0], uint64(len(e.Batches)))
	var sec, nsec int64
	var location string
	for i := range e.Batches {
		events := e.Batches[i].Events
		b = binary.AppendUvarint(b, uint64(len(events)))
		for k := range events {
			ev := &events[k]
			var flags byte
			if ev.Cut {
				flags |= flagCut
			}
			if ev.Location != location {
				flags |= flagLocation
			}
			b = append(b, flags, byte(ev.Format))
			s, ns := ev.Time.Unix(), int64(ev.Time.Nanosecond())
			b = binary.AppendVarint(b, s-sec)
			b = binary.AppendVarint(b, ns-nsec)
			sec, nsec = s, ns
			if flags&flagLocation != 0 {
				location = ev.Location
				b = appendText(b, location)
			}
			b = appendText(b, ev.Text)
		}
	}
	*buf = b
	format := byte(formatEvents)
	if e.Analysed {
		format = formatAnalysed
	}
	return c.pack(dst, format, e.Epoch, e.N, b)
}

// Disown makes a packed message of events one that was not analysed where it
// comes from.
func Disown(packed []byte) {
	if len(packed) > 0 && packed[0] == formatAnalysed {
		packed[0] = formatEvents
	}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// DecodeEvents unpacks a message. Its strings share one allocation, so whoever
// keeps one beyond the message clones it. Times are local times, as those of
// events read on this host.
func (c *Codec) DecodeEvents(b []byte) (*Events, error) {
	buf := c.buffer()
	defer c.release(buf)
	format, analysed := byte(formatEvents), len(b) > 0 && b[0] == formatAnalysed
	if analysed {
		format = formatAnalysed
	}
	epoch, n, err := c.unpack(b, format, buf)
	if err != nil {
		return nil, fmt.Errorf("decode events: %w", err)
	}
	r := &reader{rest: string(*buf)}
	e := &Events{Epoch: epoch, N: n, Analysed: analysed}
	if err := r.batches(e); err != nil {
		return nil, fmt.Errorf("decode events: %w: %w", ErrMalformed, err)
	}
	return e, nil
}

// reader reads the content of a message of events.
type reader struct {
	rest      string
	err       error // the first
	sec, nsec int64
	location  string
	total     uint64
}

func (r *reader) batches(e *Events) error {
	count := r.count(minBatch, "batches")
	if r.err != nil {
		return r.err
	}
	if count > 0 {
		e.Batches = make([]riposte.Batch, 0, min(count, 1024))
	}
	for range count {
		events := r.events()
		if r.err != nil {
			return r.err
		}
		e.Batches = append(e.Batches, riposte.Batch{Events: events})
	}
	if r.rest != "" {
		return fmt.Errorf("%d bytes behind the last event", len(r.rest))
	}
	return nil
}

func (r *reader) events() []riposte.Event {
	count := r.count(minEvent, "events")
	if r.total += count; r.total > MaxEvents {
		r.fail("more than %d events", MaxEvents)
	}
	if r.err != nil || count == 0 {
		return nil
	}
	out := make([]riposte.Event, count)
	for i := range out {
		if r.event(&out[i]); r.err != nil {
			return nil
		}
	}
	return out
}

func (r *reader) event(ev *riposte.Event) {
	if len(r.rest) < minEvent {
		r.fail("an event is cut short")
		return
	}
	flags, format := r.rest[0], riposte.Format(r.rest[1])
	r.rest = r.rest[2:]
	if flags&^flagsKnown != 0 || format > riposte.FormatEventChannel {
		r.fail("an event has flags %#x and format %d, which this riposte does not know", flags, format)
		return
	}
	r.sec += r.varint()
	r.nsec += r.varint()
	if r.nsec < 0 || r.nsec >= int64(time.Second) {
		r.fail("an event has %d nanoseconds in its second", r.nsec)
		return
	}
	if flags&flagLocation != 0 {
		r.location = r.text()
	}
	ev.Time = time.Unix(r.sec, r.nsec)
	ev.Location = r.location
	ev.Format = format
	ev.Cut = flags&flagCut != 0
	ev.Text = r.text()
}

// count reads how many things of a least size follow.
func (r *reader) count(least int, what string) uint64 {
	n := r.uvarint()
	if n > uint64(len(r.rest)/least) {
		r.fail("%d %s in %d bytes", n, what, len(r.rest))
		return 0
	}
	return n
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail("a text of %d bytes where %d are left", n, len(r.rest))
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break // beyond 64 bits
			}
			r.rest = r.rest[i+1:]
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	r.fail("a number is cut short or too large")
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// fail notes the first error; what is read after it means nothing.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.rest = ""
}
