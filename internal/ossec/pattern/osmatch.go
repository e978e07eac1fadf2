package pattern

import (
	"strings"

	"riposte/internal/ossec"
)

// osMatch is an OS_Match expression that needs no regular expression: a list of
// alternatives, each a literal that stands anywhere, at the start, at the end,
// or is the whole subject.
type osMatch struct {
	alts   []osMatchAlt
	negate bool
}

type osMatchAlt struct {
	kind   osMatchKind
	text   string // lower case
	inside finder // isInside: of text
}

type osMatchKind uint8

const (
	isAnything osMatchKind = iota
	isInside
	isPrefix
	isSuffix
	isWhole
	isNever
)

func compileOSMatch(d ossec.Dialect, text string) (matcher, []string, error) {
	if limit := maxText(d); len(text) > limit {
		return nil, nil, errorAt(limit, "an OS_Match expression of %d bytes, at most %d are allowed", len(text), limit)
	}
	if d == ossec.OSSEC {
		return compileOSSECMatch(text)
	}
	m := &osMatch{}
	m.negate = strings.HasPrefix(text, "!")
	if m.negate {
		text = text[1:]
	}
	for alt := range strings.SplitSeq(text, "|") {
		m.alts = append(m.alts, newOSMatchAlt(alt))
	}
	return m, m.literals(), nil
}

// newOSMatchAlt reads one alternative of Wazuh's OS_Match: nothing in it is
// special but a leading ^ and a trailing $.
func newOSMatchAlt(s string) osMatchAlt {
	start, end := strings.HasPrefix(s, "^"), false
	s = strings.TrimPrefix(s, "^")
	if strings.HasSuffix(s, "$") {
		end, s = true, s[:len(s)-1]
	}
	a := osMatchAlt{text: lowerASCII(s)}
	switch {
	case start && end:
		a.kind = isWhole
	case s == "":
		a.kind = isAnything
	case start:
		a.kind = isPrefix
	case end:
		a.kind = isSuffix
	case hasHighByte(s):
		a.kind = isNever // the original's substring search has no table entry for these bytes
	default:
		a.kind, a.inside = isInside, newFinder(a.text, true)
	}
	return a
}

func (m *osMatch) match(s string) bool {
	for i := range m.alts {
		if m.alts[i].match(s) {
			return !m.negate
		}
	}
	return m.negate
}

func (a *osMatchAlt) match(s string) bool {
	switch a.kind {
	case isAnything:
		return true
	case isInside:
		return a.inside.index(s, 0) >= 0
	case isPrefix:
		return len(s) >= len(a.text) && equalFold(s[:len(a.text)], a.text)
	case isSuffix:
		return len(s) >= len(a.text) && equalFold(s[len(s)-len(a.text):], a.text)
	case isWhole:
		return len(s) == len(a.text) && equalFold(s, a.text)
	}
	return false
}

func (m *osMatch) find(s string, caps []Span) (int, []Span, bool) { return 0, caps, m.match(s) }

func (m *osMatch) literals() []string {
	if m.negate {
		return nil
	}
	var lits []string
	for _, a := range m.alts {
		if a.kind == isNever {
			continue
		}
		if a.text == "" {
			return nil
		}
		lits = append(lits, a.text)
	}
	return usable(worth(lits))
}

// decided reports whether all alternatives may stand anywhere.
func (m *osMatch) decided() bool {
	for i := range m.alts {
		if k := m.alts[i].kind; k != isInside && k != isNever {
			return false
		}
	}
	return !m.negate
}

// wordMatch is the expression of if_group: alternatives anywhere in the group
// string, or at its start with ^. So "auth" also hits "authentication_failed".
type wordMatch struct{ osMatch }

func compileWords(text string) (matcher, []string) {
	m := &wordMatch{}
	if text == "" {
		m.alts = []osMatchAlt{{kind: isNever}}
		return m, nil
	}
	for s := range strings.SplitSeq(text, "|") {
		a := osMatchAlt{kind: isInside}
		if strings.HasPrefix(s, "^") {
			a.kind, s = isPrefix, s[1:]
		}
		if a.text = lowerASCII(s); s == "" {
			a.kind = isAnything
		}
		a.inside = newFinder(a.text, true)
		m.alts = append(m.alts, a)
	}
	return m, m.literals()
}

// exact is the expression of a rule's action: the whole subject, byte for byte.
type exact string

func (e exact) match(s string) bool { return s == string(e) }

func (e exact) find(s string, caps []Span) (int, []Span, bool) { return 0, caps, s == string(e) }

func exactLiterals(text string) []string {
	return usable([]string{lowerASCII(text)})
}

// maxText is the length in bytes up to which OS_Match and OS_Regex texts are
// accepted (OS_PATTERN_MAXSIZE of either system).
func maxText(d ossec.Dialect) int {
	if d == ossec.OSSEC {
		return 2048
	}
	return 20480
}
