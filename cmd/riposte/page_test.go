//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"riposte/internal/lab"
)

// mailbox is a mail server that keeps what it is sent.
type mailbox struct {
	mu    sync.Mutex
	mails []string
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{box: b}, nil }

func (b *mailbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.mails...)
}

type delivery struct {
	box *mailbox
	to  []string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, to)
	return nil
}
func (d *delivery) Reset()        {}
func (d *delivery) Logout() error { return nil }

func (d *delivery) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.box.mails = append(d.box.mails, "To: "+strings.Join(d.to, ", ")+"\n"+string(text))
	return nil
}

// serveMail starts a mail server on the machine and returns its port.
func serveMail(t *testing.T, host *lab.Host) (*mailbox, int) {
	t.Helper()
	box, l := listenMail(t, host, "127.0.0.1:0")
	return box, l.Addr().(*net.TCPAddr).Port
}

// listenMail starts a mail server on the machine.
func listenMail(t *testing.T, host *lab.Host, at string) (*mailbox, net.Listener) {
	t.Helper()
	box := &mailbox{}
	srv := smtp.NewServer(box)
	srv.Domain = "mail.example"
	var l net.Listener
	if err := host.Do(func() (err error) { l, err = net.Listen("tcp", at); return err }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { srv.Close(); <-done })
	return box, l
}

// TestPage mends the page's six examples as `riposte check --fix` proposes and
// runs them from one file. The fourth is proved by TestClosedLoop from the
// attacker's side, too. On this Linux host the second, made for Windows, sets
// the null route that its name promises; the commands it gives on Windows, and
// those of the third on a host with pf, are recorded in internal/enforce/route
// and internal/enforce/pf.
func TestPage(t *testing.T) {
	lab.Need(t, "nft", "ip")
	host := lab.NewHost(t, "server")
	box, port := serveMail(t, host)
	page, err := os.ReadFile("../../internal/check/testdata/seed.conf")
	if err != nil {
		t.Fatal(err)
	}

	r := install(t, host, string(page), "")
	if out, err := r.try("check", r.path("ossec.conf")); err == nil || !strings.Contains(out, "U+2010") || !strings.Contains(out, "firewall-drop") {
		t.Fatalf("check of the page as printed: %v\n%s", err, out)
	}
	r.run("check", "--fix", r.path("ossec.conf"))
	if after, err := os.ReadFile(r.path("ossec.conf")); err != nil || !bytes.Equal(after, page) {
		t.Fatalf("check --fix changed the original: %v", err)
	}
	mended, err := os.ReadFile(r.path("ossec.conf.fixed"))
	if err != nil {
		t.Fatal(err)
	}

	r = install(t, host, "", fmt.Sprintf("firewall: nftables\nmail: {host: 127.0.0.1, port: %d}\n", port))
	r.write("riposte.yaml", r.read("riposte.yaml")+fmt.Sprintf("hosts_deny: %s\nown_rules: %s\n", r.path("hosts.deny"), r.path("rules")))
	// The file has no logs of its own, and rule 10005 is for the user to write.
	r.write("ossec.conf", string(mended)+fmt.Sprintf(
		"<ossec_config><localfile><log_format>syslog</log_format><location>%s</location></localfile></ossec_config>\n", r.path("messages")))
	r.write("rules/local.xml", `<group name="local,"><rule id="10005" level="5"><match>please restart the monitor</match><description>A restart was asked for</description></rule></group>`)
	r.write("ossec/bin/ossec-control", "#!/bin/sh\n[ \"$1\" = status ] && { echo 'ossec-execd is running...'; exit; }\necho \"$@\" >>"+r.path("restarts")+"\n")
	if err := os.Chmod(r.path("ossec/bin/ossec-control"), 0o755); err != nil {
		t.Fatal(err)
	}
	const foreign = "# kept by hand\nsshd: .evil.example\n"
	r.write("hosts.deny", foreign)
	r.write("messages", "")
	r.start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.screen(), r.read("log/active-responses.log"))
		}
	})
	stamp := func() string { return time.Now().Format(time.Stamp) + " web1 " }

	// 1: rule 10005 restarts what monitors the host, once.
	appendTo(t, r.path("messages"), stamp()+"ops: please restart the monitor\n")
	eventually(t, 10*time.Second, "example 1: the control script was called", func() bool { return r.read("restarts") == "restart\n" })

	// 6: rule 1002 mails the alert from the server, once.
	appendTo(t, r.path("messages"), stamp()+"backup: fatal error: segmentation fault\n")
	eventually(t, 10*time.Second, "example 6: the mail arrived", func() bool { return len(box.all()) > 0 })
	mails := box.all()
	for _, want := range []string{"To: admin@example.org", "1002", "segmentation fault"} {
		if len(mails) != 1 || !strings.Contains(mails[0], want) {
			t.Errorf("example 6: want one mail that says %q, got %q", want, mails)
		}
	}

	// 2, 4, 5: a brute force is blocked at its first failure (4), and by its
	// composite rule of level 10 null-routed (2) and denied (5).
	const attacker = "198.51.100.7"
	for range 12 {
		appendTo(t, r.path("messages"), failedLogin(attacker))
	}
	want := map[string]time.Duration{"firewall-drop": 700 * time.Second, "win_route-null": 900 * time.Second, "host-deny": 600 * time.Second}
	eventually(t, 10*time.Second, "examples 2, 4 and 5 are in force", func() bool {
		inForce := 0
		for _, b := range r.list() {
			if b.Target.Value == attacker && b.State == "in force" && want[b.Command] > 0 {
				inForce++
			}
		}
		return inForce == len(want)
	})
	for _, b := range r.list() {
		// A trigger during a block restarts its clock, so the end is at least the timeout away.
		if d := b.Until.Sub(b.Since).Round(time.Second); d < want[b.Command] || d > want[b.Command]+10*time.Second {
			t.Errorf("%s lasts %v, want %v", b.Command, d, want[b.Command])
		}
		if b.Command == "pf-block" {
			t.Error("example 3 is for agent 001, and ran here")
		}
	}
	if out := host.Run(t, "ip", "route", "show", "type", "blackhole"); !strings.Contains(out, attacker) {
		t.Errorf("example 2: no null route:\n%s", out)
	}
	if out := host.Run(t, "nft", "list", "table", "inet", "riposte"); !strings.Contains(out, attacker) {
		t.Errorf("example 4: not in the kernel:\n%s", out)
	}
	if deny := r.read("hosts.deny"); !strings.Contains(deny, "ALL: "+attacker+"\n") && !strings.Contains(deny, "ALL:"+attacker+"\n") || !strings.Contains(deny, foreign) {
		t.Errorf("example 5: hosts.deny is %q", deny)
	}

	r.run("unblock", attacker)
	if out := host.Run(t, "ip", "route", "show", "type", "blackhole"); strings.Contains(out, attacker) {
		t.Errorf("example 2: the null route is still there:\n%s", out)
	}
	if deny := r.read("hosts.deny"); deny != foreign {
		t.Errorf("example 5: after the undo hosts.deny is %q", deny)
	}
	r.stop(syscall.SIGTERM)
	if n := strings.Count(r.read("restarts"), "restart"); n != 1 {
		t.Errorf("example 1 restarted %d times", n)
	}
}

