//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/internal/lab"
)

// failedLogin is a line of sshd's about a wrong password.
func failedLogin(from string) string {
	return time.Now().Format(time.Stamp) + " web1 sshd[4242]: Failed password for root from " + from + " port 50022 ssh2\n"
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// TestKilledInTheMiddleOfABlock is the second promise: what was decided before
// a kill -9 ends at its original time, and is put back when the kernel lost it
// meanwhile.
func TestKilledInTheMiddleOfABlock(t *testing.T) {
	lab.Need(t, "nft")
	for _, flushed := range []bool{false, true} {
		t.Run(fmt.Sprintf("table flushed meanwhile: %v", flushed), func(t *testing.T) {
			t.Parallel()
			const seconds = 10 // a restart may take some of them on a busy machine
			host, other := lab.NewHost(t, "server"), lab.NewHost(t, "attacker")
			link := lab.Connect(t, host, other, netip.MustParsePrefix("198.51.100.0/24"), netip.Prefix{})
			echo := host.Echo(t, "tcp", link.A4)
			r := install(t, host, "", "firewall: nftables\n")
			r.write("ossec.conf", pageExample4(r.path("auth.log"), seconds))
			r.write("auth.log", "")
			r.start()
			appendTo(t, r.path("auth.log"), failedLogin(link.B4.String()))
			before := r.blocked(link.B4.String())
			r.stop(syscall.SIGKILL)
			if err := other.Reach("tcp", echo); err == nil {
				t.Error("with riposte dead the attacker gets through")
			}
			if flushed {
				host.Run(t, "nft", "delete", "table", "inet", "riposte")
				if err := other.Reach("tcp", echo); err != nil {
					t.Fatalf("with the table gone the attacker cannot connect: %v", err)
				}
			}
			r.start()
			after := r.blocked(link.B4.String())
			if !after.Until.Equal(before.Until) {
				t.Errorf("after the restart the block ends at %v, before it ended at %v", after.Until, before.Until)
			}
			if err := other.Reach("tcp", echo); err == nil {
				t.Error("after the restart the attacker gets through")
			}
			if late := r.ended(after); late < 0 || late > time.Second {
				t.Errorf("the block ended %v after its time", late)
			}
			if err := other.Reach("tcp", echo); err != nil {
				t.Errorf("after the block the attacker cannot connect: %v", err)
			}
			if out := r.run("history"); strings.Count(out, "undone") != 1 {
				t.Errorf("want exactly one undo on record:\n%s", out)
			}
			r.stop(syscall.SIGTERM)
		})
	}
}

// TestStopIsNoAmnesty stops and starts riposte in order: the block stays in
// force while it is down, and on_stop: undo takes it back.
func TestStopIsNoAmnesty(t *testing.T) {
	lab.Need(t, "nft")
	for _, onStop := range []string{"keep", "undo"} {
		t.Run(onStop, func(t *testing.T) {
			host := lab.NewHost(t, "server")
			r := install(t, host, "", "firewall: nftables\non_stop: "+onStop+"\n")
			r.write("ossec.conf", pageExample4(r.path("auth.log"), 600))
			r.write("auth.log", "")
			r.start()
			appendTo(t, r.path("auth.log"), failedLogin("198.51.100.7"))
			r.blocked("198.51.100.7")
			r.stop(syscall.SIGTERM)
			out, err := host.Try("nft", "list", "table", "inet", "riposte")
			if there := err == nil && strings.Contains(out, "198.51.100.7"); there != (onStop == "keep") {
				t.Errorf("after the stop the element is there: %v\n%s", there, out)
			}
			r.start()
			if n := len(r.list()); (n == 1) != (onStop == "keep") {
				t.Errorf("after the restart %d responses are in force", n)
			}
			r.stop(syscall.SIGTERM)
		})
	}
}

// TestFlushedFirewall: what somebody else takes away comes back by itself, long
// before the comparison every 30 seconds, with its original end.
func TestFlushedFirewall(t *testing.T) {
	lab.Need(t, "nft")
	host, other := lab.NewHost(t, "server"), lab.NewHost(t, "attacker")
	link := lab.Connect(t, host, other, netip.MustParsePrefix("198.51.100.0/24"), netip.Prefix{})
	echo := host.Echo(t, "tcp", link.A4)
	r := install(t, host, "", "firewall: nftables\nrepair_every: 1h\n")
	r.write("ossec.conf", pageExample4(r.path("auth.log"), 600))
	r.write("auth.log", "")
	r.start()
	appendTo(t, r.path("auth.log"), failedLogin(link.B4.String()))
	before := r.blocked(link.B4.String())
	for range 2 {
		host.Run(t, "nft", "flush", "ruleset")
		eventually(t, 10*time.Second, "the attacker is blocked again", func() bool { return other.Reach("tcp", echo) != nil })
	}
	if after := r.blocked(link.B4.String()); !after.Until.Equal(before.Until) {
		t.Errorf("the block ends at %v, before it ended at %v", after.Until, before.Until)
	}
	if out := r.run("history"); !strings.Contains(out, "repaired") {
		t.Errorf("no repair on record:\n%s", out)
	}
	r.stop(syscall.SIGTERM)
}

// TestNoLineIsJudgedTwice restarts riposte between lines: what was read before
// is not read again, what came meanwhile is.
func TestNoLineIsJudgedTwice(t *testing.T) {
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "firewall: nftables\n")
	r.write("ossec.conf", pageExample4(r.path("auth.log"), 600))
	r.write("auth.log", "")
	r.start()
	appendTo(t, r.path("auth.log"), failedLogin("198.51.100.7"))
	r.blocked("198.51.100.7")
	r.stop(syscall.SIGTERM)
	appendTo(t, r.path("auth.log"), failedLogin("198.51.100.8"))
	r.start()
	r.blocked("198.51.100.8")
	r.stop(syscall.SIGTERM)
	alerts, err := os.ReadFile(r.path("log/alerts.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"198.51.100.7", "198.51.100.8"} {
		if n := strings.Count(string(alerts), `"srcip":"`+a+`"`); n != 1 {
			t.Errorf("%d alerts about %s, want 1", n, a)
		}
	}
}
