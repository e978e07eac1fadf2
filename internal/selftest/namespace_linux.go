package selftest

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// machine is a network namespace that is held by a descriptor alone.
type machine struct {
	name string
	ns   *os.File
}

// newMachine makes a machine with nothing but loopback.
func newMachine(name string) (*machine, error) {
	m := &machine{name: name}
	err := away(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if m.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return settle()
	})
	if err != nil {
		m.close()
		return nil, fmt.Errorf("making the machine %s: %w", name, err)
	}
	return m, nil
}

func (m *machine) close() {
	if m.ns != nil {
		m.ns.Close()
	}
}

// do runs f on the machine: the sockets it opens and the processes it starts
// are there, and stay there. f must do all of that itself, on no goroutine of
// its own.
func (m *machine) do(f func() error) error {
	return away(func() error {
		if err := unix.Setns(int(m.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the machine %s: %w", m.name, err)
		}
		return f()
	})
}

// away runs f on a thread that may go to other network namespaces meanwhile. It
// is brought home afterwards, rather than ended: a process that was started
// from it may have been told to die with it.
func away(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// settle makes the calling thread's namespace fit to live in. Nobody here has a
// duplicate address, and detecting one would take a second.
func settle() error {
	for _, conf := range []string{"all", "default"} {
		if err := sysctl("ipv6/conf/"+conf+"/accept_dad", "0"); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// sysctl sets a parameter of the calling thread's network; one that this kernel
// lacks is nothing to set.
func sysctl(key, value string) error {
	err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
