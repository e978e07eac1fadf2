package command

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// first returns the first batch a command gives.
func first(t *testing.T, o Options) riposte.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, done := make(chan riposte.Batch), make(chan error, 1)
	go func() { done <- New(o).Run(ctx, out) }()
	var b riposte.Batch
	select {
	case b = <-out:
	case <-ctx.Done():
		t.Error("no batch")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return b
}

func TestLines(t *testing.T) {
	b := first(t, Options{Command: `printf 'one\n\ntwo $(id)\r\n'; exit 3`, Alias: "probe"})
	var got []string
	for _, ev := range b.Events {
		got = append(got, ev.Location+"|"+ev.Text)
	}
	want := "probe|ossec: output: 'probe': one probe|ossec: output: 'probe': two $(id)"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}

func TestWhole(t *testing.T) {
	b := first(t, Options{Command: `printf 'a\nb\n'`, Whole: true})
	if len(b.Events) != 1 || b.Events[0].Text != "ossec: output: 'printf 'a\\nb\\n'':\na\nb" {
		t.Errorf("got %+v", b.Events)
	}
}

func TestBounds(t *testing.T) {
	b := first(t, Options{Command: `yes | head -c 1000000`, Max: 100})
	if n := len(b.Events); n != 50 {
		t.Errorf("%d events of 100 bytes of output, want 50", n)
	}
}

// A command that hangs is killed with its children, and runs again.
func TestHangs(t *testing.T) {
	start := time.Now()
	b := first(t, Options{Command: `echo up; sleep 600 & wait`, Limit: 100 * time.Millisecond, Every: time.Hour})
	if len(b.Events) != 1 || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %+v", time.Since(start), b.Events)
	}
}
