package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/ledger"
	"riposte/internal/fleet/link"
)

// serves returns the server's half, or why there is none.
func (c *control) serves() (*server, error) {
	if c.server == nil {
		return nil, &api.Error{Status: http.StatusConflict, Message: "this riposte is no server",
			Hint: "ask on the host where riposte server runs"}
	}
	if c.server.link.Load() == nil {
		return nil, &api.Error{Status: http.StatusServiceUnavailable, Message: "the server is not connected to its broker yet", Hint: "try again"}
	}
	return c.server, nil
}

// Agents implements api.FleetControl.
func (c *control) Agents(context.Context) ([]api.Agent, error) {
	s, err := c.serves()
	if err != nil {
		return nil, err
	}
	l := s.link.Load()
	out := []api.Agent{}
	for _, h := range l.Hosts() {
		out = append(out, agentView(h, l.Bundle()))
	}
	return out, nil
}

// agentView is an agent as people see it.
func agentView(h link.Host, bundle uint64) api.Agent {
	p := h.State
	a := api.Agent{
		ID: h.ID, Name: h.Name, Groups: h.Groups, Labels: h.Labels, Address: cmp.Or(p.Address, h.Address), State: "connected",
		Seen: h.Seen, Since: p.Since, Created: h.Created, Version: p.Version, OS: strings.Trim(p.OS+"/"+p.Arch, "/"), Host: p.Host,
		InForce: p.InForce, Lag: p.SpoolRecords, LagBytes: p.SpoolBytes, LagSince: p.Oldest, Dropped: p.Dropped,
		Bundle: p.Bundle, Current: bundle, Problem: cmp.Or(p.BundleError, p.Observing), Analyses: p.Analyses,
	}
	switch {
	case h.Key == "":
		a.State = "not joined"
	case h.Seen.IsZero():
		a.State = "not seen since this server started"
	case h.Quiet:
		a.State = "silent"
	}
	if !h.Seen.IsZero() && !p.Now.IsZero() {
		a.Skew = p.Now.Sub(h.Seen).Round(time.Millisecond)
		a.Behind = h.Head - min(h.Head, p.Cursor)
	}
	return a
}

// Enrol implements api.FleetControl.
func (c *control) Enrol(ctx context.Context, r api.EnrolRequest) (out api.EnrolReply, err error) {
	s, err := c.serves()
	if err != nil {
		return out, err
	}
	if r.Name == "" {
		return out, &api.Error{Status: http.StatusBadRequest, Message: "an agent needs a name", Hint: "--name web-01"}
	}
	if r.For < 0 {
		return out, &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("a token cannot be good for %v", r.For)}
	}
	token, rec, err := s.link.Load().NewToken(ctx, identity.IssueOptions{Name: r.Name, Groups: r.Groups, For: cmp.Or(r.For, time.Hour), By: r.By})
	if err != nil {
		return out, refused(err)
	}
	out = api.EnrolReply{ID: rec.ID, Token: token, Expires: rec.Expires}
	return out, s.note("enrol", r.By, fmt.Sprintf("token %s for agent %q, good until %s", rec.ID, r.Name, out.Expires.Format(time.RFC3339)))
}

// Tokens implements api.FleetControl.
func (c *control) Tokens(ctx context.Context) ([]api.Token, error) {
	s, err := c.serves()
	if err != nil {
		return nil, err
	}
	list, err := s.link.Load().Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Token{}
	for i := range list {
		out = append(out, tokenView(&list[i], time.Now()))
	}
	return out, nil
}

// tokenView is a token as people see it.
func tokenView(t *identity.TokenRecord, now time.Time) api.Token {
	out := api.Token{ID: t.ID, Name: t.Name, Groups: t.Groups, By: t.By, Issued: t.Issued, Expires: t.Expires, State: "good", Refused: t.Refused}
	switch {
	case t.UsedBy != "":
		out.State = strings.TrimSpace("used by agent " + t.Agent)
	case !t.Withdrawn.IsZero():
		out.State = "withdrawn"
	case !t.Expires.After(now):
		out.State = "expired"
	}
	if t.Refused > 0 {
		out.Problem = fmt.Sprintf("somebody else has tried it, last at %s: if the agent is not yours, remove it", t.LastTried.Local().Format(time.DateTime))
	}
	return out
}

// Withdraw implements api.FleetControl.
func (c *control) Withdraw(ctx context.Context, r api.TokenRequest) (out api.Token, err error) {
	s, err := c.serves()
	if err != nil {
		return out, err
	}
	t, err := s.link.Load().WithdrawToken(ctx, r.Token)
	if err != nil {
		return out, refused(err)
	}
	return tokenView(&t, time.Now()), s.note("token withdrawn", r.By, fmt.Sprintf("%s for agent %q", t.ID, t.Name))
}

