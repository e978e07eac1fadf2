package host

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	f := func(name string) {
		t.Helper()
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		t.Setenv("NOTIFY_SOCKET", name)
		if err := Notify(Ready, Status("two\nlines")); err != nil {
			t.Fatal(err)
		}
		if err := NotifyReloading(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		n, _ := conn.Read(buf)
		if got := string(buf[:n]); got != "READY=1\nSTATUS=two lines" {
			t.Errorf("read %q", got)
		}
		n, _ = conn.Read(buf)
		stamp, ok := strings.CutPrefix(string(buf[:n]), "RELOADING=1\nMONOTONIC_USEC=")
		if usec, err := strconv.ParseInt(stamp, 10, 64); !ok || err != nil || usec <= 0 {
			t.Errorf("read %q", buf[:n])
		}
	}
	f(filepath.Join(t.TempDir(), "notify"))
	f("@riposte-notify-test-" + strconv.FormatInt(time.Now().UnixNano(), 36))
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := Notify(Ready); err == nil {
		t.Error("no error though nobody listens")
	}
}

func TestWatchdogInterval(t *testing.T) {
	f := func(pid, usec string, want time.Duration) {
		t.Helper()
		t.Setenv("WATCHDOG_PID", pid)
		t.Setenv("WATCHDOG_USEC", usec)
		if got := WatchdogInterval(); got != want {
			t.Errorf("pid %q, usec %q: %v, want %v", pid, usec, got, want)
		}
	}
	f("", "", 0)
	f("", "30000000", 30*time.Second)
	f("1", "30000000", 0)
	f("", "soon", 0)
}
