//go:build unix

package host

import (
	"os"
	"os/exec"
	"syscall"
)

// OwnGroup puts cmd into a process group of its own, so that a signal from the
// terminal is ours to pass on, and makes the end of its context kill the whole
// group. It must be called before cmd starts.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if err == syscall.ESRCH {
			return os.ErrProcessDone
		}
		return err
	}
}
