package pattern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

// The naive interpreter of the OS_Regex automaton: section 4.3 of the
// specification word for word, without a thought for speed, as the judge of
// machine.go. It shares nothing with it, not even the classes.

const (
	naiveEnd   = "END"
	naiveEsc   = "ESC"
	naivePar   = "PAR"
	naiveUnset = -1000
)

type naiveAlt struct {
	cells    []string // "=x" is the literal x, "%x" the class x
	pars     map[int]int
	beg, fin bool
}

func (a *naiveAlt) cell(j int) string {
	if j >= len(a.cells) {
		return naiveEnd
	}
	return a.cells[j]
}

func (a *naiveAlt) quant(j int) bool { return a.cell(j) == "=+" || a.cell(j) == "=*" }

func naiveLow(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 32
	}
	return c
}

func naiveIn(c byte, class string) bool {
	digit := c >= '0' && c <= '9'
	word := digit || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '@' || c == '-' || c == '_'
	switch class {
	case "%d":
		return digit
	case "%D":
		return !digit
	case "%w":
		return word
	case "%W":
		return !word
	case "%s":
		return c == ' '
	case "%S":
		return c != ' '
	case "%p":
		return strings.Contains("!\"#$%&'()*+,-.:;<=>?[]{|}", string(rune(c))) && c < 128
	case "%t":
		return c == '\t'
	case "%.":
		return true
	}
	return "%"+string(rune(c)) == class
}

// naiveCompile returns nil if the pattern is an error.
func naiveCompile(text string) []naiveAlt {
	if text == "" {
		return []naiveAlt{{}}
	}
	// The alternatives: | outside parentheses and not escaped.
	var parts []string
	part, inside := "", false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i+1 == len(text) || !strings.Contains(`dwspWDS.t()\$|<`, text[i+1:i+2]) {
				return nil
			}
			part += text[i : i+2]
			i++
			continue
		case '(':
			if inside {
				return nil
			}
			inside = true
		case ')':
			if !inside {
				return nil
			}
			inside = false
		case '|':
			if inside {
				return nil
			}
			parts = append(parts, part)
			part = ""
			continue
		}
		part += text[i : i+1]
	}
	if inside {
		return nil
	}
	var alts []naiveAlt
	for _, p := range append(parts, part) {
		a := naiveAlt{pars: map[int]int{}}
		for i := 0; i < len(p); i++ {
			switch c := p[i]; {
			case c == '\\':
				i++
				a.cells = append(a.cells, naiveEsc, "%"+p[i:i+1])
			case c == '^' && i == 0:
				a.beg = true
			case c == '$' && i == len(p)-1:
				a.fin = true
			case c == '(' || c == ')':
				a.pars[len(a.cells)] = len(a.pars)
				a.cells = append(a.cells, naivePar)
			case c >= 0x80:
				a.cells = append(a.cells, "=never")
			default:
				a.cells = append(a.cells, "="+string(rune(naiveLow(c))))
			}
		}
		alts = append(alts, a)
	}
	return alts
}

