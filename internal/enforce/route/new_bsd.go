//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package route

import (
	"fmt"
	"os/exec"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// New returns the null routes of this system, made by its tools.
func New(run enforce.Runner) (*tool.Mechanism, error) {
	for _, tool := range []string{"route", "netstat"} {
		if enforce.Find(tool) == "" {
			return nil, fmt.Errorf("%s: %s: %w", Name, tool, exec.ErrNotFound)
		}
	}
	return NewBSD(run), nil
}