// refused is an error that tells the person who asked what was wrong.
func refused(err error) error {
	return &api.Error{Status: http.StatusUnprocessableEntity, Message: err.Error()}
}

// find returns an enrolled agent by id or name.
func (s *server) find(text string) (identity.Record, error) {
	roster := s.link.Load().Roster()
	if r, ok := roster.Get(text); ok && r.Removed.IsZero() {
		return r, nil
	}
	if r, ok := roster.ByName(text); ok && r.Removed.IsZero() {
		return r, nil
	}
	return identity.Record{}, &api.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("there is no agent %q", text), Hint: "see riposte agents list"}
}

// enrolled returns the server's half and one of its agents, by id or name.
func (c *control) enrolled(agent string) (*server, identity.Record, error) {
	s, err := c.serves()
	if err != nil {
		return nil, identity.Record{}, err
	}
	r, err := s.find(agent)
	return s, r, err
}

// Remove implements api.FleetControl.
func (c *control) Remove(ctx context.Context, r api.AgentRequest) (out api.Agent, err error) {
	s, rec, err := c.enrolled(r.Agent)
	if err != nil {
		return out, err
	}
	if err := s.note("agent removed", r.By, fmt.Sprintf("%s (%s)", rec.ID, rec.Name)); err != nil {
		return out, err
	}
	rec, err = s.link.Load().Remove(ctx, rec.ID)
	out = api.Agent{ID: rec.ID, Name: rec.Name, State: "removed", Created: rec.Created}
	return out, err
}

// Rotate implements api.FleetControl.
func (c *control) Rotate(ctx context.Context, r api.AgentRequest) (out api.Agent, err error) {
	s, rec, err := c.enrolled(r.Agent)
	if err != nil {
		return out, err
	}
	if err := s.note("agent key", r.By, fmt.Sprintf("%s (%s) is told to change its key", rec.ID, rec.Name)); err != nil {
		return out, err
	}
	if _, err := s.link.Load().Roster().AskRotation(ctx, rec.ID); err != nil {
		return out, refused(err)
	}
	err = s.link.Load().IssueByHand(ctx, []link.Message{{ID: c.ids.New(time.Now()), To: rec.ID, Kind: fleet.KindRotate, Body: fleet.Rotate{By: r.By}}})
	return api.Agent{ID: rec.ID, Name: rec.Name, State: "told to change its key", Created: rec.Created}, err
}

// Describe implements api.FleetControl.
func (c *control) Describe(ctx context.Context, r api.DescribeRequest) (out api.Agent, err error) {
	s, rec, err := c.enrolled(r.Agent)
	if err != nil {
		return out, err
	}
	if rec, err = s.link.Load().Roster().Describe(ctx, rec.ID, r.Groups, r.Labels); err != nil {
		return out, refused(err)
	}
	out = api.Agent{ID: rec.ID, Name: rec.Name, Groups: rec.Groups, Labels: rec.Labels, Created: rec.Created}
	return out, s.note("agent described", r.By, fmt.Sprintf("%s (%s): groups %v, labels %v", rec.ID, rec.Name, rec.Groups, rec.Labels))
}

// Import implements api.FleetControl.
func (c *control) Import(ctx context.Context, r api.ImportRequest) (out api.Imported, err error) {
	s, err := c.serves()
	if err != nil {
		return out, err
	}
	records, err := s.link.Load().Roster().Import(ctx, r.Path)
	if err != nil {
		return out, refused(err)
	}
	out.Agents = []api.Agent{}
	for _, rec := range records {
		out.Agents = append(out.Agents, api.Agent{ID: rec.ID, Name: rec.Name, Address: rec.Address, State: "not joined", Created: rec.Created})
	}
	return out, s.note("agents imported", r.By, fmt.Sprintf("%d agents from a client.keys", len(records)))
}

// FleetInForce implements api.FleetControl.
func (c *control) FleetInForce(ctx context.Context, f api.Filter) ([]api.Block, error) {
	s, err := c.serves()
	if err != nil {
		return nil, err
	}
	own, err := c.InForce(ctx, f)
	if err != nil {
		return nil, err
	}
	list, err := s.ledger.InForce(ctx, ledger.Filter{Target: canonical(f.Target), Command: f.Command, Limit: cmp.Or(f.Limit, rows)})
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		own = append(own, api.Block{
			Order: e.Order, Host: e.Host, Command: e.Command, Target: e.Target, Mechanism: e.Mechanism, State: "in force",
			Since: e.Since, Until: e.Until, Rung: e.Rung, By: e.By, Rule: e.Rule, Alert: e.Alert,
		})
	}
	slices.SortStableFunc(own, func(a, b api.Block) int {
		return cmp.Or(cmp.Compare(a.Target.Value, b.Target.Value), cmp.Compare(a.Command, b.Command), cmp.Compare(a.Host, b.Host))
	})
	return own, nil
}

