package response

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// Rule is what a loaded rule must be known by to tell which responses answer
// it.
type Rule struct {
	ID, Level int
	Groups    string // the whole group text: "syslog,sshd,authentication_failed,"
	NoAR      bool   // the rule has the option no_ar
}

func (r *Rule) rule() riposte.Rule {
	return riposte.Rule{ID: r.ID, Level: r.Level, Groups: r.Groups, NoAR: r.NoAR}
}

// Explanation says in words what a response does.
type Explanation struct {
	Command string    `json:"command"`
	Pos     ossec.Pos `json:"pos"` // of the response in ossec.conf
	Where   string    `json:"where"`
	Time    string    `json:"time"`
	When    string    `json:"when"`
	Rules   []int     `json:"rules"` // that it answers, in rising order
	Never   string    `json:"never,omitempty"`
	known   bool      // rules are loaded
}

// Explain says of each response what it does and which of the loaded rules it
// answers. The findings are about selectors that no loaded rule satisfies. When
// no rules are loaded nothing is said about them.
func (p *Planner) Explain(rules []Rule) ([]Explanation, []ossec.Finding) {
	var out []Explanation
	var findings []ossec.Finding
	for i := range p.responses {
		r := &p.responses[i]
		e := Explanation{Command: r.Command.Name, Pos: r.Pos, Where: where(r), Time: howLong(r), When: p.when(r), known: len(rules) > 0}
		switch {
		case !r.Selects():
			e.Never = "it is bound to no rule"
		case len(rules) > 0:
			e.Rules = p.answered(r, rules)
			found := p.missing(r, rules)
			if len(e.Rules) == 0 {
				e.Never = p.never(r, rules)
				found = neverFires(r, e.Never, found)
			}
			findings = append(findings, found...)
		}
		out = append(out, e)
	}
	return out, findings
}

// neverFires adds to the findings on a response's selectors that it can never
// fire.
func neverFires(r *conf.Response, why string, found []ossec.Finding) []ossec.Finding {
	if len(found) > 0 {
		found[0].Message += "; this response can never fire"
		return found
	}
	return []ossec.Finding{{Severity: ossec.Warning, Pos: r.Pos, Len: len("<active-response"), Code: "never-fires",
		Message: "this response can never fire: " + why}}
}

