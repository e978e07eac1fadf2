package journald

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a directory with a real journal file that systemd's own tool
// writes, because a journald needs a booted systemd.
type journal struct {
	t    *testing.T
	dir  string
	base time.Time
	n    int
	boot string
}

func newJournal(t *testing.T) *journal {
	t.Helper()
	if _, err := os.Stat(remote); err != nil {
		t.Skipf("needs %s (apt install systemd-journal-remote)", remote)
	}
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("needs journalctl")
	}
	return &journal{t: t, dir: t.TempDir(), base: time.Now(), boot: strings.Repeat("0e", 16)}
}

const remote = "/usr/lib/systemd/systemd-journal-remote"

// write appends entries with these MESSAGEs to a journal file, stamped from now
// on, and returns the lines to expect.
func (j *journal) write(file string, messages ...string) []string {
	j.t.Helper()
	var in strings.Builder
	var want []string
	for _, m := range messages {
		j.n++
		at := time.Now().Add(time.Duration(j.n) * time.Microsecond)
		fmt.Fprintf(&in, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n"+
			"_HOSTNAME=web1\nSYSLOG_IDENTIFIER=sshd\n_PID=%d\nPRIORITY=6\n%s\n", at.UnixMicro(), at.Sub(j.base).Microseconds()+1e6, j.boot, j.n, blob("MESSAGE", m))
		want = append(want, fmt.Sprintf("%s web1 sshd[%d]: %s", at.Format(time.Stamp), j.n, m))
	}
	cmd := exec.Command(remote, "--output="+filepath.Join(j.dir, file), "-")
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		j.t.Fatalf("%v: %s", err, out)
	}
	return want
}

// run starts a source and returns its channel and how to stop it.
func run(t *testing.T, opt Options) (<-chan riposte.Batch, func()) {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan riposte.Batch)
	done := make(chan error, 1)
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

// want receives events and compares their texts; it returns the last position.
func want(t *testing.T, out <-chan riposte.Batch, texts ...string) string {
	t.Helper()
	position := ""
	for len(texts) > 0 {
		select {
		case b := <-out:
			for _, ev := range b.Events {
				if len(texts) == 0 || ev.Text != texts[0] || ev.Location != Location || b.Source != Key {
					t.Fatalf("got %q, want %q", ev.Text, texts)
				}
				texts = texts[1:]
			}
			position = b.Position
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing comes, want %q", texts)
		}
	}
	return position
}

func TestFollowsARealJournal(t *testing.T) {
	j := newJournal(t)
	first := j.write("a.journal", "old one", "old two")
	opt := Options{Directory: j.dir, FromStart: true}
	out, stop := run(t, opt)
	want(t, out, first...)
	position := want(t, out, j.write("a.journal", "new")...)
	// A new file in the directory is what rotation leaves.
	position2 := want(t, out, j.write("b.journal", "in another file")...)
	if position == "" || position == position2 {
		t.Errorf("positions %q, %q", position, position2)
	}
	stop()

	missed := j.write("b.journal", "while down")
	j.boot = strings.Repeat("0d", 16)
	missed = append(missed, j.write("b.journal", "after a reboot")...)
	opt.Position = position2
	out, stop = run(t, opt)
	want(t, out, missed...)
	stop()

	opt.Position = position
	out, _ = run(t, opt)
	want(t, out, append([]string{textOf(t, j.dir, "in another file")}, missed...)...)
}

// textOf finds the line of a message as journalctl shows it.
func textOf(t *testing.T, dir, message string) string {
	t.Helper()
	out, err := exec.Command("journalctl", "--directory="+dir, "--output=short", "--quiet", "--merge").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, message) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	t.Fatalf("%q is not in the journal", message)
	return ""
}

func TestMatchesAreOfThisMachine(t *testing.T) {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		t.Skipf("needs a machine id: %v", err)
	}
	machine := "_MACHINE_ID=" + strings.TrimSpace(string(id))
	s := &Source{opt: Options{Matches: []string{"A=1", "B=2", "+", "C=3"}}}
	want := machine + " A=1 B=2 + " + machine + " C=3"
	if got := strings.Join(s.matches(), " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStartsWithWhatComes(t *testing.T) {
	j := newJournal(t)
	j.write("a.journal", "old")
	time.Sleep(10 * time.Millisecond)
	out, stop := run(t, Options{Directory: j.dir})
	first := <-out
	if len(first.Events) != 0 || !strings.HasPrefix(first.Position, "@") {
		t.Fatalf("first batch %+v", first)
	}
	stop() // before anything was read
	time.Sleep(time.Millisecond)
	missed := j.write("a.journal", "while down")
	out, _ = run(t, Options{Directory: j.dir, Position: first.Position})
	want(t, out, missed...)
}

func TestFilters(t *testing.T) {
	j := newJournal(t)
	lines := j.write("a.journal", "one", "two", "three")
	out, _ := run(t, Options{Directory: j.dir, FromStart: true, Matches: []string{"_PID=2"}})
	want(t, out, lines[1])
	out, _ = run(t, Options{Directory: j.dir, FromStart: true, Priority: "warning"})
	select {
	case b := <-out:
		t.Errorf("priority 6 is graver than warning: %+v", b)
	case <-time.After(300 * time.Millisecond):
	}
}

// A journalctl that is killed is started again and goes on where it was.
func TestJournalctlKilled(t *testing.T) {
	j := newJournal(t)
	journalctl, err := exec.LookPath("journalctl")
	if err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(t.TempDir(), "pid")
	program := filepath.Join(t.TempDir(), "journalctl")
	script := fmt.Sprintf("#!/bin/sh\necho $$ > %s.tmp\nmv %s.tmp %s\nexec %s \"$@\"\n", pid, pid, pid, journalctl)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	log := &lab.Log{}
	out, _ := run(t, Options{Directory: j.dir, FromStart: true, Program: program, Log: slog.New(slog.NewTextHandler(log, nil))})
	for i := range 4 {
		want(t, out, j.write("a.journal", "before "+strconv.Itoa(i), "too")...)
		text, err := os.ReadFile(pid)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	want(t, out, j.write("a.journal", "after all")...)
	if n := strings.Count(log.String(), "starting it again"); n != 4 {
		t.Errorf("started again %d times:\n%s", n, log)
	}
}

func TestJournalctlThatFails(t *testing.T) {
	program := filepath.Join(t.TempDir(), "journalctl")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such journal >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	log := &lab.Log{}
	_, stop := run(t, Options{FromStart: true, Program: program, Log: slog.New(slog.NewTextHandler(log, nil))})
	for !strings.Contains(log.String(), "pause=200ms") {
		time.Sleep(time.Millisecond)
	}
	stop()
	if !strings.Contains(log.String(), "exit status 3: no such journal") {
		t.Errorf("logged:\n%s", log)
	}
	if _, err := New(Options{Program: filepath.Join(t.TempDir(), "absent")}); err == nil {
		t.Error("no error without journalctl")
	}
}

// A journalctl whose reader is gone (riposte was killed) ends by itself.
func TestJournalctlDoesNotOutliveUs(t *testing.T) {
	j := newJournal(t)
	j.write("a.journal", "x")
	s, err := New(Options{Directory: j.dir, FromStart: true})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.program, s.arguments()...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := newExportReader(stdout, nil).next(); err != nil {
		t.Fatal(err)
	}
	_ = stdout.Close()
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		t.Error("journalctl goes on though nobody reads")
	}
}
