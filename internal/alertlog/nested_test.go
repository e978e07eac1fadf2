package alertlog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"riposte"
)

// TestNested: the one pass writes what the general way writes, or declines.
func TestNested(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "c", "srcip", "", "x y", "é\"", "data"}
	simple := 0
	for range 20000 {
		a := &riposte.Alert{}
		prefix := ""
		for range rng.IntN(12) {
			if rng.IntN(3) == 0 {
				var parts []string
				for range rng.IntN(4) {
					parts = append(parts, words[rng.IntN(len(words))])
				}
				prefix = strings.Join(parts, ".")
			}
			name := fmt.Sprintf("%s%d", words[rng.IntN(len(words))], rng.IntN(4))
			if prefix != "" {
				name = prefix + "." + name
			}
			f := riposte.Field{Name: name, Value: []string{"v", "", "[1,2]", "x\n"}[rng.IntN(4)], Dynamic: rng.IntN(8) > 0}
			if rng.IntN(20) == 0 {
				f.Name = "srcip"
			}
			a.Fields = append(a.Fields, f)
		}
		one, all := object{enc: &Encoder{}}, object{enc: &Encoder{}}
		all.members(a, 0, -1)
		if !one.nested(a) {
			if len(one.dst) > 0 || one.any {
				t.Fatalf("%+v: declined after %q", a.Fields, one.dst)
			}
			continue
		}
		simple++
		if string(one.dst) != string(all.dst) {
			t.Fatalf("%+v:\n %s\n %s", a.Fields, one.dst, all.dst)
		}
	}
	if simple < 5000 {
		t.Errorf("only %d of 20000 were simple", simple)
	}
	deep := &riposte.Alert{Fields: []riposte.Field{{Name: strings.Repeat("a.", 40) + "b", Value: "v", Dynamic: true}}}
	one, all := object{enc: &Encoder{}}, object{enc: &Encoder{}}
	all.members(deep, 0, -1)
	if one.nested(deep) && string(one.dst) != string(all.dst) {
		t.Errorf("deep:\n %s\n %s", one.dst, all.dst)
	}
}
