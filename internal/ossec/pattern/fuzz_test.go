package pattern

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"riposte/internal/ossec"
)

// fuzzDialect turns a fuzzer's bit into a dialect.
func fuzzDialect(o bool) ossec.Dialect {
	if o {
		return ossec.OSSEC
	}
	return ossec.Wazuh
}

// checkPattern tests what holds for every expression and subject.
func checkPattern(t *testing.T, p *Pattern, s string) {
	end, caps, ok := p.Find(s, []Span{{7, 7}})
	if ok != p.Match(s) {
		t.Fatalf("Find says %v, Match does not", ok)
	}
	if !ok {
		return
	}
	if end < -1 || end > len(s) {
		t.Fatalf("end pointer %d of %d", end, len(s))
	}
	if caps[0] != (Span{7, 7}) {
		t.Fatal("captures were not appended")
	}
	for _, c := range caps[1:] {
		if c.Start < 0 || c.End < c.Start || c.End > len(s) {
			t.Fatalf("capture %v of %d", c, len(s))
		}
	}
	for _, prev := range []byte{0, 'x'} {
		if at := p.Continue(s, end, prev); at < 0 || at > len(s) {
			t.Fatalf("continues at %d of %d", at, len(s))
		}
	}
	if lits := p.Literals(); lits != nil && !containsAny(s, lits) {
		t.Fatalf("none of the literals %q", lits)
	}
	if !beginsWell(p, s) {
		t.Fatalf("begins with %q", s[0])
	}
}

func FuzzOSRegex(f *testing.F) {
	for _, text := range []string{`^\w+ (\S+) for (\.+)$|\d*x`, `(a)(b)`, `\(\p*\)+|`, `a\s*b$`, "\\.+\xe9", `\[\]\{+`} {
		f.Add(text, "joe logged in for 3 (a) x", true, true)
		f.Add(text, "a   b\xe9", false, false)
	}
	f.Fuzz(func(t *testing.T, text, s string, o, captures bool) {
		if len(text) > 300 || len(s) > 1000 {
			return
		}
		p, err := Compile(OSRegex, fuzzDialect(o), text, captures)
		if !o && !strings.Contains(text, "\x00") {
			alts := naiveCompile(text)
			if (err == nil) != (alts != nil) {
				t.Fatalf("error %v, valid by the specification: %v", err, alts != nil)
			}
			if err == nil {
				compareNaive(t, p, alts, text, s, captures)
			}
		}
		if err == nil {
			checkPattern(t, p, s)
		}
	})
}

func FuzzPCRE2(f *testing.F) {
	for _, text := range []string{
		`^(?i)Failed (\S+) for (?:invalid )?user (\S+)$`, `([^%]+)?%(FTD)-([0-7])`, `(?mUs)a:(.*)(?:^[A-Z\s]+:)`, `^(?!^$|^-$).*`, `^(?=.*a)(?=.*R)`,
		`(*UTF)\N{U+202E}`, `(?<n>a|b)*\k<n>|\R[[:alpha:]\d-]{2,}+`, `(?<=a|bc)\bx(?>y*)`, `(?x) a # b` + "\n c", `\Q.\E[^]a-z\x41]`,
	} {
		f.Add(text, "Failed none for user joe\n", true, true)
		f.Add(text, "%FTD-6 a: bcx yy ABC: \u202e\xff", false, false)
	}
	f.Fuzz(func(t *testing.T, text, s string, o, captures bool) {
		if len(text) > 300 || len(s) > 1000 {
			return
		}
		d := fuzzDialect(o)
		p, err := Compile(PCRE2, d, text, captures)
		if err != nil {
			return
		}
		checkPattern(t, p, s)
		if m, ok := p.matcher.(*pcre); ok && m.prog.memoable {
			got, found, gaveUp := ourOffsets(m, s, false)
			again, foundAgain, gaveUpAgain := ourOffsets(m, s, true)
			if !gaveUp && !gaveUpAgain && (found != foundAgain || !slices.Equal(got, again)) {
				t.Fatalf("with memory %v, without %v", again, got)
			}
		}
	})
}

func FuzzOSMatch(f *testing.F) {
	for _, text := range []string{"^sshd|su$", "!a|b", "", "^a$|x", "a^b", "caf\xe9", "(x)+"} {
		f.Add(text, "SSHD su", true)
		f.Add(text, "xab(x)", false)
	}
	f.Fuzz(func(t *testing.T, text, s string, o bool) {
		if len(text) > 300 || len(s) > 1000 {
			return
		}
		for _, syntax := range []Syntax{OSMatch, Words, Exact} {
			if p, err := Compile(syntax, fuzzDialect(o), text, false); err == nil {
				checkPattern(t, p, s)
			}
		}
	})
}

func FuzzScanner(f *testing.F) {
	f.Add("failed|password|ssh|for root", "Failed PASSWORD for root")
	f.Fuzz(func(t *testing.T, words, s string) {
		if len(words) > 300 || len(s) > 1000 {
			return
		}
		lits := strings.Split(words, "|")
		hits := NewBits(len(lits))
		NewScanner(lits).Scan(s, hits)
		for id, l := range lits {
			if want := l != "" && strings.Contains(lowerASCII(s), lowerASCII(l)); hits.Has(id) != want {
				t.Fatalf("%q: %v, want %v", l, hits.Has(id), want)
			}
		}
	})
}

// ourOffsets is what our matcher finds, in the form of realPCRE2.find, without
// the start of the match, which it does not know.
// remember makes it use its memory from the start.
func ourOffsets(m *pcre, s string, remember bool) (offsets []int, ok, gaveUp bool) {
	if m.utf && !utf8.ValidString(s) {
		return nil, false, false
	}
	t := threads.Get().(*thread)
	defer t.release()
	t.regs = make([]int32, m.prog.slots)
	from, end := m.prog.next(s, 0), 0
	if from < 0 || !holdsAll(m.prog.must, s) {
		return nil, false, false
	}
	if remember {
		t.s = s
		m.prog.remember(t)
		var st status
		end, st = m.prog.scan(t, from)
		ok, t.remembers = st == matched, false
	} else {
		end, ok = m.prog.search(t, s, from)
	}
	if !ok {
		return nil, false, t.budget < 0
	}
	offsets = []int{end}
	regs := t.regs[:2*m.prog.groups]
	for len(regs) > 0 && regs[len(regs)-1] < 0 {
		regs = regs[:len(regs)-2]
	}
	for i := 0; i < len(regs); i += 2 {
		if regs[i+1] < 0 {
			offsets = append(offsets, -1, -1)
		} else {
			offsets = append(offsets, int(regs[i]), int(regs[i+1]))
		}
	}
	return offsets, true, false
}
