package iptables

import (
	"fmt"
	"testing"
	"time"

	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
)

func addresses(n int) []enforce.Effect {
	until := time.Now().Add(time.Hour)
	out := make([]enforce.Effect, n)
	for i := range out {
		out[i] = enforce.Effect{Target: enforcetest.Addresses(i), Until: until}
	}
	return out
}

// One order at a time. Once in a second it looks after the rules.
func BenchmarkOne(b *testing.B) {
	m := open(b)
	all := addresses(100_000)
	must(b, m.Apply, all[0])
	b.Run("apply", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			must(b, m.Apply, all[i%len(all)])
		}
	})
	b.Run("undo", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			must(b, m.Undo, all[i%len(all)])
		}
	})
}

func BenchmarkBulk(b *testing.B) {
	m := open(b)
	for _, n := range []int{10_000, 100_000} {
		all := addresses(n)
		b.Run(fmt.Sprint(n, "/apply"), func(b *testing.B) {
			for b.Loop() {
				must(b, m.Apply, all...)
				b.StopTimer()
				must(b, m.Undo, all...)
				b.StartTimer()
			}
		})
		must(b, m.Apply, all...)
		b.Run(fmt.Sprint(n, "/list"), func(b *testing.B) {
			for b.Loop() {
				if list, err := m.List(b.Context()); err != nil || len(list) != n {
					b.Fatalf("%d, %v", len(list), err)
				}
			}
		})
		b.Run(fmt.Sprint(n, "/undo"), func(b *testing.B) {
			for b.Loop() {
				must(b, m.Undo, all...)
				b.StopTimer()
				must(b, m.Apply, all...)
				b.StartTimer()
			}
		})
		must(b, m.Undo, all...)
	}
}
