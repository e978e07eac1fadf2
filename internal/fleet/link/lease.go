package link

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The times of the lease. A leader that could not renew it for giveUp stops
// leading; whoever has not seen it move for takeOver takes it. Each measures by
// its own clock that is never set, so that the clocks of hosts do not matter.
// Whatever they may do in between, the log of orders takes messages only in
// their place: of two who think that they lead, one fails.
const (
	renewEvery = 400 * time.Millisecond
	giveUp     = 1200 * time.Millisecond
	takeOver   = 1600 * time.Millisecond
	leaseKey   = "leader"
)

// lease is who leads.
type lease struct {
	Server string    `json:"server"`
	Since  time.Time `json:"since"`
	Beat   uint64    `json:"beat"`
}

// Lead waits until this server leads, runs do while it does, and begins anew
// when it does not any more, until ctx ends or do fails for another reason. do
// must return soon when its context ends.
func (s *Server) Lead(ctx context.Context, do func(context.Context) error) error {
	for {
		rev, mine, err := s.acquire(ctx)
		if err != nil {
			return nil // ctx ended
		}
		err = s.lead(ctx, rev, mine, do)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, ErrDeposed) {
			return err
		}
		s.o.Log.Warn("this server does not lead any more")
	}
}

// acquire waits until the lease can be had.
func (s *Server) acquire(ctx context.Context) (rev uint64, mine lease, err error) {
	var seen uint64
	var since time.Time
	told := false
	for {
		if err := ctx.Err(); err != nil {
			return 0, mine, err
		}
		mine = lease{Server: s.o.Name, Since: time.Now()}
		rctx, cancel := context.WithTimeout(ctx, takeOver)
		e, err := s.state.Get(rctx, leaseKey)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			if rev, err = s.state.Create(rctx, leaseKey, encode(mine)); err == nil {
				cancel()
				return rev, mine, nil
			}
		case err != nil:
			seen = 0 // who cannot see the lease cannot tell how old it is
		case s.o.Alone: // it is this server's own, from an earlier life
			if rev, err = s.state.Update(rctx, leaseKey, encode(mine), e.Revision()); err == nil {
				cancel()
				return rev, mine, nil
			}
		case e.Revision() != seen:
			seen, since = e.Revision(), time.Now()
			var other lease
			if json.Unmarshal(e.Value(), &other) == nil && !told && other.Server != s.o.Name {
				told = true
				s.o.Log.Info("standing by: another server leads", "server", other.Server)
			}
		case time.Since(since) >= takeOver:
			if rev, err = s.state.Update(rctx, leaseKey, encode(mine), seen); err == nil {
				cancel()
				return rev, mine, nil
			}
			seen = 0
		}
		cancel()
		_ = pause(ctx, 100*time.Millisecond) // the loop sees that ctx ended
	}
}

// lead runs do while the lease can be renewed.
func (s *Server) lead(ctx context.Context, rev uint64, mine lease, do func(context.Context) error) error {
	s.o.Log.Info("this server leads the fleet")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := s.catchUp(ctx); err != nil {
		return ErrDeposed // not yet: the log must be known first
	}
	s.leading.Store(true)
	defer s.leading.Store(false)
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case err := <-done:
			s.release(rev)
			return err
		case <-tick.C:
		case <-ctx.Done(): // asked to stop: what is on its way is still ordered
			err := <-done
			s.leading.Store(false)
			s.release(rev)
			return err
		}
		mine.Beat++
		rctx, stop := context.WithTimeout(ctx, renewEvery)
		next, err := s.state.Update(rctx, leaseKey, encode(mine), rev)
		stop()
		switch {
		case err == nil:
			rev, renewed = next, time.Now()
			continue
		case errors.Is(err, jetstream.ErrKeyExists): // moved: another has it, or an answer of ours was lost
			if e, err := s.state.Get(ctx, leaseKey); err == nil {
				var now lease
				if json.Unmarshal(e.Value(), &now) == nil && now.Server == mine.Server && now.Since.Equal(mine.Since) {
					rev = e.Revision()
					continue
				}
			}
		case time.Since(renewed) < giveUp:
			continue
		}
		s.leading.Store(false)
		cancel(ErrDeposed)
		<-done
		return ErrDeposed
	}
}

// release lets another server lead at once.
func (s *Server) release(rev uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.state.Delete(ctx, leaseKey, jetstream.LastRevision(rev)); err != nil {
		s.o.Log.Debug("the lease runs out by itself", "error", err)
	}
}
