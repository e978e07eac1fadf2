package link

import (
	"context"
	"fmt"
	"time"

	"riposte/internal/fleet/identity"
)

// pruneEvery is how often the ledger is cleared of what is too old.
const pruneEvery = time.Hour

// pruneLedger clears the ledger at the start and every hour.
func (s *Server) pruneLedger(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	return s.prune(ctx, time.Now(), tick.C)
}

// prune clears this server's ledger of what is older than the log of orders, now
// and at each tick.
func (s *Server) prune(ctx context.Context, now time.Time, ticks <-chan time.Time) error {
	for {
		if _, err := s.o.Ledger.Prune(ctx, now.Add(-keepOrders)); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("what is too old stays on record for now", "error", err)
		}
		select {
		case now = <-ticks:
		case <-ctx.Done():
			return nil
		}
	}
}

// forgetRemoved has the ledger know who is removed, as soon as the roster does:
// another server may have removed them.
func (s *Server) forgetRemoved(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var told identity.Mark // a removal revokes a key; who had none has done nothing
	for {
		if mark := s.roster.RevokedMark(); mark != told {
			if err := s.forget(ctx); err != nil {
				return err
			}
			told = mark
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// forget has the ledger know who is removed.
func (s *Server) forget(ctx context.Context) error {
	if err := s.o.Ledger.Forget(ctx, s.roster.Removed()...); err != nil {
		return fmt.Errorf("in the ledger: %w", err)
	}
	return nil
}
