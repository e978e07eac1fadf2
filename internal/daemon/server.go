package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/fleet/broker"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/ledger"
	"riposte/internal/fleet/link"
	"riposte/internal/host"
	"riposte/internal/ossec"
	"riposte/internal/settings"
)

// FleetDir is where a server keeps its keys, its broker and its ledger, and an
// agent its credentials and its spool.
func FleetDir(s *settings.Settings) string { return filepath.Join(s.StateDir, "fleet") }

// maxReplay bounds how far back judged events are kept and read again after a
// start, whatever time the rules look back.
const maxReplay = time.Hour

// server is the half of a daemon that serves a fleet.
type server struct {
	d         *Daemon
	log       *slog.Logger
	authority *identity.Authority
	broker    *broker.Broker // nil: an external cluster
	ledger    *ledger.Ledger
	link      atomic.Pointer[link.Server] // nil until the broker was reached
	turn      atomic.Pointer[turn]        // the last time that this server led; nil: it never did
	done      atomic.Uint64               // place in the stream of the last message that was judged
	notices   chan riposte.Event
	patient   context.Context // of what waits for the broker; set before anything is judged
}

// openServer opens what a server needs on this host, and its own broker.
func (d *Daemon) openServer(w *World) (err error) {
	s := &server{d: d, log: d.log, notices: make(chan riposte.Event, 1024)}
	dir := FleetDir(w.Settings)
	if s.authority, err = identity.Open(dir); err != nil {
		return err
	}
	if s.ledger, err = ledger.Open(filepath.Join(dir, "fleet.db")); err != nil {
		return err
	}
	d.server = s
	if aside := s.ledger.Aside(); aside != "" {
		d.problems = append(d.problems, "what the agents did was unreadable, is begun anew and lies in "+aside)
	}
	f := &w.Settings.Fleet
	if len(f.Brokers) > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if names := PublicNames(w.Settings); !slices.Equal(names, s.authority.Names()) {
		if err := s.authority.SetNames(names); err != nil {
			return err
		}
	}
	s.broker, err = broker.Start(ctx, broker.Options{
		Authority: s.authority, Listen: f.Listen, StoreDir: filepath.Join(dir, "broker"), Log: d.log,
	})
	return err
}

// Close closes what openServer opened.
func (s *server) Close() error {
	if s.broker != nil {
		s.broker.Close()
	}
	return s.ledger.Close()
}

// PublicNames are the names and addresses by which agents reach a server.
func PublicNames(s *settings.Settings) []string {
	if len(s.Fleet.Names) > 0 {
		return s.Fleet.Names
	}
	names := []string{s.HostName()}
	addrs, err := host.Addresses()
	if err != nil {
		return names
	}
	for _, a := range addrs {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() && a.Zone() == "" {
			names = append(names, a.String())
		}
	}
	return append(names, "localhost", "127.0.0.1", "::1")
}

// publicURLs are where agents are told to connect to.
func publicURLs(s *settings.Settings) []string {
	if len(s.Fleet.Brokers) > 0 {
		return brokerURLs(s)
	}
	_, port, err := net.SplitHostPort(s.Fleet.Listen)
	if err != nil {
		port = "4222"
	}
	var urls []string
	for _, n := range PublicNames(s) {
		if len(s.Fleet.Names) == 0 && (n == "localhost" || n == "127.0.0.1" || n == "::1") {
			continue
		}
		urls = append(urls, "tls://"+net.JoinHostPort(n, port))
	}
	return urls
}

func brokerURLs(s *settings.Settings) []string {
	var urls []string
	for _, b := range s.Fleet.Brokers {
		urls = append(urls, "tls://"+b)
	}
	return urls
}

// run serves the fleet until ctx ends.
func (s *server) run(ctx context.Context) error {
	w := s.d.world.Load()
	o := link.ServerOptions{
		Authority: s.authority, Ledger: s.ledger, Public: publicURLs(w.Settings), Name: w.Settings.HostName(), Version: s.d.opt.Version,
		Replicas: w.Settings.Fleet.Replicas, MaxEvents: int64(w.Settings.Fleet.Store) << 20, Silent: w.Settings.Fleet.Silent,
		KeepFor: min(w.Set.Lookback(), maxReplay), Told: s.told, Log: s.log,
	}
	if s.broker != nil {
		o.URLs, o.Connect, o.Alone = s.broker.URL(), s.broker.Options(), true
		o.Room = s.broker.Room()
	} else {
		o.URLs = strings.Join(brokerURLs(w.Settings), ",")
	}
	l, err := link.Dial(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer l.Close()
	s.link.Store(l)
	defer s.link.Store(nil)
	return l.Run(ctx)
}

// settle waits a little until the fleet is served, so that whoever started the
// server sees it so and can make a token at once. Of several servers one leads,
// and the others are settled when they know the broker.
func (s *server) settle(ctx context.Context, limit time.Duration) {
	for end := time.Now().Add(limit); ctx.Err() == nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if l := s.link.Load(); l != nil && (s.broker == nil || l.Leads()) {
			return
		}
	}
}

