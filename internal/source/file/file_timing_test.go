package file

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
)

// BenchmarkLines reads a file that is there already: lines per second.
func BenchmarkLines(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.log")
	text, _ := numbered("a", 1, 1_000_000)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	lines := 0
	for b.Loop() {
		f, err := New(Options{Inputs: []Input{{Location: path, FromStart: true}}})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		out := make(chan riposte.Batch, 4)
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx, out) }()
		for got := 0; got < 1_000_000; {
			n := len((<-out).Events)
			got += n
			lines += n
		}
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds()/1e6, "Mlines/s")
}

// BenchmarkLatency is the time from the write of a line to its batch.
func BenchmarkLatency(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.log")
	w, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	f, err := New(Options{Inputs: []Input{{Location: path}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan riposte.Batch)
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, out) }()
	<-out
	line := []byte(strings.Repeat("x", 99) + "\n")
	var took []time.Duration
	for b.Loop() {
		time.Sleep(100 * time.Microsecond) // so that the follower is asleep
		begin := time.Now()
		if _, err := w.Write(line); err != nil {
			b.Fatal(err)
		}
		for len((<-out).Events) == 0 {
		}
		took = append(took, time.Since(begin))
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "µs-p99")
}
