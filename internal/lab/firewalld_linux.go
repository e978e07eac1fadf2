package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Firewalld is a real firewalld on the machine that the test runs on, with a
// configuration and a bus of its own.
type Firewalld struct {
	Bus string // D-Bus address

	daemon *exec.Cmd
	said   *os.File
}

// freeBus is a bus on which anybody may own and call anything.
const freeBus = `<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>`

// NewFirewalld starts a bus and firewalld, with the distribution's
// configuration. All machines must have been made before: making one ends a
// thread, and with it the programs that were started from it.
func NewFirewalld(t testing.TB) *Firewalld {
	t.Helper()
	Need(t, "nft", "firewalld", "firewall-cmd", "dbus-daemon")
	for _, dir := range []string{"/etc", "/run", "/var/log"} {
		PrivateDir(t, dir)
	}
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, freeBus, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	f := &Firewalld{Bus: "unix:path=" + socket, said: said}
	Here(t).Start(t, exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+config))
	until(t, "the bus", func() bool { _, err := os.Stat(socket); return err == nil })
	t.Cleanup(func() {
		said.Close()
		if text, err := os.ReadFile(said.Name()); err == nil && t.Failed() {
			t.Logf("firewalld said:\n%s", text)
		}
		_, _ = Here(t).Try("nft", "delete table inet firewalld") // a killed one leaves it
	})
	f.Start(t)
	return f
}

// Start starts firewalld again after Stop.
func (f *Firewalld) Start(t testing.TB) {
	t.Helper()
	f.daemon = f.command("firewalld", "--nofork", "--nopid")
	f.daemon.Stdout, f.daemon.Stderr = f.said, f.said
	Here(t).Start(t, f.daemon)
	until(t, "firewalld", func() bool {
		out, err := f.command("firewall-cmd", "--state").CombinedOutput()
		return err == nil && bytes.HasPrefix(out, []byte("running"))
	})
}

// Stop ends firewalld and waits until it has.
func (f *Firewalld) Stop(t testing.TB) {
	t.Helper()
	if err := f.daemon.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = f.daemon.Wait() // however it ends
}

// Cmd runs firewall-cmd and returns what it printed.
func (f *Firewalld) Cmd(t testing.TB, args ...string) string {
	t.Helper()
	out, err := f.command("firewall-cmd", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("firewall-cmd %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (f *Firewalld) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+f.Bus)
	return cmd
}

// until waits for a condition that another process brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
