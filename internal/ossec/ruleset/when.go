package ruleset

import (
	"fmt"
	"strings"
	"time"
)

// Hours is the span of a rule's <time>, in minutes of the day.
type Hours struct {
	From, To int // inclusive
	Not      bool
}

// Match reports whether the local time of day is in the span.
func (h *Hours) Match(t time.Time) bool {
	m := t.Hour()*60 + t.Minute()
	return (m >= h.From && m <= h.To) != h.Not
}

// parseHours reads "9:00 am - 18:30", "!18-8", …
func parseHours(s string) (Hours, error) {
	var h Hours
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "!") {
		h.Not = true
		s = s[1:]
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return h, fmt.Errorf("%q is no span of time: expected h:mm - h:mm", s)
	}
	var err error
	if h.From, err = parseClock(from); err != nil {
		return h, err
	}
	if h.To, err = parseClock(to); err != nil {
		return h, err
	}
	if h.From > h.To {
		// The real systems keep the negation of the span between, and lose a
		// leading "!" over it.
		h.From, h.To, h.Not = h.To, h.From, true
	}
	return h, nil
}

func parseClock(s string) (int, error) {
	bad := func() (int, error) {
		return 0, fmt.Errorf("%q is no time of day: expected h:mm, h am or h pm", strings.TrimSpace(s))
	}
	t := strings.ToLower(strings.TrimSpace(s))
	hour, rest, ok := leadingNumber(t)
	if !ok || hour > 23 {
		return bad()
	}
	minute := 0
	if strings.HasPrefix(rest, ":") {
		var n int
		n, rest, ok = leadingNumber(rest[1:])
		if !ok || n > 59 {
			return bad()
		}
		minute = n
	}
	switch strings.TrimSpace(rest) {
	case "":
	case "am":
		if hour == 12 {
			hour = 0
		}
	case "pm":
		if hour < 12 {
			hour += 12
		}
	default:
		return bad()
	}
	return hour*60 + minute, nil
}

// leadingNumber reads one or two digits.
func leadingNumber(s string) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 2 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + int(s[i]-'0')
		i++
	}
	return n, s[i:], i > 0
}

// Weekdays is a set of days: bit n is time.Weekday n.
type Weekdays uint8

// Match reports whether the local day is in the set.
func (w Weekdays) Match(t time.Time) bool { return w&(1<<t.Weekday()) != 0 }

func parseWeekdays(s string) (Weekdays, error) {
	var w Weekdays
	for _, word := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' }) {
		switch word {
		case "weekdays":
			w |= 0b0111110
			continue
		case "weekends":
			w |= 0b1000001
			continue
		}
		found := false
		for d := time.Sunday; d <= time.Saturday; d++ {
			if name := strings.ToLower(d.String()); word == name || word == name[:3] {
				w |= 1 << d
				found = true
			}
		}
		if !found {
			return 0, fmt.Errorf("%q is no day of the week", word)
		}
	}
	if w == 0 {
		return 0, fmt.Errorf("no day of the week given")
	}
	return w, nil
}
