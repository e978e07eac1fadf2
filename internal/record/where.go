package record

import (
	"strings"
	"time"

	"riposte"
)

// Where collects what rows must satisfy. The zero value takes every row.
type Where struct {
	Args  []any // of the conditions so far
	conds []string
}

// Add adds a condition with its arguments.
func (w *Where) Add(cond string, args ...any) {
	w.conds = append(w.conds, cond)
	w.Args = append(w.Args, args...)
}

// Text asks for a column to be s; "" asks for nothing.
func (w *Where) Text(column, s string) {
	if s != "" {
		w.Add(column+" = ?", s)
	}
}

// Target asks for the targets that a person means by text, as Targets has them;
// "" asks for nothing.
func (w *Where) Target(column, text string) {
	if text == "" {
		return
	}
	ts := Targets(text)
	args := make([]any, len(ts))
	for i, t := range ts {
		args[i] = t
	}
	w.Add(column+" IN (?"+strings.Repeat(",?", len(ts)-1)+")", args...)
}

// Between asks for a time not before since, and before before. Zero times ask
// for nothing.
func (w *Where) Between(column string, since, before time.Time) {
	if !since.IsZero() {
		w.Add(column+" >= ?", Nanos(since))
	}
	if !before.IsZero() {
		w.Add(column+" < ?", Nanos(before))
	}
}

// String is the WHERE of a query, "" when every row is taken.
func (w *Where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// Limit is n as LIMIT takes it: 0 and less are no limit.
func Limit(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

// Targets are the targets, as the tables hold them, that a person means by text:
// the address and the prefixes around it, the user or the file, or for "-" the
// host as a whole.
func Targets(text string) []string {
	if text == "-" {
		return []string{Target(riposte.Target{})}
	}
	t, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		return []string{Target(riposte.Target{Kind: riposte.User, Value: text}), Target(riposte.Target{Kind: riposte.File, Value: text})}
	}
	out := []string{Target(t)}
	p, _ := t.Prefix()
	for bits := p.Bits() - 1; bits >= 0; bits-- {
		if wider, err := p.Addr().Prefix(bits); err == nil {
			out = append(out, Target(riposte.Target{Kind: riposte.Address, Value: wider.String()}))
		}
	}
	return out
}
