//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnit lets systemd read the unit, and makes sure that it says what the
// daemon counts on.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("../../packaging/riposte.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	for _, line := range []string{"Type=notify", "ExecReload=/usr/local/bin/riposte reload", "RestartPreventExitStatus=2 3", "KillMode=mixed",
		"StateDirectory=riposte", "LogsDirectory=riposte", "RuntimeDirectory=riposte"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, word := range []string{"CAP_NET_ADMIN", "AF_NETLINK", "CAP_SETUID"} {
		if !strings.Contains(unit, word) {
			t.Errorf("no %s", word)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze (apt install systemd)")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "riposte.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, "/usr/local/bin/riposte", exe)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), "riposte.service") {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}
