package pattern

import (
	"fmt"
	"testing"

	"riposte/internal/ossec"
)

// compiledStock compiles all stock expressions of a dialect and language.
func compiledStock(b *testing.B, d ossec.Dialect, syntax Syntax) (all []*Pattern) {
	for _, p := range stockPatterns(b) {
		if p.dialect == d && p.syntax == syntax {
			c, err := Compile(p.syntax, p.dialect, p.text, p.captures)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, c)
		}
	}
	return all
}

// BenchmarkCompile compiles every distinct expression of both real systems.
func BenchmarkCompile(b *testing.B) {
	patterns := stockPatterns(b)
	for _, syntax := range []Syntax{OSMatch, OSRegex, PCRE2} {
		b.Run(syntax.String(), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				for _, p := range patterns {
					if p.syntax == syntax {
						if _, err := Compile(p.syntax, p.dialect, p.text, p.captures); err != nil {
							b.Fatal(err)
						}
						n++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/pattern")
		})
	}
}

// BenchmarkStock matches stock expressions with stock lines: all of them, and
// only those that a literal in the line lets through.
func BenchmarkStock(b *testing.B) {
	lines := stockLines(b)
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		for _, syntax := range []Syntax{OSMatch, OSRegex, PCRE2} {
			patterns := compiledStock(b, d, syntax)
			if len(patterns) < 20 {
				continue
			}
			type pair struct {
				p *Pattern
				s string
			}
			var all, likely []pair
			for i, p := range patterns {
				for k := range 8 {
					all = append(all, pair{p, lines[(i*31+k*7)%len(lines)]})
				}
				if p.Literals() == nil {
					continue
				}
				n := 0
				for _, s := range lines {
					if n < 4 && containsAny(s, p.Literals()) {
						likely = append(likely, pair{p, s})
						n++
					}
				}
			}
			for _, set := range []struct {
				name  string
				pairs []pair
			}{{"all", all}, {"with literal", likely}} {
				b.Run(fmt.Sprintf("%v/%v/%s", d, syntax, set.name), func(b *testing.B) {
					b.ReportAllocs()
					var caps []Span
					matches, i, n := 0, 0, 0
					for b.Loop() {
						x := &set.pairs[i]
						_, c, ok := x.p.Find(x.s, caps[:0])
						if caps = c; ok {
							matches++
						}
						n++
						if i++; i == len(set.pairs) {
							i = 0
						}
					}
					b.ReportMetric(float64(matches)/float64(n), "match/op")
				})
			}
		}
	}
}

// BenchmarkScanner scans stock lines for the literals of all stock expressions.
func BenchmarkScanner(b *testing.B) {
	lines := stockLines(b)
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		var lits []string
		for _, p := range stockPatterns(b) {
			if p.dialect == d {
				if c, err := Compile(p.syntax, p.dialect, p.text, false); err == nil {
					lits = append(lits, c.Literals()...)
				}
			}
		}
		b.Run(fmt.Sprintf("%v/build", d), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewScanner(lits)
			}
			b.ReportMetric(float64(len(lits)), "literals")
		})
		s, hits := NewScanner(lits), NewBits(len(lits))
		b.Run(fmt.Sprintf("%v/scan", d), func(b *testing.B) {
			b.ReportAllocs()
			bytes, i := 0, 0
			for b.Loop() {
				hits.Clear()
				s.Scan(lines[i], hits)
				bytes += len(lines[i])
				if i++; i == len(lines) {
					i = 0
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(bytes), "ns/byte")
		})
	}
}

// BenchmarkKinds times single expressions of the usual kinds.
func BenchmarkKinds(b *testing.B) {
	const line = "Failed password for invalid user admin from 203.0.113.77 port 52113 ssh2"
	for _, k := range []struct {
		name, text string
		syntax     Syntax
		d          ossec.Dialect
	}{
		{"osmatch", "authentication failure|failed password", OSMatch, ossec.Wazuh},
		{"osregex", `^Failed \S+ for invalid user (\S+) from (\S+) port (\d+)`, OSRegex, ossec.Wazuh},
		{"osregex-unanchored", `user (\S+) from (\S+)`, OSRegex, ossec.Wazuh},
		{"osregex-prefix-fails", `^Accepted \S+ for (\S+)`, OSRegex, ossec.Wazuh},
		{"pcre2", `^Failed \S+ for invalid user (\S+) from (\S+) port (\d+)`, PCRE2, ossec.OSSEC},
		{"pcre2-unanchored", `user (\S+) from (\S+)`, PCRE2, ossec.OSSEC},
		{"pcre2-prefix-fails", `^Accepted \S+ for (\S+)`, PCRE2, ossec.OSSEC},
		{"pcre2-dotstar", `.*user .* from .*port`, PCRE2, ossec.Wazuh},
		{"pcre2-words-fail", `denied|refused|error|attack|segfault|illegal`, PCRE2, ossec.OSSEC},
		{"pcre2-literal-fails", `(?i)powershell\.exe`, PCRE2, ossec.Wazuh},
		{"pcre2-digits", `(\d+)\.(\d+)\.(\d+)\.(\d+)`, PCRE2, ossec.Wazuh},
	} {
		p, err := Compile(k.syntax, k.d, k.text, true)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			var caps []Span
			for b.Loop() {
				_, caps, _ = p.Find(line, caps[:0])
			}
		})
	}
}
