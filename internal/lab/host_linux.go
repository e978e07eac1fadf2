package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is a machine of the lab: a network namespace.
type Host struct {
	name string
	ns   *os.File
}

// Here is the machine that the test itself runs on.
func Here(t testing.TB) *Host {
	t.Helper()
	Need(t)
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &Host{name: "here", ns: ns}
}

// NewHost makes a machine with nothing but loopback. The name is for messages.
func NewHost(t testing.TB, name string) *Host {
	t.Helper()
	Need(t)
	h := &Host{name: name}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		err = func() (err error) {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			// The open file keeps the namespace alive.
			if h.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
				return err
			}
			return settleNet()
		}()
		// The thread must not end: what another goroutine started on it would
		// die with it (Pdeathsig).
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("making host %s: %v", name, err)
	}
	t.Cleanup(func() { h.ns.Close() })
	return h
}

func (h *Host) String() string { return h.name }

// Do runs f on the machine: sockets opened and processes started by the calling
// goroutine in f are there, and stay there. f must not start goroutines that
// rely on it.
func (h *Host) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering %s: %w", h.name, err)
			return
		}
		err = f()
		// Only a thread that is home again may serve other goroutines. It must
		// not end: children started in f die with it (Pdeathsig).
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Start starts cmd on the machine. It is killed when the test binary dies, and
// at the latest when the test ends.
func (h *Host) Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := h.Do(cmd.Start); err != nil {
		t.Fatalf("starting %s on %s: %v", cmd.Path, h, err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // gone already is as good
			_ = cmd.Wait()         // killed is what we asked for
		}
	})
}

// Run runs a program on the machine and returns what it printed, on both
// channels. The test fails when the program does.
func (h *Host) Run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := h.Try(argv...)
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", h, strings.Join(argv, " "), err, out)
	}
	return out
}

// Try is Run for programs that may fail.
func (h *Host) Try(argv ...string) (string, error) {
	var out []byte
	err := h.Do(func() (err error) {
		out, err = exec.Command(argv[0], argv[1:]...).CombinedOutput()
		return err
	})
	return string(out), err
}

// Link is a cable between two machines, with the addresses of its ends.
type Link struct {
	A4, B4, A6, B6 netip.Addr
	A, B           string // names of the interfaces
}

// Connect lays a cable between a and b and gives both ends their addresses: a
// the first, b the second host address of the prefixes. Either prefix may be
// zero.
func Connect(t testing.TB, a, b *Host, v4, v6 netip.Prefix) Link {
	t.Helper()
	var l Link
	n := freeNumber(t, a)
	l.A, l.B = fmt.Sprint("lab", n), fmt.Sprint("lab", freeNumber(t, b))
	err := a.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			// Ends of equal index, common when both machines are new, would
			// be taken for an ordinary device, whose carrier the kernel may
			// be a second late to notice.
			LinkAttrs:     netlink.LinkAttrs{Name: l.A, Index: 1000 + n},
			PeerName:      l.B,
			PeerNamespace: netlink.NsFd(int(b.ns.Fd())),
		})
	})
	if err != nil {
		t.Fatalf("connecting %s to %s: %v", a, b, err)
	}
	t.Cleanup(func() {
		// The other end goes with it. Gone is as good.
		_ = a.Do(func() error {
			link, err := netlink.LinkByName(l.A)
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		})
	})
	for h, name := range map[*Host]string{a: l.A, b: l.B} {
		if err := h.Do(func() error { return settleLink(name) }); err != nil {
			t.Fatalf("%s: bringing up %s: %v", h, name, err)
		}
	}
	for h, name := range map[*Host]string{a: l.A, b: l.B} {
		if err := h.Do(func() error { return carrier(name) }); err != nil {
			t.Fatalf("%s: %v", h, err)
		}
	}
	for _, p := range []netip.Prefix{v4, v6} {
		if !p.IsValid() {
			continue
		}
		first := p.Masked().Addr().Next()
		a.AddAddr(t, l.A, netip.PrefixFrom(first, p.Bits()))
		b.AddAddr(t, l.B, netip.PrefixFrom(first.Next(), p.Bits()))
		if first.Is4() {
			l.A4, l.B4 = first, first.Next()
		} else {
			l.A6, l.B6 = first, first.Next()
		}
	}
	return l
}

// freeNumber finds an n such that h has no interface labn yet.
func freeNumber(t testing.TB, h *Host) (n int) {
	t.Helper()
	err := h.Do(func() error {
		for n = range 1000 {
			if _, err := net.InterfaceByName(fmt.Sprint("lab", n)); err != nil {
				return nil
			}
		}
		return errors.New("too many interfaces")
	})
	if err != nil {
		t.Fatalf("%s: %v", h, err)
	}
	return n
}

// carrier waits until the interface carries packets: until then the kernel
// drops them.
func carrier(name string) error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
	}
	return fmt.Errorf("%s has no carrier", name)
}

// settleNet makes the namespace of the calling thread fit to live in. Nobody
// here has a duplicate address, and detecting one would take a second.
func settleNet() error {
	for _, conf := range []string{"all", "default"} {
		if err := sysctl("net/ipv6/conf/"+conf+"/accept_dad", "0"); err != nil {
			return err
		}
	}
	return linkUp("lo")
}

// settleLink brings up one end of a cable. The kernel joins the multicast group
// of a new IPv6 address a little late, and a neighbour's first question may be
// lost: it must not wait a second before it asks again.
func settleLink(name string) error {
	for _, family := range []string{"ipv4", "ipv6"} {
		if err := sysctl("net/"+family+"/neigh/"+name+"/retrans_time_ms", "10"); err != nil {
			return err
		}
	}
	return linkUp(name)
}

// sysctl sets a kernel parameter of the calling thread's namespace; one that
// this kernel lacks is nothing to set.
func sysctl(key, value string) error {
	err := os.WriteFile("/proc/sys/"+key, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// AddAddr gives an interface one more address, usable at once.
func (h *Host) AddAddr(t testing.TB, dev string, p netip.Prefix) {
	t.Helper()
	err := h.Do(func() error {
		link, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(link, addr)
	})
	if err != nil {
		t.Fatalf("%s: address %s on %s: %v", h, p, dev, err)
	}
}

// AddRoute sends what is for dst through the gateway via.
func (h *Host) AddRoute(t testing.TB, dst netip.Prefix, via netip.Addr) {
	t.Helper()
	err := h.Do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()})
	})
	if err != nil {
		t.Fatalf("%s: route to %s via %s: %v", h, dst, via, err)
	}
}

// Sysctl sets a kernel parameter of the machine, such as net/ipv4/ip_forward.
func (h *Host) Sysctl(t testing.TB, key, value string) {
	t.Helper()
	err := h.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0)
	})
	if err != nil {
		t.Fatalf("%s: %v", h, err)
	}
}

// Forward makes the machine a router.
func (h *Host) Forward(t testing.TB) {
	t.Helper()
	h.Sysctl(t, "net/ipv4/ip_forward", "1")
	h.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
