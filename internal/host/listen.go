package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// ErrInUse means that another process answers on a socket.
var ErrInUse = errors.New("another process answers on it")

// ListenUnix listens on a unix stream socket at path with the given mode,
// normally 0600. A socket that a dead process left there is replaced; one that
// answers is left alone and the error is ErrInUse. The socket has its mode
// before anybody can see it. Closing the listener removes the socket, if it is
// still the one made here.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := listenUnix(path, mode)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	unlock, err := lockDir(filepath.Dir(path)) // two that start at once must not remove each other's
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := mayReplace(path); err != nil {
		return nil, err
	}
	// Bound under another name, then renamed: the mode is there first, and the
	// stale socket goes in the same step. The name is short because the kernel
	// takes no more than some 100 bytes.
	fresh := path + "~"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	var info fs.FileInfo
	if err = os.Chmod(fresh, mode); err == nil {
		info, err = os.Lstat(fresh)
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(fresh)
		return nil, err
	}
	return &unixListener{UnixListener: l, path: path, info: info}, nil
}

// mayReplace says whether path is free or holds a socket nobody answers on.
func mayReplace(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return errors.New("something that is not a socket is there; remove it")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return ErrInUse
	}
	if !refused(err) {
		return fmt.Errorf("cannot tell whether the socket is in use: %w", err)
	}
	return nil
}

// unixListener removes its socket when it is closed.
type unixListener struct {
	*net.UnixListener
	path string
	info fs.FileInfo
}

func (l *unixListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// Addr returns the address that clients dial.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
