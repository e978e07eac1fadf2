//go:build unix

package command

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// alive reports whether a process runs. One that is dead and waits to be reaped
// does not, as far as /proc can tell.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
