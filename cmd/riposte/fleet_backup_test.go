//go:build linux

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestFleetBackup: a server that is set back to a backup is obeyed by agents that
// have dealt with more orders than it knows of, and what is in force there by
// those ends as it was to.
func TestFleetBackup(t *testing.T) {
	r := newRegion(t, 2, "", "")
	one, two := r.agents[0], r.agents[1]
	block := func(target string, st *station) {
		t.Helper()
		r.server.run("block", target, "--on", st.id, "--for", "10m")
		st.holds("firewall-drop", target)
	}
	block("192.0.2.1", one)

	state, backup := r.server.path("state"), r.server.path("backup")
	r.server.stop(syscall.SIGTERM)
	r.server.host.Run(t, "cp", "-a", state, backup)
	r.serve()
	r.connected()
	for _, target := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.4"} {
		block(target, one)
	}
	r.server.run("block", "192.0.2.5", "--on", "all", "--for", "10m")
	two.holds("firewall-drop", "192.0.2.5")

	r.server.stop(syscall.SIGKILL)
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, state); err != nil {
		t.Fatal(err)
	}
	r.serve()
	r.connected()
	block("192.0.2.6", one)
	block("192.0.2.7", two)
	for _, target := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5"} {
		one.holds("firewall-drop", target)
	}
	r.server.run("unblock", "192.0.2.6", "--everywhere")
	eventually(t, long, "192.0.2.6 is let go", func() bool { return !strings.Contains(one.run("list"), "192.0.2.6") })
	if said := one.screen(); !strings.Contains(said, "begun anew") {
		t.Error("the agent does not say that the log of its server has begun anew")
	}
}
