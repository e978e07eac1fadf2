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

// lease is who leads. A server whose broker is its own needs none.
type lease struct {
	Server string    `json:"server"`
	Since  time.Time `json:"since"`
	Beat   uint64    `json:"beat"`
}

// Lead waits until this server leads, runs do while it does, and begins anew
// when it does not any more, until ctx ends or do fails for another reason. do
// must return soon when its context ends: with ErrDeposed as the cause at once,
// since another server may lead already; otherwise when what it has begun is
// done, for this server leads until then.
func (s *Server) Lead(ctx context.Context, do func(context.Context) error) error {
	if s.o.Alone {
		return s.leadAlone(ctx, do)
	}
	var mine lease // the last that this server had
	for {
		rev, err := s.acquire(ctx, &mine)
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

// leadAlone runs do on a server that nobody can depose.
func (s *Server) leadAlone(ctx context.Context, do func(context.Context) error) error {
	for s.catchUp(ctx) != nil {
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil
		}
	}
	s.o.Log.Info("this server leads the fleet")
	s.leading.Store(true)
	defer s.leading.Store(false)
	return do(ctx)
}

// acquire waits until the lease can be had. One that this server had and that
// nobody took since it takes again at once.
func (s *Server) acquire(ctx context.Context, mine *lease) (rev uint64, err error) {
	var seen uint64
	var since time.Time
	told := false
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		next := lease{Server: s.o.Name, Since: time.Now().UTC()}
		rctx, cancel := context.WithTimeout(ctx, takeOver)
		e, err := s.state.Get(rctx, leaseKey)
		var held lease
		if err == nil && json.Unmarshal(e.Value(), &held) != nil {
			held = lease{}
		}
		rev, err := uint64(0), err
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			rev, err = s.state.Create(rctx, leaseKey, encode(next))
		case err != nil:
			seen = 0 // who cannot see the lease cannot tell how old it is
		case held.is(*mine), e.Revision() == seen && time.Since(since) >= takeOver:
			rev, err = s.state.Update(rctx, leaseKey, encode(next), e.Revision())
			seen = 0
		case e.Revision() != seen:
			seen, since = e.Revision(), time.Now()
			err = errHeld
			if !told {
				told = true
				s.o.Log.Info("standing by: another server leads", "server", held.Server)
			}
		default:
			err = errHeld
		}
		cancel()
		if err == nil {
			*mine = next
			return rev, nil
		}
		_ = pause(ctx, 100*time.Millisecond) // the loop sees that ctx ended
	}
}

// errHeld means that another server leads, as far as can be seen.
var errHeld = errors.New("another server has the lease")

// is reports whether two leases are one, renewed or not.
func (l lease) is(o lease) bool {
	return l.Server != "" && l.Server == o.Server && l.Since.Equal(o.Since)
}

// holds reports whether this server leads and cannot have been deposed yet: a
// process that was stopped and goes on may not know that it was.
func (s *Server) holds() bool {
	return s.leading.Load() && (s.o.Alone || time.Since(s.start) < time.Duration(s.heldUntil.Load()))
}

// hold notes that the lease was renewed by a request that was sent at the given time.
func (s *Server) hold(sent time.Time) { s.heldUntil.Store(int64(sent.Add(takeOver).Sub(s.start))) }

// lead runs do while the lease can be renewed.
func (s *Server) lead(parent context.Context, rev uint64, mine lease, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	// The log must be known first. What takes longer than a lease lasts begins anew.
	known, stop := context.WithTimeout(ctx, giveUp)
	err := s.catchUp(known)
	stop()
	if err != nil {
		return ErrDeposed
	}
	sent := time.Now()
	if rev, err = s.renew(ctx, &mine, rev); err != nil {
		return ErrDeposed
	}
	s.hold(sent)
	s.leading.Store(true)
	defer s.leading.Store(false)
	s.o.Log.Info("this server leads the fleet")
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			s.leading.Store(false)
			s.release(rev)
			return err
		case <-tick.C:
		}
		now := time.Now()
		next, err := s.renew(context.WithoutCancel(ctx), &mine, rev) // as long as do takes to end
		if err == nil {
			rev, sent = next, now
			s.hold(sent)
			continue
		}
		if !errors.Is(err, ErrDeposed) && time.Since(sent) < giveUp {
			continue
		}
		s.leading.Store(false)
		cancel(ErrDeposed)
		<-done
		return ErrDeposed
	}
}

// renew renews the lease. ErrDeposed means that another server has it.
func (s *Server) renew(ctx context.Context, mine *lease, rev uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	mine.Beat++
	next, err := s.state.Update(ctx, leaseKey, encode(*mine), rev)
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return next, err
	}
	// It moved: another has it, or an answer to this server was lost.
	e, err := s.state.Get(ctx, leaseKey)
	if err != nil {
		return 0, err
	}
	var held lease
	if json.Unmarshal(e.Value(), &held) != nil || !held.is(*mine) {
		return 0, ErrDeposed
	}
	return s.state.Update(ctx, leaseKey, encode(*mine), e.Revision())
}

// release lets another server lead at once.
func (s *Server) release(rev uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.state.Delete(ctx, leaseKey, jetstream.LastRevision(rev)); err != nil {
		s.o.Log.Debug("the lease runs out by itself", "error", err)
	}
}
