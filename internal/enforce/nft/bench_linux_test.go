package nft

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func addresses(n int) []enforce.Effect {
	until := time.Now().Add(time.Hour)
	out := make([]enforce.Effect, n)
	for i := range out {
		out[i] = enforce.Effect{Target: enforcetest.Addresses(i), Until: until}
	}
	return out
}

func flush(b *testing.B) {
	b.Helper()
	lab.Here(b).Run(b, "nft", "flush set inet riposte v4; flush set inet riposte v6; flush set inet riposte v4_24; flush set inet riposte v6_64")
}

// One order at a time: apply and read back, renew, undo.
func BenchmarkOne(b *testing.B) {
	m := open(b)
	all := addresses(200_000)
	must(b, m.Apply, all[0])
	one := func(b *testing.B, do func(i int)) {
		took := make([]time.Duration, 0, b.N)
		for i := 0; b.Loop(); i++ {
			start := time.Now()
			do(i % len(all))
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	}
	b.Run("apply", func(b *testing.B) { one(b, func(i int) { must(b, m.Apply, all[i]) }) })
	b.Run("renew", func(b *testing.B) { one(b, func(i int) { must(b, m.Apply, all[i%100]) }) })
	b.Run("undo", func(b *testing.B) { one(b, func(i int) { must(b, m.Undo, all[i]) }) })
}

func BenchmarkBulk(b *testing.B) {
	m := open(b)
	for _, n := range []int{10_000, 100_000} {
		all := addresses(n)
		must(b, m.Apply, all...)
		name := func(what string) string { return fmt.Sprintf("%d/%s", n, what) }
		b.Run(name("apply"), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				flush(b)
				b.StartTimer()
				must(b, m.Apply, all...)
			}
		})
		b.Run(name("renew"), func(b *testing.B) {
			for b.Loop() {
				must(b, m.Apply, all...)
			}
		})
		b.Run(name("list"), func(b *testing.B) {
			for b.Loop() {
				if list, err := m.List(b.Context()); err != nil || len(list) != n {
					b.Fatalf("%d, %v", len(list), err)
				}
			}
		})
		b.Run(name("undo"), func(b *testing.B) {
			for b.Loop() {
				must(b, m.Undo, all...)
				b.StopTimer()
				must(b, m.Apply, all...)
				b.StartTimer()
			}
		})
		b.Run(name("nft -f"), func(b *testing.B) {
			script := nftScript(all)
			for b.Loop() {
				b.StopTimer()
				flush(b)
				b.StartTimer()
				cmd := exec.Command("nft", "-f", "-")
				cmd.Stdin = bytes.NewReader(script)
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
		must(b, m.Undo, all...)
	}
}

// nftScript puts the same elements in force with the nft program.
func nftScript(effects []enforce.Effect) []byte {
	bySet := make(map[set]*bytes.Buffer)
	for _, e := range effects {
		p, _ := e.Target.Prefix()
		s := setOf(p)
		if bySet[s] == nil {
			bySet[s] = new(bytes.Buffer)
			fmt.Fprintf(bySet[s], "add element inet riposte %s { ", s)
		}
		fmt.Fprintf(bySet[s], "%s timeout 1h,", p.Addr())
	}
	var all bytes.Buffer
	for _, b := range bySet {
		fmt.Fprintf(&all, "%s }\n", b)
	}
	return all.Bytes()
}
