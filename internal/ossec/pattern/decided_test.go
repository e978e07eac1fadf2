package pattern

import (
	"testing"

	"riposte/internal/ossec"
)

// TestDecided: an expression is decided by its literals when each of its
// alternatives may stand anywhere, and then it matches wherever one occurs.
func TestDecided(t *testing.T) {
	f := func(syntax Syntax, d ossec.Dialect, text string, want bool) {
		t.Helper()
		p, err := Compile(syntax, d, text, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Decided(); got != want {
			t.Errorf("%s %q: %v, want %v", syntax, text, got, want)
		}
		for _, l := range p.Literals() {
			if want && !p.Match("before "+l+" behind") {
				t.Errorf("%s %q does not match around %q", syntax, text, l)
			}
		}
	}
	f(OSMatch, ossec.Wazuh, "failure|error| bad ", true)
	f(OSMatch, ossec.Wazuh, "failure|error|\x80xxxxxx", true)
	f(OSMatch, ossec.Wazuh, "!failure|error", false)
	f(OSMatch, ossec.Wazuh, "failure|^error", false)
	f(OSMatch, ossec.Wazuh, "failure|error$", false)
	f(OSMatch, ossec.Wazuh, "failure|err", false) // too short to be looked for
	f(OSMatch, ossec.Wazuh, "failure|", false)
	f(OSRegex, ossec.Wazuh, "failure|error", true)
	f(OSRegex, ossec.Wazuh, "failure|^error", false)
	f(OSRegex, ossec.Wazuh, `failure|error \d`, false)
	// OSSEC's expressions never match what is not UTF-8.
	f(OSMatch, ossec.OSSEC, "failure|error", false)
	f(PCRE2, ossec.Wazuh, "failure|error", false)
	f(Exact, ossec.Wazuh, "failure", false)
}
