//go:build unix

package host

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// refused reports whether err says that nobody listens.
func refused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

// lockDir takes an advisory lock on a directory, waiting up to five seconds.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for range 500 {
		err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = d.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = d.Close()
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}
