package link

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// keepRoom makes room for events at the start and whenever more of them are
// judged, until ctx ends. Agents wait while there is none, and then nothing new
// is judged that could call for it: what fails is tried again.
func (e *Events) keepRoom(ctx context.Context) {
	short := false // and it was said
	for {
		e.mu.Lock()
		at := e.at
		e.mu.Unlock()
		var again <-chan time.Time
		done, err := e.makeRoom(ctx, at, &short)
		if err != nil && ctx.Err() == nil {
			e.s.o.Log.Warn("there may be no room for new events", "error", err)
		}
		if !done {
			again = time.After(time.Second)
		}
		select {
		case <-e.moved:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// makeRoom clears judged events that a rule may still look back to, when the
// broker would otherwise have no room for new ones: to take over a server that
// stopped, with what its rules remembered, matters less than to judge what
// happens now. Events that are not judged are never cleared: agents wait with
// theirs. done is false while there is more to clear, which was not read yet.
func (e *Events) makeRoom(ctx context.Context, at judged, short *bool) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := e.s.events.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("look at the store of events: %w", err)
	}
	wanted := roomFrom(info.State, info.Config.MaxBytes, at.Seq)
	if wanted == 0 {
		*short = false
		return true, nil
	}
	if !*short {
		*short = true
		e.s.o.Log.Warn("the store of events is too small for what the rules look back to: a server that starts anew remembers less",
			"bytes", info.State.Bytes, "of", info.Config.MaxBytes, "hint", "raise fleet.store_mb")
	}
	to := min(wanted, e.read.Load()+1)
	if to <= info.State.FirstSeq {
		return false, nil
	}
	if err := e.clear(ctx, to); err != nil {
		return false, fmt.Errorf("make room for events: %w", err)
	}
	return to == wanted, nil
}

// clear clears judged events up to a place in the stream, not including it. That
// they were judged is on record before.
func (e *Events) clear(ctx context.Context, to uint64) error {
	if err := e.shared.save(ctx); err != nil {
		return err
	}
	return e.s.events.Purge(ctx, jetstream.WithPurgeSequence(to))
}

// roomFrom returns the sequence up to which (not including) messages are to go, so
// that a stream of at most so many bytes is half full again; 0 when it is not
// three quarters full, or nothing of it is judged.
func roomFrom(st jetstream.StreamState, most int64, judged uint64) uint64 {
	if most <= 0 || st.Msgs == 0 || st.Bytes < uint64(most)/4*3 {
		return 0
	}
	over := float64(st.Bytes-uint64(most)/2) / float64(st.Bytes) // messages are much alike
	to := min(st.FirstSeq+uint64(over*float64(st.Msgs))+1, judged+1)
	if to <= st.FirstSeq {
		return 0
	}
	return to
}
