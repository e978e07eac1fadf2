//go:build unix

package command

import (
	"context"
	"os/exec"
)

// shell runs a line as popen(3) does. The language is fixed, so that the output
// does not depend on who started riposte, and of the environment nothing else is
// passed on.
func shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	return cmd
}
