package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte"
	"riposte/internal/fleet"
)

// maxUnacked is how many messages of events are on their way at once. It is less
// than what a server remembers (windowSize).
const maxUnacked = 128

// Pack makes spool records of batches: as many of them as there are, within the
// size of a message. pack is called with records that belong together, because a
// batch goes across them, and the positions behind the last of them. analysed says
// that this agent judges them itself, too.
func Pack(c *fleet.Codec, batches []riposte.Batch, analysed bool, pack func(payloads [][]byte, positions map[string]string) error) error {
	const soft = fleet.MaxMessage / 2 // before compression; what does not shrink still fits
	var payloads [][]byte
	var some []riposte.Batch
	positions := map[string]string{}
	size := 0
	record := func() error {
		b := c.AppendEvents(nil, &fleet.Events{Analysed: analysed, Batches: some})
		if len(b) > fleet.MaxMessage {
			return fmt.Errorf("%d bytes of events are too many for one message", len(b))
		}
		payloads, some, size = append(payloads, b), nil, 0
		return nil
	}
	flush := func() error {
		if len(some) == 0 && len(positions) == 0 {
			return nil
		}
		if err := record(); err != nil {
			return err
		}
		err := pack(payloads, positions)
		payloads, positions = nil, map[string]string{}
		return err
	}
	for i := range batches {
		b := &batches[i]
		if size >= soft {
			if err := flush(); err != nil {
				return err
			}
		}
		for rest := b.Events; len(rest) > 0; {
			n := 0
			for n < len(rest) && size < soft && n < 1<<16 {
				size += len(rest[n].Text) + 32
				n++
			}
			some = append(some, riposte.Batch{Events: rest[:n]})
			if rest = rest[n:]; len(rest) > 0 {
				if err := record(); err != nil {
					return err
				}
			}
		}
		if b.Position != "" {
			positions[b.Source] = b.Position
		}
	}
	return flush()
}

// uploadEvents sends the records of the spool and forgets what the broker has.
func (a *Agent) uploadEvents(ctx context.Context) error {
	from := a.o.Spool.Acked()
	for wait := 100 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		if err := connected(ctx, a.nc); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		acked, err := a.stream(ctx, from)
		if acked > from {
			from, wait = acked, 50*time.Millisecond
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		var local *spoolError
		if errors.As(err, &local) {
			return local.err
		}
		a.o.Log.Warn("the broker does not take events; they wait here", "error", err)
		_ = pause(ctx, wait) // the loop sees that ctx ended
	}
	return nil
}

// spoolError is trouble with the spool rather than with the broker.
type spoolError struct{ err error }

func (e *spoolError) Error() string { return e.err.Error() }

// flight is a record on its way.
type flight struct {
	n   uint64
	ack jetstream.PubAckFuture
}

// stream sends records after the given one until something fails. It returns
// the last that the broker has, all before it included.
func (a *Agent) stream(ctx context.Context, after uint64) (acked uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flights := make(chan flight, maxUnacked-1)
	sent := make(chan error, 1)
	go func() {
		defer close(flights)
		sent <- a.send(ctx, after, flights)
	}()
	acked = after
	var failed error
	for f := range flights {
		if failed != nil {
			continue // whether it arrived will show when it is sent again
		}
		select {
		case <-f.ack.Ok():
			acked = f.n
			if err := a.o.Spool.Ack(f.n); err != nil {
				failed = &spoolError{err}
			}
		case err := <-f.ack.Err():
			failed = err
		case <-ctx.Done():
			failed = ctx.Err()
		}
		if failed != nil {
			cancel()
		}
	}
	return acked, errors.Join(failed, ignoreEnd(<-sent))
}

// ignoreEnd leaves out that somebody was asked to stop.
func ignoreEnd(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (a *Agent) send(ctx context.Context, after uint64, flights chan<- flight) error {
	id := a.o.Credentials.ID
	for {
		r, err := a.o.Spool.Next(ctx, after)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &spoolError{err}
		}
		if err := fleet.Stamp(r.Payload, r.Epoch, r.N); err != nil {
			return &spoolError{err}
		}
		if a.o.Analysed != nil && !a.o.Analysed(r.N) {
			fleet.Disown(r.Payload)
		}
		ack, err := a.js.PublishAsync(fleet.EventSubject(id), r.Payload,
			jetstream.WithMsgID(fmt.Sprintf("%s.%d.%d", id, r.Epoch, r.N)), jetstream.WithRetryAttempts(0))
		if err != nil {
			return err
		}
		select {
		case flights <- flight{r.N, ack}:
		case <-ctx.Done():
			return ctx.Err()
		}
		after = r.N
	}
}
