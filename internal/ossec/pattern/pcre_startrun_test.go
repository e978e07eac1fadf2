package pattern

import (
	"math/rand/v2"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

// TestStartRun: the search for the byte behind a leading run finds what a search
// at every place finds.
func TestStartRun(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 11))
	for _, text := range []string{`\s\d+:`, `\s(\d+):(\d+)`, ` a+:[ab]`, `[ab]\d+:\d`, `(?i)a\d+ x|\s1`, `\s\d+:\d+:\s`, `a\d+1`, `\s\d*:`, `\s\d{1,2}:`} {
		p, err := Compile(PCRE2, ossec.Wazuh, text, true)
		if err != nil {
			t.Fatal(err)
		}
		m := p.matcher.(*pcre)
		want := !strings.ContainsAny(text, "|(*{") && !strings.HasSuffix(text, "1")
		if got := m.prog.start == startRun; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
		anywhere := *m.prog
		anywhere.start = startAnywhere
		slow := &pcre{prog: &anywhere}
		for range 3000 {
			var s strings.Builder
			for range r.IntN(20) {
				s.WriteByte("a1:: 1b"[r.IntN(7)])
			}
			end, caps, ok := m.find(s.String(), nil)
			end2, caps2, ok2 := slow.find(s.String(), nil)
			if ok != ok2 || ok && (end != end2 || len(caps) != len(caps2) || len(caps) > 0 && caps[0] != caps2[0]) {
				t.Fatalf("%s on %q: %v %v %v, want %v %v %v", text, s.String(), ok, end, caps, ok2, end2, caps2)
			}
		}
	}
}
