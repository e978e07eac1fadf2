package lab

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) {
	if step := Steps(); step != nil && os.Getenv("LAB_CHILD") != "" {
		child(step)
		return
	}
	os.Exit(Main(m))
}

// child is the process that TestKillAt kills: what it writes after a step must
// not be there when it was killed at that step.
func child(step func(string)) {
	for _, name := range []string{"one", "two", "two", "three"} {
		step(name)
		f, err := os.OpenFile(os.Getenv("LAB_CHILD"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			os.Exit(1)
		}
		f.WriteString(name + "\n")
		f.Close()
	}
}

func TestInside(t *testing.T) {
	Need(t)
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0 {
		t.Errorf("interfaces here: %v; expected loopback alone, up", links)
	}
	out := Here(t).Run(t, "readlink", "/proc/self/ns/net")
	if other := NewHost(t, "other").Run(t, "readlink", "/proc/self/ns/net"); out == other {
		t.Errorf("a new host is in namespace %s, as we are", other)
	}
}

func TestConnect(t *testing.T) {
	here, peer := Here(t), NewHost(t, "peer")
	l := Connect(t, here, peer, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"))
	if l.A4.String() != "192.0.2.1" || l.B6.String() != "2001:db8::2" {
		t.Errorf("ends: %+v", l)
	}
	for _, network := range []string{"tcp", "udp"} {
		for _, a := range []netip.Addr{l.A4, l.A6} {
			at := here.Echo(t, network, a)
			if err := peer.Reach(network, at); err != nil {
				t.Errorf("%s %s: %v", network, at, err)
			}
		}
	}
	if err := peer.Reach("tcp", netip.AddrPortFrom(l.A4, 1)); err == nil {
		t.Error("something answers on port 1")
	}
	extra := netip.MustParsePrefix("192.0.2.77/24")
	peer.AddAddr(t, l.B, extra)
	if err := peer.ReachFrom("tcp", extra.Addr(), here.Echo(t, "tcp", l.A4)); err != nil {
		t.Error(err)
	}
	if err := here.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestForward(t *testing.T) {
	inner, router, outer := NewHost(t, "inner"), NewHost(t, "router"), NewHost(t, "outer")
	in := Connect(t, router, inner, netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64"))
	out := Connect(t, router, outer, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"))
	router.Forward(t)
	inner.AddRoute(t, netip.MustParsePrefix("0.0.0.0/0"), in.A4)
	inner.AddRoute(t, netip.MustParsePrefix("::/0"), in.A6)
	outer.AddRoute(t, netip.MustParsePrefix("10.0.0.0/24"), out.A4)
	outer.AddRoute(t, netip.MustParsePrefix("fd00::/64"), out.A6)
	for _, a := range []netip.Addr{in.B4, in.B6} {
		if err := outer.Reach("tcp", inner.Echo(t, "tcp", a)); err != nil {
			t.Error(err)
		}
	}
}

func TestGoneAfterwards(t *testing.T) {
	here := Here(t)
	t.Run("a test", func(t *testing.T) {
		Connect(t, here, NewHost(t, "peer"), netip.MustParsePrefix("192.0.2.0/24"), netip.Prefix{})
	})
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 {
		t.Errorf("%d interfaces are left", len(links))
	}
}

func TestStart(t *testing.T) {
	h := NewHost(t, "h")
	var pid int
	t.Run("a test", func(t *testing.T) {
		cmd := exec.Command("sleep", "60")
		h.Start(t, cmd)
		pid = cmd.Process.Pid
	})
	if err := exec.Command("kill", "-0", strconv.Itoa(pid)).Run(); err == nil {
		t.Error("the process outlived its test")
	}
	if _, err := h.Try("false"); err == nil {
		t.Error("false did not fail")
	}
}

func TestPrivateDir(t *testing.T) {
	Need(t)
	const file = "/etc/riposte-lab-test"
	t.Run("a test", func(t *testing.T) {
		PrivateDir(t, "/etc")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove("/etc/passwd"); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is in the machine's own /etc")
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Error(err)
	}
}

func TestKillAt(t *testing.T) {
	f := func(step string, nth int, wantSteps, wantDone string, wantKilled bool) {
		t.Helper()
		done := t.TempDir() + "/done"
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LAB_CHILD="+done)
		steps, killed := KillAt(t, cmd, step, nth)
		if got := strings.Join(steps, " "); got != wantSteps || killed != wantKilled {
			t.Errorf("%s %d: reached %s, killed %v; want %s, %v", step, nth, got, killed, wantSteps, wantKilled)
		}
		text, err := os.ReadFile(done)
		if err != nil && wantDone != "" {
			t.Error(err)
		}
		if got := strings.Join(strings.Fields(string(text)), " "); got != wantDone {
			t.Errorf("%s %d: done %q, want %q", step, nth, got, wantDone)
		}
	}
	f("one", 1, "one", "", true)
	f("two", 1, "one two", "one", true)
	f("two", 2, "one two two", "one two", true)
	f("three", 1, "one two two three", "one two two", true)
	f("three", 2, "one two two three", "one two two three", false)
	f("four", 1, "one two two three", "one two two three", false)
}

func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 3, 4, 5, 6, 0, time.UTC)
	from := netip.MustParseAddrPort("192.0.2.1:4022")
	got := []string{
		SSHLine(at, "web", 812, FailedPassword("root", true, from)),
		SSHLine(at, "web", 812, FailedPassword("admin", false, from)),
		SSHLine(at, "web", 812, InvalidUser("admin", from)),
		SSHLine(at, "web", 812, AcceptedPassword("eve", from)),
		AccessLine(at, from.Addr(), "GET /../etc/passwd HTTP/1.1", 404, "curl/8"),
	}
	want := []string{
		"Nov  3 04:05:06 web sshd[812]: Failed password for root from 192.0.2.1 port 4022 ssh2",
		"Nov  3 04:05:06 web sshd[812]: Failed password for invalid user admin from 192.0.2.1 port 4022 ssh2",
		"Nov  3 04:05:06 web sshd[812]: Invalid user admin from 192.0.2.1 port 4022",
		"Nov  3 04:05:06 web sshd[812]: Accepted password for eve from 192.0.2.1 port 4022 ssh2",
		`192.0.2.1 - - [03/Nov/2026:04:05:06 +0000] "GET /../etc/passwd HTTP/1.1" 404 153 "-" "curl/8"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
