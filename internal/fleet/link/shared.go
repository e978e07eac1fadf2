package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// shared is what is remembered of the agents' messages, in the broker, for
// whoever leads next: which messages were judged that are cleared from the stream
// by now. An agent whose answer was lost sends a message again whenever it is
// back, and that may be after the broker has forgotten it, the stream has lost it
// and another server leads, on whose disk nothing of it is.
//
// What is cleared is put on record here before. All that is in here is true, so
// two servers that write both keep what the other wrote.
type shared struct {
	s *Server

	saving sync.Mutex // one at a time
	rev    [shelves]uint64

	mu    sync.Mutex
	of    map[string]history
	dirty [shelves]bool
}

// shelves is how many entries of the bucket the histories are spread over, so
// that none becomes too large and few are written when few agents talk.
const shelves = 64

func shelf(agent string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(agent)) // never fails
	return int(h.Sum32() % shelves)
}

func shelfKey(i int) string { return fmt.Sprintf("judged.%02d", i) }

// load reads everything.
func (x *shared) load(ctx context.Context) error {
	x.saving.Lock()
	defer x.saving.Unlock()
	for i := range shelves {
		if err := x.read(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// read joins what stands on a shelf.
func (x *shared) read(ctx context.Context, i int) error {
	e, err := x.s.state.Get(ctx, shelfKey(i))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		x.rev[i] = 0
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which events are judged: %w", err)
	}
	texts := map[string]string{}
	if err := json.Unmarshal(e.Value(), &texts); err != nil {
		return fmt.Errorf("which events are judged: %s: %w", shelfKey(i), err)
	}
	x.rev[i] = e.Revision()
	x.mu.Lock()
	defer x.mu.Unlock()
	for agent, text := range texts {
		h, err := parseHistory(text)
		if err != nil {
			return fmt.Errorf("which events are judged: agent %s: %w", agent, err)
		}
		x.join(agent, h)
	}
	return nil
}

// join adds what another history remembers. The caller holds mu.
func (x *shared) join(agent string, h history) {
	mine := x.of[agent]
	mine.join(h)
	x.of[agent] = mine
}

// note adds messages of an agent that are judged.
func (x *shared) note(agent string, h history) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.join(agent, h)
	x.dirty[shelf(agent)] = true
}

// each calls do with what is known of each agent.
func (x *shared) each(do func(agent string, h history)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for agent, h := range x.of {
		do(agent, slices.Clone(h))
	}
}

// save puts on record what was noted. It is to be called before messages that
// were judged are cleared.
func (x *shared) save(ctx context.Context) error {
	x.saving.Lock()
	defer x.saving.Unlock()
	for i := range shelves {
		if err := x.write(ctx, i); err != nil {
			return fmt.Errorf("store which events are judged: %w", err)
		}
	}
	return nil
}

// write writes a shelf if anything on it is new.
func (x *shared) write(ctx context.Context, i int) error {
	for {
		texts := map[string]string{}
		x.mu.Lock()
		if !x.dirty[i] {
			x.mu.Unlock()
			return nil
		}
		for agent, h := range x.of {
			if shelf(agent) != i {
				continue
			}
			if r, ok := x.s.roster.Get(agent); ok && !r.Removed.IsZero() {
				continue // it sends nothing any more
			}
			texts[agent] = h.String()
		}
		x.dirty[i] = false
		x.mu.Unlock()
		var rev uint64
		var err error
		if x.rev[i] == 0 {
			rev, err = x.s.state.Create(ctx, shelfKey(i), encode(texts))
		} else {
			rev, err = x.s.state.Update(ctx, shelfKey(i), encode(texts), x.rev[i])
		}
		if err == nil {
			x.rev[i] = rev
			return nil
		}
		x.mu.Lock()
		x.dirty[i] = true
		x.mu.Unlock()
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
		if err := x.read(ctx, i); err != nil { // another wrote, or an answer was lost
			return err
		}
	}
}
