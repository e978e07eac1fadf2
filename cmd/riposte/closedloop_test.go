//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/lab"
)

// asRiposte makes the test binary behave as riposte itself.
const asRiposte = "RIPOSTE_TEST_EXEC"

// noSleep spares every riposte the second that the race detector waits at the
// end of a process.
const noSleep = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(asRiposte) != "" {
		main()
	}
	os.Exit(lab.Main(m))
}

// installed is a riposte on a machine of the lab, with files of its own.
type installed struct {
	t    *testing.T
	host *lab.Host
	verb string // that runs it: run, server or agent
	dir  string
	cmd  *exec.Cmd
	out  lab.Log
}

// install writes the configuration of a riposte for host. settings is more
// riposte.yaml.
func install(t *testing.T, host *lab.Host, ossecConf, settings string) *installed {
	t.Helper()
	r := &installed{t: t, host: host, verb: "run", dir: t.TempDir()}
	r.write("ossec.conf", ossecConf)
	r.write("riposte.yaml", fmt.Sprintf("ossec_conf: %[1]s/ossec.conf\nstate_dir: %[1]s/state\nlog_dir: %[1]s/log\n"+
		"socket: %[1]s/riposte.sock\nactive_response_bin: %[1]s/bin\nroot: %[1]s/ossec\n%s", r.dir, settings))
	return r
}

func (r *installed) path(name string) string { return filepath.Join(r.dir, name) }

func (r *installed) write(name, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// read returns a file, "" when it is not there.
func (r *installed) read(name string) string {
	b, err := os.ReadFile(r.path(name))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return string(b)
}

// screen is what the daemon printed so far.
func (r *installed) screen() string { return r.out.String() }

func (r *installed) command(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(exe, append(args, "--settings", r.path("riposte.yaml"))...)
	cmd.Env = append(os.Environ(), asRiposte+"=1", "GORACE="+noSleep)
	return cmd
}

// start runs the daemon and waits until it answers.
func (r *installed) start() {
	r.t.Helper()
	r.cmd = r.command(r.verb)
	r.out = lab.Log{}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	r.host.Start(r.t, r.cmd)
	client := api.NewClient(r.path("riposte.sock"))
	defer client.Close()
	eventually(r.t, 20*time.Second, "riposte answers on its socket", func() bool {
		_, err := client.Status(r.t.Context())
		return err == nil
	})
}

// stop ends the daemon with a signal and returns what it printed.
func (r *installed) stop(sig syscall.Signal) string {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
	err := r.cmd.Wait()
	if sig == syscall.SIGTERM && err != nil {
		r.t.Errorf("riposte ended with %v:\n%s", err, r.out.String())
	}
	return r.out.String()
}

// run runs a verb of the command line on the machine.
func (r *installed) run(args ...string) string {
	r.t.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.t.Fatalf("riposte %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *installed) try(args ...string) (string, error) {
	var out []byte
	err := r.host.Do(func() (err error) { out, err = r.command(args...).CombinedOutput(); return err })
	return string(out), err
}

// client talks to the daemon without starting a process for each question.
func (r *installed) client() *api.Client {
	c := api.NewClient(r.path("riposte.sock"))
	r.t.Cleanup(c.Close)
	return c
}

// list returns what is in force.
func (r *installed) list() []api.Block {
	r.t.Helper()
	c := api.NewClient(r.path("riposte.sock"))
	defer c.Close()
	blocks, err := c.InForce(r.t.Context(), api.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	return blocks
}

// ended waits until the response to an order was undone and returns how late
// that was.
func (r *installed) ended(b api.Block) time.Duration {
	r.t.Helper()
	c := r.client()
	var late time.Duration
	eventually(r.t, time.Until(b.Until)+20*time.Second, "the block of "+b.Target.Value+" ends", func() bool {
		rs, err := c.History(r.t.Context(), api.Filter{Target: b.Target.Value})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, x := range rs {
			if x.Order == b.Order && x.Outcome == riposte.Undone {
				late = x.Time.Sub(b.Until)
				return true
			}
		}
		return false
	})
	return late
}

// blocked waits until target is in force and returns it.
func (r *installed) blocked(target string) (b api.Block) {
	r.t.Helper()
	eventually(r.t, 10*time.Second, target+" is blocked", func() bool {
		for _, b = range r.list() {
			if b.Target.Value == target && b.State == "in force" {
				return true
			}
		}
		return false
	})
	return b
}

func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v, but not: %s", limit, what)
		}
	}
}

