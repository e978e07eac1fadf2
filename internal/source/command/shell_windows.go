package command

import (
	"context"
	"os/exec"
	"syscall"
)

// shell runs a line with the command interpreter, which wants it unquoted.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd.exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "cmd.exe /C " + line, HideWindow: true}
	return cmd
}
