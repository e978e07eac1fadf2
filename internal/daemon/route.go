package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/fleet"
	"riposte/internal/fleet/link"
)

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
	if p.Local && o.Alert != nil && o.Alert.Agent.Analyses { // it has judged the event, too
		to = slices.DeleteFunc(to, func(id string) bool { return id == o.Alert.Agent.ID })
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
