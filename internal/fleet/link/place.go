package link

import (
	"context"
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
// is not what the broker has. Others are issued in the same places then, and later:
// so agents know them from those that they have dealt with.
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
		s.o.Log.Warn("the broker has lost orders that were issued", "upto", p.Seq)
		if err := s.o.Ledger.Rewind(ctx, ledger.Orders); err != nil {
			return err
		}
		return s.loadOrders(ctx)
	}
	return nil
}

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
