package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// followReceipts writes what the agents did into the ledger, many at once when
// many come. The ledger knows how far it got.
func (s *Server) followReceipts(ctx context.Context) error {
	if err := s.checkReceipts(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, done := make(chan ledger.Batch, 256), make(chan error, 1)
	go func() {
		defer close(in)
		done <- s.follow(ctx, fleet.ReceiptStream, bySequence(s.o.Ledger.Position().Seq+1), func(m jetstream.Msg, seq uint64) error {
			select {
			case in <- s.receipts(m, seq):
			case <-ctx.Done():
			}
			return nil
		})
	}()
	for b := range in {
		batches := []ledger.Batch{b}
	gather:
		for len(batches) < cap(in) {
			select {
			case b, ok := <-in:
				if !ok {
					break gather
				}
				batches = append(batches, b)
			default:
				break gather
			}
		}
		if err := s.o.Ledger.TakeAll(ctx, batches); err != nil {
			cancel()
			for range in { // let the reader see it
			}
			return errors.Join(err, <-done)
		}
	}
	return <-done
}

// receipts reads one message. What is not understood counts as read: the others
// must not wait for it.
func (s *Server) receipts(m jetstream.Msg, seq uint64) ledger.Batch {
	b := ledger.Batch{Host: tail(m.Subject()), At: ledger.Place{Seq: seq}}
	if meta, err := m.Metadata(); err == nil {
		b.At.Time = meta.Timestamp
	}
	rs, err := s.codec.DecodeReceipts(m.Data())
	if err != nil {
		s.o.Log.Warn("receipts that are not understood", "agent", b.Host, "error", err)
		return b
	}
	b.Receipts = rs.Receipts
	for i := range b.Receipts {
		b.Receipts[i].Host = b.Host // whatever it says: the broker knows who sent it
	}
	return b
}

// uploadReceipts sends what this host did, as its journal has it. The journal
// is the queue: what is not yet with the broker is still there.
func (a *Agent) uploadReceipts(ctx context.Context) error {
	at := a.o.ReceiptsFrom
	for {
		rs, last, err := a.o.Receipts(ctx, at, 2048)
		if err != nil {
			return fmt.Errorf("read the receipts: %w", err)
		}
		if len(rs) > 0 {
			if err := a.sendReceipts(ctx, last, rs); err != nil {
				return err
			}
		}
		if last > at {
			at = last
			if err := a.o.ReceiptsSent(last); err != nil {
				return err
			}
			a.o.ReceiptsFrom = last
			continue
		}
		select {
		case <-a.o.Acted:
			// Receipts of one order come together: what follows at once goes along.
			_ = pause(ctx, 5*time.Millisecond)
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// sendReceipts sends one batch until the broker has it, in two when it is too
// large.
func (a *Agent) sendReceipts(ctx context.Context, last int64, rs []riposte.Receipt) error {
	b, err := a.codec.AppendReceipts(nil, &fleet.Receipts{Epoch: a.o.Spool.Epoch(), N: uint64(last), Receipts: rs})
	if err != nil {
		return err
	}
	if len(b) > fleet.MaxMessage && len(rs) > 1 {
		if err := a.sendReceipts(ctx, last, rs[:len(rs)/2]); err != nil {
			return err
		}
		return a.sendReceipts(ctx, last, rs[len(rs)/2:])
	}
	id := fmt.Sprintf("r%s.%d.%d.%d", a.o.Credentials.ID, a.o.Spool.Epoch(), last, len(rs))
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		pctx, cancel := context.WithTimeout(ctx, patience)
		_, err := a.js.Publish(pctx, fleet.ReceiptSubject(a.o.Credentials.ID), b, jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if a.nc.IsConnected() && !errors.Is(err, context.DeadlineExceeded) {
			a.o.Log.Warn("the broker does not take receipts", "error", err)
		}
		if err := pause(ctx, wait); err != nil {
			return nil
		}
	}
}
