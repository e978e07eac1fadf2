package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// folder is the opened folder of a file.
type folder struct {
	*os.File
	path string
}

func (f *folder) fd() int { return int(f.Fd()) }

// errLink says that a path leads through a symbolic link.
var errLink = errors.New("it leads through a symbolic link")

// openFolder opens the folder of a file, walking down from the root one folder
// at a time, never through a symbolic link.
func openFolder(path string) (*folder, error) {
	dir := filepath.Dir(path)
	fd, err := retry(func() (int, error) { return unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		if name == "" {
			break // the root itself
		}
		at = filepath.Join(at, name)
		next, err := retry(func() (int, error) {
			return unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		unix.Close(fd)
		if errors.Is(err, unix.ENOTDIR) {
			if to, lerr := os.Readlink(at); lerr == nil {
				return nil, fmt.Errorf("%s: %w, %s, to %s: name the file by its real path", path, errLink, at, to)
			}
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: at, Err: err}
		}
		fd = next
	}
	defer unix.Close(fd)
	f, err := openAt(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0) // one that can be synced
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &folder{File: f, path: dir}, nil
}

// openAt opens a name in a folder, and never what a symbolic link leads to. A
// pipe does not make it wait.
func openAt(dir int, name string, flags int, perm uint32) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, perm)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// statAt looks at a name in a folder, not following it.
func statAt(dir int, name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// moveAt renames without replacing anything: EEXIST when the new name is taken.
// Where the file system cannot do so at once, a crash may leave both names.
func moveAt(from int, name string, to int, newName string) error {
	err := unix.Renameat2(from, name, to, newName, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if err := unix.Linkat(from, name, to, newName, 0); err != nil {
		return err
	}
	return unix.Unlinkat(from, name, 0)
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// kindOf names what is no regular file.
func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a folder"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	case unix.S_IFIFO:
		return "a pipe"
	case unix.S_IFSOCK:
		return "a socket"
	}
	return "no regular file"
}
