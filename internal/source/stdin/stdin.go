// Package stdin reads log lines from a stream that ends: standard input, or a
// file given once.
package stdin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"riposte"
	"riposte/internal/source/lines"
)

// Options says what to read.
type Options struct {
	Input    io.Reader
	Location string         // of the events; "": "stdin", as the logtest tools have it
	Format   riposte.Format // of the events
}

// Source reads one stream.
type Source struct{ opt Options }

// maxBatch bounds the events of a batch.
const maxBatch = 256

// New makes a source.
func New(opt Options) *Source {
	if opt.Location == "" {
		opt.Location = "stdin"
	}
	return &Source{opt: opt}
}

// Run reads until the stream or ctx ends. There is no position. A terminal or a
// pipe is left as soon as ctx ends; any other input that can be closed is
// closed then, and if its Read does not return, neither does Run.
func (s *Source) Run(ctx context.Context, out chan<- riposte.Batch) error {
	in, stop := interruptible(ctx, s.opt.Input)
	defer stop()
	split := lines.NewSplitter(lines.Max, false)
	buf := make([]byte, 256<<10)
	var found []lines.Line
	for {
		n, err := in.Read(buf)
		found = split.Split(found[:0], buf[:n])
		if err != nil {
			found = split.Flush(found)
		}
		if !s.send(ctx, out, found) || ctx.Err() != nil || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.opt.Location, err)
		}
	}
}

// send makes batches of lines and reports whether all were taken.
func (s *Source) send(ctx context.Context, out chan<- riposte.Batch, found []lines.Line) bool {
	now := time.Now()
	for len(found) > 0 {
		n := min(len(found), maxBatch)
		events := make([]riposte.Event, 0, n)
		for _, l := range found[:n] {
			if l.Text != "" {
				events = append(events, riposte.Event{Time: now, Location: s.opt.Location, Format: s.opt.Format, Text: l.Text, Cut: l.Cut})
			}
		}
		found = found[n:]
		if len(events) == 0 {
			continue
		}
		select {
		case out <- riposte.Batch{Source: "stdin:" + s.opt.Location, Events: events}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// closing closes an input when ctx ends.
func closing(ctx context.Context, in io.Reader) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		if c, ok := in.(io.Closer); ok {
			_ = c.Close()
		}
	})
}
