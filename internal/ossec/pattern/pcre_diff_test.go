// Where there is a real PCRE2 to ask.
//go:build linux || darwin

package pattern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.elara.ws/pcre/lib"

	"riposte/internal/ossec"
)

// pairPCRE is an expression compiled for its captures, and once more without,
// which may make it a plain one.
type pairPCRE struct {
	*pcre
	bare matcher
}

func newPairPCRE(d ossec.Dialect, text string, utf bool) (*pairPCRE, error) {
	tree, err := parsePCRE2(text, d == ossec.OSSEC, utf)
	if err != nil {
		return nil, err
	}
	m, err := newPCRE(d, tree, true)
	if err != nil {
		return nil, err
	}
	bare, _, err := compileText(d, text, false, utf)
	return &pairPCRE{m, bare}, err
}

// compareFind checks one subject and reports whether it matched.
func compareFind(t *testing.T, name string, pair *pairPCRE, real *realPCRE2, s string) bool {
	t.Helper()
	m := pair.pcre
	want, failed := real.find(s)
	if failed {
		return false // PCRE2 ran into its limits, or the subject is not UTF-8
	}
	got, ok, gaveUp := ourOffsets(m, s, false)
	if gaveUp {
		if m.prog.memoable {
			t.Errorf("%s on %q: gave up, and need not have", name, s)
		}
		return false
	}
	if ok != (want != nil) {
		t.Errorf("%s on %q: match %v, PCRE2 says %v", name, s, ok, want != nil)
		return ok
	}
	if ok && !slices.Equal(got, want[1:]) {
		t.Errorf("%s on %q: end and groups %v, PCRE2 says %v", name, s, got, want[1:])
	}
	end, _, bare := pair.bare.find(s, nil)
	if !m.ossec {
		end++
	}
	if bare != ok || ok && end != got[0] || pair.bare.match(s) != ok {
		t.Errorf("%s on %q: without captures match %v, end %d; with them %v, %v", name, s, bare, end, ok, got)
	}
	if ok && m.lits != nil && !containsAny(s, m.lits) {
		t.Errorf("%s matches %q, which holds none of the literals %q", name, s, m.lits)
	}
	if m.prog.memoable {
		if again, same, _ := ourOffsets(m, s, true); same != ok || !slices.Equal(again, got) {
			t.Errorf("%s on %q: with memory %v, without %v", name, s, again, got)
		}
	}
	return ok
}

