package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"riposte"
	"riposte/internal/fleet/link"
)

// turn is one time that this server leads the fleet.
type turn struct {
	link   *link.Server
	events *link.Events
	ctx    context.Context // of what is issued in it
	end    context.CancelFunc
	// lost is set when another server leads, which judges again what is on its way
	// here: nothing that comes of it may be answered, or put on record.
	lost atomic.Bool
}

// newTurn begins a turn that ends with patient, or when leading ends because
// another server leads.
func newTurn(patient, leading context.Context, l *link.Server, e *link.Events) *turn {
	t := &turn{link: l, events: e}
	t.ctx, t.end = context.WithCancel(patient)
	context.AfterFunc(leading, func() {
		if errors.Is(context.Cause(leading), link.ErrDeposed) {
			t.lost.Store(true)
			t.end()
		}
	})
	return t
}

// certain waits until it is known whether this server still leads: a process
// that was stopped for a while and goes on finds out when it renews its lease.
func (t *turn) certain() {
	for !t.lost.Load() && !t.link.Leads() {
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// fresh leaves out the alerts that are not this server's to answer: of events
// that were judged before it led, and of those that another judges. old reports
// whether the batch behind them is of that kind.
func (s *server) fresh(alerts []*riposte.Alert, done *riposte.Batch) (_ []*riposte.Alert, old bool) {
	t := s.turn.Load()
	if t == nil {
		return alerts, false
	}
	theirs := func(number uint64) bool { return number != 0 && (t.lost.Load() || t.events.Replayed(number)) }
	kept := make([]*riposte.Alert, 0, len(alerts))
	for _, a := range alerts {
		if a.Number != 0 && !t.events.Replayed(a.Number) {
			t.certain()
		}
		if !theirs(a.Number) {
			kept = append(kept, a)
		}
	}
	return kept, done != nil && len(done.Events) > 0 && theirs(done.Events[0].Number)
}

// issuing is how long orders may wait for their place in the log.
func (s *server) issuing() context.Context {
	if t := s.turn.Load(); t != nil && s.broker == nil {
		return t.ctx
	}
	return s.patient
}

// deposed reports whether an alert could not be answered because another server
// leads, which answers it.
func (s *server) deposed(err error) bool {
	t := s.turn.Load()
	return err != nil && t != nil && t.lost.Load()
}

// finished is told that a batch is judged and answered.
func (s *server) finished(b *riposte.Batch) {
	if len(b.Events) > 0 && b.Events[0].Number != 0 {
		s.done.Store(link.Number(b.Events[0].Number))
	}
}

// judged tells the broker how far events are judged.
func (s *server) judged(ctx context.Context, positions map[string]string) {
	t := s.turn.Load()
	if t == nil || t.lost.Load() {
		return
	}
	if err := t.events.Judged(ctx, positions); err != nil && !errors.Is(err, link.ErrDeposed) {
		s.log.Warn("it is not on record how far events are judged", "error", err)
	}
}

// drain waits until what was read is judged.
func (s *server) drain(ctx context.Context) error {
	t := s.turn.Load()
	if t == nil {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.done.Load() < t.events.Sent() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// forget has the analysis begin anew, with what it has learned for good: what it
// remembers of the last turn is about to be read again.
func (d *Daemon) forget() error {
	d.reload.Lock()
	defer d.reload.Unlock()
	d.keepFacts()
	engine := d.world.Load().Engine(true, d.facts.Add)
	if err := d.facts.Each(engine.Recall); err != nil {
		return fmt.Errorf("read what the analysis has learned: %w", err)
	}
	d.pipeline.Restart(engine)
	return nil
}
