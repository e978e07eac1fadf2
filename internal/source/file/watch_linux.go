package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// event is something that happened to a directory or a file that is watched.
type event struct {
	watch int    // which one; 0: events were lost
	name  string // in the directory; "" for what happened to the watched one itself
}

// watcher wakes the follower up when a file grows or a directory changes. It is
// inotify(7); what it cannot watch is polled.
type watcher struct {
	events chan []event // nil when the kernel gave no inotify instance
	fd     *os.File
	raw    int // the same; asking fd for it would make it blocking
	done   sync.WaitGroup
	stop   chan struct{}
}

// errBlind means that a filesystem does not tell what other hosts, or the
// process behind it, do to its files.
var errBlind = errors.New("the filesystem tells no changes")

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &watcher{}, fmt.Errorf("start inotify: %w", err)
	}
	w := &watcher{events: make(chan []event), fd: os.NewFile(uintptr(fd), "inotify"), raw: fd, stop: make(chan struct{})}
	w.done.Go(w.run)
	return w, nil
}

// close ends the watching and waits for it.
func (w *watcher) close() {
	if w.fd == nil {
		return
	}
	close(w.stop)
	_ = w.fd.Close()
	w.done.Wait()
}

func (w *watcher) addDir(path string) (int, error) {
	return w.add(path, unix.IN_CREATE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ATTRIB|
		unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR)
}

// addFile watches exactly the file that is open, whatever its name is by now.
func (w *watcher) addFile(f *os.File) (int, error) {
	return w.add(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.IN_MODIFY)
}

func (w *watcher) add(path string, mask uint32) (int, error) {
	if w.fd == nil {
		return 0, errBlind
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, 0x0BD00BD0: // Lustre
		return 0, errBlind
	}
	return unix.InotifyAddWatch(w.raw, path, mask)
}

func (w *watcher) remove(watch int) {
	if w.fd != nil && watch > 0 {
		_, _ = unix.InotifyRmWatch(w.raw, uint32(watch)) // gone already when the file is
	}
}

func (w *watcher) run() {
	defer close(w.events)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.fd.Read(buf)
		if err != nil || n <= 0 {
			return // closed
		}
		select {
		case w.events <- parseEvents(buf[:n]):
		case <-w.stop:
			return
		}
	}
}

func parseEvents(buf []byte) []event {
	var out []event
	for len(buf) >= unix.SizeofInotifyEvent {
		watch := int32(binary.NativeEndian.Uint32(buf[0:]))
		mask := binary.NativeEndian.Uint32(buf[4:])
		length := int(binary.NativeEndian.Uint32(buf[12:]))
		buf = buf[unix.SizeofInotifyEvent:]
		if length > len(buf) {
			break
		}
		name, _, _ := bytes.Cut(buf[:length], []byte{0})
		buf = buf[length:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			watch = 0
		}
		out = append(out, event{watch: int(watch), name: string(name)})
	}
	return out
}
