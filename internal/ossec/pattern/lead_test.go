package pattern

import (
	"math/rand/v2"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

// TestRandomLead compares expressions whose tail has something known in front of
// it with the naive interpreter of the specification.
func TestRandomLead(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 9))
	pick := func(s string) string { return string(s[r.IntN(len(s))]) }
	class := func(quantifiers string) string { return `\` + pick("dwspWDS.t") + pick(quantifiers) }
	known, matches := 0, 0
	for range 20_000 {
		text := pick("^   ")[:1]
		if text == " " {
			text = ""
		}
		for range r.IntN(3) {
			text += class("+* ")
		}
		text = strings.ReplaceAll(text, " ", "") + class("+*") + pick(":%a-") + class("+") + pick("%:#-")
		if r.IntN(3) == 0 {
			text += pick("a:%") + class("+*")
		}
		alts := naiveCompile(text)
		p, err := Compile(OSRegex, ossec.Wazuh, text, false)
		if err != nil {
			t.Fatal(err)
		}
		if p.matcher.(*osRegex).alts[0].lead != 0 {
			known++
		}
		for range 10 {
			var s strings.Builder
			for range r.IntN(14) {
				s.WriteString(pick("aab1 : %%-#\t"))
			}
			if compareNaive(t, p, alts, text, s.String(), false) {
				matches++
			}
		}
		if t.Failed() {
			return
		}
	}
	if known < 1000 || matches < 1000 {
		t.Errorf("%d expressions with a lead and %d matches say little", known, matches)
	}
}