// TestRestartInPlace is example 1 where no OSSEC is installed: riposte itself
// starts anew in place, and keeps its state.
func TestRestartInPlace(t *testing.T) {
	lab.Need(t, "nft")
	host := lab.NewHost(t, "server")
	r := install(t, host, "", "firewall: nftables\n")
	r.write("ossec.conf", pageExample4(r.path("messages"), 600)+`<ossec_config>
  <command><name>restart-ossec</name><executable>restart-ossec.sh</executable><expect></expect></command>
  <active-response><command>restart-ossec</command><location>local</location><rules_id>10005</rules_id></active-response>
</ossec_config>`)
	r.write("rules/local.xml", `<group name="local,"><rule id="10005" level="5"><match>please restart the monitor</match><description>A restart was asked for</description></rule></group>`)
	r.write("riposte.yaml", r.read("riposte.yaml")+"own_rules: "+r.path("rules")+"\n")
	r.write("messages", "")
	r.start()
	appendTo(t, r.path("messages"), failedLogin("198.51.100.7"))
	r.blocked("198.51.100.7")
	appendTo(t, r.path("messages"), time.Now().Format(time.Stamp)+" web1 ops: please restart the monitor\n")
	eventually(t, 20*time.Second, "riposte shows its first screen again", func() bool { return strings.Count(r.screen(), "armed ") == 2 })
	r.blocked("198.51.100.7")
	if r.cmd.ProcessState != nil {
		t.Error("it is another process")
	}
	r.stop(syscall.SIGTERM)
}
