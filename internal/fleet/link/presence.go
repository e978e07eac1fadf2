package link

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// NoticeKind says what a notice is about.
type NoticeKind uint8

// What happens to agents.
const (
	Silent  NoticeKind = iota + 1 // no sign of life
	Back                          // one again
	Joined                        // enrolled
	Gone                          // removed
	Refused                       // an enrolment that failed
	Rekeyed                       // it has a new key
)

// Notice is something that an operator wants to know about an agent.
type Notice struct {
	Kind        NoticeKind
	Agent, Name string
	Address     string // "" when it is not known
	Words       string
	At          time.Time
}

// noticeSubject is where servers tell the one that leads what they did.
const noticeSubject = "riposte.notice"

// tell passes on what happened to an agent. The server that leads is told, and
// no other: all of them hear who is there and who is not, and one enrols.
func (s *Server) tell(n Notice) {
	switch {
	case n.Kind == Refused || s.holds():
		s.o.Told(n)
	case n.Kind == Silent || n.Kind == Back:
		s.o.Log.Info(n.Words)
	default:
		s.o.Log.Info(n.Words)
		if err := s.nc.Publish(noticeSubject, encode(n)); err != nil {
			s.o.Log.Warn("the leading server does not know", "notice", n.Words, "error", err)
		}
	}
}

// hearNotices listens to what other servers did.
func (s *Server) hearNotices() (*nats.Subscription, error) {
	return s.nc.Subscribe(noticeSubject, func(m *nats.Msg) {
		var n Notice
		if err := fleet.Decode(m.Data, &n); err == nil && s.holds() {
			s.o.Told(n)
		}
	})
}

// Host is what a server knows of an agent.
type Host struct {
	identity.Record
	State fleet.Presence // as the agent told it last
	Seen  time.Time      // when, by this server's clock; zero: never since this server started
	Head  uint64         // of the log of orders then, as far as it is for this agent
	Quiet bool           // it is silent
}

// presence is what agents told of themselves.
type presence struct {
	mu    sync.Mutex
	hosts map[string]*Host
}

func (p *presence) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.hosts, id)
}

// Hosts returns all agents that are enrolled, by id.
func (s *Server) Hosts() []Host {
	var out []Host
	for _, r := range s.roster.List() {
		if !r.Removed.IsZero() {
			continue
		}
		h := Host{Record: r}
		s.presence.mu.Lock()
		if known := s.presence.hosts[r.ID]; known != nil {
			h.State, h.Seen, h.Head, h.Quiet = known.State, known.Seen, known.Head, known.Quiet
		}
		s.presence.mu.Unlock()
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Host) int { return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Count returns how many agents are enrolled, how many of them have joined, and
// how many are connected.
func (s *Server) Count() (all, joined, connected int) {
	all, joined = s.roster.Count()
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	for _, h := range s.presence.hosts {
		if !h.Quiet {
			connected++
		}
	}
	return all, joined, connected
}

// Present reports whether an agent is connected.
func (s *Server) Present(id string) bool {
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	h := s.presence.hosts[id]
	return h != nil && !h.Quiet
}

// address is where an agent is: as it was enrolled, or as the broker sees it.
func address(r identity.Record, p fleet.Presence) string {
	if r.Address != "" && r.Address != "any" {
		return r.Address
	}
	return p.Address
}

// agent is how events of an agent name it.
func (s *Server) agent(id string) (name, ip string, ok bool) {
	r, ok := s.roster.Get(id)
	var p fleet.Presence
	s.presence.mu.Lock()
	if h := s.presence.hosts[id]; h != nil {
		p = h.State
	}
	s.presence.mu.Unlock()
	return r.Name, address(r, p), ok && r.Removed.IsZero()
}

// watchPresence listens to the agents and notices who falls silent.
func (s *Server) watchPresence(ctx context.Context) error {
	msgs := make(chan *nats.Msg, 4096)
	sub, err := s.nc.ChanSubscribe(fleet.PresenceSubject("*"), msgs)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is gone: so is the subscription
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case m := <-msgs:
			s.heard(m, time.Now())
		case now := <-tick.C:
			// Who could not be heard is not silent.
			if s.nc.IsConnected() {
				s.silent(now)
			} else {
				s.deaf(now)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// heard takes one sign of life.
func (s *Server) heard(m *nats.Msg, now time.Time) {
	id, ok := fleet.Speaker(m.Subject)
	var p fleet.Presence
	if !ok || len(m.Data) > 1<<16 || fleet.Decode(m.Data, &p) != nil {
		s.o.Log.Warn("an agent's sign of life is not understood", "agent", id)
		return
	}
	if p.ID != id {
		s.o.Log.Warn("a sign of life in another's name is refused", "agent", id)
		return
	}
	r, ok := s.roster.Get(id)
	if !ok || !r.Removed.IsZero() {
		return
	}
	s.presence.mu.Lock()
	h := s.presence.hosts[id]
	if h == nil {
		h = &Host{}
		s.presence.hosts[id] = h
	}
	back := h.Quiet
	confirm := p.Key != "" && p.Key == r.Key && r.Pending(now)
	*h = Host{Record: r, State: p, Seen: now, Head: s.book.lastFor(id)}
	s.presence.mu.Unlock()
	if confirm { // it uses its new key: the old one has had its time
		s.confirm(id)
	}
	if back {
		s.tell(Notice{Kind: Back, Agent: id, Name: r.Name, Address: address(r, p), Words: fmt.Sprintf("agent %s (%s) is back", id, r.Name), At: now})
	}
}

// confirm ends the time in which an agent's old key is good, too.
func (s *Server) confirm(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.roster.Confirm(ctx, id); err != nil {
		s.o.Log.Warn("an agent's old key is not revoked yet", "agent", id, "error", err)
	}
}

// maxBeat is the longest time between an agent's signs of life that a server
// takes into account. The settings allow no longer one.
const maxBeat = 10 * time.Minute

// patienceWith is how long an agent may be silent. One that seldom gives a sign of
// life is not silent before it has missed one.
func (s *Server) patienceWith(h *Host) time.Duration {
	return max(s.o.Silent, min(max(h.State.Beat, 0), maxBeat)*3/2)
}

// silent notices who has been silent for too long.
func (s *Server) silent(now time.Time) {
	var out []Notice
	s.presence.mu.Lock()
	for id, h := range s.presence.hosts {
		if !h.Quiet && now.Sub(h.Seen) > s.patienceWith(h) {
			h.Quiet = true
			out = append(out, Notice{Kind: Silent, Agent: id, Name: h.Name, Address: address(h.Record, h.State), At: now,
				Words: fmt.Sprintf("agent %s (%s) has been silent since %s", id, h.Name, h.Seen.UTC().Format(time.RFC3339))})
		}
	}
	s.presence.mu.Unlock()
	for _, n := range out {
		s.tell(n)
	}
}

// deaf moves the last signs of life on while the broker is away.
func (s *Server) deaf(now time.Time) {
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	for _, h := range s.presence.hosts {
		if !h.Quiet {
			h.Seen = now
		}
	}
}
