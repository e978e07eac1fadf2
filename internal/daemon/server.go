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
	"riposte/internal/api"
	"riposte/internal/fleet"
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

// route sends an order to where it is to be carried out, and reports whether
// this host is one of them.
func (s *server) route(o *riposte.Order) (to []string, here bool) {
	p := o.Place
	here = p.Server || p.Defined == fleet.Server || p.Local && (o.Alert == nil || o.Alert.Agent.Local())
	leaves := (here || p.All) && s.leaves(o.Command)
	if here && leaves {
		to = s.beside()
		here = len(to) == 0 // nobody: the executor says why
	}
	switch {
	case p.All:
		return []string{fleet.All}, !leaves
	case p.Local && o.Alert != nil && !o.Alert.Agent.Local():
		to = append(to, o.Alert.Agent.ID)
	}
	if p.Defined != "" && p.Defined != fleet.Server {
		for _, id := range s.defined(p.Defined) {
			if !slices.Contains(to, id) {
				to = append(to, id)
			}
		}
	}
	return to, here
}

// defined returns the agents that a number in <agent_id> stands for.
func (s *server) defined(id string) []string {
	l := s.link.Load()
	if l == nil {
		return []string{id} // nobody else could be meant
	}
	if r, ok := l.Roster().Get(id); ok && r.Removed.IsZero() {
		return []string{id}
	}
	meant, ok := s.d.world.Load().Settings.Fleet.Agents[id]
	if !ok {
		return nil
	}
	return s.selected(meant)
}

// selected returns the agents that name:, group: or label: choose.
func (s *server) selected(text string) (out []string) {
	kind, rest, _ := strings.Cut(text, ":")
	key, value, _ := strings.Cut(rest, "=")
	for _, r := range s.link.Load().Roster().List() {
		if !r.Removed.IsZero() {
			continue
		}
		if kind == "name" && r.Name == rest || kind == "group" && slices.Contains(r.Groups, rest) || kind == "label" && r.Labels[key] == value && value != "" {
			out = append(out, r.ID)
		}
	}
	return out
}

// addressees returns whom a person means by a place, and whether this host is
// among them.
func (s *server) addressees(where string) (to []string, here bool, err error) {
	switch kind, _, found := strings.Cut(where, ":"); {
	case where == fleet.All:
		return []string{fleet.All}, true, nil
	case where == fleet.Server || where == "server":
		return nil, true, nil
	case found && (kind == "name" || kind == "group" || kind == "label"):
		if to = s.selected(where); len(to) == 0 {
			return nil, false, &api.Error{Status: 404, Message: fmt.Sprintf("no agent is in %s", where), Hint: "see riposte agents list"}
		}
		return to, false, nil
	}
	r, err := s.find(where)
	return []string{r.ID}, false, err
}

// messages writes orders for the log; to holds the addressees of each.
func messages(orders []riposte.Order, to [][]string) (ms []link.Message) {
	for i := range orders {
		o := &orders[i]
		for _, id := range to[i] {
			m := link.Message{ID: o.ID, To: id, Kind: fleet.KindOrder, Body: o}
			if id != fleet.All {
				m.ID += "." + id
			}
			ms = append(ms, m)
		}
	}
	return ms
}

