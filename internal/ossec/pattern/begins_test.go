package pattern

import (
	"math/rand/v2"
	"testing"

	"riposte/internal/ossec"
)

// TestBegins: what a match can begin with is known of anchored expressions.
func TestBegins(t *testing.T) {
	f := func(syntax Syntax, d ossec.Dialect, text, yes, no string) {
		t.Helper()
		p, err := Compile(syntax, d, text, true)
		if err != nil {
			t.Fatal(err)
		}
		set := p.Begins()
		for i := range len(yes) {
			if set != nil && !set.Has(int(yes[i])) {
				t.Errorf("%s %q cannot begin with %q", syntax, text, yes[i])
			}
		}
		for i := range len(no) {
			if set == nil || set.Has(int(no[i])) {
				t.Errorf("%s %q can begin with %q", syntax, text, no[i])
			}
		}
	}
	f(OSMatch, ossec.Wazuh, "^sshd|^SU|^b$", "sSbB", "axuh")
	f(OSMatch, ossec.Wazuh, "^sshd|su", "sax", "")
	f(OSMatch, ossec.Wazuh, "!^sshd", "sax", "")
	f(OSMatch, ossec.OSSEC, "^sshd", "sS", "ax")
	f(OSRegex, ossec.Wazuh, `^(\d+)x|^[Z`, "09[", "xzZ")
	f(OSRegex, ossec.Wazuh, `^\d*x`, "09x", "")
	f(OSRegex, ossec.Wazuh, `^\d*x|a`, "09xyz", "")
	f(OSRegex, ossec.Wazuh, `^abc$`, "aA", "bB")
	f(OSRegex, ossec.OSSEC, `^\d\d`, "09", "xa")
	f(PCRE2, ossec.Wazuh, `^(?:ab|\d)`, "a0", "Abx")
	f(PCRE2, ossec.Wazuh, `^ab$|^cd`, "ac", "bdx")
	f(PCRE2, ossec.Wazuh, `ab|^c`, "abc", "")
	f(PCRE2, ossec.OSSEC, `^ab`, "aA", "bx")
}

// TestBeginsRandom: no subject that matches begins with anything else.
func TestBeginsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 100_000 {
		text := "^" + randomOSRegex(r)
		p, err := Compile(OSRegex, ossec.Wazuh, text, r.IntN(2) == 0)
		if err != nil {
			continue
		}
		for range 4 {
			if s := randomLine(r); !beginsWell(p, s) && p.Match(s) {
				t.Fatalf("%q matches %q", text, s)
			}
		}
	}
}

func beginsWell(p *Pattern, s string) bool {
	set := p.Begins()
	return s == "" || set == nil || set.Has(int(s[0]))
}
