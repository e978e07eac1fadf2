package ruleset

import (
	"fmt"
	"slices"
	"strings"

	"riposte/internal/ossec"
)

// Survey looks at a loaded set for what can do no good: rules that can never be
// final, rules that an earlier one always takes the events of, and decoders
// that read an address or an account from a place that whoever wrote the
// message may choose. What it says is certain for the first two, and a thing to
// look at for the third.
func (s *Set) Survey() []ossec.Finding {
	var out []ossec.Finding
	reached := s.reached()
	for _, r := range s.Rules {
		if why := s.dead(r, reached[r.Index]); why != "" {
			out = append(out, ossec.Finding{Severity: ossec.Warning, Pos: r.Pos, Code: "dead-rule",
				Message: fmt.Sprintf("rule %d can never fire: %s", r.ID, why), Hint: "mend it or take it out"})
		}
	}
	out = append(out, s.shadowed()...)
	out = append(out, s.unsafe()...)
	slices.SortStableFunc(out, func(a, b ossec.Finding) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		return a.Pos.Offset - b.Pos.Offset
	})
	return out
}

// reached tells which rules have a place in the tree.
func (s *Set) reached() []bool {
	out := make([]bool, len(s.Rules))
	var walk func([]*Node)
	walk = func(ns []*Node) {
		for _, n := range ns {
			if n.Rule.Index < len(out) {
				out[n.Rule.Index] = true
			}
			walk(n.Children)
		}
	}
	walk(s.Roots)
	return out
}

// dead says why a rule can never be final, "" when it may.
func (s *Set) dead(r *Rule, reached bool) string {
	switch {
	case !reached:
		return "it has no place in the rule tree"
	case r.Correlate != nil && r.Correlate.Watch < 0:
		return "no rule that was loaded before it has the id it counts"
	case r.Correlate != nil && r.Level == 0:
		return "a rule that counts earlier events cannot have level 0"
	}
	for i := range r.Conditions {
		c := &r.Conditions[i]
		if c.Kind != DecodedAs || c.Negate || s.decodes(c.Decoder) {
			continue
		}
		if !slices.ContainsFunc(s.Decoders, func(d *Decoder) bool { return d.Given == c.Text }) {
			return fmt.Sprintf("it is for events of the internal decoder %q, which riposte has no source of", c.Text)
		}
		return fmt.Sprintf("no decoder ends up with the name %q: a child takes its parent's unless it has use_own_name", c.Text)
	}
	return ""
}

// decodes reports whether a decoder of the set, or the one of Windows events,
// has the id.
func (s *Set) decodes(id int) bool {
	if s.events != nil && s.events.ID == id {
		return true
	}
	for _, d := range s.Decoders {
		if d.ID == id {
			return true
		}
	}
	return false
}

// shadowed finds rules whose every event an earlier sibling takes: one that
// asks for no more than they do, and keeps what it takes.
func (s *Set) shadowed() []ossec.Finding {
	var out []ossec.Finding
	said := map[[2]int]bool{}
	var walk func([]*Node)
	walk = func(ns []*Node) {
		for i, n := range ns {
			for _, before := range ns[:i] {
				a, b := before.Rule, n.Rule
				if said[[2]int{a.ID, b.ID}] || !takesAll(a, b) {
					continue
				}
				said[[2]int{a.ID, b.ID}] = true
				out = append(out, ossec.Finding{Severity: ossec.Warning, Pos: b.Pos, Code: "shadowed-rule",
					Message: fmt.Sprintf("rule %d never sees an event here: rule %d is tried first and matches whatever it would", b.ID, a.ID),
					Hint:    fmt.Sprintf("put it below rule %d with if_sid, or give it the higher level", a.ID)})
				break
			}
			walk(n.Children)
		}
	}
	walk(s.Roots)
	return out
}

// takesAll reports whether rule a, tried first, is final for every event that b
// would match: its conditions are among b's, and nothing in it depends on what
// came before or on its children.
func takesAll(a, b *Rule) bool {
	if a.ID == b.ID || a.NoAlert || a.Correlate != nil || a.Category != b.Category {
		return false
	}
	for i := range a.Conditions {
		c := &a.Conditions[i]
		if c.Kind == Diff || c.Kind == FTS || c.Kind == Address || c.Kind == Hour || c.Kind == Weekday || c.Kind == InList {
			return false
		}
		if !slices.ContainsFunc(b.Conditions, func(x Condition) bool { return sameCondition(c, &x) }) {
			return false
		}
	}
	return true
}

func sameCondition(a, b *Condition) bool {
	return a.Kind == b.Kind && a.Slot == b.Slot && a.Field == b.Field && a.Negate == b.Negate && a.Decoder == b.Decoder &&
		a.Compiled == b.Compiled && a.Size == b.Size && a.Name == b.Name && a.Text == b.Text
}

// unsafe finds decoders that take an address or an account from wherever in
// the record it first turns up.
func (s *Set) unsafe() []ossec.Finding {
	var out []ossec.Finding
	for _, d := range s.Decoders {
		if d.Regex == nil || d.RegexOffset != NoOffset || anchored(d.RegexText) {
			continue
		}
		i := slices.IndexFunc(d.Order, func(t Target) bool {
			return !t.Dynamic && (t.Slot == SrcIP || t.Slot == DstUser || t.Slot == SrcUser)
		})
		if i < 0 {
			continue
		}
		out = append(out, ossec.Finding{Severity: ossec.Note, Pos: d.Pos, Code: "unsafe-decoder",
			Message: fmt.Sprintf("decoder %q reads %s from wherever its regex first fits: who can write into the message before it can forge it",
				d.Given, d.Order[i].Slot),
			Hint: "begin the regex with ^, or with an offset"})
	}
	return out
}

// anchored reports whether every alternative of an expression begins at the
// start of the text.
func anchored(text string) bool {
	text = strings.TrimPrefix(text, "(?i)")
	depth, start := 0, true
	for i := 0; i < len(text); i++ {
		if start && text[i] != '^' && text[i] != '(' {
			return false
		}
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				start = true
				continue
			}
		}
		start = start && text[i] == '('
	}
	return !start
}
