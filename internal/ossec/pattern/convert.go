package pattern

import (
	"errors"
	"strings"

	"riposte/internal/ossec"
)

// OSSEC 4 matches OS_Match and OS_Regex by rewriting them to PCRE2, with the
// options CASELESS and UTF (which is why a subject that is not UTF-8 never
// matches), and takes a shortcut past PCRE2 for anchored plain texts. Its
// rewriting has accidents, which are kept.

// shortcut is an anchored plain text, compared byte by byte.
type shortcut osMatchAlt

// newShortcut returns nil if text is no case for the shortcut.
func newShortcut(text string) *shortcut {
	lit := strings.TrimPrefix(text, "^")
	begin := len(lit) < len(text)
	end := strings.HasSuffix(lit, "$")
	lit = strings.TrimSuffix(lit, "$")
	for i := range len(lit) {
		if c := lit[i]; !isLetter(c) && (c < '0' || '9' < c) && strings.IndexByte(" !\"#%&',/:;<=>@_`~-", c) < 0 {
			return nil
		}
	}
	m := &shortcut{text: lowerASCII(lit)}
	switch {
	case begin && end:
		m.kind = isWhole
	case begin:
		m.kind = isPrefix
	case end:
		m.kind = isSuffix
	default:
		return nil
	}
	return m
}

func (m *shortcut) match(s string) bool { return (*osMatchAlt)(m).match(s) }

func (m *shortcut) find(s string, caps []Span) (int, []Span, bool) {
	if !m.match(s) {
		return 0, caps, false
	}
	if m.kind == isPrefix {
		return len(m.text), caps, true
	}
	return len(s), caps, true
}

func (m *shortcut) literals() []string {
	return usable([]string{m.text})
}

// compileOSSECMatch compiles OSSEC's OS_Match: an empty one matches everything,
// a single anchored text is compared, everything else goes to PCRE2 with ^, $
// and | as they are.
func compileOSSECMatch(text string) (matcher, []string, error) {
	if text == "" {
		return &osMatch{alts: []osMatchAlt{{kind: isAnything}}}, nil, nil
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "^"), "$")
	if len(inner) < len(text) && !strings.ContainsAny(inner, "^$|") {
		m := &osMatch{alts: []osMatchAlt{newOSMatchAlt(text)}}
		return m, m.literals(), nil
	}
	c := converter{}
	for i := range len(text) {
		if strings.IndexByte(`.[]{}+?*()\`, text[i]) >= 0 {
			c.put(i, `\`)
		}
		c.put(i, text[i:i+1])
	}
	return c.compile(false)
}

// osClasses are OSSEC's PCRE2 forms of OS_Regex classes; in all others the
// escape is copied.
var osClasses = map[byte]string{
	'p': `[()*+,.:;<=>?\[\]!"'#%&$|{}-]`, 's': `[ ]`, 'S': `[^ ]`, 'd': `[0-9]`, 'D': `[^0-9]`,
	'w': `[A-Za-z0-9@_-]`, 'W': `[^A-Za-z0-9@_-]`, '.': `(?s:.)`,
}

// compileOSSECRegex compiles OSSEC's OS_Regex.
func compileOSSECRegex(text string, captures bool) (matcher, []string, error) {
	if text == "" {
		return nil, nil, errorAt(0, "an empty OS_Regex")
	}
	if m := newShortcut(text); m != nil {
		return m, m.literals(), nil
	}
	c := converter{}
	for i := 0; i < len(text); i++ {
		switch b := text[i]; b {
		case '\\':
			if i+1 == len(text) {
				return nil, nil, errorAt(i, `a single \ at the end: expected \\ or a class such as \d`)
			}
			i++
			switch sub, ok := osClasses[text[i]]; {
			case ok:
				c.put(i-1, sub)
			case strings.IndexByte(`t$(){}[]\|<`, text[i]) >= 0:
				c.put(i-1, text[i-1:i+1])
			default:
				return nil, nil, errorAt(i-1, `\%c: OS_Regex has only \d \D \w \W \s \S \p \t \. \( \) \[ \] \{ \} \\ \$ \| \<`, text[i])
			}
		case '$':
			c.put(i, `\z`)
		case '+', '*':
			// Whatever stands before it: a quantifier is what has a backslash two
			// bytes before.
			if i < 2 || text[i-2] != '\\' {
				c.put(i, `\`+text[i:i+1])
				break
			}
			c.put(i, text[i:i+1])
			if rest := strings.TrimLeft(text[i+1:], ")"); rest != "" && rest[0] != '|' && rest[0] != '$' {
				c.put(i, "?") // lazy, unless it is last
			}
		case '.', '[', ']', '{', '}', '?':
			c.put(i, `\`+text[i:i+1])
		default:
			c.put(i, text[i:i+1])
		}
	}
	return c.compile(captures)
}

// converter collects PCRE2 text and where each byte of it came from.
type converter struct {
	text strings.Builder
	from []int
}

func (c *converter) put(from int, s string) {
	c.text.WriteString(s)
	for range len(s) {
		c.from = append(c.from, from)
	}
}

// compile compiles what was collected. Errors are about the original text.
func (c *converter) compile(captures bool) (matcher, []string, error) {
	m, lits, err := compileText(ossec.OSSEC, c.text.String(), captures, true)
	var e *Error
	if errors.As(err, &e) && e.Offset < len(c.from) {
		err = errorAt(c.from[e.Offset], "%s", e.Message)
	}
	return m, lits, err
}
