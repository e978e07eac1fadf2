package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/executor"
	"riposte/internal/guard"
	"riposte/internal/journal"
	"riposte/internal/ossec/conf"
)

// control is the daemon as its faces see it.
type control Daemon

var _ api.Control = (*control)(nil)

// rows is how many rows a list has unless more are asked for.
const rows = 1000

// Status implements api.Control.
func (c *control) Status(ctx context.Context) (api.Status, error) {
	d := (*Daemon)(c)
	w := d.world.Load()
	s := api.Status{
		Version: d.opt.Version, Host: w.Settings.HostName(), Mode: w.Settings.Mode.String(), Dialect: w.Settings.Dialect.String(),
		Since: d.since, Config: w.ConfigName, Rules: w.RulesName,
		Guard:  guardWords(w.Settings, w.Config),
		Events: d.events.Load(), Alerts: d.fired.Load(), Orders: d.orders.Load(), Refused: d.refused.Load(),
		Problems: slices.Concat(d.problems, d.journal.Problems()),
	}
	switch {
	case d.server != nil:
		s.Role, s.Fleet = "server", d.server.words()
	case d.agent != nil:
		s.Role, s.Fleet = "agent", d.agent.words()
	}
	if w.Observing != "" {
		s.Mode, s.Reason = "observe", w.Observing
	}
	if open := d.guard.BreakerOpen(); open != "" {
		s.Problems = append(s.Problems, open)
	}
	if n := d.alerts.Lost(); n > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("%d lines of the alert logs could not be written", n))
	}
	d.inputs.Lock()
	for _, in := range d.inputs.running {
		s.Sources = append(s.Sources, in.status())
	}
	d.inputs.Unlock()
	explained, _ := w.Planner.Explain(known(w.Set))
	for i, e := range explained {
		if d.agent != nil && (d.agent.local == nil || !w.Config.Responses[i].Place.Local) {
			continue // its server decides
		}
		r := api.Response{Command: e.Command, Words: e.String()}
		choice := d.registry.Choose(w.Config.Responses[i].Command.Command)
		switch p := w.Config.Responses[i]; {
		case d.opt.Role == Alone && !p.Place.All && !p.Place.Server && !p.Place.Local && !slices.Contains(p.Agents, "000"):
			r.Problem = "it is for another host; this one is alone, and 000"
		case choice.Err != nil:
			r.Problem = oneLine(choice.Err)
		case d.clustered() && lasting(choice.Mechanism):
			r.Mechanism = "what each agent has"
		default:
			r.Mechanism = choice.Mechanism.Name()
		}
		s.Responses = append(s.Responses, r)
	}
	n, err := d.journal.Count(ctx)
	if err != nil {
		return s, err
	}
	s.InForce, s.Offenders = n.InForce, n.Offenders
	return s, nil
}

// InForce implements api.Control.
func (c *control) InForce(ctx context.Context, f api.Filter) ([]api.Block, error) {
	list, err := c.journal.InForce(ctx, filter(f))
	if err != nil {
		return nil, err
	}
	out := make([]api.Block, 0, len(list))
	for _, l := range list {
		b := api.Block{
			Order: l.Order, Host: "000", Command: l.Command.Name, Target: l.Target, Mechanism: l.Mechanism,
			State: phaseWords(l.Response), Since: l.Since, Until: l.Until, Rung: l.Rung,
			By: l.Cause.By, Rule: l.Cause.Rule, Alert: l.Cause.Alert, Reason: l.Trouble,
		}
		b.Addresses = c.aggregate.addresses(&b)
		out = append(out, b)
	}
	return out, nil
}

func phaseWords(r journal.Response) string {
	switch r.Phase {
	case journal.Pending:
		return "being applied"
	case journal.Ending:
		if r.Trouble != "" {
			return "undo failing"
		}
		return "being undone"
	}
	return "in force"
}

func filter(f api.Filter) journal.Filter {
	return journal.Filter{Target: canonical(f.Target), Command: f.Command, Limit: cmp.Or(f.Limit, rows)}
}

// canonical gives an address the text it is on record by; other targets are as
// they are.
func canonical(target string) string {
	if t, err := riposte.ParseTarget(riposte.Address, target); err == nil {
		return t.Value
	}
	return target
}

