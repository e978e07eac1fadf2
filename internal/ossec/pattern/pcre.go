package pattern

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"riposte/internal/ossec"
)

// goRegexp is a first stand-in for the PCRE2 engine.
type goRegexp struct {
	re       *regexp.Regexp
	utf      bool
	captures bool
	ossec    bool
}

func compilePCRE2(d ossec.Dialect, text string, captures bool) (matcher, []string, error) {
	if d == ossec.OSSEC {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, nil, errorAt(0, "%v", err)
	}
	return &goRegexp{re: re, captures: captures, ossec: d == ossec.OSSEC}, nil, nil
}

func (g *goRegexp) match(s string) bool {
	if g.utf && !utf8.ValidString(s) {
		return false
	}
	return g.re.MatchString(s)
}

func (g *goRegexp) find(s string, caps []Span) (int, []Span, bool) {
	if g.utf && !utf8.ValidString(s) {
		return 0, caps, false
	}
	m := g.re.FindStringSubmatchIndex(s)
	if m == nil {
		return 0, caps, false
	}
	end := m[1]
	if !g.ossec {
		end--
	}
	if !g.captures {
		return end, caps, true
	}
	top := 0
	for k := 1; k < len(m)/2; k++ {
		if m[2*k] >= 0 {
			top = k
		}
	}
	for k := 1; k <= top; k++ {
		switch {
		case m[2*k] >= 0:
			caps = append(caps, Span{m[2*k], m[2*k+1]})
		case !g.ossec:
			caps = append(caps, Span{})
		}
	}
	return end, caps, true
}

// compileOSSECRegex and compileOSSECMatch translate to PCRE2.
func compileOSSECRegex(text string, captures bool) (matcher, []string, error) {
	var b strings.Builder
	b.WriteString("(?is)")
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\':
			i++
			if i == len(text) {
				return nil, nil, errorAt(i-1, `a single \ at the end`)
			}
			sub, ok := map[byte]string{
				'd': "[0-9]", 'D': "[^0-9]", 's': "[ ]", 'S': "[^ ]", 'w': "[A-Za-z0-9@_-]", 'W': "[^A-Za-z0-9@_-]",
				'p': "[()*+,.:;<=>?\\[\\]!\"'#%&$|{}-]", '.': ".", 't': `\t`, '$': `\$`, '(': `\(`, ')': `\)`,
				'{': `\{`, '}': `\}`, '[': `\[`, ']': `\]`, '\\': `\\`, '|': `\|`, '<': `<`,
			}[text[i]]
			if !ok {
				return nil, nil, errorAt(i-1, `\%c: no class of OS_Regex`, text[i])
			}
			b.WriteString(sub)
			if i+1 < len(text) && (text[i+1] == '+' || text[i+1] == '*') {
				i++
				b.WriteByte(text[i])
				rest := strings.TrimLeft(text[i+1:], ")")
				if rest != "" && rest[0] != '|' && rest[0] != '$' {
					b.WriteByte('?')
				}
			}
		case c == '$':
			b.WriteString(`\z`)
		case strings.IndexByte(".[]{}?+*", c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	m, lits, err := compilePCRE2(ossec.OSSEC, b.String(), captures)
	if err == nil {
		m.(*goRegexp).utf = true
	}
	if text == "" {
		return nil, nil, errorAt(0, "an empty OS_Regex")
	}
	return m, lits, err
}

func compileOSSECMatch(text string) (matcher, []string, error) {
	if text == "" {
		return &osMatch{alts: []osMatchAlt{{}}}, nil, nil
	}
	var b strings.Builder
	for _, c := range []byte(text) {
		if strings.IndexByte(".[]{}+?*()\\", c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	m, lits, err := compilePCRE2(ossec.OSSEC, b.String(), false)
	if err == nil {
		m.(*goRegexp).utf = true
	}
	return m, lits, err
}