// naiveRun is the machine for one alternative. steps is what it took.
func naiveRun(a naiveAlt, s string, capturing bool) (R int, marks map[int]int, ok bool, steps int) {
	n := len(s)
	i, j, M := 0, 0, false
	R = 0
	F := naiveUnset
	type slot struct{ j, i int }
	var slots [4]*slot
	marks = map[int]int{}
	mark := func(cell, at int) { marks[a.pars[cell]] = at }
	is := func(j int, c byte) bool {
		return a.cell(j) == "="+string(rune(naiveLow(c))) && c < 0x80 || a.cell(j) == naivePar && c == '('
	}
loop:
	for i < n {
		if steps++; steps > 200_000 {
			return 0, nil, false, steps
		}
		c := s[i]
		// 1
		if a.cell(j) == naiveEnd {
			if !a.fin {
				return R, marks, true, steps
			}
		} else if a.cell(j) == naivePar {
			mark(j, i)
			j++
			if a.cell(j) == naiveEnd && !a.fin {
				return R, marks, true, steps
			}
		}
		// 2
		if a.cell(j) == naiveEsc {
			K := a.cell(j + 1)
			if naiveIn(c, K) {
				x := j + 2
				if !a.quant(x) {
					j = x
					if F == naiveUnset {
						F = i
					}
					R = i
					i++
					continue
				}
				if a.cell(x) == "=*" {
					M = true
				}
				if M {
					x++
					goes, P := -1, -1
					if a.cell(x) == naivePar {
						P = x
						x++
					}
					if a.cell(x) == naiveEnd {
						goes = 1
					} else if a.cell(x) == naiveEsc {
						if naiveIn(c, a.cell(x+1)) {
							if a.quant(x + 2) {
								goes = 0
							} else {
								goes = 2
							}
						}
					} else if is(x, c) {
						M = false
						goes = 1
					}
					if goes >= 0 {
						if P >= 0 {
							if M && goes == 1 {
								mark(P, i+1)
							} else {
								mark(P, i)
							}
						}
						if a.cell(x) == naiveEnd {
							i++
							continue
						}
						x += goes
						for k := range slots {
							if slots[k] == nil {
								slots[k] = &slot{j, i}
								break
							}
						}
						j = x
					}
				} else {
					if a.cell(x+1) == naivePar {
						if i+1 == n {
							mark(x+1, i+1)
						} else {
							mark(x+1, i)
						}
					}
					M = true
				}
				R = i
				i++
				continue
			}
			if (a.cell(j+2) == naiveEnd || a.cell(j+3) == naiveEnd) && M && R != naiveUnset {
				R = i
				if !a.fin {
					return R, marks, true, steps
				}
			} else if a.cell(j+2) == "=+" && M {
				j += 3
				M = false
				continue
			} else if a.cell(j+2) == "=*" {
				j += 3
				R = i - 1
				M = false
				continue
			}
			M = false
		} else if is(j, c) { // 3
			j++
			if F == naiveUnset {
				F = i
			}
			R = i
			i++
			continue
		}
		// 4
		for k := 3; k >= 0; k-- {
			if slots[k] != nil {
				j, i = slots[k].j, slots[k].i
				slots[k] = nil
				i++
				continue loop
			}
		}
		if a.beg {
			return 0, nil, false, steps
		}
		if F != naiveUnset {
			i = F
			F = naiveUnset
		}
		j = 0
		R = naiveUnset
		i++
	}
	// The end of the subject.
	if capturing {
		for a.cell(j) != naivePar && a.cell(j) != naiveEnd {
			if a.cell(j) == naiveEsc && a.cell(j+2) == "=*" {
				j += 3
			} else {
				break
			}
		}
		if a.cell(j) == naivePar {
			mark(j, i)
		}
	}
	skip := func() {
		if a.cell(j) == naivePar {
			j++
		}
	}
	skip()
	ok = a.cell(j) == naiveEnd
	if !ok && a.cell(j) == naiveEsc && M {
		j += 2
		if a.quant(j) {
			j++
			skip()
			if a.cell(j) == naiveEnd {
				ok = true
			} else if a.cell(j) == naiveEsc {
				j += 2
				if a.cell(j) == "=*" {
					j++
					skip()
					ok = a.cell(j) == naiveEnd
				}
			}
		}
	}
	if !ok && a.cell(j) == naiveEsc {
		j += 2
		if a.cell(j) == "=*" {
			j++
			skip()
			ok = a.cell(j) == naiveEnd
		}
	}
	return R, marks, ok && R != naiveUnset, steps
}