// History implements api.Control.
func (c *control) History(ctx context.Context, f api.Filter) ([]riposte.Receipt, error) {
	rs, err := c.journal.History(ctx, filter(f))
	return emptyNotNull(rs), err
}

// Why implements api.Control.
func (c *control) Why(ctx context.Context, target string) (api.Why, error) {
	w := api.Why{Target: parseTarget(target)}
	stories, err := c.journal.Why(ctx, canonical(target), rows)
	for _, s := range stories {
		w.Orders = append(w.Orders, api.WhyOrder{Order: s.Order, Receipts: s.Receipts})
	}
	if err == nil && c.server != nil {
		err = c.server.why(ctx, &w)
	}
	return w, err
}

// parseTarget guesses what kind of target a person means by a text.
func parseTarget(text string) riposte.Target {
	if t, err := riposte.ParseTarget(riposte.Address, text); err == nil {
		return t
	}
	kind := riposte.User
	if len(text) > 0 && text[0] == '/' {
		kind = riposte.File
	}
	t, err := riposte.ParseTarget(kind, text)
	if err != nil {
		return riposte.Target{}
	}
	return t
}

// Offenders implements api.Control.
func (c *control) Offenders(ctx context.Context, f api.Filter) ([]api.Offender, error) {
	list, err := c.journal.Offenders(ctx, filter(f))
	out := make([]api.Offender, 0, len(list))
	for _, o := range list {
		out = append(out, api.Offender{Command: o.Key.Command, Target: o.Key.Target, Offences: o.Count, Rung: o.Rung, Last: o.Last})
	}
	return out, err
}

// Block implements api.Control.
func (c *control) Block(ctx context.Context, r api.BlockRequest) ([]riposte.Receipt, error) {
	w := c.world.Load()
	t := parseTarget(r.Target)
	if t.Kind == riposte.None {
		return nil, &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%q is no address, account or file", r.Target),
			Hint: "give an address such as 203.0.113.9, a prefix such as 203.0.113.0/24, an account, or a path that begins with /"}
	}
	if r.For < 0 {
		return nil, &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the time %v is negative", r.For)}
	}
	cmd, err := commandFor(w.Config.Commands, r.Command, t)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	o := riposte.Order{
		ID: (*Daemon)(c).ids.New(now), Command: cmd, Target: t, Place: riposte.Place{Server: true},
		Timeout: r.For, Issued: now, By: r.By, Force: r.Force,
	}
	if r.Where != "" {
		return c.elsewhere(ctx, r.Where, o)
	}
	return c.executor.Do(ctx, []riposte.Order{o})
}

// commandFor chooses the command that is meant for a target.
func commandFor(commands []conf.Command, name string, t riposte.Target) (riposte.Command, error) {
	var names []string
	for i := range commands {
		c := &commands[i]
		if name == c.Name || name == "" && c.Needs.Kind == t.Kind {
			if c.Needs.Kind != t.Kind && c.Needs.Kind != riposte.None {
				return riposte.Command{}, &api.Error{Status: http.StatusBadRequest,
					Message: fmt.Sprintf("%s acts on %s, not on %s", c.Name, c.Needs.Kind, t.Kind)}
			}
			return c.Command, nil
		}
		names = append(names, c.Name)
	}
	if name != "" {
		return riposte.Command{}, &api.Error{Status: http.StatusNotFound,
			Message: fmt.Sprintf("there is no command %q", name), Hint: fmt.Sprintf("the configuration has %v", names)}
	}
	if t.Kind == riposte.Address {
		return riposte.Command{Name: "firewall-drop", Executable: "firewall-drop", Expect: []riposte.Kind{riposte.Address}}, nil
	}
	return riposte.Command{}, &api.Error{Status: http.StatusNotFound,
		Message: fmt.Sprintf("no command of the configuration acts on %s", t.Kind), Hint: "name one with --command"}
}

