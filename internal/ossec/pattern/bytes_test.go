package pattern

import (
	"math/rand/v2"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

// TestBytes: no subject that matches is without one of the bytes.
func TestBytes(t *testing.T) {
	for text, want := range map[string]string{`^\d+: %\w+`: "%", `\p*\w+:\s+%|^#\d`: "%#", `a%b|c`: "", `\d%+`: "%", `\w+ \S`: "", `\%`: "-"} {
		p, err := Compile(OSRegex, ossec.Wazuh, text, false)
		if err != nil {
			if want != "-" {
				t.Error(err)
			}
			continue
		}
		if got := string(p.Bytes()); got != want && p.Literals() == nil {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	r := rand.New(rand.NewPCG(3, 3))
	checked := 0
	for range 200_000 {
		p, err := Compile(OSRegex, ossec.Wazuh, randomOSRegex(r), false)
		if err != nil || p.Bytes() == nil {
			continue
		}
		s := randomLine(r)
		if p.Match(s) {
			checked++
			if !strings.ContainsAny(s, string(p.Bytes())) {
				t.Fatalf("%q has none of %q", s, p.Bytes())
			}
		}
	}
	t.Logf("%d matches", checked)
}
