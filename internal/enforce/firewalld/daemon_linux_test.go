package firewalld

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"riposte/internal/lab"
)

// site is a firewalld of the test's own on a bus of its own.
type site struct {
	bus    string
	daemon *exec.Cmd
	log    *strings.Builder
}

// busConfig lets anybody own and call anything: the bus is the test's own.
const busConfig = `<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>`

// newSite starts a bus and firewalld in the lab.
func newSite(t testing.TB) *site {
	t.Helper()
	lab.Need(t, "nft", "firewalld", "firewall-cmd", "dbus-daemon")
	for _, dir := range []string{"/etc", "/run", "/var/log"} {
		lab.PrivateDir(t, dir)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "bus")
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{bus: "unix:path=" + socket, log: &strings.Builder{}}
	lab.Here(t).Start(t, exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+config))
	wait(t, "the bus", func() bool { _, err := os.Stat(socket); return err == nil })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("firewalld said:\n%s", s.log)
		}
		lab.Here(t).Try("nft", "delete table inet firewalld") // a killed one leaves it
	})
	s.start(t)
	return s
}

// start starts firewalld.
func (s *site) start(t testing.TB) {
	t.Helper()
	s.daemon = exec.Command("firewalld", "--nofork", "--nopid")
	s.daemon.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+s.bus)
	s.daemon.Stdout, s.daemon.Stderr = s.log, s.log
	lab.Here(t).Start(t, s.daemon)
	wait(t, "firewalld", func() bool {
		m, err := New(Options{Bus: s.bus})
		if err == nil {
			m.Close()
		}
		return err == nil
	})
}

// stop ends firewalld and waits until it has.
func (s *site) stop(t testing.TB) {
	t.Helper()
	if err := s.daemon.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = s.daemon.Wait() // however it ends
}

func (s *site) try(args ...string) (string, error) {
	cmd := exec.Command("firewall-cmd", args...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+s.bus)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// cmd runs firewall-cmd.
func (s *site) cmd(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.try(args...)
	if err != nil {
		t.Fatalf("firewall-cmd %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// call calls firewalld over the bus, which is ten times as fast as firewall-cmd.
func (s *site) call(t testing.TB, result any, method string, args ...any) {
	t.Helper()
	d, err := dial(s.bus, make(chan *dbus.Signal, 16))
	if err != nil {
		t.Fatal(err)
	}
	defer d.conn.Close()
	if err := d.call(context.Background(), result, method, args...); err != nil {
		t.Fatalf("%s %v: %v", method, args, err)
	}
}

// wait waits for a condition that another process brings about.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
