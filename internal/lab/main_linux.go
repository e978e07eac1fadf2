package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is set for the process that runs the tests within its namespaces.
const inside = "RIPOSTE_LAB"

// Main runs a package's tests in a network and mount namespace of their own
// and returns their exit status. Without root it runs them as they are, and
// those that call Need are skipped.
func Main(m *testing.M) int {
	if os.Getenv(inside) != "" {
		if err := settle(); err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
			return 1
		}
		return m.Run()
	}
	if os.Geteuid() != 0 {
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) { // root in name only
			return m.Run()
		}
		fmt.Fprintln(os.Stderr, "lab: starting the tests in namespaces:", err)
		return 1
	}
	go func() { // ends with the process
		for s := range signals {
			_ = cmd.Process.Signal(s) // the tests may be over already
		}
	}()
	var status *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &status) {
		return max(status.ExitCode(), 1)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

// settle makes the fresh namespaces fit to live in.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	return settleNet()
}

// Need skips the test unless it runs inside the lab, as root, with the named
// tools at hand.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root and namespaces of its own (lab.Main)")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s, which is not installed", tool)
		}
	}
}

// PrivateDir lets the test change the files below dir, such as /etc, without
// changing the machine's: it lays a writable layer over dir, which is taken
// away when the test ends.
func PrivateDir(t testing.TB, dir string) {
	t.Helper()
	Need(t)
	layers := t.TempDir() // upper and work must not be on an overlay themselves
	if err := unix.Mount("tmpfs", layers, "tmpfs", 0, "mode=0755"); err != nil {
		t.Skipf("needs tmpfs: %v", err)
	}
	t.Cleanup(func() { unmount(t, layers) })
	upper, work := filepath.Join(layers, "upper"), filepath.Join(layers, "work")
	for _, d := range []string{upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		t.Skipf("needs overlayfs: %v", err)
	}
	t.Cleanup(func() { unmount(t, dir) })
}

func unmount(t testing.TB, dir string) {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Errorf("unmounting %s: %v", dir, err)
	}
}
