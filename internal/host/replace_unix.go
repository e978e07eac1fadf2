//go:build unix

package host

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// blocked reports whether err says that a name in this directory cannot be
// taken, while the file itself may still be writable: EBUSY for a mount point,
// EXDEV for a mount in between, EROFS, EACCES and EPERM for the directory.
func blocked(err error) bool {
	return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EROFS) ||
		errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

// dressAs gives f the owner, the extended attributes and the mode of old, in
// this order: a change of owner clears set-id bits.
func dressAs(f *os.File, old fs.FileInfo, path string) error {
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		if now, err := f.Stat(); err != nil {
			return err
		} else if mine, ok := now.Sys().(*syscall.Stat_t); ok && (mine.Uid != st.Uid || mine.Gid != st.Gid) {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
	}
	copyAttributes(f, path)
	return f.Chmod(old.Mode())
}

// SyncDir brings a directory's names to the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // some filesystems have no such notion
	}
	return errors.Join(err, d.Close())
}
