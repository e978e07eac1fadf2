package host

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestListenControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, err := ListenControl(path); !errors.Is(err, ErrInUse) {
		t.Errorf("second listener: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close: %v", err)
	}
}

func TestListenControlReplacesDeadSocketOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	write(t, path+"~", "left by a crash", 0o600)
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	alone(t, dir, "s")

	// A successor that has taken the name keeps it when we close.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
	_ = other.Close()

	write(t, path, "precious", 0o600)
	if _, err := ListenControl(path); err == nil || read(t, path) != "precious" {
		t.Errorf("a file was replaced: %v", err)
	}
}

func TestListenControlStartedTwiceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, err := ListenControl(path)
			if err == nil {
				won.Add(1)
				t.Cleanup(func() { _ = l.Close() })
			} else if !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d listeners on one path", won.Load())
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		_ = conn.Close()
	}
}

// TestListenControlMakesItsFolder: /run is empty after a boot.
func TestListenControlMakesItsFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "riposte", "s")
	l, err := ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := DialControl(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	write(t, filepath.Join(dir, "file"), "", 0o600)
	if _, err := ListenControl(filepath.Join(dir, "file", "s")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file in place of the folder: %v", err)
	}
}