// lead judges the events of the fleet while this server leads. It is a source
// like others: it stops before the analysis does.
func (s *server) lead(ctx context.Context) {
	for s.link.Load() == nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
	l := s.link.Load()
	err := l.Lead(ctx, func(ctx context.Context) error {
		for ctx.Err() == nil {
			err := s.follow(ctx, l)
			if err == nil || ctx.Err() != nil {
				continue
			}
			s.log.Warn("the events of the agents cannot be read", "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.log.Error("the fleet has no leader here", "error", err)
	}
}

// follow judges events from where it is on record that they were judged.
func (s *server) follow(ctx context.Context, l *link.Server) error {
	w := s.d.world.Load()
	if err := s.pushBundle(ctx, w); err != nil {
		s.log.Error("the agents' configuration cannot be brought up to date", "error", err)
	}
	// What was read in an earlier turn is judged and on record before it could be
	// read again.
	if err := s.drain(ctx); err != nil {
		return nil // ctx ended
	}
	if err := s.d.positions.flush(ctx); err != nil {
		return err
	}
	written, err := alertlog.Tail(w.Settings.LogDir)
	if err != nil {
		return err
	}
	s.d.alerts.Leave(written)
	t := newTurn(s.patient, ctx, l, l.Events(s.d.positions.all()))
	defer t.end()
	s.done.Store(0)
	if before := s.turn.Swap(t); before != nil && before.events.Sent() > 0 {
		if err := s.d.forget(); err != nil {
			return err
		}
	}
	if err := t.events.Run(ctx, s.d.batches); err != nil {
		return err
	}
	// A stop waits a little: what is on its way is still judged and ordered, and
	// put on record before another server leads.
	if err := s.drain(s.patient); err != nil || t.lost.Load() {
		return nil
	}
	return s.d.positions.flush(s.patient)
}

// told makes an event of what happened to an agent, in OSSEC's words, so that
// rules can answer it.
func (s *server) told(n link.Notice) {
	if n.Kind != link.Refused {
		s.log.Info(n.Words)
	}
	var text string
	switch n.Kind {
	case link.Silent:
		text = fmt.Sprintf("ossec: Agent disconnected: '%s-%s'.", n.Name, cmp.Or(n.Address, "any"))
	case link.Back, link.Joined:
		text = fmt.Sprintf("ossec: Agent started: '%s->%s'.", n.Name, cmp.Or(n.Address, "any"))
	case link.Gone:
		text = fmt.Sprintf("ossec: Agent removed: '%s-%s'.", n.Name, cmp.Or(n.Address, "any"))
	default:
		return
	}
	location := "wazuh-monitord"
	if s.d.world.Load().Settings.Dialect == ossec.OSSEC {
		location = "ossec-monitord"
	}
	e := riposte.Event{Time: time.Now(), Location: location, Text: text, Agent: riposte.Agent{ID: n.Agent, Name: n.Name, IP: n.Address}}
	select {
	case s.notices <- e:
	default: // a thousand of them wait: they are in riposte's own log
	}
}

// noticesInput feeds what happened to agents to the analysis.
func (s *server) noticesInput() *input {
	return &input{
		key: "fleet notices", name: "agents", detail: "who comes and goes",
		open: func(map[string]string) (runner, error) {
			return runnerFunc(func(ctx context.Context, out chan<- riposte.Batch) error {
				for {
					select {
					case e := <-s.notices:
						select {
						case out <- riposte.Batch{Source: "fleet notices", Events: []riposte.Event{e}}:
						case <-ctx.Done():
							return nil
						}
					case <-ctx.Done():
						return nil
					}
				}
			}), nil
		},
	}
}

// note puts what a person did into this server's audit chain.
func (s *server) note(action, by, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.d.executor.Note(ctx, action, by, text)
}

// words says how the fleet is.
func (s *server) words() []string {
	l := s.link.Load()
	if l == nil {
		return []string{"not connected to the broker"}
	}
	all, _, up := l.Count()
	lead := "standing by: another server leads"
	if l.Leads() {
		lead = "this server leads"
	}
	words := []string{lead, strconv.Itoa(all) + " agents, " + strconv.Itoa(up) + " of them connected", "configuration of the agents: version " + strconv.FormatUint(l.Bundle(), 10)}
	if s.broker != nil {
		words = append(words, "own broker on "+s.broker.URL())
	} else {
		words = append(words, s.besideWords())
	}
	return words
}
