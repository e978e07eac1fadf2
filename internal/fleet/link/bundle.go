package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
)

// bundleKey is where the current bundle is, signed.
const bundleKey = "bundle"

// loadBundle reads the current bundle, if there is one.
func (s *Server) loadBundle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	e, err := s.state.Get(ctx, bundleKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read the bundle: %w", err)
	}
	return s.takeBundle(e.Value())
}

// takeBundle makes a stored bundle the one that agents are told of.
func (s *Server) takeBundle(stored []byte) error {
	var signed fleet.Signed
	if err := fleet.Decode(stored, &signed); err != nil {
		return fmt.Errorf("the bundle: %w", err)
	}
	e, err := fleet.Open(signed, []string{s.signer.Public()}, fleet.All)
	if err != nil {
		return fmt.Errorf("the bundle: %w", err)
	}
	var b fleet.Bundle
	if err := fleet.Decode(e.Body, &b); err != nil {
		return fmt.Errorf("the bundle: %w", err)
	}
	s.bundle.Store(&signed)
	s.version.Store(b.Version)
	return nil
}

// followBundle keeps the bundle current on servers that do not lead.
func (s *Server) followBundle(ctx context.Context) error {
	w, err := s.state.Watch(ctx, bundleKey, jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // the connection is gone: so is the watch
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil
			}
			if e == nil || e.Operation() != jetstream.KeyValuePut {
				continue
			}
			if err := s.takeBundle(e.Value()); err != nil {
				s.o.Log.Warn("another server's bundle is not understood", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Bundle is the version of the current bundle, 0 when there is none.
func (s *Server) Bundle() uint64 { return s.version.Load() }

// SetBundle makes b, whose version is chosen here, the bundle of the fleet,
// unless it is that already but for its version and time.
func (s *Server) SetBundle(ctx context.Context, b fleet.Bundle) (version uint64, err error) {
	var made time.Time // the one before
	if now := s.bundle.Load(); now != nil {
		e, err := fleet.Open(*now, []string{s.signer.Public()}, fleet.All)
		var old fleet.Bundle
		if err == nil && fleet.Decode(e.Body, &old) == nil {
			b.Version, b.Made, made = old.Version, old.Made, old.Made
			if string(encode(b)) == string(encode(old)) {
				return old.Version, nil
			}
		}
	}
	b.Version, b.Made = s.version.Load()+1, later(time.Now().UTC().Round(0), made)
	body, err := fleet.Encode(b)
	if err != nil {
		return 0, err
	}
	signed, err := s.signer.Seal(fleet.Envelope{To: fleet.All, Kind: fleet.KindBundle, Issued: b.Made, Body: body})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := s.state.Put(ctx, bundleKey, encode(signed)); err != nil {
		return 0, fmt.Errorf("store the bundle: %w", err)
	}
	s.bundle.Store(&signed)
	s.version.Store(b.Version)
	// Agents who are here hear of it now, the others when they ask.
	if err := s.nc.PublishMsg(message(fleet.LiveSubject(fleet.All), signed)); err != nil {
		return b.Version, fmt.Errorf("tell the agents of the bundle: %w", err)
	}
	return b.Version, nil
}
