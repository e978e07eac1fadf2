package journald

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const journald = "/usr/lib/systemd/systemd-journald"

// TestSystemJournal follows what a real journald writes. It runs in a mount
// namespace of its own, with a /run of its own, because the host may have a
// journald already, or none.
func TestSystemJournal(t *testing.T) {
	if os.Getenv("RIPOSTE_INSIDE") == "" {
		if os.Geteuid() != 0 {
			t.Skip("needs root for a mount namespace")
		}
		if _, err := os.Stat(journald); err != nil {
			t.Skip("needs systemd-journald")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestSystemJournal$", "-test.v")
		cmd.Env = append(os.Environ(), "RIPOSTE_INSIDE=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	for _, dir := range []string{"/run", "/var/log/journal"} {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("/run/systemd/journald.conf.d", 0o755); err != nil {
		t.Fatal(err)
	}
	// Nothing of the host is touched or read.
	conf := "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitBurst=0\nForwardToWall=no\n"
	if err := os.WriteFile("/run/systemd/journald.conf.d/test.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(journald)
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	var conn net.Conn
	var err error
	for range 500 {
		if conn, err = net.Dial("unixgram", "/run/systemd/journal/dev-log"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	out, stop := run(t, Options{})
	defer stop()
	if b := <-out; len(b.Events) != 0 {
		t.Fatalf("first batch %+v", b)
	}
	var took []time.Duration
	for i := range 50 {
		begin := time.Now()
		if _, err := fmt.Fprintf(conn, "<86>%s sshd[4242]: Failed password for root from 192.0.2.7 port %d ssh2\n", begin.Format(time.Stamp), i); err != nil {
			t.Fatal(err)
		}
		tail := fmt.Sprintf("sshd[4242]: Failed password for root from 192.0.2.7 port %d ssh2", i)
		for found := false; !found; {
			select {
			case b := <-out:
				for _, ev := range b.Events { // journald speaks of itself as well
					found = found || strings.HasSuffix(ev.Text, tail)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("message %d does not come", i)
			}
		}
		took = append(took, time.Since(begin))
		time.Sleep(2 * time.Millisecond)
	}
	slices.Sort(took[1:]) // the first one waits for journalctl to start
	t.Logf("from the program's write to the batch: median %v, worst %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 200*time.Millisecond {
		t.Error("the median is what journald needs to wake its readers: does journalctl no longer look when it is nudged?")
	}
}
