//go:build linux

package main

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/internal/lab"
)

// TestAuditToSyslog: what is done reaches the syslog server within moments.
func TestAuditToSyslog(t *testing.T) {
	lab.Need(t, "nft")
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "firewall: nftables\n")
	server, err := net.ListenPacket("unixgram", r.path("syslog"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r.write("riposte.yaml", r.read("riposte.yaml")+"audit: {syslog: 'unix://"+r.path("syslog")+"'}\n")
	r.write("ossec.conf", pageExample4(r.path("auth.log"), 600))
	r.start()
	r.run("block", "203.0.113.9")
	b := make([]byte, 64<<10)
	if err := server.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := server.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if m := string(b[:n]); !strings.Contains(m, " riposte - verified [riposte@32473 seq=\"1\" sha256=\"") || !strings.Contains(m, `"value":"203.0.113.9"`) {
		t.Errorf("the server got %q", m)
	}
	// By hand it gets the same again.
	if out := r.run("audit", "export", "--syslog", "unix://"+r.path("syslog")); !strings.Contains(out, "sent: 1 records, the last is 1") {
		t.Errorf("export says %q", out)
	}
	again := make([]byte, 64<<10)
	if k, _, err := server.ReadFrom(again); err != nil || string(again[:k]) != string(b[:n]) {
		t.Errorf("by hand the server got %q, %v", again[:k], err)
	}
	r.stop(syscall.SIGTERM)
}
