package pattern

import (
	"errors"
	"strings"
	"testing"
	"time"

	"riposte/internal/ossec"
)

// TestHostile: no expression and no subject together take long, and what is too
// large is an error.
func TestHostile(t *testing.T) {
	const limit = 20 * time.Second // for all of one expression, on a busy machine
	words := strings.Repeat("word|", 4000) + "end"
	huge := strings.Repeat("a", 1<<20)
	small := []string{strings.Repeat("a", 45), strings.Repeat("ab", 1<<11), strings.Repeat("a b,\"c\"", 1<<9), strings.Repeat("\xe9", 1<<12), strings.Repeat("é", 1<<11)}
	f := func(syntax Syntax, d ossec.Dialect, text string, subjects ...string) {
		t.Helper()
		start := time.Now()
		p, err := Compile(syntax, d, text, true)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(text) {
				t.Errorf("%.60q: %v", text, err)
			}
			return
		}
		var caps []Span
		for _, s := range subjects {
			_, caps, _ = p.Find(s, caps[:0])
		}
		if took := time.Since(start); took > limit {
			t.Errorf("%v %v %.60q: %v", d, syntax, text, took)
		} else if took > time.Second {
			t.Logf("%v %v %.60q: %v", d, syntax, text, took)
		}
	}
	for _, text := range []string{`(a*)*b`, `(a+)+$`, `[ab].+x`, `a.*?b.*?c.*?x`, `(?=(a+)+b)x`, `a{0,65535}b`, `(a|b|ab)*c`, words} {
		f(PCRE2, ossec.Wazuh, text, huge)
	}
	for _, text := range []string{`\.+a\.+a\.+a\.+a\.+b`, `\w+\w+\w+\w+ \d$`, `(\.+)a(\.+)a(\.+)a(\.+)b`, words} {
		f(OSRegex, ossec.Wazuh, text, huge)
	}
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		for _, text := range []string{
			`^(a|aa)+$`, `(a*)*b`, `(a+)+$`, `(a|a)*b`, `(a+a+)+b`, `(.*)*(.*)*x`, `(\w+\s?)+:`, `([^"]+"?)*;`, `[ab].+x`, `a.+b.+c.+d.+x`,
			`a.*?b.*?c.*?x`, `(a?){30}a{30}x`, `(?=(a+)+b)x`, `(?!(a+)+$)x`, `(?>(a+)+)b`, `(a+)+\1b`, `(?<=a)(a*)*b`, `a{0,65535}b`, `(?:a{1,100}){1,100}b`,
			`(?:(?:a{1,300}){1,300}){1,300}`, `(?:(?:a{1,1000}){1000}){1000}`, `((a{0,5}){0,5}){0,5}b`, `(?i)(k|s)+x`, `\S+\s\S+\s\S+x`, `(a|b|ab)*c`,
			strings.Repeat("(", 249) + "a" + strings.Repeat(")*", 249), strings.Repeat("(", 300) + strings.Repeat(")", 300),
			strings.Repeat("(?:", 200) + "a" + strings.Repeat("|b)+", 200), words, "(" + words + ")+x", strings.Repeat("a?", 1000) + strings.Repeat("a", 1000),
			strings.Repeat("(a|b)?", 2000), strings.Repeat(`[a-z]*`, 1000) + "x", strings.Repeat(`\x{100}`, 10), "(*UTF)" + strings.Repeat(`\p{L}*`, 300) + "x",
			"(*UTF)(?i)" + strings.Repeat(`[\x{80}-\x{10FFFF}]`, 300), strings.Repeat("(?=", 200) + "a" + strings.Repeat(")", 200),
		} {
			f(PCRE2, d, text, small...)
		}
		for _, text := range []string{
			`\.+a\.+a\.+a\.+a\.+b`, `\.+\.+\.+\.+\.+x`, `(\.+)(\.+)`, `\w+a\w+a\w+a\w+a\w+$`, `\.*\.*\.*\.*x`, `a\.+a\.+b$`, `\w+\w+\w+\w+ \d$`, `(\.+)a(\.+)a(\.+)a(\.+)b`,
			strings.Repeat(`\.+a|`, 500) + "x", words, strings.Repeat(`\.+`, 600) + "x", strings.Repeat(`a`, 2000) + "b", strings.Repeat("|", 2000), strings.Repeat(`(\w)a`, 400),
		} {
			f(OSRegex, d, text, small...)
		}
		for _, text := range []string{words, strings.Repeat("|", 2000), strings.Repeat("a", 2000), strings.Repeat("^a$|", 500), strings.Repeat("a", 30000)} {
			f(OSMatch, d, text, small...)
			f(Words, d, text, small...)
			f(Exact, d, text, small...)
		}
	}
}

// TestNoAllocation: matching costs nothing but time.
func TestNoAllocation(t *testing.T) {
	if raced {
		t.Skip("the race detector empties pools at random")
	}
	const line = "Failed password for invalid user admin from 203.0.113.77 port 52113 ssh2"
	f := func(syntax Syntax, d ossec.Dialect, text string) {
		t.Helper()
		p, err := Compile(syntax, d, text, true)
		if err != nil {
			t.Fatal(err)
		}
		var caps []Span
		least := 1000.0 // a garbage collection in between empties the pool
		for range 3 {
			least = min(least, testing.AllocsPerRun(100, func() {
				p.Match(line)
				_, caps, _ = p.Find(line, caps[:0])
			}))
		}
		if least > 0 {
			t.Errorf("%q: %v allocations", text, least)
		}
	}
	f(OSMatch, ossec.Wazuh, "nothing|password")
	f(OSMatch, ossec.OSSEC, "nothing|password")
	f(OSRegex, ossec.Wazuh, `^Failed \S+ for invalid user (\S+) from (\S+) port (\d+)`)
	f(OSRegex, ossec.Wazuh, `user (\S+) \.+ port (\d+)$|x`)
	f(OSRegex, ossec.OSSEC, `user (\S+) \.+ port (\d+)$|x`)
	f(PCRE2, ossec.Wazuh, `user (\S+) .* port (\d+)( |$)|(x)`)
	f(PCRE2, ossec.Wazuh, `^(?!Accepted)(?:\S+ ?)+$`)
	f(PCRE2, ossec.OSSEC, `(?:(\w+) ?)*2$`)
	f(PCRE2, ossec.OSSEC, `(\w*)*!`)
	f(PCRE2, ossec.OSSEC, `failed|refused`)
	f(Words, ossec.Wazuh, `fail|^x`)

	s, hits := NewScanner([]string{"password", "refused", "port", "x"}), NewBits(4)
	if n := testing.AllocsPerRun(100, func() { s.Scan(line, hits) }); n > 0 {
		t.Errorf("scanner: %v allocations", n)
	}
}
