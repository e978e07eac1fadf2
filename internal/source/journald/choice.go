package journald

import "slices"

// Choice says which entries are taken: those that pass all filters and whose
// line is kept.
type Choice struct {
	Filters []Filter
	Keep    func(line string) bool // of the line as it becomes an event; nil: every line
}

// Filter looks at one field of an entry: at the first one of its name, and of a
// value of more than 1024 bytes, unless it is the message, at as many.
type Filter struct {
	Field   string
	Match   func(value string) bool
	Missing bool // an entry without the field passes
}

// asked lists the fields that choices look at. A name that no field can have is
// not asked for: journalctl would refuse it.
func asked(choices []Choice) []string {
	var names []string
	for _, c := range choices {
		for _, f := range c.Filters {
			if fieldName([]byte(f.Field)) && !slices.Contains(names, f.Field) {
				names = append(names, f.Field)
			}
		}
	}
	return names
}

// takes reports whether an entry is taken that becomes the line.
func (s *Source) takes(e *entry, line string) bool {
	return len(s.opt.Choices) == 0 || slices.ContainsFunc(s.opt.Choices, func(c Choice) bool {
		return !slices.ContainsFunc(c.Filters, func(f Filter) bool { return !f.passes(e) }) && (c.Keep == nil || c.Keep(line))
	})
}

func (f *Filter) passes(e *entry) bool {
	for _, x := range e.asked {
		if x.name == f.Field && x.value != nil {
			return f.Match(string(x.value))
		}
	}
	return f.Missing
}
