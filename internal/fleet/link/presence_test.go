package link

import (
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// TestSilent: an agent is silent after the time that is set, and not before it
// has missed a sign of life; whatever it says of itself, some day it is.
func TestSilent(t *testing.T) {
	for _, c := range []struct {
		silent, beat, want time.Duration
	}{
		{35 * time.Second, 0, 35 * time.Second}, // of a version that does not say
		{35 * time.Second, 10 * time.Second, 35 * time.Second},
		{15 * time.Second, 10 * time.Second, 15 * time.Second},
		{35 * time.Second, 2 * time.Minute, 3 * time.Minute},
		{time.Hour, 2 * time.Minute, time.Hour},
		{35 * time.Second, 1 << 62, 15 * time.Minute},
		{35 * time.Second, -1 << 62, 35 * time.Second},
	} {
		var told []Notice
		seen := time.Now()
		s := &Server{o: ServerOptions{Silent: c.silent, Alone: true, Told: func(n Notice) { told = append(told, n) }, Log: slog.New(slog.DiscardHandler)}}
		s.leading.Store(true)
		s.presence.hosts = map[string]*Host{"001": {
			Record: identity.Record{Name: "web-01", Address: "192.0.2.1"}, Seen: seen,
			State: fleet.Presence{Beat: c.beat, Name: "db-01", Address: "192.0.2.2"}, // in whose name it speaks is not its own affair
		}}
		s.silent(seen.Add(c.want))
		if len(told) > 0 || !s.Present("001") {
			t.Errorf("%v, one beat each %v: silent after %v", c.silent, c.beat, c.want)
		}
		s.silent(seen.Add(c.want + 1))
		if len(told) != 1 || told[0].Kind != Silent || told[0].Name != "web-01" || told[0].Address != "192.0.2.1" || s.Present("001") {
			t.Errorf("%v, one beat each %v: not silent after %v", c.silent, c.beat, c.want)
		}
	}
}

// TestBeat: an agent gives a sign of life as often as it is told to, and whenever
// its connection is new, however seldom that is.
func TestBeat(t *testing.T) {
	f := newForger(t)
	beats := make(chan *nats.Msg, 1024)
	if _, err := f.nc.ChanSubscribe(fleet.PresenceSubject("*"), beats); err != nil {
		t.Fatal(err)
	}
	if err := f.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	next := func(id string, reconnects int) (p fleet.Presence) {
		t.Helper()
		for {
			select {
			case m := <-beats:
				if err := json.Unmarshal(m.Data, &p); err != nil {
					t.Fatal(err)
				}
				if p.ID == id && p.InForce >= reconnects {
					return p
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s gives no sign of life", id)
			}
		}
	}
	var agent atomic.Pointer[Agent]
	seldom := newHand(t, credentials(t, f.authority, "001", f.url), func(o *AgentOptions) {
		o.Beat = time.Hour
		o.Presence = func(p *fleet.Presence) {
			if a := agent.Load(); a != nil {
				p.InForce = int(a.nc.Stats().Reconnects) // which connection it is
			}
		}
	})
	agent.Store(seldom.Agent)
	if p := next("001", 0); p.Beat != time.Hour {
		t.Errorf("it says that it beats each %v", p.Beat)
	}
	for n := range 2 {
		until(t, "it is in step", seldom.Synced)
		if err := seldom.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		next("001", n+1)
	}
	newHand(t, credentials(t, f.authority, "002", f.url), func(o *AgentOptions) { o.Beat = 20 * time.Millisecond })
	for range 20 {
		next("002", 0)
	}
}
