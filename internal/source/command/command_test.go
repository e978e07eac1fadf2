package command

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte"
	"riposte/internal/source/lines"
)

func TestMain(m *testing.M) {
	if runtime.GOOS == "windows" {
		return // the commands are written for a Unix shell
	}
	goleak.VerifyTestMain(m)
}

// start runs a source.
func start(t *testing.T, opt Options) (<-chan riposte.Batch, func()) {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan riposte.Batch), make(chan error, 1)
	go func() { done <- s.Run(ctx, out) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return out, stop
}

// first returns the first batch a command gives.
func first(t *testing.T, opt Options) riposte.Batch {
	t.Helper()
	out, stop := start(t, opt)
	defer stop()
	select {
	case b := <-out:
		return b
	case <-time.After(10 * time.Second):
		t.Fatal("no batch")
		return riposte.Batch{}
	}
}

func TestLines(t *testing.T) {
	b := first(t, Options{Command: `printf 'one\n\ntwo $(id)\r\nlast'; exit 3`, Alias: "probe"})
	var got []string
	for _, ev := range b.Events {
		got = append(got, ev.Location+"|"+ev.Text)
	}
	want := "probe|ossec: output: 'probe': one probe|ossec: output: 'probe': two $(id) probe|ossec: output: 'probe': last"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
	if b.Source != "command:probe" || b.Position != "" {
		t.Errorf("source %q, position %q", b.Source, b.Position)
	}
}

func TestFull(t *testing.T) {
	b := first(t, Options{Command: `printf 'a\nb\n'`, Full: true})
	if len(b.Events) != 1 || b.Events[0].Text != "ossec: output: 'printf 'a\\nb\\n'':\na\nb" {
		t.Errorf("got %+v", b.Events)
	}
}

func TestBounds(t *testing.T) {
	b := first(t, Options{Command: `head -c 3000000 /dev/zero | tr '\0' x`, Full: true})
	if ev := b.Events[0]; !ev.Cut || len(ev.Text) > lines.Max+200 {
		t.Errorf("%d bytes, cut %v", len(ev.Text), ev.Cut)
	}
	const want = (maxOutput + 99) / 100 // lines of 100 bytes, the last one is not whole
	out, stop := start(t, Options{Command: "yes " + strings.Repeat("x", 99) + " | head -c 3000000", Interval: time.Hour})
	n := 0
	for n < want {
		b := <-out
		if len(b.Events) > maxBatch {
			t.Fatalf("a batch of %d", len(b.Events))
		}
		n += len(b.Events)
	}
	select {
	case b := <-out:
		t.Errorf("%d more events", len(b.Events))
	case <-time.After(20 * time.Millisecond): // the next run is an hour away
	}
	stop()
	if n != want {
		t.Errorf("%d events, want %d", n, want)
	}
}

// A command that hangs is killed with its children; the lines that it printed
// until then are delivered.
func TestHangs(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	begin := time.Now()
	b := first(t, Options{Command: `echo up; sleep 600 & echo $! >` + pid + `; wait`, Timeout: 200 * time.Millisecond, Interval: time.Hour})
	if len(b.Events) != 1 || time.Since(begin) > 5*time.Second {
		t.Errorf("after %v: %+v", time.Since(begin), b.Events)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for alive(n) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the child lives on")
		}
		time.Sleep(time.Millisecond)
	}
}

// Half an output of a command whose whole output is one event would look like a
// change.
func TestHangsInTheMiddleOfOneEvent(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	b := first(t, Options{Command: `if [ -e ` + flag + ` ]; then echo whole; else touch ` + flag + `; echo half; sleep 600; fi`,
		Full: true, Timeout: 200 * time.Millisecond, Interval: 50 * time.Millisecond})
	if got := b.Events[0].Text; !strings.HasSuffix(got, ":\nwhole") {
		t.Errorf("got %q", got)
	}
}

func TestAgainAndAgain(t *testing.T) {
	out, _ := start(t, Options{Command: "echo x", Interval: 20 * time.Millisecond})
	for range 3 {
		select {
		case b := <-out:
			if len(b.Events) != 1 {
				t.Errorf("got %+v", b)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it does not run again")
		}
	}
}

func TestStopsWhileTheCommandRuns(t *testing.T) {
	_, stop := start(t, Options{Command: "sleep 600"})
	time.Sleep(20 * time.Millisecond)
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no command was taken for one")
	}
}
