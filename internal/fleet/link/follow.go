package link

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// heartbeat is how often the broker says that there is nothing new. When two are
// missing, the node that served this reader is gone.
const heartbeat = time.Second

// forgotten is after how long the broker forgets a reader that is gone.
const forgotten = 30 * time.Second

// bySequence is where a reader begins: at a place in the stream.
func bySequence(from uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1)}
}

// byTime is where a reader begins: at what was stored then.
func byTime(from time.Time) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from}
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
	msgs, err := c.Messages(jetstream.PullMaxMessages(2048), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Stop)()
	for n := uint64(1); ; n++ {
		m, err := msgs.Next()
		if ctx.Err() != nil {
			return nil
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
		if err := do(m, meta.Sequence.Stream); err != nil {
			return err
		}
	}
}
