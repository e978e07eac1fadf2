// Package pattern compiles the expressions of OSSEC and Wazuh rules, decoders
// and configuration files, and matches them as the real systems do: OS_Match,
// OS_Regex and PCRE2, plus the two trivial forms of if_group and action.
//
// Subjects are byte strings: no encoding is assumed except where the original
// assumes one. A compiled pattern is immutable and safe for concurrent use, no
// match allocates, and no pattern and subject together take unbounded time.
//
// It does not know which language a rule element is written in; that is the
// ruleset's business.
package pattern

import (
	"fmt"

	"riposte/internal/ossec"
)

// Syntax is an expression language.
type Syntax uint8

// The expression languages of rule and decoder files.
const (
	OSMatch Syntax = iota // OS_Match ("sregex"): literals, ^, $, |
	OSRegex               // OS_Regex: \w+, \.*, captures
	PCRE2                 // PCRE2; without case in OSSEC
	Words                 // the word match of if_group
	Exact                 // the whole subject, byte for byte
)

func (s Syntax) String() string {
	return [...]string{"osmatch", "osregex", "pcre2", "words", "exact"}[s]
}

// Span is a part of a subject: the bytes from Start up to but not including End.
type Span struct{ Start, End int }

// Error says what is wrong with a pattern and where.
type Error struct {
	Offset  int    // in bytes from the start of the pattern
	Message string // what was read and what was expected
}

func (e *Error) Error() string { return fmt.Sprintf("at offset %d: %s", e.Offset, e.Message) }

func errorAt(offset int, format string, args ...any) error {
	return &Error{Offset: offset, Message: fmt.Sprintf(format, args...)}
}

// A matcher is one engine's compiled form of one pattern.
type matcher interface {
	match(s string) bool
	find(s string, caps []Span) (end int, _ []Span, ok bool)
}

// Pattern is a compiled expression.
type Pattern struct {
	matcher  matcher
	literals []string
	// lastByte: end pointers name the last byte of the match instead of the
	// first byte behind it.
	lastByte bool
}

// Compile reads text as an expression of the given language and dialect.
// captures says whether Find is to return captures; in Wazuh's OS_Regex it can
// change the verdict too, so it must be true for a decoder's regex and for
// nothing else. The error is an *Error.
func Compile(syntax Syntax, d ossec.Dialect, text string, captures bool) (*Pattern, error) {
	p := &Pattern{lastByte: d == ossec.Wazuh}
	var err error
	switch syntax {
	case OSMatch:
		p.matcher, p.literals, err = compileOSMatch(d, text)
	case OSRegex:
		p.matcher, p.literals, err = compileOSRegex(d, text, captures)
	case PCRE2:
		p.matcher, p.literals, err = compilePCRE2(d, text, captures)
	case Words:
		p.matcher, p.literals = compileWords(text)
	case Exact:
		p.matcher, p.literals = exact(text), exactLiterals(text)
	default:
		return nil, errorAt(0, "unknown expression language %d", syntax)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Match reports whether the pattern matches s.
func (p *Pattern) Match(s string) bool { return p.matcher.match(s) }

// Find matches like Match and appends the captures to caps, in the order in
// which the dialect hands them to a decoder's field list: OSSEC leaves out
// groups that took no part and shifts the later ones down, Wazuh hands over an
// empty text for those and stops after the last group that took part. A pattern
// compiled without captures appends nothing.
//
// end is the dialect's end pointer (only for Continue). OSSEC: the offset
// behind the match. Wazuh: the offset of the last matched byte, which is -1
// for an empty match at the start, and for OS_Regex is where its automaton says
// so: on the first byte of a capturing run at the end of the pattern, or one
// byte past an uncaptured one. Neither system uses the end pointer of an
// OS_Match, and Words and Exact have none: there it means nothing.
func (p *Pattern) Find(s string, caps []Span) (end int, _ []Span, ok bool) {
	return p.matcher.find(s, caps)
}

// Continue turns the end pointer that Find(s) gave into the offset in s where a
// following expression starts, between 0 and len(s). prev is the byte in front
// of s in the record it was cut from, 0 if there is none: with Wazuh's end
// pointer -1 it decides between the start of s and nothing at all.
func (p *Pattern) Continue(s string, end int, prev byte) int {
	switch {
	case !p.lastByte:
		return end
	case end < 0:
		if prev == 0 {
			return len(s)
		}
		return 0
	case end >= len(s):
		return len(s)
	case s[end] == 0:
		return end
	}
	return end + 1
}

// Literals returns lower-case literals of which at least one occurs, ignoring
// ASCII case, in every subject that the pattern matches. nil means that nothing
// can be said. The slice is shared: do not change it.
func (p *Pattern) Literals() []string { return p.literals }

// Prefix returns a lower-case text that every subject which the pattern matches
// begins with, ignoring ASCII case; "" means that nothing can be said.
func (p *Pattern) Prefix() string {
	switch m := p.matcher.(type) {
	case *osMatch:
		if len(m.alts) == 1 && !m.negate && m.alts[0].kind == isPrefix {
			return m.alts[0].text
		}
	case *osRegex:
		if len(m.alts) == 1 && m.alts[0].begin && m.alts[0].headAt == 0 {
			return m.alts[0].head.lit
		}
	}
	return ""
}

// Decided reports whether Literals say it all: whether the pattern matches every
// subject in which one of them occurs, ignoring ASCII case.
func (p *Pattern) Decided() bool {
	switch m := p.matcher.(type) {
	case *osMatch:
		return p.literals != nil && m.decided()
	case *osRegex:
		return p.literals != nil && m.decided()
	}
	return false
}
