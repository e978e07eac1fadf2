//go:build unix

package stdin

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// interruptible makes the reads of an input end with ctx. A file is read only
// when poll(2) says that there is something: a read that waits in the kernel
// cannot be called back.
func interruptible(ctx context.Context, in io.Reader) (r io.Reader, stop func()) {
	f, ok := in.(*os.File)
	if !ok {
		stop := closing(ctx, in)
		return in, func() { stop() }
	}
	wake, end, err := os.Pipe()
	if err != nil {
		return in, func() {}
	}
	cancel := context.AfterFunc(ctx, func() { _ = end.Close() })
	return &polled{file: f, wake: wake}, func() {
		if cancel() {
			_ = end.Close()
		}
		_ = wake.Close()
	}
}

// polled is a file whose reads end when the other end of wake is closed.
type polled struct {
	file *os.File
	wake *os.File
}

func (p *polled) Read(buf []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(p.file.Fd()), Events: unix.POLLIN}, {Fd: int32(p.wake.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		case fds[1].Revents != 0:
			return 0, io.EOF
		}
		return p.file.Read(buf)
	}
}