// town is a server with a real sshd and syslog daemon, an attacker and a
// bystander, each with its own cable to the server.
type town struct {
	server, attacker, bystander *lab.Host
	toAttacker, toBystander     lab.Link
	authLog                     string
}

func newTown(t *testing.T) *town {
	t.Helper()
	lab.Need(t, "rsyslogd", "ssh-keygen", "sshpass", "ssh", "/usr/sbin/sshd")
	w := &town{
		server:    lab.NewHost(t, "server"),
		attacker:  lab.NewHost(t, "attacker"),
		bystander: lab.NewHost(t, "bystander"),
	}
	w.toAttacker = lab.Connect(t, w.server, w.attacker, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:a::/64"))
	w.toBystander = lab.Connect(t, w.server, w.bystander, netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:b::/64"))
	dir := t.TempDir()
	w.authLog = filepath.Join(dir, "auth.log")
	w.syslog(t, dir)
	w.sshd(t, dir)
	return w
}

// syslog starts rsyslogd on a /dev/log that only this test sees.
func (w *town) syslog(t *testing.T, dir string) {
	t.Helper()
	lab.PrivateDir(t, "/dev")
	// What was mounted below /dev is hidden now; sshpass needs terminals.
	if err := unix.Mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=666,mode=620"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/dev/pts", unix.MNT_DETACH) }) // goes with the namespace at the latest
	conf := filepath.Join(dir, "rsyslog.conf")
	text := fmt.Sprintf(`module(load="imuxsock")
auth,authpriv.* action(type="omfile" file="%s" template="RSYSLOG_TraditionalFileFormat")
`, w.authLog)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.server.Start(t, exec.Command("rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "rsyslog.pid")))
	eventually(t, 5*time.Second, "rsyslogd listens on /dev/log", func() bool {
		c, err := net.Dial("unixgram", "/dev/log")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (w *town) sshd(t *testing.T, dir string) {
	t.Helper()
	key := filepath.Join(dir, "hostkey")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "sshd_config")
	text := "HostKey " + key + "\nPidFile none\nPasswordAuthentication yes\nPermitRootLogin yes\nUsePAM no\nUseDNS no\nStrictModes no\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.server.Start(t, exec.Command("/usr/sbin/sshd", "-D", "-f", conf))
	eventually(t, 5*time.Second, "sshd answers the bystander", func() bool {
		return banner(w.bystander, w.toBystander.A4) == nil
	})
}

// banner connects to port 22 and reads sshd's greeting: what an attacker sees
// of the server.
func banner(from *lab.Host, to netip.Addr) error {
	c, err := from.Dial("tcp", netip.Addr{}, netip.AddrPortFrom(to, 22))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(lab.Patience)); err != nil {
		return err
	}
	buf := make([]byte, 7)
	if _, err := c.Read(buf); err != nil {
		return err
	}
	if string(buf) != "SSH-2.0" {
		return fmt.Errorf("greeting %q", buf)
	}
	return nil
}

// reaches fails the test unless the machine gets sshd's greeting, for which a
// busy machine may take its time.
func reaches(t *testing.T, from *lab.Host, to netip.Addr, when string) {
	t.Helper()
	eventually(t, 10*time.Second, when+" "+from.String()+" reaches sshd", func() bool { return banner(from, to) == nil })
}

// guess is one try of a brute force: a real ssh client with a wrong password.
// It is not waited for: once its address is blocked it hears nothing more.
func (w *town) guess(t *testing.T, from *lab.Host, to netip.Addr) {
	t.Helper()
	from.Start(t, exec.Command("sshpass", "-p", "wrong", "ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1", "-o", "ConnectTimeout=2", "root@"+to.String(), "true"))
}

// pageExample4 is the fourth example of the page with its slips mended and its
// 700 seconds shortened.
func pageExample4(authLog string, seconds int) string {
	return fmt.Sprintf(`<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop.sh</executable>
    <expect>srcip</expect>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>all</location>
    <rules_group>authentication_failed,authentication_failures</rules_group>
    <timeout>%d</timeout>
    <repeated_offenders>30,60,120</repeated_offenders>
  </active-response>
  <localfile>
    <log_format>syslog</log_format>
    <location>%s</location>
  </localfile>
</ossec_config>
`, seconds, authLog)
}

// TestClosedLoop is the promise of the project: a real attack on a real sshd
// is answered in the kernel, only the attacker feels it, it ends on time, and
// the next offence is answered for longer.
func TestClosedLoop(t *testing.T) {
	for _, firewall := range []string{"nftables", "iptables"} {
		for _, family := range []string{"IPv4", "IPv6"} {
			t.Run(firewall+"/"+family, func(t *testing.T) { closedLoop(t, firewall, family) })
		}
	}
}

func closedLoop(t *testing.T, firewall, family string) {
	switch firewall {
	case "nftables":
		lab.Need(t, "nft")
	case "iptables":
		lab.Need(t, "iptables", "ip6tables")
	}
	const seconds = 5
	w := newTown(t)
	server, attacker := w.toAttacker.A4, w.toAttacker.B4
	neighbour := w.toBystander.A4
	if family == "IPv6" {
		server, attacker, neighbour = w.toAttacker.A6, w.toAttacker.B6, w.toBystander.A6
	}
	r := install(t, w.server, pageExample4(w.authLog, seconds), "firewall: "+firewall+"\n")
	r.start()
	reaches(t, w.attacker, server, "before the attack")

	w.guess(t, w.attacker, server)
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(w.authLog)
			t.Logf("auth.log:\n%s\nriposte:\n%s", b, r.out.String())
		}
	})
	first := r.blocked(attacker.String())
	if first.Mechanism != firewall {
		t.Errorf("blocked by %q, want %q", first.Mechanism, firewall)
	}
	if got := first.Until.Sub(first.Since).Round(time.Second); got != seconds*time.Second || first.Rung != 0 {
		t.Errorf("first offence: blocked for %v at rung %d, want %d s at rung 0", got, first.Rung, seconds)
	}
	if err := banner(w.attacker, server); err == nil {
		t.Error("the attacker still reaches sshd")
	}
	reaches(t, w.bystander, neighbour, "during the block")
	w.inKernel(t, firewall, attacker)

	if late := r.ended(first); late < 0 || late > time.Second {
		t.Errorf("the block ended %v after its time", late)
	}
	reaches(t, w.attacker, server, "after the block")

	w.guess(t, w.attacker, server)
	second := r.blocked(attacker.String())
	if got := second.Until.Sub(second.Since).Round(time.Second); got != 30*time.Minute || second.Rung != 1 {
		t.Errorf("second offence: blocked for %v at rung %d, want 30m at rung 1", got, second.Rung)
	}
	if err := banner(w.attacker, server); err == nil {
		t.Error("the attacker still reaches sshd after its second offence")
	}
	why := r.run("why", attacker.String())
	for _, want := range []string{"Failed password for root from " + attacker.String(), "rule", "firewall-drop", "undone"} {
		if !strings.Contains(why, want) {
			t.Errorf("riposte why says nothing of %q:\n%s", want, why)
		}
	}
	r.run("unblock", attacker.String())
	reaches(t, w.attacker, server, "unblocked by hand")
	r.stop(syscall.SIGTERM)
}

// inKernel looks for the address with the system's own tools.
func (w *town) inKernel(t *testing.T, firewall string, a netip.Addr) {
	t.Helper()
	var out string
	if firewall == "nftables" {
		out = w.server.Run(t, "nft", "list", "table", "inet", "riposte")
	} else {
		out = w.server.Run(t, "ipset", "list")
	}
	if !strings.Contains(out, a.String()) {
		t.Errorf("%s does not show %s:\n%s", firewall, a, out)
	}
}
