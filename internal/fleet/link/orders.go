package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// Message is something that agents are to do.
type Message struct {
	ID   string // of the order: said again it is not done again
	To   string // agent id, or fleet.All
	Kind fleet.Kind
	Body any
}

// The bounds of what a server keeps at hand of the log of orders, and of what it
// publishes without waiting for an answer.
const (
	atHand      = 200_000
	atHandBytes = 256 << 20
	maxInFlight = 256
)

// entry is one message of the log of orders.
type entry struct {
	seq    uint64
	id     string
	to     string
	issued time.Time // as it says: any server's word only where it is verified
	at     time.Time // when the broker stored it
	s      fleet.Signed
}

// book is the recent part of the log of orders, so that agents who come back all
// at once are answered from memory.
type book struct {
	mu      sync.Mutex
	entries []entry // by sequence
	bytes   int
	first   uint64 // the log is at hand from here on
	head    uint64 // its last sequence
	ids     map[string]uint64
	to      map[string]uint64 // the last sequence by addressee
	moved   chan struct{}     // closed and renewed when head moves
}

func (b *book) add(e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.seq <= b.head {
		return
	}
	b.entries = append(b.entries, e)
	b.bytes += len(e.s.Body)
	b.head = e.seq
	b.to[e.to] = e.seq
	if e.id != "" {
		b.ids[e.id] = e.seq
	}
	drop := 0
	for len(b.entries)-drop > atHand || b.bytes > atHandBytes {
		old := &b.entries[drop]
		b.bytes -= len(old.s.Body)
		if b.ids[old.id] == old.seq {
			delete(b.ids, old.id)
		}
		*old = entry{}
		drop++
	}
	if drop > 0 {
		b.entries = b.entries[drop:]
		b.first = b.entries[0].seq
	}
	close(b.moved)
	b.moved = make(chan struct{})
}

// load begins anew: the log is to be at hand from first on.
func (b *book) load(first uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first, b.head = first, max(first, 1)-1
	b.entries, b.bytes, b.ids, b.to = nil, 0, map[string]uint64{}, map[string]uint64{}
	if b.moved != nil {
		close(b.moved)
	}
	b.moved = make(chan struct{})
}

// knows reports whether an order is in the part of the log that is at hand.
func (b *book) knows(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.ids[id]
	return ok
}

// end is the place of the last message at hand.
func (b *book) end() ledger.Place {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := ledger.Place{Seq: b.head}
	if n := len(b.entries); n > 0 {
		p.Time = b.entries[n-1].at
	}
	return p
}

func (b *book) last() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head
}

// lastEntry returns the end of the log: its sequence alone when it is not at hand.
func (b *book) lastEntry() entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.entries); n > 0 {
		return b.entries[n-1]
	}
	return entry{seq: b.head}
}

// resume returns the sequence behind which an agent is to go on that was told
// everything up to after, which was issued by then. It is another when the log has
// begun anew since: what stands in that place was issued later, or nothing is
// there yet.
func (b *book) resume(after uint64, issued time.Time) uint64 {
	if issued.IsZero() {
		return after
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := sort.Search(len(b.entries), func(i int) bool { return b.entries[i].seq >= after })
	if after < b.first || i < len(b.entries) && !b.entries[i].issued.After(issued) {
		return after // not at hand, or the log that the agent knows
	}
	i = sort.Search(len(b.entries), func(i int) bool { return b.entries[i].issued.After(issued) })
	if i == 0 {
		return max(b.first, 1) - 1
	}
	return b.entries[i-1].seq
}

// lastFor is the sequence of the last message at hand that is for an agent.
func (b *book) lastFor(me string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.to[fleet.All], b.to[me])
}

