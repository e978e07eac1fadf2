//go:build linux

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte/internal/lab"
)

// TestBreaker: a burst of targets opens the breaker, which says so in the alert
// log, refuses what is new, goes on undoing, and closes by itself.
func TestBreaker(t *testing.T) {
	lab.Need(t, "nft")
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "firewall: nftables\nguard: {breaker: {targets: 20, within: 1m, cooldown: 3s}}\n")
	const seconds = 4
	r.write("ossec.conf", pageExample4(r.path("auth.log"), seconds))
	r.write("auth.log", "")
	r.start()
	var burst strings.Builder
	for i := range 30 {
		burst.WriteString(failedLogin(fmt.Sprintf("203.0.113.%d", i+1)))
	}
	appendTo(t, r.path("auth.log"), burst.String())
	eventually(t, 20*time.Second, "the breaker's alert", func() bool { return strings.Contains(r.read("log/alerts.json"), `"id":"599"`) })
	if n := strings.Count(r.read("log/alerts.json"), `"id":"599"`); n != 1 {
		t.Errorf("%d alerts that the breaker opened, want 1", n)
	}
	count := func(outcome string) int { return strings.Count(r.run("history"), outcome) }
	eventually(t, 20*time.Second, "30 receipts", func() bool { return count(" verified ")+count(" refused   ") >= 30 })
	if done, refused := count(" verified "), count(" refused   "); done != 20 || refused != 10 {
		t.Errorf("%d were blocked and %d refused, want 20 and 10:\n%s", done, refused, r.run("history"))
	}
	eventually(t, 20*time.Second, "what was blocked is undone on time", func() bool { return strings.Contains(r.run("list"), "nothing is in force") })
	eventually(t, 20*time.Second, "the breaker is closed", func() bool { return !strings.Contains(r.run("status"), "the breaker opened") })
	appendTo(t, r.path("auth.log"), failedLogin("203.0.113.200"))
	r.blocked("203.0.113.200")
	r.stop(syscall.SIGTERM)
}

// TestBreakerByDefault: 500 targets in ten seconds pass, not many more.
func TestBreakerByDefault(t *testing.T) {
	lab.Need(t, "nft")
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "firewall: nftables\n")
	r.write("ossec.conf", pageExample4(r.path("auth.log"), 600))
	r.write("auth.log", "")
	r.start()
	var burst strings.Builder
	for i := range 600 {
		burst.WriteString(failedLogin(fmt.Sprintf("203.0.%d.%d", 112+i/200, i%200+1)))
	}
	appendTo(t, r.path("auth.log"), burst.String())
	eventually(t, 30*time.Second, "the breaker's alert", func() bool { return strings.Contains(r.read("log/alerts.json"), `"id":"599"`) })
	r.stop(syscall.SIGTERM)
}