// Unblock implements api.Control.
func (c *control) Unblock(ctx context.Context, r api.UnblockRequest) ([]riposte.Receipt, error) {
	if r.Where != "" {
		return c.unblockElsewhere(ctx, r)
	}
	sel := executor.Selection{All: r.All, Command: r.Command, Filter: journal.Filter{Order: r.Order}}
	var carved []riposte.Receipt
	if r.Target != "" {
		sel.Target = canonical(r.Target)
	}
	if t := parseTarget(r.Target); t.Kind == riposte.Address && r.Order == "" {
		var err error
		sel.Keys = c.aggregate.inside(r.Command, t)
		if carved, err = c.aggregate.carve(ctx, r.Command, t, r.By); err != nil {
			return carved, err
		}
	}
	rs, err := c.executor.Undo(ctx, sel, r.By, nil)
	rs = append(carved, rs...)
	switch {
	case errors.Is(err, executor.ErrNothing) && len(carved) > 0:
		err = nil
	case errors.Is(err, executor.ErrNothing):
		return nil, &api.Error{Status: http.StatusNotFound, Message: "nothing of that is in force", Hint: "see riposte list"}
	case err != nil && len(rs) == 0:
		return nil, err
	}
	rs = append(rs, notUndone(r.Target, err)...)
	if r.Forgive {
		for _, x := range rs {
			if x.Outcome == riposte.Failed {
				continue
			}
			f := journal.Filter{Target: x.Target.Value, Command: x.Command}
			if _, err := c.executor.Forgive(ctx, f, r.By); err != nil {
				return rs, err
			}
		}
	}
	return rs, nil
}

// notUndone makes receipts of what could not be taken back when other things
// could.
func notUndone(target string, err error) (rs []riposte.Receipt) {
	each := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		each = joined.Unwrap()
	}
	for _, err := range each {
		if err == nil {
			continue
		}
		r := riposte.Receipt{Host: "000", Time: time.Now().UTC(), Outcome: riposte.Failed, Reason: err.Error() + "; it is tried again"}
		if target != "" {
			r.Target = parseTarget(target)
		}
		rs = append(rs, r)
	}
	return rs
}

// Forgive implements api.Control.
func (c *control) Forgive(ctx context.Context, r api.UnblockRequest) (int, error) {
	return c.executor.Forgive(ctx, journal.Filter{Target: canonical(r.Target), Command: r.Command}, r.By)
}

// Arm implements api.Control.
func (c *control) Arm(ctx context.Context, r api.ArmRequest) error {
	if r.For <= 0 {
		return &api.Error{Status: http.StatusBadRequest, Message: "how long the trial lasts must be more than nothing", Hint: "--confirm 5m"}
	}
	return c.executor.Arm(ctx, r.For, r.By)
}

// Confirm implements api.Control.
func (c *control) Confirm(ctx context.Context, r api.ArmRequest) (bool, error) {
	return c.executor.Confirm(ctx, r.By)
}

// Pause implements api.Control.
func (c *control) Pause(ctx context.Context, r api.PauseRequest) (bool, error) {
	if r.Resume {
		c.guard.CloseBreaker()
		return c.executor.Resume(ctx, r.By)
	}
	return true, c.executor.Pause(ctx, r.By, r.Why)
}

// Doctor implements api.Control.
func (c *control) Doctor(ctx context.Context, r api.DoctorRequest) (api.Diagnosis, error) {
	rep, err := c.executor.Reconcile(ctx, r.Repair)
	if err != nil {
		return api.Diagnosis{}, err
	}
	d := api.Diagnosis{Checked: rep.Checked, Skipped: rep.Skipped, Errors: rep.Errors}
	acts := (*Daemon)(c).world.Load().Observing == ""
	for _, x := range rep.Drift {
		mended := r.Repair && (acts || x.What == executor.Unknown)
		d.Drift = append(d.Drift, api.Drift{Mechanism: x.Mechanism, Target: x.Target, Words: driftWords(x), Mended: mended})
		if r.Repair && !mended && len(d.Errors) == 0 {
			d.Errors = append(d.Errors, "this riposte only observes, and puts nothing back")
		}
	}
	st, err := c.executor.Status(ctx)
	d.Errors = append(d.Errors, st.Problems...)
	return d, err
}

func driftWords(x executor.Drift) string {
	switch x.What {
	case executor.Missing:
		return x.Command + " is in force in the journal and not on the host"
	case executor.Unknown:
		return "riposte's on the host, and unknown to the journal"
	}
	return fmt.Sprintf("%s ends at %s on the host, at %s in the journal", x.Command, endWords(x.Until), endWords(x.Wanted))
}

func endWords(t time.Time) string {
	if t.IsZero() {
		return "no time"
	}
	return t.Local().Format(time.DateTime)
}