// issue puts what alerts call for into the log of orders.
func (s *server) issue(ctx context.Context, orders []riposte.Order, to [][]string) error {
	ms := messages(orders, to)
	if len(ms) == 0 {
		return nil
	}
	for s.link.Load() == nil { // the broker was not reached yet
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.link.Load().Issue(ctx, ms)
}

// note puts what a person did into this server's audit chain.
func (s *server) note(action, by, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.d.executor.Note(ctx, action, by, text)
}

// pushBundle makes the guard of this server's configuration the agents', too.
func (s *server) pushBundle(ctx context.Context, w *World) error {
	l := s.link.Load()
	if l == nil || s.broker == nil && !l.Leads() {
		return nil // who leads does
	}
	g := &w.Settings.Guard
	b := fleet.Bundle{
		Limit: fleet.Limit(g.Limit), Limits: map[string]fleet.Limit{}, Breaker: fleet.Breaker{Targets: g.Breaker.Targets, Within: g.Breaker.Within, Cooldown: g.Breaker.Cooldown},
		WidestV4: g.WidestIPv4, WidestV6: g.WidestIPv6, Observe: w.Settings.Observe, Canary: w.Settings.Fleet.Canary,
	}
	for name, limit := range g.Limits {
		b.Limits[name] = fleet.Limit(limit)
	}
	b.Allow = append(b.Allow, w.Settings.Allow...)
	for _, a := range w.Config.Global.AllowList {
		switch {
		case a.Not:
			b.Allow = append(b.Allow, "!"+cmp.Or(a.Name, a.Prefix.String()))
		case a.Name != "":
			b.Allow = append(b.Allow, a.Name)
		default:
			b.Allow = append(b.Allow, a.Prefix.String())
		}
	}
	version, err := l.SetBundle(ctx, b)
	if err == nil {
		s.log.Info("the agents' configuration", "version", version)
	}
	return err
}

// await waits a little for what the hosts say about an order, so that whoever
// gave it by hand sees it.
func (s *server) await(ctx context.Context, order string, to []string, rs []riposte.Receipt) []riposte.Receipt {
	want := s.expected(to)
	deadline := time.Now().Add(awaitReceipts)
	for time.Now().Before(deadline) {
		asked := time.Now()
		outcomes, err := s.ledger.Progress(ctx, order)
		answered := 0
		for _, n := range outcomes {
			answered += n
		}
		if err != nil || answered >= want {
			break
		}
		select {
		case <-time.After(max(20*time.Millisecond, 4*time.Since(asked))): // to count ten thousand takes time, too
		case <-ctx.Done():
			return rs
		}
	}
	list, err := s.ledger.ByOrder(ctx, order)
	if err != nil {
		s.log.Warn("what the hosts did cannot be read", "order", order, "error", err)
	}
	return append(rs, latest(list)...)
}

// awaitReceipts is how long a person is kept waiting for the agents. Those that
// are away answer when they are back.
const awaitReceipts = 5 * time.Second

// expected is how many agents can be expected to answer now.
func (s *server) expected(to []string) (n int) {
	l := s.link.Load()
	if slices.Contains(to, fleet.All) {
		_, _, n = l.Count()
		return n
	}
	for _, id := range to {
		if l.Present(id) {
			n++
		}
	}
	return n
}

// latest keeps the last receipt of each host.
func latest(rs []riposte.Receipt) []riposte.Receipt {
	at := map[string]int{}
	var out []riposte.Receipt
	for _, r := range rs {
		if i, ok := at[r.Host]; ok {
			out[i] = r
			continue
		}
		at[r.Host] = len(out)
		out = append(out, r)
	}
	return out
}

// awaitUndone waits a little until what was in force on other hosts is not any
// more.
func (s *server) awaitUndone(ctx context.Context, list []ledger.Entry, to []string, rs []riposte.Receipt) ([]riposte.Receipt, error) {
	waiting := map[string]ledger.Entry{}
	for _, e := range list {
		if slices.Contains(to, fleet.All) || slices.Contains(to, e.Host) {
			waiting[e.Host+" "+e.Order] = e
		}
	}
	if len(waiting) == 0 && len(rs) == 0 {
		return nil, &api.Error{Status: 404, Message: "nothing of that is in force on any host", Hint: "hosts that are away are told when they return; see riposte list --fleet"}
	}
	deadline := time.Now().Add(awaitReceipts)
	for len(waiting) > 0 && time.Now().Before(deadline) {
		for key, e := range waiting {
			got, err := s.ledger.Receipts(ctx, ledger.Filter{Host: e.Host, Order: e.Order, Limit: 1})
			if err != nil {
				return rs, err
			}
			if len(got) > 0 && got[0].Outcome == riposte.Undone {
				rs = append(rs, got[0])
				delete(waiting, key)
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return rs, ctx.Err()
		}
	}
	for _, e := range waiting {
		rs = append(rs, riposte.Receipt{Order: e.Order, Host: e.Host, Time: time.Now().UTC(), Outcome: riposte.Failed, Command: e.Command, Target: e.Target,
			Mechanism: e.Mechanism, Reason: "agent " + e.Host + " has not answered yet; it is told when it is there"})
	}
	return rs, nil
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