// TestStockPCRE2: on the real systems' expressions our matcher finds what PCRE2
// finds, on their own log lines and on texts made to match.
func TestStockPCRE2(t *testing.T) {
	lines := stockLines(t)
	rnd := rand.New(rand.NewPCG(*seed, 0))
	checked, matches := 0, 0
	for _, p := range stockPatterns(t) {
		if p.syntax != PCRE2 {
			continue
		}
		options := uint32(0)
		if p.dialect == ossec.OSSEC {
			options = lib.DPCRE2_CASELESS
		}
		compiled, err := newPairPCRE(p.dialect, p.text, false)
		if err != nil {
			t.Errorf("%q: %v", p.text, err)
			continue
		}
		real, err := newRealPCRE2(t, p.text, options)
		if err != nil {
			t.Errorf("%q: %v", p.text, err)
			continue
		}
		tree, err := parsePCRE2(p.text, p.dialect == ossec.OSSEC, false)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%v %q", p.dialect, p.text)
		check := func(s string) {
			checked++
			if compareFind(t, name, compiled, real, s) {
				matches++
			}
		}
		for range 4 {
			check(lines[rnd.IntN(len(lines))])
		}
		for i := range 8 {
			s := sample(tree.root, rnd, nil)
			if i%4 != 0 {
				s = disturb(s, rnd)
			}
			check(s)
		}
		check("")
		real.close()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d comparisons, %d matches", checked, matches)
}

// sample makes a text that n may well match.
func sample(n *node, r *rand.Rand, out []byte) string {
	var gen func(n *node)
	gen = func(n *node) {
		if len(out) > 2000 {
			return
		}
		switch n.kind {
		case nodeLit:
			for _, c := range []byte(n.text) {
				if n.fold && isLetter(c) && r.IntN(2) == 0 {
					c -= 'a' - 'A'
				}
				out = append(out, c)
			}
		case nodeSet:
			if len(n.set.wide) > 0 && (n.set.bytes.size() == 0 || r.IntN(8) == 0) {
				w := n.set.wide[r.IntN(len(n.set.wide))]
				out = utf8.AppendRune(out, w.lo+rune(r.IntN(int(w.hi-w.lo)+1)))
				return
			}
			var members []byte
			n.set.bytes.each(func(c byte) {
				if ' ' <= c && c < 0x7f || r.IntN(20) == 0 {
					members = append(members, c)
				}
			})
			if len(members) > 0 {
				out = append(out, members[r.IntN(len(members))])
			}
		case nodeCat:
			for _, s := range n.subs {
				gen(s)
			}
		case nodeAlt:
			gen(n.subs[r.IntN(len(n.subs))])
		case nodeGroup, nodeAtomic:
			gen(n.subs[0])
		case nodeRepeat:
			limit := n.max
			if limit < 0 || limit > n.min+6 {
				limit = n.min + 6
			}
			for range n.min + r.IntN(limit-n.min+1) {
				gen(n.subs[0])
			}
		}
	}
	gen(n)
	return string(out)
}

// randomPCRE2 writes expressions, most of which compile.
type randomPCRE2 struct {
	r      *rand.Rand
	out    strings.Builder
	groups int
	utf    bool
}

func (g *randomPCRE2) pick(s ...string) { g.out.WriteString(s[g.r.IntN(len(s))]) }

func (g *randomPCRE2) alternatives(depth int) {
	for i := range 1 + g.r.IntN(3) {
		if i > 0 {
			g.pick("|")
		}
		for range g.r.IntN(5) {
			g.item(depth)
		}
	}
}

func (g *randomPCRE2) item(depth int) {
	quantify := true
	if g.utf && g.r.IntN(5) == 0 {
		g.pick("é", "É", "k", "s", "ſ", "[é-í]", "[^é]", "[a-zé]", "[^\\W]", `\x{e9}`, `\x{17f}`, "[k-s]", `\N{U+E9}`, `\p{Lu}`, `\p{L&}`, `\P{Greek}`,
			`[^\p{Ll}]`, "😀", "[😀-😂]", ".", `\S`, "K", "ß", "ẞ", "[\u1e9e]", `\h`, `\R`, `\Qé\E`, "ω", "Ω", "Ω", "[α-ω]")
		if g.r.IntN(3) == 0 {
			g.pick("*", "+", "?", "{2}", "{1,2}", "*?", "++")
		}
		return
	}
	switch k := g.r.IntN(40); {
	case k < 12:
		g.pick("a", "b", "A", "c", "0", " ", "ab", "foo", "a", "b")
	case k < 15:
		g.pick(".", ".", `\w`, `\d`, `\s`, `\S`, `\W`, `\D`, `\h`, `\v`, `\N`, `\H`, `\V`)
	case k < 20:
		g.pick("[ab]", "[^a]", "[a-c0]", "[^ab\n]", `[\w-]`, `[^\s,]`, "[[:alpha:]]", "[[:^digit:]b]", `[]a]`, `[^]a]`, `[a\]]`, `[\d.]`, `[\x61-\x63]`, "[A-Z]", "[a-]", `[\b]`)
	case k < 22:
		g.pick("^", "$", `\b`, `\B`, `\A`, `\Z`, `\z`, `\G`)
		quantify = g.r.IntN(30) == 0
	case k < 23:
		g.pick(`\x61`, `\t`, `\n`, `\.`, `\-`, `\Qa+b\E`, `\Q\E`, `\E`, `\x{62}`, `\141`, `\o{142}`, `\cA`, `\R`, `\R`)
		if !g.utf {
			g.pick("\\\xe9", "\xe9", "\xc3\xa9", `\C`)
		}
	case k < 24:
		g.pick("(?i)", "(?s)", "(?m)", "(?U)", "(?-i)", "(?x) ", "(?ms-i)", "(?#c)", "(?^)", "(?J)")
		quantify = false
	case k < 25 && g.groups > 0 && depth == 3: // inside a group it may mean that group
		g.pick(`\1`, `\2`, `\g{1}`, `\g{-1}`, `\k<n>`)
	case k < 26:
		g.pick("{", "}", "{1", "]", "{,2}", "{a}", `\q`, `[z-a]`, `[\w-a]`, `\`, "**", "+", `[[:foo:]]`, "(?<=a+)", ")")
		quantify = false
	default:
		if depth == 0 {
			g.pick("a")
			break
		}
		switch g.r.IntN(14) {
		case 0, 1, 2, 3, 4:
			g.groups++
			g.pick("(")
		case 5:
			g.groups++
			g.pick("(?<n>", "(?P<m>", "(?'o'")
		case 6, 7, 8, 9:
			g.pick("(?:", "(?:", "(?i:", "(?s-i:", "(?|")
		case 10:
			g.pick("(?>")
		case 11:
			g.pick("(?=", "(?!")
		case 12:
			g.pick("(?<=a", "(?<!", "(?<=ab|", "(?<!b|a")
			g.pick(")")
			return
		case 13:
			g.pick("(?:")
		}
		g.alternatives(depth - 1)
		g.pick(")")
	}
	if quantify && g.r.IntN(3) == 0 {
		// Not {0}: PCRE2 10.40 goes wrong on {0}+ and on a \G that is repeated so.
		g.pick("*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "{1}")
		g.pick("", "", "", "?", "+")
	}
}

// randomSubject makes a text of the characters that the random expressions are
// about.
func randomSubject(r *rand.Rand, utf bool) string {
	const alphabet = "aaabbbcABC0 1\n\tf\x85\xa0\xe9,-."
	wide := []rune("éÉkKsSſßẞ😀😁ωΩ\u2126\u0085\u00a0αa b")
	var b []byte
	for range r.IntN(14) {
		switch {
		case r.IntN(12) == 0:
			b = append(b, "foo"...)
		case utf && r.IntN(60) > 0:
			b = utf8.AppendRune(b, wide[r.IntN(len(wide))])
		default:
			b = append(b, alphabet[r.IntN(len(alphabet))])
		}
	}
	return string(b)
}

// TestRandomPCRE2 compares our matcher with PCRE2 on random expressions and
// subjects; -pattern.pairs sets how many.
func TestRandomPCRE2(t *testing.T) {
	t.Run("bytes", func(t *testing.T) { compareRandom(t, false) })
	t.Run("UTF", func(t *testing.T) { compareRandom(t, true) })
}

func compareRandom(t *testing.T, utf bool) {
	const subjects = 8
	r := rand.New(rand.NewPCG(*seed, 2))
	compiled, refused, checked, matches := 0, 0, 0, 0
	for checked < *pairs && !t.Failed() {
		g := &randomPCRE2{r: r, utf: utf}
		g.alternatives(3)
		text := g.out.String()
		caseless := r.IntN(3) == 0
		// Without the optimizations that change verdicts: among others, PCRE2
		// believes every \h and \v to be a \s, and no \R to be a dot.
		options, dialect := uint32(lib.DPCRE2_NO_AUTO_POSSESS|lib.DPCRE2_NO_START_OPTIMIZE), ossec.Wazuh
		if caseless {
			options, dialect = options|lib.DPCRE2_CASELESS, ossec.OSSEC
		}
		if utf {
			options |= lib.DPCRE2_UTF
		}
		real, realErr := newRealPCRE2(t, text, options)
		m, err := newPairPCRE(dialect, text, utf)
		if (err == nil) != (realErr == nil) {
			if realErr == nil && strings.Contains(err.Error(), "not supported") {
				refused++
				real.close()
				continue
			}
			t.Errorf("%q: our error: %v; PCRE2's: %v", text, err, realErr)
		}
		if err != nil || realErr != nil {
			continue
		}
		compiled++
		for range subjects {
			s := randomSubject(r, utf)
			checked++
			if compareFind(t, fmt.Sprintf("%v %q", dialect, text), m, real, s) {
				matches++
			}
		}
		real.close()
	}
	t.Logf("seed %d: %d expressions, %d comparisons, %d matches; %d refused", *seed, compiled, checked, matches, refused)
}
