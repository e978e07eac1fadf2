package analysis

import (
	"fmt"

	"riposte"
	"riposte/internal/ossec/ruleset"
)

// Verdict is all that a log test tells about one event.
type Verdict struct {
	Record  *riposte.Alert // what is known of the event; its rule is zero when none matched
	Log     string         // what expressions were matched against
	Rule    *ruleset.Rule  // the final rule, of any level; nil: none
	Fired   int            // how often the rule was final
	Alert   bool           // an alert would be written
	Ignored bool           // the rule is silent, or the event ignored
	Trace   []Step         // when asked for
}

// Step is one rule that was tried.
type Step struct {
	Depth   int // in the rule tree
	Rule    *ruleset.Rule
	Matched bool
	Reason  string // why not
}

// Test judges one event as Analyse does and tells everything about it. With
// trace every rule is tried in the order of the real systems, without the short
// cuts of Analyse; the verdict is the same.
func (e *Engine) Test(ev *riposte.Event, trace bool) Verdict {
	r := &e.rec
	e.worker.prepare(r, ev)
	e.begin(r)
	v := Verdict{Log: string([]byte(r.log))}
	var final, above *rule
	switch {
	case e.repeated(r) || r.dropped:
	case trace && r.category != ruleset.OSSECAlert:
		final, above = e.traced(r, &v)
	default:
		final, above = e.verdict(r)
	}
	v.Fired = r.fired
	x := final
	if final != nil {
		v.Rule = final.Rule
		if final.Level > 0 {
			var ok bool
			x, ok = e.answer(r, final, above)
			v.Ignored = !ok
			if v.Ignored {
				x = final
			}
			// The log test of Wazuh does not look at log options, and does
			// not alert for a forwarded alert.
			v.Alert = ok && x.Log
			if e.plan.wazuh && !e.opt.Live {
				v.Alert = ok && x.Level >= e.plan.set.LogLevel && r.category != ruleset.OSSECAlert
			}
			if ok {
				e.memory.ignore(r, x)
			}
		}
	}
	var c cloner
	var id []byte
	if x != nil {
		id = e.nextID(r)
	}
	c.take(r, id)
	v.Record = e.alert(r, x, &c)
	v.Record.Log = v.Alert
	if final != nil && final.Level > 0 && !v.Ignored {
		e.retain(r, x, &c)
	}
	return v
}

// traced walks the whole tree and notes why each rule did not match.
func (e *Engine) traced(r *record, v *Verdict) (final, above *rule) {
	for _, n := range e.plan.roots {
		if n.Category != r.category {
			continue
		}
		if f := e.try(r, n, 0, v); f != nil {
			s := &e.state[f.Index]
			s.fired++
			r.fired = s.fired
			if f.parent != nil {
				above = f.parent.rule
			}
			return f.rule, above
		}
	}
	return nil, nil
}

func (e *Engine) try(r *record, n *node, depth int, v *Verdict) *node {
	at := len(v.Trace)
	v.Trace = append(v.Trace, Step{Depth: depth, Rule: n.Rule})
	if why := e.failing(r, n.rule); why != "" {
		v.Trace[at].Reason = why
		return nil
	}
	v.Trace[at].Matched = true
	for i := range n.children.gates {
		if f := e.try(r, n.children.gates[i].node, depth+1, v); f != nil {
			return f
		}
	}
	if !n.NoAlert {
		return n
	}
	v.Trace[at].Matched = false
	v.Trace[at].Reason = "the rule alerts only through its children (noalert), and none of them matched"
	e.quoted = e.quoted[:0]
	return nil
}

// failing tests a rule's conditions in the order of the real systems and says
// which is the first that fails.
func (e *Engine) failing(r *record, x *rule) string {
	e.worker.enterPlaces(r)
	defer e.worker.leavePlaces(r)
	for i := range x.Conditions {
		c := &x.Conditions[i]
		var ok bool
		switch c.Kind {
		case ruleset.Diff:
			ok = e.memory.changed(r, x)
		case ruleset.FTS:
			ok = e.memory.firstTime(r)
		case ruleset.Match:
			ok = c.Pattern.Match(r.log) != c.Negate
		case ruleset.Program:
			ok = r.hasProg && c.Pattern.Match(r.program) != c.Negate
		default:
			plain := newCondition(c)
			ok = e.worker.holds(r, &plain)
		}
		if !ok {
			return e.reason(r, c)
		}
	}
	if x.Correlate == nil {
		return ""
	}
	if x.search == nil {
		return "it counts events of a rule that does not exist"
	}
	plain := rule{Rule: x.Rule, search: x.search}
	if !e.holds(r, &plain) {
		return fmt.Sprintf("not enough earlier events in %d seconds (frequency %d)", x.Timeframe, x.Written)
	}
	return ""
}

// reason says in words why a condition fails.
func (e *Engine) reason(r *record, c *ruleset.Condition) string {
	want := fmt.Sprintf("%q", c.Text)
	if c.Negate {
		want = "anything but " + want
	}
	have := func(v string, ok bool) string {
		if !ok {
			return fmt.Sprintf("the event has no %s (%s was expected)", c.Name, want)
		}
		return fmt.Sprintf("%s is %q, %s was expected", c.Name, v, want)
	}
	switch c.Kind {
	case ruleset.DecodedAs:
		if r.decoder == nil {
			return fmt.Sprintf("no decoder matched (%s was expected)", want)
		}
		return fmt.Sprintf("decoded as %q, %s was expected", r.decoder.Name, want)
	case ruleset.Match:
		return fmt.Sprintf("%s %s does not match the log", c.Name, want)
	case ruleset.Program:
		return have(r.program, r.hasProg)
	case ruleset.SlotText, ruleset.Address:
		v, ok := r.slot(c.Slot)
		return have(v, ok)
	case ruleset.Field:
		v, ok := r.field(c.Field)
		return have(v, ok)
	case ruleset.User:
		v, ok := r.slot(ruleset.DstUser)
		if !ok {
			v, ok = r.slot(ruleset.SrcUser)
		}
		return have(v, ok)
	case ruleset.Host:
		return have(r.host, true)
	case ruleset.Location:
		return have(r.location, true)
	case ruleset.Size:
		return fmt.Sprintf("the log has %d bytes, at least %d were expected", len(r.log), c.Size)
	case ruleset.Hour, ruleset.Weekday:
		return fmt.Sprintf("%s %s does not include %s", c.Name, want, r.time.Format("Mon 15:04"))
	case ruleset.Diff:
		return "the log is the same as before, or the first of its kind (check_diff)"
	case ruleset.FTS:
		return "not seen for the first time (if_fts)"
	case ruleset.InList:
		return fmt.Sprintf("the look-up in the list %s failed", c.Text)
	}
	return fmt.Sprintf("%s %s does not hold", c.Name, want)
}
