package script

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// environment is all that a script inherits: what Windows programs cannot do
// without.
func environment(*account) []string {
	root := os.Getenv("SystemRoot")
	if root == "" {
		root = `C:\Windows`
	}
	sys := root + `\System32`
	return []string{
		"SystemRoot=" + root, "windir=" + root, "SystemDrive=" + filepath.VolumeName(root),
		"ComSpec=" + sys + `\cmd.exe`, "PATHEXT=.COM;.EXE;.BAT;.CMD",
		"PATH=" + sys + ";" + root + ";" + sys + `\Wbem;` + sys + `\WindowsPowerShell\v1.0`,
		"TEMP=" + root + `\Temp`, "TMP=" + root + `\Temp`,
	}
}

// prepare gives the script a process group of its own. A batch file is read by
// cmd.exe, which gives a meaning to characters that no quoting takes from it:
// arguments that hold one are changed.
func prepare(cmd *exec.Cmd, as *account) error {
	if as != nil {
		return errors.New("scripts cannot run as another user on Windows")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
	switch strings.ToLower(filepath.Ext(cmd.Path)) {
	case ".cmd", ".bat":
		for i, a := range cmd.Args[1:] {
			cmd.Args[i+1] = batchWord(a)
		}
	}
	return nil
}

func batchWord(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || strings.ContainsRune("\"%!^&|<>()'`", c) {
			return '_'
		}
		return c
	}, s)
}

// terminate has nothing to say it with: a Windows program without a window
// hears no request to end.
func terminate(p *os.Process) { kill(p) }

// kill ends the process and all that it started.
func kill(p *os.Process) {
	root := os.Getenv("SystemRoot")
	tree := exec.Command(filepath.Join(root, "System32", "taskkill.exe"), "/T", "/F", "/PID", strconv.Itoa(p.Pid))
	if err := tree.Run(); err != nil {
		p.Kill()
	}
}

// running does not know: taskkill has ended the tree.
func running(*os.Process) bool { return false }

func busy(err error) bool {
	const sharingViolation = syscall.Errno(32)
	return errors.Is(err, sharingViolation)
}
