package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// stillHolds reports whether a stream still holds the message that was stored at a
// place and time, or is past it. It does not when the broker begins anew with an
// empty store, or has lost the end of a stream with its power: what stands in that
// place now, or will, was never seen.
func (s *Server) stillHolds(ctx context.Context, stream jetstream.Stream, p ledger.Place) (bool, error) {
	if p.Seq == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := stream.Info(ctx)
	switch {
	case err != nil:
		return false, err
	case p.Seq > info.State.LastSeq:
		return false, nil
	case p.Seq < info.State.FirstSeq || p.Time.IsZero():
		return true, nil // nothing left to compare with: all that is there is behind it
	}
	m, err := stream.GetMsg(ctx, p.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil // it was cleared just now
	}
	if err != nil {
		return false, err
	}
	return m.Time.Equal(p.Time), nil
}

// checkReceipts has the receipts read from their beginning when the ledger is
// ahead of the broker.
func (s *Server) checkReceipts(ctx context.Context) error {
	at := s.o.Ledger.Position()
	ok, err := s.stillHolds(ctx, s.receipted, at)
	if err != nil {
		return fmt.Errorf("look for the last receipts that were taken: %w", err)
	}
	if ok {
		return nil
	}
	s.o.Log.Warn("the broker has lost receipts that are on record here; all that it has are read again", "upto", at.Seq)
	return s.o.Ledger.Rewind(ctx, ledger.Receipts)
}

// checkOrders has the log of orders read again when what is at hand, or on record,
// is not what the broker has. Places that orders had are not given again: agents
// have dealt with them, and would take what comes in them for what they had.
func (s *Server) checkOrders(ctx context.Context) error {
	hand, noted := s.book.end(), s.o.Ledger.Ordered()
	for _, p := range []ledger.Place{hand, noted} {
		ok, err := s.stillHolds(ctx, s.orders, p)
		if err != nil {
			return fmt.Errorf("look for the last order: %w", err)
		}
		if ok {
			continue
		}
		s.o.Log.Warn("the broker has lost orders that were issued; their places are left empty", "upto", p.Seq)
		s.floor.Store(max(s.floor.Load(), p.Seq))
		if err := s.o.Ledger.Rewind(ctx, ledger.Orders); err != nil {
			return err
		}
		return s.loadOrders(ctx)
	}
	return nil
}

// maxLost is how many lost places of the log are filled at most: more would push
// orders out of it that agents still have to get.
const maxLost = 100_000

// fillLog fills the places of orders that the broker has lost, before others are
// issued, with what is for nobody. It does not wait for its turn to issue: whoever
// has it waits for the places.
func (s *Server) fillLog(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		for s.book.last() < s.floor.Load() {
			if err := s.catchUp(ctx); err != nil {
				return err
			}
			last, floor := s.book.last(), s.floor.Load()
			if floor > last+maxLost {
				s.o.Log.Error("the broker has lost so many orders that their places are not filled: agents that have had them take no new ones until they are removed and join again",
					"orders", floor-last)
				s.floor.Store(0)
				break
			}
			var ms []Message
			var bodies []json.RawMessage
			for n := last; n < floor && len(ms) < maxInFlight; n++ {
				ms = append(ms, Message{To: fleet.Server, Kind: fleet.KindEmpty})
				bodies = append(bodies, json.RawMessage("{}"))
			}
			if _, err := s.issue(ctx, ms, bodies); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// filled reports whether no place of the log is left to be filled.
func (s *Server) filled() bool { return s.book.last() >= s.floor.Load() }

// survivors returns the place of the last message of the stream of events that was
// there when the one at p was, if the stream does not hold that one any more; else
// p. Messages behind it are new.
func (s *Server) survivors(ctx context.Context, p ledger.Place) (ledger.Place, error) {
	ok, err := s.stillHolds(ctx, s.events, p)
	if err != nil || ok {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	info, err := s.events.Info(ctx)
	if err != nil {
		return p, err
	}
	first, end := info.State.FirstSeq, min(info.State.LastSeq, p.Seq-1)+1
	if first >= end {
		return ledger.Place{Seq: min(info.State.LastSeq, p.Seq-1), Time: p.Time}, nil
	}
	// Messages are stored one after the other: look for the first that came later.
	at := func(seq uint64) time.Time {
		m, gerr := s.events.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(fleet.EventSubject("*")))
		if gerr != nil {
			err = gerr
			return time.Time{}
		}
		return m.Time
	}
	n := sort.Search(int(end-first), func(i int) bool { return err == nil && at(first+uint64(i)).After(p.Time) })
	if err != nil {
		return p, err
	}
	return ledger.Place{Seq: first + uint64(n) - 1, Time: p.Time}, nil
}
