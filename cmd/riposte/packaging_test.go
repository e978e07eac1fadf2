//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits lets systemd read the units, and makes sure that they say what the
// daemon counts on.
func TestUnits(t *testing.T) {
	for name, start := range map[string]string{"riposte": "run", "riposte-server": "server", "riposte-agent": "agent"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("../../packaging/" + name + ".service")
			if err != nil {
				t.Fatal(err)
			}
			unit := string(text)
			for _, line := range []string{"Type=notify", "ExecStart=/usr/local/bin/riposte " + start, "ExecReload=/usr/local/bin/riposte reload",
				"RestartPreventExitStatus=2 3", "KillMode=mixed", "StateDirectory=riposte", "LogsDirectory=riposte", "RuntimeDirectory=riposte"} {
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
			path := filepath.Join(t.TempDir(), name+".service")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, "/usr/local/bin/riposte", exe)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), name+".service") {
				t.Errorf("systemd-analyze: %v\n%s", err, out)
			}
		})
	}
}
