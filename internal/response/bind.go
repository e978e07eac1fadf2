package response

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// matches are the verdicts of a response's three selectors on a rule.
type matches struct{ level, group, id bool }

func match(r *conf.Response, rule *riposte.Rule) matches {
	return matches{
		level: r.Level > 0 && rule.Level >= r.Level,
		group: slices.ContainsFunc(r.Groups, func(g conf.Group) bool { return g.Match(rule.Groups) }),
		id:    slices.ContainsFunc(r.IDs, func(id conf.RuleID) bool { return id.ID == rule.ID }),
	}
}

// both reports whether level and group must match together: in Wazuh, when
// both are given. In OSSEC any selector suffices.
func (p *Planner) both(r *conf.Response) bool {
	return p.dialect == ossec.Wazuh && r.Level > 0 && len(r.Groups) > 0
}

// bound reports whether a rule is to be answered by a response. A rule with
// no_ar or level 0 is bound too; that it is not answered is another matter.
func (p *Planner) bound(r *conf.Response, rule *riposte.Rule) bool {
	m := match(r, rule)
	if p.both(r) {
		return m.level && m.group || m.id
	}
	return m.level || m.group || m.id
}

// unbound says why a rule is not bound to a response.
func (p *Planner) unbound(r *conf.Response, rule *riposte.Rule) string {
	m := match(r, rule)
	var why []string
	if r.Level > 0 && !m.level {
		why = append(why, fmt.Sprintf("level %d is below %d", rule.Level, r.Level))
	}
	if len(r.Groups) > 0 && !m.group {
		why = append(why, "its groups do not match "+groupWords(r.Groups))
	}
	if len(r.IDs) > 0 {
		why = append(why, "it is not "+idWords(r.IDs))
	}
	if len(why) == 0 {
		return "the response is bound to no rule"
	}
	return fmt.Sprintf("rule %d: %s", rule.ID, strings.Join(why, ", "))
}

func groupWords(groups []conf.Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Text
	}
	return list(names, "or")
}

func idWords(ids []conf.RuleID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(id.ID)
	}
	return list(words, "or")
}

// list joins words: "a", "a or b", "a, b or c".
func list(words []string, last string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
	}
	return strings.Join(words, "")
}
