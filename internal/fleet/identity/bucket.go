package identity

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket opens a bucket in the broker, or makes it. One that is there with as
// many replicas and the same age of its entries is left alone: while a cluster
// changes a bucket, what is written to it is lost and has to be repeated.
func Bucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	have, err := js.KeyValue(ctx, want.Bucket)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return js.CreateOrUpdateKeyValue(ctx, want)
	case err != nil:
		return nil, err
	}
	status, err := have.Status(ctx)
	if err != nil {
		return nil, err
	}
	if b, ok := status.(*jetstream.KeyValueBucketStatus); ok && b.StreamInfo().Config.Replicas == max(want.Replicas, 1) && status.TTL() == want.TTL {
		return have, nil
	}
	return js.CreateOrUpdateKeyValue(ctx, want)
}
