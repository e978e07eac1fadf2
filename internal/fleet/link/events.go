package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// positionKey is where the leading server keeps how far events are judged.
const positionKey = "judged"

// judged is how far events have been judged.
type judged struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`   // when the broker stored that message
	Server string    `json:"server"` // who says so
}

// numberBits are the bits of an event's number that count within a message; the
// others are the message's place in the stream.
const numberBits = 20

// Number returns the place in the stream of the message that an event with this
// number came in.
func Number(event uint64) (seq uint64) { return event >> numberBits }

// windowPrefix begins the name of the position that remembers which messages of
// an agent were judged.
const windowPrefix = "agent:"

// Events reads what the agents saw, as a source of the analysis. It is run on
// the leading server only.
//
// It begins with what was judged already, as far back as rules look, so that
// they remember it: Replayed reports whether an event is of that kind, and what
// it causes is to be dropped. Then each message of an agent comes once, however
// often it was sent.
type Events struct {
	s         *Server
	positions map[string]string

	mu       sync.Mutex
	at       judged // as stored
	rev      uint64 // of the record
	replayed uint64
	marks    []judged // one a few seconds, for the clearing
	agents   map[string]*history
	since    time.Time // what was judged before is not remembered by rules
	shared   *shared
	read     atomic.Uint64 // place in the stream of the last message that was read
	settled  chan struct{}
	moved    chan struct{} // at has moved
	once     sync.Once
	sent     atomic.Uint64
}

// Events returns the events of the fleet. positions are those that Run's batches
// had when they were stored last.
func (s *Server) Events(positions map[string]string) *Events {
	return &Events{s: s, positions: positions, agents: map[string]*history{}, shared: &shared{s: s, of: map[string]history{}},
		settled: make(chan struct{}), moved: make(chan struct{}, 1)}
}

// Replayed reports whether the event with this number had been judged before
// this server began to lead.
func (e *Events) Replayed(number uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Number(number) <= e.replayed
}

// Run sends batches of events until ctx ends. The source of a batch is the
// agent. While the broker cannot be read it waits, and then goes on from there,
// or ends with an error when there is nothing to go on from: begin anew.
func (e *Events) Run(ctx context.Context, out chan<- riposte.Batch) error {
	if err := e.load(ctx); err != nil {
		return err
	}
	var room sync.WaitGroup
	defer room.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	room.Go(func() { e.keepRoom(ctx) })
	from := bySequence(1) // what is there: rules do not look back to all of it, but it was judged
	live := e.replayed == 0
	if live {
		e.restore()
	}
	var last ledger.Place
	for {
		err := e.s.follow(ctx, fleet.EventStream, from, func(m jetstream.Msg, seq uint64) error {
			from, last = bySequence(seq+1), ledger.Place{Seq: seq}
			if meta, err := m.Metadata(); err == nil {
				last.Time = meta.Timestamp
			}
			if !live && seq > e.replayed {
				live = true
				e.restore()
			}
			defer e.read.Store(seq)
			return e.send(ctx, m, seq, out)
		})
		if ctx.Err() != nil {
			return nil
		}
		e.s.o.Log.Warn("the events of the agents cannot be read", "error", err)
		if pause(ctx, 500*time.Millisecond) != nil {
			return nil
		}
		if ok, err := e.s.stillHolds(ctx, e.s.events, last); err == nil && !ok {
			return errors.New("the broker has lost events that were read")
		}
	}
}

// send hands over the events of one message.
func (e *Events) send(ctx context.Context, m jetstream.Msg, seq uint64, out chan<- riposte.Batch) error {
	b, err := e.batch(m, seq)
	if err != nil {
		e.s.o.Log.Warn("events that are not understood are left out", "agent", tail(m.Subject()), "error", err)
	}
	if b == nil {
		return nil
	}
	select {
	case out <- *b:
		if len(b.Events) > 0 {
			e.sent.Store(seq)
		}
	case <-ctx.Done():
	}
	return nil
}

// load reads how far events have been judged. What this server judged last it
// knows best, unless another has led since.
func (e *Events) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at := judged{Server: e.s.o.Name}
	entry, err := e.s.state.Get(ctx, positionKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return fmt.Errorf("read how far events are judged: %w", err)
	default:
		e.rev = entry.Revision()
		if err := json.Unmarshal(entry.Value(), &at); err != nil {
			return fmt.Errorf("how far events are judged: %w", err)
		}
	}
	for key, text := range e.positions {
		if !strings.HasPrefix(key, windowPrefix) {
			continue
		}
		seq, ns, _, err := parsePosition(text)
		if stored := time.Unix(0, ns).UTC(); err == nil && stored.After(at.Time) { // restore says what is not understood
			if at.Server != e.s.o.Name {
				delete(e.positions, key) // another judged these again, and what came of it
				continue
			}
			at.Seq, at.Time = seq, stored
		}
	}
	left, err := e.s.survivors(ctx, ledger.Place{Seq: at.Seq, Time: at.Time})
	if err != nil {
		return fmt.Errorf("look for the last event that was judged: %w", err)
	}
	if left.Seq != at.Seq {
		e.s.o.Log.Warn("the broker has lost events that were judged; what came since is judged", "upto", at.Seq, "after", left.Seq)
		at.Seq = left.Seq
	}
	e.mu.Lock()
	e.at, e.replayed, e.since = at, at.Seq, at.Time.Add(-e.s.o.KeepFor)
	e.mu.Unlock()
	return e.shared.load(ctx)
}

// restore adds what is on record about the agents' messages to what the replay
// showed.
func (e *Events) restore() {
	e.shared.each(func(agent string, h history) { e.history(agent).join(h) })
	for key, text := range e.positions {
		id, ok := strings.CutPrefix(key, windowPrefix)
		if !ok {
			continue
		}
		_, _, stored, err := parsePosition(text)
		if err != nil {
			e.s.o.Log.Warn("a position is not understood", "agent", id, "error", err)
			continue
		}
		e.history(id).join(stored)
		e.shared.note(id, stored)
	}
	e.once.Do(func() { close(e.settled) })
}

// Sent is the place in the stream of the last message with events that was
// handed over.
func (e *Events) Sent() uint64 { return e.sent.Load() }

// Settled is closed when everything that was judged before has been read again.
func (e *Events) Settled() <-chan struct{} { return e.settled }

// history is what is remembered of an agent's messages.
func (e *Events) history(id string) *history {
	h := e.agents[id]
	if h == nil {
		h = &history{}
		e.agents[id] = h
	}
	return h
}

// parsePosition reads the position of a batch: its message's place in the stream
// and time, and what had come of the agent by then.
func parsePosition(text string) (seq uint64, ns int64, h history, err error) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return 0, 0, nil, fmt.Errorf("%q is not a position of an agent", text)
	}
	if seq, err = strconv.ParseUint(f[0], 10, 64); err != nil {
		return 0, 0, nil, err
	}
	if ns, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		return 0, 0, nil, err
	}
	h, err = parseHistory(f[2])
	return seq, ns, h, err
}

// batch makes events of a message. nil: there is nothing to judge.
func (e *Events) batch(m jetstream.Msg, seq uint64) (*riposte.Batch, error) {
	id := tail(m.Subject())
	b := &riposte.Batch{Source: windowPrefix + id}
	var at time.Time
	if meta, err := m.Metadata(); err == nil {
		at = meta.Timestamp
	}
	known := e.history(id)
	if seq <= e.replayed {
		epoch, n, err := fleet.Numbers(m.Data())
		if err != nil {
			return nil, err
		}
		first := known.take(epoch, n)
		e.shared.note(id, *known)
		if !first || !at.After(e.since) {
			return nil, nil
		}
	}
	ev, err := e.s.codec.DecodeEvents(m.Data())
	if err != nil {
		return nil, err
	}
	if seq > e.replayed && !known.take(ev.Epoch, ev.N) {
		return nil, nil // it was here before
	}
	name, ip, ok := e.s.agent(id)
	if !ok {
		name = id // removed since; what it saw is still true
	}
	agent := riposte.Agent{ID: id, Name: name, IP: ip, Analyses: ev.Analysed}
	n := 0
	for i := range ev.Batches {
		n += len(ev.Batches[i].Events)
	}
	if n >= 1<<numberBits {
		return nil, fmt.Errorf("%d events in one message", n)
	}
	b.Events = make([]riposte.Event, 0, n)
	for i := range ev.Batches {
		for _, event := range ev.Batches[i].Events {
			event.Agent = agent
			event.Number = seq<<numberBits | uint64(len(b.Events))
			b.Events = append(b.Events, event)
		}
	}
	b.Position = fmt.Sprintf("%d %d %s", seq, at.UnixNano(), known)
	return b, nil
}

// Judged is told the positions of batches that are judged, and says so to the
// broker: from there on another server would go on. It also clears what no rule
// looks back to.
func (e *Events) Judged(ctx context.Context, positions map[string]string) error {
	histories := map[string]history{}
	e.mu.Lock()
	at := e.at
	for key, text := range positions {
		id, ok := strings.CutPrefix(key, windowPrefix)
		if !ok {
			continue
		}
		seq, ns, h, err := parsePosition(text)
		if err != nil {
			e.mu.Unlock()
			return fmt.Errorf("position of %s: %w", key, err)
		}
		histories[id] = h
		if seq > at.Seq {
			at = judged{Seq: seq, Time: time.Unix(0, ns).UTC()}
		}
	}
	moved := at.Seq > e.at.Seq
	e.mu.Unlock()
	if !moved {
		return nil
	}
	if !e.s.holds() {
		return ErrDeposed
	}
	at.Server = e.s.o.Name
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rev, err := e.store(ctx, at)
	if err != nil {
		return fmt.Errorf("store how far events are judged: %w", err)
	}
	for id, h := range histories {
		e.shared.note(id, h)
	}
	e.mu.Lock()
	e.at, e.rev = at, rev
	clear := e.clearing(at)
	e.mu.Unlock()
	select {
	case e.moved <- struct{}{}:
	default: // it has not looked yet
	}
	if clear > 0 {
		if err := e.clear(ctx, clear); err != nil {
			return fmt.Errorf("clear judged events: %w", err)
		}
	}
	return nil
}

// store puts on record how far events are judged, unless another server has said
// so meanwhile: it goes on from where this one was.
func (e *Events) store(ctx context.Context, at judged) (rev uint64, err error) {
	for range 2 {
		if e.rev == 0 {
			rev, err = e.s.state.Create(ctx, positionKey, encode(at))
		} else {
			rev, err = e.s.state.Update(ctx, positionKey, encode(at), e.rev)
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return rev, err
		}
		// An answer to this server was lost, or another leads.
		entry, gerr := e.s.state.Get(ctx, positionKey)
		if gerr != nil {
			return 0, gerr
		}
		var now judged
		if json.Unmarshal(entry.Value(), &now) != nil || now.Server != e.s.o.Name || !e.s.holds() {
			return 0, ErrDeposed
		}
		e.rev = entry.Revision()
	}
	return 0, err
}

// clearing returns the sequence up to which (not including) no rule looks back,
// 0 when there is nothing new to clear.
func (e *Events) clearing(at judged) uint64 {
	if n := len(e.marks); n == 0 || at.Time.Sub(e.marks[n-1].Time) >= max(e.s.o.KeepFor/16, 10*time.Second) {
		e.marks = append(e.marks, at)
	}
	var clear uint64
	for len(e.marks) > 1 && at.Time.Sub(e.marks[1].Time) > e.s.o.KeepFor {
		clear = e.marks[1].Seq
		e.marks = e.marks[1:]
	}
	return clear
}
