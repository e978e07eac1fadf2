package spool

import (
	"testing"
)

// What an agent under load does: records of some kilobytes, each read and
// acknowledged a while later.
func BenchmarkAppendNextAck(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	payload := make([]byte, 16<<10)
	positions := map[string]string{"file:/var/log/auth.log": "123456:789012:345678"}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		n, err := s.Append(b.Context(), payload, positions)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Next(b.Context(), n-1); err != nil {
			b.Fatal(err)
		}
		if n > 100 {
			if err := s.Ack(n - 100); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A start with 64 MB that were not sent.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for range 4096 {
		if _, err := s.Append(b.Context(), make([]byte, 16<<10), nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