// reach waits until everything up to seq is at hand.
func (b *book) reach(ctx context.Context, seq uint64) error {
	for {
		b.mu.Lock()
		if b.moved == nil {
			b.moved = make(chan struct{}) // nothing is loaded yet
		}
		head, moved := b.head, b.moved
		b.mu.Unlock()
		if head >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// after returns what is addressed to an agent after seq, at most limit, and
// whether that is all there is. ok is false when the log is not at hand from
// there on.
func (b *book) after(seq uint64, me string, limit int) (out []fleet.Signed, upTo uint64, more, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq+1 < b.first {
		return nil, 0, false, false
	}
	upTo = b.head
	size := 0
	// Entries are by sequence: look from the end, agents ask for the latest.
	i := len(b.entries)
	for i > 0 && b.entries[i-1].seq > seq {
		i--
	}
	for ; i < len(b.entries); i++ {
		e := &b.entries[i]
		if e.to != fleet.All && e.to != me {
			continue
		}
		size += 2*len(e.s.Body) + 512 // as JSON writes it
		if len(out) == limit || size > fleet.MaxMessage*3/4 && len(out) > 0 {
			return out, out2seq(b.entries[:i]), true, true
		}
		out = append(out, e.s)
	}
	return out, upTo, false, true
}

// out2seq is the last sequence of what was looked through.
func out2seq(es []entry) uint64 { return es[len(es)-1].seq }

// loadOrders brings the recent part of the log to hand.
func (s *Server) loadOrders(ctx context.Context) error {
	for {
		info, err := s.orders.Info(ctx)
		if err == nil {
			st := info.State
			first := st.FirstSeq
			if st.LastSeq > atHand && st.LastSeq-atHand > first {
				first = st.LastSeq - atHand
			}
			s.book.load(first)
			return nil
		}
		s.o.Log.Warn("the log of orders cannot be read", "error", err)
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// followOrders keeps the log at hand current, and the ledger behind it.
func (s *Server) followOrders(ctx context.Context) error {
	if err := s.checkOrders(ctx); err != nil {
		return err
	}
	in := make(chan entry, 1024)
	var writing sync.WaitGroup
	writing.Go(func() { s.enter(ctx, in) })
	defer writing.Wait()
	defer close(in)
	return s.follow(ctx, fleet.OrderStream, bySequence(s.book.last()+1), func(m jetstream.Msg, seq uint64) error {
		e := entry{seq: seq, id: m.Headers().Get(nats.MsgIdHdr), to: tail(m.Subject()), s: signed(m)}
		e.issued = e.s.Issued()
		if meta, err := m.Metadata(); err == nil {
			e.at = meta.Timestamp
		}
		s.book.add(e)
		if seq > s.o.Ledger.Ordered().Seq {
			select {
			case in <- e:
			case <-ctx.Done():
			}
		}
		return nil
	})
}

// enter writes orders into the ledger, for those who ask why: many at once when
// many come, so that whoever issues them does not wait for it.
func (s *Server) enter(ctx context.Context, in <-chan entry) {
	for e := range in {
		orders, upTo := s.appendOrder(nil, e), ledger.Place{Seq: e.seq, Time: e.at}
	gather:
		for len(orders) < cap(in) {
			select {
			case e, ok := <-in:
				if !ok {
					break gather
				}
				orders, upTo = s.appendOrder(orders, e), ledger.Place{Seq: e.seq, Time: e.at}
			default:
				break gather
			}
		}
		if len(orders) == 0 || ctx.Err() != nil {
			continue // the next start enters what is missing
		}
		if err := s.o.Ledger.Issued(ctx, orders, upTo); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("orders are not in the ledger", "count", len(orders), "sequence", upTo.Seq, "error", err)
		}
	}
}

// appendOrder appends the order that an entry holds, if it holds one.
func (s *Server) appendOrder(orders []riposte.Order, e entry) []riposte.Order {
	env, err := fleet.Open(e.s, []string{s.signer.Public()}, e.to)
	if err != nil {
		s.o.Log.Error("the log of orders holds what no server of this fleet signed", "sequence", e.seq, "error", err)
		return orders
	}
	if env.Kind != fleet.KindOrder {
		return orders
	}
	var o riposte.Order
	if err := fleet.Decode(env.Body, &o); err != nil {
		s.o.Log.Warn("an order is not understood", "sequence", e.seq, "error", err)
		return orders
	}
	return append(orders, o)
}

// Issue puts what alerts call for into the log of orders and returns when the
// broker has it. It goes on trying until ctx ends, and waits while this server
// does not lead. Messages whose ID is in the log already are left out.
func (s *Server) Issue(ctx context.Context, ms []Message) error {
	return s.put(ctx, ms, s.holds)
}

// IssueByHand is Issue for what a person wants, who may ask any server.
func (s *Server) IssueByHand(ctx context.Context, ms []Message) error {
	return s.put(ctx, ms, func() bool { return true })
}

// put puts messages into the log of orders while this server may.
func (s *Server) put(ctx context.Context, ms []Message, may func() bool) error {
	s.issuing.Lock()
	defer s.issuing.Unlock()
	bodies := make([]json.RawMessage, len(ms))
	for i := range ms {
		b, err := fleet.Encode(ms[i].Body)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", ms[i].Kind, ms[i].ID, err)
		}
		bodies[i] = b
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if !may() { // not yet, or not any more: whoever leads issues the same
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		done, err := s.issue(ctx, ms, bodies)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		s.o.Log.Warn("orders are not with the broker yet", "count", len(ms)-done, "error", err)
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if err := s.catchUp(ctx); err != nil {
			s.o.Log.Warn("the log of orders cannot be read", "error", err)
		}
	}
}

// catchUp waits until the log at hand is the broker's.
func (s *Server) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := s.orders.Info(ctx)
	if err != nil {
		return err
	}
	return s.book.reach(ctx, info.State.LastSeq)
}

// current waits until all that the broker had when it was called is at hand: an
// agent takes the answer for all that was issued before it listened. Those who
// call meanwhile share one look.
func (s *Server) current(ctx context.Context) error {
	asked := s.asked.Add(1)
	s.looking.Lock()
	defer s.looking.Unlock()
	if s.looked >= asked {
		return nil // one look began after this was asked
	}
	begun := s.asked.Load()
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	s.looked = begun
	return nil
}

// end is the end of the log at hand. When it was issued counts only if a server
// said so: what is issued next is issued later.
func (s *Server) end() fleet.Place {
	last := s.book.lastEntry()
	p := fleet.Place{Seq: last.seq}
	if mine := s.issued.Load(); mine != nil && mine.Seq == last.seq && mine.Issued.Equal(last.issued) {
		return *mine
	}
	if e, err := fleet.Open(last.s, []string{s.signer.Public()}, last.to); err == nil && e.Seq == last.seq {
		p.Issued = e.Issued
	}
	return p
}

// later returns now, or the moment after before when the clock, which may be
// another server's, is not past that.
func later(now, before time.Time) time.Time {
	if now.After(before) {
		return now
	}
	return before.Add(1)
}

// issue publishes what is not in the log, one after the other, without waiting
// for each answer. The broker takes a message only in its place: the first that
// fails makes all behind it fail.
func (s *Server) issue(ctx context.Context, ms []Message, bodies []json.RawMessage) (done int, err error) {
	end := s.end()
	seq, issued := end.Seq, end.Issued
	var futures []jetstream.PubAckFuture
	for i := range ms {
		m := &ms[i]
		if m.ID != "" && s.book.knows(m.ID) {
			continue
		}
		seq++
		issued = later(time.Now(), issued)
		e, err := s.signer.Seal(fleet.Envelope{Seq: seq, To: m.To, Kind: m.Kind, Issued: issued, Body: bodies[i]})
		if err != nil {
			return 0, err
		}
		opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequence(seq - 1), jetstream.WithRetryAttempts(0)}
		if m.ID != "" {
			opts = append(opts, jetstream.WithMsgID(m.ID))
		}
		f, err := s.js.PublishMsgAsync(message(fleet.OrderSubject(m.To), e), opts...)
		if err != nil {
			return len(futures), err
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			if ack.Duplicate {
				return i, errors.New("the broker has it already")
			}
		case err := <-f.Err():
			return i, err
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
	s.issued.Store(&fleet.Place{Seq: seq, Issued: issued})
	// The next call continues from here: the log at hand must hold all of it.
	return len(futures), s.book.reach(ctx, seq)
}
