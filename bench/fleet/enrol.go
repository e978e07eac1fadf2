//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/api"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/link"
)

const brokerURL = "tls://127.0.0.1:4222"

// joinByToken enrols n agents as an operator would, and returns how long each
// took.
func joinByToken(ctx context.Context, s *server, dir string, n int) (time.Duration, error) {
	start := time.Now()
	for i := range n {
		name := fmt.Sprintf("token-%d", i)
		t, err := s.client.Enrol(ctx, api.EnrolRequest{Name: name})
		if err != nil {
			return 0, err
		}
		if _, err := link.Join(ctx, t.Token, filepath.Join(dir, name), name, "bench", slog.New(slog.DiscardHandler)); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / time.Duration(n), nil
}

// enrol enters n agents into the roster directly, past tokens, and makes their
// credentials.
func enrol(ctx context.Context, a *identity.Authority, n int) (list []identity.Credentials, each time.Duration, err error) {
	o, err := a.ServerOptions()
	if err != nil {
		return nil, 0, err
	}
	nc, err := nats.Connect(brokerURL, o...)
	if err != nil {
		return nil, 0, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, 0, err
	}
	roster, err := identity.NewRoster(ctx, js, 1, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, 0, err
	}
	orders, err := js.Stream(ctx, fleet.OrderStream)
	if err != nil {
		return nil, 0, err
	}
	head := orders.CachedInfo().State.LastSeq // what was ordered before is not meant for them
	start := time.Now()
	for i := range n {
		seed, public, err := identity.NewKey()
		if err != nil {
			return nil, 0, err
		}
		r, err := roster.Add(ctx, fmt.Sprintf("web-%d", i), []string{"bench"}, public)
		if err != nil {
			return nil, 0, err
		}
		jwt, err := a.Agent(r.ID, r.Name, public)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, identity.Credentials{ID: r.ID, Name: r.Name, JWT: jwt, Seed: seed, CA: a.CAPEM(),
			OrderKeys: []string{a.OrderKey()}, URLs: []string{brokerURL}, Joined: fleet.Place{Seq: head}})
	}
	return list, time.Since(start) / time.Duration(n), nil
}
