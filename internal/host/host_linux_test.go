package host

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestNames(t *testing.T) {
	full, short := Name(), ShortName()
	if full == "" || short == "" || strings.Contains(short, ".") || !strings.HasPrefix(full, short) {
		t.Errorf("Name %q, ShortName %q", full, short)
	}
}

func TestNameservers(t *testing.T) {
	got := appendNameservers(nil, []byte("# nameserver 9.9.9.9\nnameserver 192.0.2.1\r\nsearch example\nnameserver fe80::1%eth0\n"+
		"nameserver 192.0.2.1\nnameserver ::ffff:192.0.2.7\nnameserver none\nnameserver\n nameserver\t2001:db8::53 extra"))
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::53")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// inside runs the test again in namespaces of its own and reports whether this
// is the run inside. Outside it fails with what the inner run said.
func inside(t *testing.T, flags uintptr) bool {
	t.Helper()
	if os.Getenv("RIPOSTE_INSIDE") == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for namespaces")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "RIPOSTE_INSIDE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("inside the namespace: %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS") {
		t.Skipf("not run inside the namespace:\n%s", out)
	}
	return false
}

func TestAddressesAndGatewaysOfThisHost(t *testing.T) {
	if !inside(t, syscall.CLONE_NEWNET) {
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (iproute2)")
	}
	if gw, err := Gateways(); err != nil || len(gw) != 0 {
		t.Fatalf("empty namespace: %v, %v", gw, err)
	}
	for _, line := range strings.Split(strings.TrimSpace(`
		link set lo up
		link add d0 type veth peer name d1
		link set d1 up
		link set d0 up
		address add 192.0.2.10/24 dev d0
		address add 2001:db8::10/64 dev d0 nodad
		route add default via 192.0.2.1 dev d0
		route add 0.0.0.0/1 via 192.0.2.5 dev d0
		route add 198.51.100.0/24 via 192.0.2.9 dev d0
		route add default via 192.0.2.2 dev d0 table 77
		route add default table 78 nexthop via 192.0.2.3 nexthop via 192.0.2.4
		route add default via inet6 fe80::9 dev d0 table 79
		-6 route add default via fe80::1 dev d0
		-6 route add default via 2001:db8::1 dev d0 table 77`), "\n") {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	gw, err := Gateways()
	if err != nil {
		t.Fatal(err)
	}
	sortAddrs(gw)
	if got, want := texts(gw), "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 2001:db8::1 fe80::1 fe80::9"; got != want {
		t.Errorf("gateways %s, want %s", got, want)
	}
	own, err := Addresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"127.0.0.1", "::1", "192.0.2.10", "2001:db8::10"} {
		if !slices.Contains(own, netip.MustParseAddr(a)) {
			t.Errorf("own addresses %v lack %s", own, a)
		}
	}
	if p := EffectivePrivileges(); !p.Root || !p.NetAdmin {
		t.Errorf("root in an own network namespace has %+v", p)
	}
}

func TestPrivilegesOfAContainer(t *testing.T) {
	if os.Getenv("RIPOSTE_INSIDE") != t.Name() {
		if os.Geteuid() != 0 {
			t.Skip("needs root to give capabilities away")
		}
		if _, err := exec.LookPath("setpriv"); err != nil {
			t.Skip("needs setpriv (util-linux)")
		}
		cmd := exec.Command("setpriv", "--bounding-set=-net_admin", os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "RIPOSTE_INSIDE="+t.Name())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if p := EffectivePrivileges(); !p.Root || p.NetAdmin {
		t.Errorf("root without net_admin has %+v", p)
	}
}

func TestResolversOfThisHost(t *testing.T) {
	list, err := Resolvers()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if !a.IsValid() || a.IsUnspecified() || a.Zone() != "" || a.Is4In6() {
			t.Errorf("resolver %v is not in canonical form", a)
		}
	}
}

func sortAddrs(list []netip.Addr) { slices.SortFunc(list, netip.Addr.Compare) }

func texts(list []netip.Addr) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.String()
	}
	return strings.Join(words, " ")
}