// Progress implements api.FleetControl.
func (c *control) Progress(ctx context.Context, r api.ProgressRequest) (out api.OrderProgress, err error) {
	s, err := c.serves()
	if err != nil {
		return out, err
	}
	if out.Outcomes, err = s.ledger.Progress(ctx, r.Order); err != nil {
		return out, err
	}
	for _, n := range out.Outcomes {
		out.Answered += n
	}
	_, out.Hosts, _ = s.link.Load().Count()
	return out, nil
}

// why adds to the stories of a target what other hosts did, and the orders
// that were theirs alone.
func (s *server) why(ctx context.Context, w *api.Why) error {
	list, err := s.ledger.Receipts(ctx, ledger.Filter{Target: w.Target.Value, Limit: 10 * rows})
	if err != nil {
		return err
	}
	at := map[string]int{}
	for i := range w.Orders {
		at[w.Orders[i].Order.ID] = i
	}
	for _, r := range slices.Backward(list) { // oldest first
		i, ok := at[r.Order]
		if !ok {
			o, err := s.ledger.Order(ctx, r.Order)
			if errors.Is(err, ledger.ErrUnknown) {
				o = &riposte.Order{ID: r.Order, Command: riposte.Command{Name: r.Command}, Target: r.Target, By: r.By, Issued: r.Time}
			} else if err != nil {
				return err
			}
			i = len(w.Orders)
			at[r.Order] = i
			w.Orders = append(w.Orders, api.WhyOrder{Order: *o})
		}
		w.Orders[i].Receipts = append(w.Orders[i].Receipts, r)
	}
	slices.SortStableFunc(w.Orders, func(a, b api.WhyOrder) int { return b.Order.Issued.Compare(a.Order.Issued) })
	for i := range w.Orders {
		slices.SortStableFunc(w.Orders[i].Receipts, func(a, b riposte.Receipt) int { return a.Time.Compare(b.Time) })
	}
	return nil
}

// elsewhere carries out by hand on other hosts what was asked for.
func (c *control) elsewhere(ctx context.Context, where string, o riposte.Order) ([]riposte.Receipt, error) {
	s, err := c.serves()
	if err != nil {
		return nil, err
	}
	to, here, err := s.addressees(where)
	if err != nil {
		return nil, err
	}
	if here && s.leaves(o.Command) {
		if here = false; len(to) == 0 {
			to = s.beside()
			here = len(to) == 0 // nobody: the executor says why
		}
	}
	if err := s.link.Load().IssueByHand(ctx, messages([]riposte.Order{o}, [][]string{to})); err != nil {
		return nil, err
	}
	var rs []riposte.Receipt
	if here {
		if rs, err = c.executor.Do(ctx, []riposte.Order{o}); err != nil {
			return nil, err
		}
	}
	return s.await(ctx, o.ID, to, rs), nil
}

// unblockElsewhere takes back on other hosts, and here when where covers it.
func (c *control) unblockElsewhere(ctx context.Context, r api.UnblockRequest) ([]riposte.Receipt, error) {
	s, err := c.serves()
	if err != nil {
		return nil, err
	}
	to, here, err := s.addressees(r.Where)
	if err != nil {
		return nil, err
	}
	u := fleet.Undo{ID: c.ids.New(time.Now()), Command: r.Command, Order: r.Order, All: r.All, Forgive: r.Forgive, By: r.By}
	if r.Target != "" {
		u.Target = parseTarget(r.Target)
	}
	// Who has it in force is asked before it is taken back.
	list, err := s.ledger.InForce(ctx, ledger.Filter{Target: canonical(r.Target), Command: r.Command, Order: r.Order, Limit: 1 << 20})
	if err != nil {
		return nil, err
	}
	var ms []link.Message
	for _, id := range to {
		ms = append(ms, link.Message{ID: u.ID + "." + id, To: id, Kind: fleet.KindUndo, Body: u})
	}
	if err := s.link.Load().IssueByHand(ctx, ms); err != nil {
		return nil, err
	}
	var rs []riposte.Receipt
	if here {
		local := r
		local.Where = ""
		if rs, err = c.Unblock(ctx, local); err != nil && !isNotFound(err) {
			return nil, err
		}
	}
	return s.awaitUndone(ctx, list, to, rs)
}
