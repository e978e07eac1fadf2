package script

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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
		n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	})
	return n
}

// bootID names the machine's present boot.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
