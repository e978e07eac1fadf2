//go:build darwin || freebsd || openbsd || netbsd || dragonfly

package script

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fionread is FIONREAD, the same on all BSDs and macOS.
const fionread = 0x4004667f

// usualGrace is how long a script that has read its line may take to ask.
const usualGrace = time.Second

// unread returns how many bytes nobody has read from the pipe yet.
func unread(pipe *os.File) int {
	n := 0
	conn, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	conn.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), fionread)
	})
	return n
}

// bootID is not known here: an effect is then taken to be in force after a
// restart of the machine too.
func bootID() string { return "" }
