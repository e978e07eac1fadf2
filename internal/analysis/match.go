package analysis

import (
	"strings"

	"riposte/internal/ossec/ruleset"
)

// static reports whether the stateless conditions of a rule hold.
func (w *Worker) static(r *record, x *rule) bool {
	if x.never || x.decoder != 0 && r.decoderID() != x.decoder {
		return false
	}
	for i := range x.static {
		if !w.holds(r, &x.static[i]) {
			return false
		}
	}
	return true
}

// open reports whether a child is worth a look.
func (w *Worker) open(r *record, g *gate, decoder int32) bool {
	if g.decoder != 0 && g.decoder != decoder ||
		g.program >= 0 && (w.program == nil || !w.program.match.Has(int(g.program))) ||
		g.field >= 0 && w.places[g.field] == 0 {
		return false
	}
	return !w.scanned || len(g.literals) == 0 || w.any(g.literals)
}

// walk notes a node whose stateless conditions hold, and what may hold below
// it. It reports whether the outcome is settled: whether some rule at or below
// the node is final whatever was before.
func (w *Worker) walk(r *record, n *node) bool {
	at := len(r.picks)
	r.picks = append(r.picks, pick{node: n})
	settled := false
	decoder := r.decoderID()
	list := n.candidates(decoder)
	for i := range list {
		g := &list[i]
		if w.open(r, g, decoder) && w.static(r, g.node.rule) && w.walk(r, g.node) {
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
	switch c.Kind {
	case ruleset.Match:
		return (w.may(r, c.expr) && c.expr.Match(r.log)) != c.Negate
	case ruleset.Program:
		if !r.hasProg {
			return false
		}
		return w.program.match.Has(c.program) != c.Negate
	case ruleset.SlotText:
		v, ok := r.slot(c.Slot)
		return ok && c.Pattern.Match(v) != c.Negate
	case ruleset.Field:
		v, ok := w.field(r, c.Field)
		return ok && c.Pattern.Match(v) != c.Negate
	case ruleset.User:
		v, ok := r.slot(ruleset.DstUser)
		if !ok {
			v, ok = r.slot(ruleset.SrcUser)
		}
		return ok && c.Pattern.Match(v) != c.Negate
	case ruleset.Host:
		return c.Pattern.Match(r.host) != c.Negate
	case ruleset.Location:
		return c.Pattern.Match(r.location) != c.Negate
	case ruleset.Address:
		v, ok := r.slot(c.Slot)
		return ok && c.Address.Match(v) != c.Negate
	case ruleset.Size:
		return len(r.log) >= c.Size
	case ruleset.Hour:
		return c.Hours.Match(r.time)
	case ruleset.Weekday:
		return c.Days.Match(r.time)
	case ruleset.CompiledRule:
		return w.compiled(r, c.Compiled)
	case ruleset.InList:
		return w.inList(r, c)
	case ruleset.DecodedAs:
		return r.decoder != nil && r.decoder.ID == c.Decoder
	}
	return false
}

// field returns a dynamic field by its number in Set.Fields.
func (w *Worker) field(r *record, id int) (string, bool) {
	if p := w.places[id]; p > 0 {
		return r.fields[p-1].value, true
	}
	return "", false
}

func (w *Worker) inList(r *record, c *condition) bool {
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
		v, ok = w.field(r, c.Field)
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
