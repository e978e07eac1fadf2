package pattern

import (
	"sync"
	"testing"

	"riposte/internal/ossec"
)

// TestConcurrent matches the same patterns from many goroutines.
func TestConcurrent(t *testing.T) {
	lines := []string{"Failed password for joe from 10.0.0.1 port 22", "x y z", "joe 10.0.0.1", "((((((a"}
	var patterns []*Pattern
	for syntax, text := range map[Syntax]string{OSMatch: "joe|port", OSRegex: `for (\S+) from (\S+)|(\w+) \d`, PCRE2: `(?:(\w+) ?)+from|\((a|\()+`} {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			p, err := Compile(syntax, d, text, true)
			if err != nil {
				t.Fatal(err)
			}
			patterns = append(patterns, p)
		}
	}
	want := map[*Pattern][]bool{}
	for _, p := range patterns {
		for _, s := range lines {
			want[p] = append(want[p], p.Match(s))
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var caps []Span
			for range 200 {
				for _, p := range patterns {
					for i, s := range lines {
						_, c, ok := p.Find(s, caps[:0])
						if caps = c; ok != want[p][i] {
							t.Errorf("%q: %v, want %v", s, ok, want[p][i])
							return
						}
					}
				}
			}
		})
	}
	wg.Wait()
}
