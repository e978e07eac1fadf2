package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// heartbeat is how often the broker says that there is nothing new. When two are
// missing, the node that served this reader is gone.
const heartbeat = time.Second

// lookAgain is how long a reader that hears nothing waits until it asks whether
// something was sent: the last message before a silence may be lost on its way.
const lookAgain = 2 * time.Second

// forgotten is after how long the broker forgets a reader that is gone.
const forgotten = 30 * time.Second

// bySequence is where a reader begins: at a place in the stream.
func bySequence(from uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1)}
}

// follow hands over the messages of a stream in their order and each once, until
// ctx ends or do fails, or with an error when the broker does not go on, or left
// something out: the caller begins again behind what it has. (NATS' own ordered
// consumer does that by itself, but cannot be stopped while it tries, and rests
// for ten seconds between two attempts.)
func (s *Server) follow(ctx context.Context, stream string, from jetstream.ConsumerConfig, do func(jetstream.Msg, uint64) error) error {
	from.AckPolicy, from.MemoryStorage, from.Replicas, from.InactiveThreshold = jetstream.AckNonePolicy, true, 1, forgotten
	begin, cancel := context.WithTimeout(ctx, patience/2)
	c, err := s.js.CreateConsumer(begin, stream, from)
	cancel()
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	lost := s.nc.StatusChanged(nats.RECONNECTING)
	defer s.nc.RemoveStatusListener(lost)
	msgs, err := c.Messages(jetstream.PullMaxMessages(2048), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Stop)()
	var watch sync.WaitGroup
	defer watch.Wait()
	end := make(chan struct{})
	defer close(end)
	watch.Go(func() {
		select {
		case <-lost: // with whatever was on its way
			msgs.Stop()
		case <-end:
		}
	})
	for n := uint64(1); ; {
		m, err := msgs.Next(jetstream.NextMaxWait(lookAgain))
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, nats.ErrTimeout) {
			if err := s.complete(ctx, c, n-1); err != nil {
				return fmt.Errorf("read %s: %w", stream, err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if meta.Sequence.Consumer != n {
			return fmt.Errorf("read %s: message %d of this reader came in place of %d", stream, meta.Sequence.Consumer, n)
		}
		n++
		if err := do(m, meta.Sequence.Stream); err != nil {
			return err
		}
	}
}

// complete reports an error when the broker has sent more messages to a reader
// than have arrived.
func (s *Server) complete(ctx context.Context, c jetstream.Consumer, arrived uint64) error {
	ctx, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	info, err := c.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	case err == nil && info.Delivered.Consumer > arrived:
		return fmt.Errorf("of %d messages %d have arrived", info.Delivered.Consumer, arrived)
	}
	return nil // one that does not answer is missed by its heartbeats
}
