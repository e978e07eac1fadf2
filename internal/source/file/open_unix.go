//go:build unix

package file

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// errNotRegular means that a path leads to a device, a pipe or a directory.
var errNotRegular = errors.New("not a regular file")

// openLog opens a regular file for reading and says which one it is. It does
// not wait for the other end when the path leads to a pipe.
func openLog(path string) (*os.File, fileID, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fileID{}, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "follow", Path: path, Err: errNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, fileID{}, nil, err
	}
	return f, idOf(info), info, nil
}

// identify says which file a path leads to.
func identify(path string) (fileID, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileID{}, nil, err
	}
	return idOf(info), info, nil
}

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{dev: uint64(st.Dev), ino: uint64(st.Ino)} //nolint:unconvert // the types differ between systems
}
