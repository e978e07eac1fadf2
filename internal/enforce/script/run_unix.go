//go:build unix

package script

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// environment is all that a script inherits.
func environment(as *account) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "LC_ALL=C"}
	if as != nil {
		env = append(env, "HOME="+as.home)
	}
	return env
}

// prepare gives the script a session, and so a process group, of its own, and
// takes riposte's rights from it if it is to run as somebody else.
func prepare(cmd *exec.Cmd, as *account) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid, Groups: []uint32{}}
	}
	return nil
}

func terminate(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGTERM) }

func kill(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }

// running reports whether the process group has members, dead ones that nobody has
// collected among them.
func running(p *os.Process) bool { return syscall.Kill(-p.Pid, 0) == nil }

func busy(err error) bool { return errors.Is(err, syscall.ETXTBSY) }
