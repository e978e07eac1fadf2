package analysis

import (
	"testing"

	"riposte/internal/ossec"
)

// BenchmarkAnalyse judges the visible samples, one after the other, as a daemon
// would; ns/op is for one event.
func BenchmarkAnalyse(b *testing.B) {
	for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
		b.Run(d.String(), func(b *testing.B) {
			e := New(stock(b, d), Options{Host: "host", Live: true})
			events := stream(corpus(b), 20000, 1)
			bytes := 0
			for i := range events {
				bytes += len(events[i].Text)
				e.Analyse(&events[i])
			}
			b.SetBytes(int64(bytes / len(events)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e.Analyse(&events[i])
				if i++; i == len(events) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
		b.Run(d.String(), func(b *testing.B) {
			for b.Loop() {
				New(stock(b, d), Options{Host: "host"})
			}
		})
	}
}
