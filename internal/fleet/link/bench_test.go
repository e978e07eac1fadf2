package link

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkIssue is what an attack costs its server in the log of orders: one
// order at a time, or those of many alerts at once.
func BenchmarkIssue(b *testing.B) {
	for _, together := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(together), func(b *testing.B) {
			m := newBed(b).server("one")
			m.candidate(nil)
			until(b, "it leads", m.Leads)
			n := 0
			for b.Loop() {
				if err := m.Issue(b.Context(), orderIDs(n, n+together)); err != nil {
					b.Fatal(err)
				}
				n += together
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "orders/s")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Millisecond), "ms/issue")
		})
	}
}
