package link

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// streams makes the streams, or brings them to what this version wants. A
// cluster that has just started is asked until it has a leader.
func (s *Server) streams(ctx context.Context) error {
	for {
		err := s.tryStreams(ctx)
		if err == nil {
			return nil
		}
		s.o.Log.Info("the broker is not ready", "error", err)
		if perr := pause(ctx, time.Second); perr != nil {
			return fmt.Errorf("the streams: %w", err)
		}
	}
}

func (s *Server) tryStreams(ctx context.Context) (err error) {
	for i, to := range []*jetstream.Stream{&s.events, &s.orders, &s.receipted} {
		if *to, err = s.stream(ctx, s.wanted()[i]); err != nil {
			return err
		}
	}
	s.state, err = identity.Bucket(ctx, s.js, jetstream.KeyValueConfig{
		Bucket: fleet.StateBucket, Description: "who leads, and how far", Replicas: s.o.Replicas,
	})
	return err
}

// wanted is what this version wants of the streams of events, orders and receipts.
func (s *Server) wanted() []jetstream.StreamConfig {
	var maxOrders int64 = maxOrders
	if s.o.Room > 0 {
		maxOrders = min(maxOrders, s.o.Room/8)
	}
	return []jetstream.StreamConfig{{
		Name: fleet.EventStream, Description: "events of the agents, until they are judged", Subjects: []string{fleet.EventSubject("*")},
		MaxBytes: s.o.MaxEvents, Discard: jetstream.DiscardNew, Duplicates: duplicates, Replicas: s.o.Replicas,
		MaxMsgSize: maxStored, AllowDirect: true,
	}, {
		Name: fleet.OrderStream, Description: "orders to the agents", Subjects: []string{fleet.OrderSubject("*")},
		MaxBytes: maxOrders, MaxAge: keepOrders, Duplicates: duplicates, Replicas: s.o.Replicas, MaxMsgSize: maxStored,
		RePublish: &jetstream.RePublish{Source: fleet.OrderSubject(">"), Destination: fleet.LiveSubject(">")},
	}, {
		Name: fleet.ReceiptStream, Description: "what the agents did", Subjects: []string{fleet.ReceiptSubject("*")},
		MaxBytes: maxOrders, MaxAge: keepOrders, Duplicates: duplicates, Replicas: s.o.Replicas, MaxMsgSize: maxStored,
	}}
}

// missedAfter is how often it is looked whether the streams are there.
const missedAfter = 2 * time.Second

// keepStreams makes streams again that are gone: somebody has deleted them, or a
// broker has come back without its disk.
func (s *Server) keepStreams(ctx context.Context) error {
	for pause(ctx, missedAfter) == nil {
		for _, want := range s.wanted() {
			_, err := s.js.Stream(ctx, want.Name)
			if !errors.Is(err, jetstream.ErrStreamNotFound) {
				continue // whoever needs it says what else is wrong
			}
			if _, err := s.stream(ctx, want); err != nil {
				return err
			}
			s.o.Log.Warn("the broker had lost a stream; it is made anew", "stream", want.Name)
		}
	}
	return nil
}

// stream opens a stream, or makes it. One that is as it should be is left alone:
// while a cluster changes a stream, messages to it are lost and sent again, and a
// server that starts must not disturb those that are at work.
func (s *Server) stream(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	have, err := s.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return s.js.CreateStream(ctx, want)
	case err != nil:
		return nil, err
	case same(have.CachedInfo().Config, want):
		return have, nil
	}
	changed, err := s.js.UpdateStream(ctx, want)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == insufficientStorage {
		// The disk is fuller than when it was made. A fleet with the old bounds is
		// better than none.
		s.o.Log.Warn("a stream keeps its old bounds: the broker has no room to change them", "stream", want.Name, "bytes", have.CachedInfo().Config.MaxBytes, "wanted", want.MaxBytes)
		return have, nil
	}
	return changed, err
}

// insufficientStorage is what JetStream says when a stream may not have the bytes
// that it asks for.
const insufficientStorage jetstream.ErrorCode = 10047

// same reports whether a stream is as it should be, in what riposte says of it.
func same(have, want jetstream.StreamConfig) bool {
	return have.Description == want.Description && reflect.DeepEqual(have.Subjects, want.Subjects) && have.MaxBytes == want.MaxBytes &&
		have.MaxAge == want.MaxAge && have.Discard == want.Discard && have.Duplicates == want.Duplicates && have.Replicas == want.Replicas &&
		have.MaxMsgSize == want.MaxMsgSize && have.AllowDirect == want.AllowDirect && reflect.DeepEqual(have.RePublish, want.RePublish)
}
