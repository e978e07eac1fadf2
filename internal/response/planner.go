// Package response is the meaning of <active-response>: which responses an
// alert calls for, against whom, on which hosts and for how long. It makes
// orders and says of every response that an alert reached why there is none.
// It carries nothing out and knows no host: whether an order may run is the
// acting host's guard's to say.
package response

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// Planner plans responses. It is safe for concurrent use.
type Planner struct {
	dialect   ossec.Dialect
	responses []conf.Response
	ids       *IDs
}

// New returns the planner of a configuration. ids names the orders.
func New(cfg *conf.Config, d ossec.Dialect, ids *IDs) *Planner {
	return &Planner{dialect: d, responses: cfg.Responses, ids: ids}
}

// Skipped is a response that makes no order for an alert.
type Skipped struct {
	Command string    `json:"command"`
	Pos     ossec.Pos `json:"pos"` // of the response in ossec.conf
	Reason  string    `json:"reason"`
}

// Plan returns the orders that the alert calls for, in the order of the
// configuration, and for each response that its rule is bound to but that
// makes no order the reason in words.
func (p *Planner) Plan(a *riposte.Alert) (orders []riposte.Order, skipped []Skipped) {
	never := unanswered(&a.Rule)
	if never == "" && ownLog(a.Location) {
		never = "the alert is about a line of active-responses.log; answering it would never end"
	}
	for i := range p.responses {
		r := &p.responses[i]
		if !p.bound(r, &a.Rule) {
			continue
		}
		if never != "" {
			skipped = append(skipped, skip(r, never))
			continue
		}
		target, reason := p.target(r, a)
		if reason != "" {
			skipped = append(skipped, skip(r, reason))
			continue
		}
		for _, place := range places(r, a) {
			if j := slices.IndexFunc(orders, func(o riposte.Order) bool {
				return o.Command.Name == r.Command.Name && o.Target == target && o.Place == place
			}); j >= 0 {
				skipped = append(skipped, skip(r, "the same response is ordered by an earlier block; the longer time holds"))
				extend(&orders[j], r)
				continue
			}
			now := time.Now()
			orders = append(orders, riposte.Order{
				ID: p.ids.New(now), Command: r.Command.Command, Target: target, Place: place, Timeout: r.Timeout, Ladder: r.Ladder,
				Issued: now, Received: a.Time, By: fmt.Sprintf("rule %d", a.Rule.ID), Alert: a,
			})
		}
	}
	return orders, skipped
}

func skip(r *conf.Response, reason string) Skipped {
	return Skipped{Command: r.Command.Name, Pos: r.Pos, Reason: reason}
}

// extend gives an order the timeout of another block when that is longer: 0 is
// for ever.
func extend(o *riposte.Order, r *conf.Response) {
	if o.Timeout > 0 && (r.Timeout == 0 || r.Timeout > o.Timeout) {
		o.Timeout, o.Ladder = r.Timeout, r.Ladder
	}
}

// Unbound returns the responses that the alert's rule is not bound to, each
// with the reason in words: what Plan leaves out without a word.
func (p *Planner) Unbound(a *riposte.Alert) []Skipped {
	var out []Skipped
	for i := range p.responses {
		if r := &p.responses[i]; !p.bound(r, &a.Rule) {
			out = append(out, skip(r, p.unbound(r, &a.Rule)))
		}
	}
	return out
}

// unanswered says why a rule is never answered, "" when it may be.
func unanswered(r *riposte.Rule) string {
	switch {
	case r.NoAR:
		return fmt.Sprintf("rule %d has the option no_ar", r.ID)
	case r.Level == 0:
		return fmt.Sprintf("rule %d has level 0", r.ID)
	case strings.Contains(r.Groups, ownGroup) && slices.Contains(r.GroupList(), ownGroup):
		return fmt.Sprintf("rule %d reports a response (group %s); answering it would never end", r.ID, ownGroup)
	}
	return ""
}

// ownGroup is the group of the rules about active-responses.log. An answer to
// one of them would be logged there in its turn: its undo would start it again,
// for ever.
const ownGroup = "active_response"

// ownLog reports whether a record comes from the log of responses, of this or
// of another engine: whatever a rule makes of it, it is about an answer.
func ownLog(location string) bool {
	const name = "active-responses.log"
	i := len(location) - len(name)
	return i > 0 && location[i:] == name && (location[i-1] == '/' || location[i-1] == '\\' || location[i-1] == '>')
}

// places returns where a response to the alert is to run: one place, or one for
// each of several defined agents.
func places(r *conf.Response, a *riposte.Alert) []riposte.Place {
	if r.Place.All {
		return []riposte.Place{{All: true}}
	}
	var out []riposte.Place
	first := r.Place
	for _, id := range r.Agents {
		if first.Local && id == a.Agent.ID {
			continue // it is the agent of the alert
		}
		if first.Defined == "" {
			first.Defined = id
			continue
		}
		out = append(out, riposte.Place{Defined: id})
	}
	return append([]riposte.Place{first}, out...)
}
