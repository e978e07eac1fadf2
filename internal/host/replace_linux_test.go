package host

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// alone fails when anything but the named files is in dir: a temporary file
// that was left.
func alone(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if got, want := strings.Join(have, " "), strings.Join(names, " "); got != want {
		t.Errorf("directory holds %q, want %q", got, want)
	}
}

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hosts.deny")
	if err := ReplaceFile(path, []byte("one\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if read(t, path) != "one\n" || info.Mode().Perm() != 0o640 {
		t.Errorf("new file: %q, mode %v", read(t, path), info.Mode())
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	attributes := unix.Setxattr(path, "user.riposte", []byte("kept"), 0) == nil
	if err := ReplaceFile(path, []byte("a longer text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, _ = os.Stat(path)
	st := info.Sys().(*syscall.Stat_t)
	if read(t, path) != "a longer text\n" || info.Mode().Perm() != 0o604 {
		t.Errorf("replaced file: %q, mode %v", read(t, path), info.Mode())
	}
	if os.Geteuid() == 0 && (st.Uid != 12 || st.Gid != 34) {
		t.Errorf("owner is now %d:%d", st.Uid, st.Gid)
	}
	if attributes {
		value := make([]byte, 16)
		n, err := unix.Getxattr(path, "user.riposte", value)
		if err != nil || string(value[:n]) != "kept" {
			t.Errorf("extended attribute: %q, %v", value[:max(n, 0)], err)
		}
	}
	alone(t, dir, "hosts.deny")
}

func TestReplaceFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"made through a dangling link", "changed"} {
		if err := ReplaceFile(link, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if read(t, real) != text {
			t.Errorf("target holds %q", read(t, real))
		}
	}
	if info, _ := os.Lstat(link); info.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(loop, nil, 0o600); err == nil {
		t.Error("a loop of links was replaced")
	}
	if err := ReplaceFile(dir, nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
}

func TestReplaceIsNeverSeenHalf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	texts := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 10)}
	write(t, path, string(texts[0]), 0o600)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, texts[0]) && !bytes.Equal(got, texts[1]) {
				t.Errorf("seen: %d bytes, %v", len(got), err)
				return
			}
		}
	})
	for i := range 100 {
		if err := ReplaceFile(path, texts[i%2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

func TestReplaceBindMountedFile(t *testing.T) {
	if !inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	source, path := filepath.Join(dir, "source"), filepath.Join(dir, "mounted")
	write(t, source, "the old and longer text", 0o644)
	write(t, path, "", 0o644)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	if err := ReplaceFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if read(t, path) != "new" || read(t, source) != "new" {
		t.Errorf("mounted %q, source %q", read(t, path), read(t, source))
	}
	alone(t, dir, "mounted", "source")

	// The same in a directory that cannot be written at all.
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("/dev/shm", filepath.Join(dir, "mounted"), "", unix.MS_BIND, ""); err == nil {
		t.Fatal("a directory was mounted over a file")
	}
	inner := filepath.Join("/dev/shm", "riposte-replace-test")
	write(t, inner, "old", 0o644)
	t.Cleanup(func() { _ = os.Remove(inner) })
	if err := unix.Mount(inner, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	if err := ReplaceFile(path, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if read(t, inner) != "newer" {
		t.Errorf("file in a read-only directory holds %q", read(t, inner))
	}
	if err := ReplaceFile(filepath.Join(dir, "absent"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("new file in a read-only directory: %v", err)
	}
}