// Allow implements api.Control.
func (c *control) Allow(ctx context.Context, r api.AllowRequest) (api.Allowed, error) {
	var out api.Allowed
	if r.Entry != "" {
		e, err := guard.ParseEntry(r.Entry)
		if err != nil {
			return out, &api.Error{Status: http.StatusBadRequest, Message: err.Error()}
		}
		now := time.Now()
		if r.Remove {
			err = c.journal.Disallow(e.String(), r.By, now)
		} else {
			a := journal.Allowed{Entry: e.String(), Since: now, By: r.By, Why: r.Why}
			if r.For > 0 {
				a.Until = now.Add(r.For)
			}
			err = c.journal.Allow(a)
		}
		if err != nil {
			return out, err
		}
		if err := (*Daemon)(c).allowedByHand(ctx); err != nil {
			return out, err
		}
		if out.Released, err = c.executor.Recheck(ctx); err != nil {
			return out, err
		}
	}
	list, err := c.journal.AllowList(ctx)
	for _, a := range list {
		if a.Until.IsZero() || a.Until.After(time.Now()) {
			out.Entries = append(out.Entries, api.AllowEntry{Entry: a.Entry, Until: a.Until, Since: a.Since, By: a.By, Why: a.Why})
		}
	}
	return out, err
}

// allowedByHand tells the guard what was allowed by hand.
func (d *Daemon) allowedByHand(ctx context.Context) error {
	list, err := d.journal.AllowList(ctx)
	if err != nil {
		return fmt.Errorf("read the allow list: %w", err)
	}
	var entries []guard.Entry
	for _, a := range list {
		e, err := guard.ParseEntry(a.Entry)
		if err != nil {
			return fmt.Errorf("allow list in the journal: %w", err)
		}
		e.Until, e.Source = a.Until, "by hand ("+a.By+")"
		entries = append(entries, e)
	}
	d.guard.SetByHand(entries)
	return d.guard.Refresh(ctx)
}

// Reload implements api.Control.
func (c *control) Reload(ctx context.Context) (api.Reloaded, error) {
	return (*Daemon)(c).Reload(ctx)
}

// Reload reads settings, configuration and rules again, builds everything anew
// and swaps it in between two batches. On any error the old stays. What is
// built only at a start (state, logs, socket, mechanisms) is as it was.
func (d *Daemon) Reload(ctx context.Context) (api.Reloaded, error) {
	d.reload.Lock()
	defer d.reload.Unlock()
	s := d.opt.Settings
	if d.opt.Again != nil {
		var err error
		if s, err = d.opt.Again(); err != nil {
			return api.Reloaded{}, &api.Error{Message: fmt.Sprintf("nothing was reloaded: %v", err), Hint: "see riposte check"}
		}
	}
	w, err := d.load(s)
	if err != nil {
		e := &api.Error{Message: "nothing was reloaded: errors in the configuration", Hint: "see riposte check"}
		for _, f := range w.Report.Findings {
			if f.Severity.String() == "error" {
				e.Message = "nothing was reloaded: " + f.String()
				break
			}
		}
		return api.Reloaded{}, e
	}
	if _, err := allowList(s, w.Config); err != nil {
		return api.Reloaded{}, &api.Error{Message: fmt.Sprintf("nothing was reloaded: %v", err)}
	}
	engine := w.Engine(true, d.facts.Add)
	if err := d.watch(w); err != nil {
		return api.Reloaded{}, &api.Error{Message: fmt.Sprintf("nothing was reloaded: %v", err)}
	}
	d.world.Store(w)
	if d.pipeline != nil {
		d.pipeline.Swap(engine)
	}
	if err := d.applyGuard(ctx, w); err != nil {
		return api.Reloaded{}, err
	}
	if d.server != nil {
		if err := d.server.pushBundle(ctx, w); err != nil {
			return api.Reloaded{}, fmt.Errorf("reloaded here, but the agents do not know yet: %w", err)
		}
	}
	out := api.Reloaded{Config: w.ConfigName, Rules: w.RulesName}
	for _, f := range w.Report.Findings {
		out.Findings = append(out.Findings, f.String())
	}
	d.log.Info("reloaded", "config", out.Config, "rules", out.Rules)
	return out, nil
}

func emptyNotNull[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