// String is one sentence: what, where, how long, when, and which rules.
func (e Explanation) String() string {
	s := fmt.Sprintf("%s on %s, %s, when %s", e.Command, e.Where, e.Time, e.When)
	switch {
	case e.Never != "":
		s += "; can never fire: " + e.Never
	case e.known:
		s += fmt.Sprintf("; %s: %s", count(len(e.Rules), "loaded rule qualifies", "loaded rules qualify"), shorten(e.Rules))
	}
	return s
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// shorten writes the first few ids.
func shorten(ids []int) string {
	const most = 8
	words := make([]string, 0, most+1)
	for i, id := range ids {
		if i == most {
			words = append(words, "…")
			break
		}
		words = append(words, strconv.Itoa(id))
	}
	return strings.Join(words, ", ")
}

// where says on which hosts a response runs.
func where(r *conf.Response) string {
	if r.Place.All {
		return "every host"
	}
	var words []string
	if r.Place.Local {
		words = append(words, "the host of the alert")
	}
	if r.Place.Server {
		words = append(words, "the server")
	}
	if len(r.Agents) == 1 {
		words = append(words, "agent "+r.Agents[0])
	} else if len(r.Agents) > 1 {
		words = append(words, "agents "+list(r.Agents, "and"))
	}
	return list(words, "and")
}

// howLong says when a response ends.
func howLong(r *conf.Response) string {
	if r.Timeout == 0 {
		if r.Command.Needs.Kind == riposte.None || r.Command.Needs.Optional {
			return "once"
		}
		return "until it is undone by hand"
	}
	s := fmt.Sprintf("for %d s", r.Timeout/time.Second)
	if len(r.Ladder) > 0 {
		steps := make([]string, len(r.Ladder))
		for i, d := range r.Ladder {
			steps[i] = strconv.Itoa(int(d / time.Minute))
		}
		s += fmt.Sprintf(" (then %s min)", strings.Join(steps, ", "))
	}
	return s
}

// when says which rules a response answers.
func (p *Planner) when(r *conf.Response) string {
	var parts []string
	level := fmt.Sprintf("rule level ≥ %d", r.Level)
	group := "group is " + groupWords(r.Groups)
	if slices.ContainsFunc(r.Groups, func(g conf.Group) bool { return !g.Word }) {
		group = "group matches " + groupWords(r.Groups)
	}
	switch {
	case p.both(r):
		parts = append(parts, level+" and "+group)
	default:
		if r.Level > 0 {
			parts = append(parts, level)
		}
		if len(r.Groups) > 0 {
			parts = append(parts, group)
		}
	}
	if len(r.IDs) > 0 {
		parts = append(parts, "rule is "+idWords(r.IDs))
	}
	if len(parts) == 0 {
		return "it is run by hand"
	}
	return strings.Join(parts, ", or ")
}

// answered returns the rules that a response answers.
func (p *Planner) answered(r *conf.Response, rules []Rule) []int {
	var ids []int
	for i := range rules {
		if rule := rules[i].rule(); unanswered(&rule) == "" && p.bound(r, &rule) {
			ids = append(ids, rule.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// never says why no loaded rule is answered by a response.
func (p *Planner) never(r *conf.Response, rules []Rule) string {
	for i := range rules {
		if rule := rules[i].rule(); p.bound(r, &rule) {
			return unanswered(&rule)
		}
	}
	switch {
	case len(r.IDs) > 0 && r.Level == 0 && len(r.Groups) == 0:
		return "no loaded rule has id " + idWords(r.IDs)
	case len(r.Groups) > 0 && r.Level == 0 && len(r.IDs) == 0:
		return "no loaded rule has the group " + groupWords(r.Groups)
	}
	return "there is no loaded rule of which that is true"
}

// missing finds selectors that no loaded rule satisfies.
func (p *Planner) missing(r *conf.Response, rules []Rule) []ossec.Finding {
	var out []ossec.Finding
	for _, id := range r.IDs {
		if !slices.ContainsFunc(rules, func(x Rule) bool { return x.ID == id.ID }) {
			out = append(out, ossec.Finding{Severity: ossec.Note, Pos: id.Pos, Len: id.Len, Code: "no-such-rule",
				Message: fmt.Sprintf("no loaded rule has id %d", id.ID)})
		}
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		if !slices.ContainsFunc(rules, func(x Rule) bool { return g.Match(x.Groups) }) {
			out = append(out, noGroup(g, rules))
		}
	}
	return out
}

// noGroup reports a group that no rule has.
func noGroup(g *conf.Group, rules []Rule) ossec.Finding {
	f := ossec.Finding{Severity: ossec.Warning, Pos: g.Pos, Len: len(g.Text), Code: "no-such-group",
		Message: fmt.Sprintf("no loaded rule has the group %s", g.Text)}
	if !g.Word {
		f.Message = fmt.Sprintf("no loaded rule has groups that match %s", g.Text)
		return f
	}
	if near, ok := ossec.Nearest(strings.ToLower(g.Text), groupNames(rules)); ok {
		f.Hint = fmt.Sprintf("did you mean %s?", near)
		if g.Len > 0 {
			f.Fix = &ossec.Edit{Offset: g.Pos.Offset, Len: g.Len, Text: near}
		}
	}
	return f
}

// groupNames lists the groups of the rules.
func groupNames(rules []Rule) []string {
	seen := map[string]bool{}
	var names []string
	for i := range rules {
		for name := range strings.SplitSeq(rules[i].Groups, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}