// naiveFind tries the alternatives. tooLong says that the naive interpreter
// gave up.
func naiveFind(alts []naiveAlt, s string, captures bool) (end int, caps []Span, ok, tooLong bool) {
	parens := false
	for _, a := range alts {
		parens = parens || len(a.pars) > 0
	}
	for _, a := range alts {
		R, marks, ok, steps := naiveRun(a, s, captures && parens)
		if steps > 200_000 {
			return 0, nil, false, true
		}
		if !ok {
			continue
		}
		if captures {
			for n := 0; ; n += 2 {
				from, one := marks[n]
				to, two := marks[n+1]
				if !one || !two {
					break
				}
				if to < from {
					return 0, nil, false, false
				}
				caps = append(caps, Span{from, to})
			}
		}
		return R, caps, true, false
	}
	return 0, nil, false, false
}

// randomOSRegex writes an expression.
func randomOSRegex(r *rand.Rand) string {
	var b strings.Builder
	pick := func(s ...string) { b.WriteString(s[r.IntN(len(s))]) }
	for k := range 1 + r.IntN(8)/5 {
		if k > 0 {
			b.WriteByte('|')
		}
		if r.IntN(4) == 0 {
			b.WriteByte('^')
		}
		open := false
		for range r.IntN(7) {
			switch k := r.IntN(20); {
			case k < 8:
				pick(`\d`, `\w`, `\s`, `\p`, `\W`, `\D`, `\S`, `\.`, `\.`, `\S`, `\w`, `\d`, `\t`, `\(`, `\)`, `\\`, `\$`, `\|`, `\<`)
				pick("", "", "+", "+", "+", "*", "*")
			case k < 15:
				pick("a", "b", "A", "1", " ", ":", "ab", "from", "(", "+", "*", "$", "^", ".", "-")
			case k == 15 && r.IntN(10) == 0:
				pick(`\q`, "\xe9", `\`, "(", ")", "()")
			case !open:
				open = true
				b.WriteByte('(')
			default:
				open = false
				b.WriteByte(')')
			}
		}
		if open {
			b.WriteByte(')')
		}
		if r.IntN(5) == 0 {
			b.WriteByte('$')
		}
	}
	return strings.ReplaceAll(b.String(), "((", "(")
}

func randomLine(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(10) {
		switch w := r.IntN(14); w {
		case 0:
			b.WriteString("from")
		case 1:
			b.WriteString("10.0.0.1:22")
		case 2:
			b.WriteString("(a)")
		case 3:
			b.WriteByte(byte(r.IntN(256)))
		default:
			b.WriteByte("aabAB11 :-+*$\t\\|<(."[r.IntN(19)])
		}
		if r.IntN(4) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// TestRandomOSRegex compares the automaton with the naive interpreter of the
// specification; -pattern.pairs sets how often.
func TestRandomOSRegex(t *testing.T) {
	const subjects = 10
	r := rand.New(rand.NewPCG(*seed, 3))
	expressions, refused, checked, matches := 0, 0, 0, 0
	for checked < *pairs && !t.Failed() {
		text := randomOSRegex(r)
		alts := naiveCompile(text)
		captures := r.IntN(2) == 0
		p, err := Compile(OSRegex, ossec.Wazuh, text, captures)
		if (err == nil) != (alts != nil) {
			t.Errorf("%q: error %v, but the specification says it is valid: %v", text, err, alts != nil)
		}
		if err != nil {
			refused++
			continue
		}
		expressions++
		for range subjects {
			s := randomLine(r)
			checked++
			if compareNaive(t, p, alts, text, s, captures) {
				matches++
			}
		}
	}
	t.Logf("seed %d: %d expressions, %d comparisons, %d matches; %d expressions refused by both", *seed, expressions, checked, matches, refused)
}

func compareNaive(t *testing.T, p *Pattern, alts []naiveAlt, text, s string, captures bool) bool {
	t.Helper()
	end, caps, ok, tooLong := naiveFind(alts, s, captures)
	if tooLong {
		return false
	}
	gotEnd, gotCaps, gotOK := p.Find(s, nil)
	if gotOK != ok || ok && (gotEnd != end || !slices.Equal(gotCaps, caps)) {
		t.Errorf("%q on %q (captures %v): got %v, the specification says %v", text, s, captures,
			fmt.Sprint(gotOK, gotEnd, gotCaps), fmt.Sprint(ok, end, caps))
	}
	if p.Match(s) != ok {
		t.Errorf("%q on %q (captures %v): Match says %v", text, s, captures, !ok)
	}
	if lits := p.Literals(); ok && lits != nil && !containsAny(s, lits) {
		t.Errorf("%q matches %q, which holds none of the literals %q", text, s, lits)
	}
	if ok && !beginsWell(p, s) {
		t.Errorf("%q matches %q, but is said not to begin so", text, s)
	}
	return ok
}

func containsAny(s string, lits []string) bool {
	return slices.ContainsFunc(lits, func(l string) bool { return strings.Contains(lowerASCII(s), l) })
}

// TestStockOSRegex compares the two on the real systems' expressions, with
// their log lines and with texts made to match.
func TestStockOSRegex(t *testing.T) {
	lines := stockLines(t)
	r := rand.New(rand.NewPCG(*seed, 4))
	checked, matches := 0, 0
	for _, p := range stockPatterns(t) {
		if p.syntax != OSRegex || p.dialect != ossec.Wazuh {
			continue
		}
		alts := naiveCompile(p.text)
		compiled, err := Compile(OSRegex, ossec.Wazuh, p.text, p.captures)
		if err != nil || alts == nil {
			t.Errorf("%q: %v; valid by the specification: %v", p.text, err, alts != nil)
			continue
		}
		for k := range 7 {
			s := lines[r.IntN(len(lines))]
			if len(s) > 400 {
				s = s[:400]
			}
			if k > 2 {
				if s = naiveSample(alts[r.IntN(len(alts))], r); k > 4 {
					s = disturb(s, r)
				}
			}
			checked++
			if compareNaive(t, compiled, alts, p.text, s, p.captures) {
				matches++
			}
		}
	}
	t.Logf("%d comparisons, %d matches", checked, matches)
}

// naiveSample makes a text that the alternative may well match.
func naiveSample(a naiveAlt, r *rand.Rand) string {
	var b []byte
	for j := 0; j < len(a.cells); j++ {
		switch c := a.cells[j]; c[0] {
		case '=':
			b = append(b, c[1])
		case 'E':
			class := a.cells[j+1]
			j++
			n := 1
			if a.quant(j + 1) {
				j++
				n = 1 + r.IntN(6)
			}
			for range n {
				for {
					x := byte(' ' + r.IntN(95))
					if r.IntN(30) == 0 {
						x = byte(r.IntN(256))
					}
					if naiveIn(x, class) || class == "%t" {
						if class == "%t" {
							x = '\t'
						}
						b = append(b, x)
						break
					}
				}
			}
		}
	}
	return string(b)
}

// disturb changes a text a little: something around it, a byte changed, a part
// twice or away.
func disturb(s string, r *rand.Rand) string {
	b := []byte(s)
	const noise = " \n\tab0/:.-\"'=_XZ\x0b\x85\xa0\xe9,()"
	for range 1 + r.IntN(2) {
		switch at := r.IntN(len(b) + 1); r.IntN(6) {
		case 0:
			b = append([]byte("x "), b...)
		case 1:
			b = append(b, noise[r.IntN(len(noise))])
		case 2, 3:
			if at < len(b) {
				b[at] = noise[r.IntN(len(noise))]
			}
		case 4:
			b = append(b[:at:at], b[min(len(b), at+r.IntN(4)):]...)
		case 5:
			b = append(append(b[:at:at], b[:at]...), b[at:]...)
			if len(b) > 4000 {
				b = b[:4000]
			}
		}
	}
	return string(b)
}
