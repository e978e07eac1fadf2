package hostsdeny

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
)

var _ enforce.Watcher = (*File)(nil)

// Watch calls changed when somebody else changes the file, replaces it or
// deletes it. The folder is watched, since most editors make a new file.
func (f *File) Watch(ctx context.Context, changed func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("%s: watching %s: %w", Name, f.path, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	const mask = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(f.path), mask); err != nil {
		return fmt.Errorf("%s: watching %s: %w", Name, f.path, err)
	}
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	buf := make([]byte, 64<<10)
	for {
		n, err := events.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: watching %s: %w", Name, f.path, err)
		}
		if names(buf[:n], filepath.Base(f.path)) && f.byOthers() {
			changed()
		}
	}
}

// byOthers reports whether the file is not as our last edit left it.
func (f *File) byOthers() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.own == nil || *f.own != f.identify()
}

// names reports whether an event names the file, or events were lost.
func names(b []byte, file string) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		mask, length := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		if b = b[unix.SizeofInotifyEvent:]; length > len(b) {
			return true
		}
		name, _, _ := bytes.Cut(b[:length], []byte{0})
		if mask&unix.IN_Q_OVERFLOW != 0 || string(name) == file {
			return true
		}
		b = b[length:]
	}
	return false
}
