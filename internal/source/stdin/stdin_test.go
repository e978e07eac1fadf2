package stdin

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"riposte"
	"riposte/internal/source/lines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read runs a source to its end and returns its events.
func read(t *testing.T, opt Options) ([]riposte.Event, error) {
	t.Helper()
	out, done := make(chan riposte.Batch), make(chan error, 1)
	go func() { done <- New(opt).Run(context.Background(), out) }()
	var events []riposte.Event
	for {
		select {
		case b := <-out:
			if len(b.Events) == 0 || len(b.Events) > maxBatch || b.Position != "" || b.Source != "stdin:"+b.Events[0].Location {
				t.Errorf("batch %q %q of %d", b.Source, b.Position, len(b.Events))
			}
			events = append(events, b.Events...)
		case err := <-done:
			return events, err
		case <-time.After(10 * time.Second):
			t.Fatal("it does not end")
		}
	}
}

func TestReadsToTheEnd(t *testing.T) {
	long := strings.Repeat("x", lines.Max+1)
	events, err := read(t, Options{Input: iotest.HalfReader(strings.NewReader("one\r\n\n\x00two\n" + long + "\nlast")), Format: riposte.FormatJSON})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 4 || events[0].Text != "one" || events[1].Text != "\x00two" || !events[2].Cut || events[3].Text != "last" {
		t.Fatalf("%d events", len(events))
	}
	if ev := events[0]; ev.Location != "stdin" || ev.Format != riposte.FormatJSON || ev.Time.IsZero() {
		t.Errorf("event %+v", ev)
	}
	events, err = read(t, Options{Input: strings.NewReader(strings.Repeat("line\n", 10_000)), Location: "here"})
	if err != nil || len(events) != 10_000 || events[9_999].Location != "here" {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	events, err := read(t, Options{Input: io.MultiReader(strings.NewReader("one\ntw"), iotest.ErrReader(broken))})
	if !errors.Is(err, broken) || len(events) != 2 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("one\ntwo\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if events, err := read(t, Options{Input: f}); err != nil || len(events) != 2 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// A pipe that says nothing does not hold up the end of ctx, and lines come when
// they are written.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan riposte.Batch), make(chan error, 1)
	go func() { done <- New(Options{Input: r}).Run(ctx, out) }()
	for range 3 {
		if _, err := w.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
		if b := <-out; b.Events[0].Text != "line" {
			t.Errorf("got %+v", b)
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
}

func TestClosesOtherInputs(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(Options{Input: r}).Run(ctx, make(chan riposte.Batch)) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestEndsWhileNobodyTakesABatch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- New(Options{Input: strings.NewReader("line\n")}).Run(ctx, make(chan riposte.Batch))
	}()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
