package analysis

import (
	"strings"

	"riposte/internal/ossec/ruleset"
)

// static reports whether the stateless conditions of a rule hold.
func (w *Worker) static(r *record, x *rule) bool {
	return !x.never && (x.decoder == 0 || r.decoderID() == x.decoder) && w.all(r, x.static)
}

// all reports whether all of some stateless conditions hold.
func (w *Worker) all(r *record, conditions []condition) bool {
	for i := range conditions {
		if !w.holds(r, &conditions[i]) {
			return false
		}
	}
	return true
}

// open reports whether a child is worth a look.
func (w *Worker) open(r *record, g *gate, decoder int32) bool {
	if g.decoder != 0 && g.decoder != decoder ||
		g.program >= 0 && (w.program == nil || !w.program.match.Has(int(g.program))) ||
		g.field >= 0 && w.places[g.field] == 0 ||
		g.expr != nil && g.expr.fails(r.log, 0) {
		return false
	}
	return len(g.literals) == 0 || w.any(r, g.literals)
}

// walk notes a node whose stateless conditions hold, and what may hold below
// it. It reports whether the outcome is settled: whether some rule at or below
// the node is final whatever was before.
func (w *Worker) walk(r *record, n *node) bool {
	at := len(r.picks)
	r.picks = append(r.picks, pick{node: n})
	settled := false
	decoder := r.decoderID()
	list, begin := w.among(r, n.candidates(decoder))
	for i := range list {
		g := list[i]
		if (begin == 0 || (begin^g.begin)&g.mask == 0) && w.open(r, g, decoder) && w.all(r, g.static) && w.walk(r, g.node) {
			settled = true
			break
		}
	}
	r.picks[at].end = int32(len(r.picks))
	switch {
	case n.waits:
		return false
	case settled:
		return true
	case !n.NoAlert:
		return true
	case len(r.picks) == at+1:
		r.picks = r.picks[:at] // a group rule without a member
	}
	return false
}

// holds reports whether one stateless condition holds.
func (w *Worker) holds(r *record, c *condition) bool {
	switch c.kind {
	case ruleset.Match:
		return (!c.expr.fails(r.log, 0) && w.may(r, c.expr) && (c.expr.decided || c.expr.Match(r.log))) != c.negate
	case ruleset.Field:
		v, ok := w.field(r, c.field)
		return ok && c.pattern.Match(v) != c.negate
	case ruleset.SlotText:
		v, ok := r.slot(c.slot)
		return ok && c.pattern.Match(v) != c.negate
	case ruleset.Program:
		return r.hasProg && w.program.match.Has(int(c.program)) != c.negate
	case ruleset.User:
		v, ok := r.slot(ruleset.DstUser)
		if !ok {
			v, ok = r.slot(ruleset.SrcUser)
		}
		return ok && c.pattern.Match(v) != c.negate
	case ruleset.Host:
		return c.pattern.Match(r.host) != c.negate
	case ruleset.Location:
		return c.pattern.Match(r.location) != c.negate
	case ruleset.Address:
		v, ok := r.slot(c.slot)
		return ok && c.of.Address.Match(v) != c.negate
	case ruleset.Size:
		return len(r.log) >= c.of.Size
	case ruleset.Hour:
		return c.of.Hours.Match(r.time)
	case ruleset.Weekday:
		return c.of.Days.Match(r.time)
	case ruleset.CompiledRule:
		return w.compiled(r, c.of.Compiled)
	case ruleset.InList:
		return w.inList(r, c.of)
	case ruleset.DecodedAs:
		return r.decoder != nil && r.decoder.ID == c.of.Decoder
	}
	return false
}

// field returns a dynamic field by its number in Set.Fields.
func (w *Worker) field(r *record, id int32) (string, bool) {
	if p := w.places[id]; p > 0 {
		return r.fields[p-1].value, true
	}
	return "", false
}

func (w *Worker) inList(r *record, c *ruleset.Condition) bool {
	var v string
	ok := true
	switch c.Of {
	case ruleset.User:
		if v, ok = r.slot(ruleset.SrcUser); !ok {
			v, ok = r.slot(ruleset.DstUser)
		}
	case ruleset.Host:
		v = r.host
	case ruleset.Program:
		v, ok = r.program, r.hasProg
	case ruleset.Field:
		v, ok = w.field(r, int32(c.Field))
	default:
		v, ok = r.slot(c.Slot)
	}
	return ok && c.List.Match(v)
}

// compiled evaluates the conditions that are code.
func (w *Worker) compiled(r *record, c ruleset.Compiled) bool {
	switch c {
	case ruleset.SimpleHTTPRequest:
		url, ok := r.slot(ruleset.URL)
		if !ok || strings.IndexByte(url, '?') >= 0 {
			return false
		}
		if action, ok := r.slot(ruleset.Action); ok && !w.plan.wazuh && !equalFold(action, "GET") {
			return false
		}
		return true
	case ruleset.ValidCrawler:
		return w.crawler(r.log)
	case ruleset.SrcUserDstUser:
		src, ok1 := r.slot(ruleset.SrcUser)
		dst, ok2 := r.slot(ruleset.DstUser)
		return !ok1 || !ok2 || src == dst
	case ruleset.IDSize:
		id, ok := r.slot(ruleset.ID)
		return ok && len(id) >= 10
	case ruleset.TargetCallerUser:
		target, ok1 := windowsUser(r.log, "Target Account Name")
		caller, ok2 := windowsUser(r.log, "Caller User Name")
		return ok1 && ok2 && target != caller
	}
	return false
}

// crawler reports whether a web log line comes from an address of a known
// search engine.
func (w *Worker) crawler(log string) bool {
	for _, p := range [...]string{"72.14.", "209.85.", "65.55.", "207.46.", "74.6.", "72.30.", "67.195."} {
		if strings.HasPrefix(log, p) {
			return true
		}
	}
	return w.plan.wazuh && strings.HasPrefix(log, "66.249.")
}

// windowsUser returns what follows the first colon behind a label, up to a tab
// or two spaces.
func windowsUser(log, label string) (string, bool) {
	_, s, ok := strings.Cut(log, label)
	if !ok {
		return "", false
	}
	if _, s, ok = strings.Cut(s, ":"); !ok {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '\t' || s[i] == ' ' && i+1 < len(s) && s[i+1] == ' ' {
			return s[:i], true
		}
	}
	return "", false
}
