//go:build !(linux || windows || darwin || dragonfly || freebsd || netbsd || openbsd)

package route

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// New fails: riposte knows no null routes of this system.
func New(enforce.Runner) (*tool.Mechanism, error) {
	return nil, fmt.Errorf("%s: not known on this system: %w", Name, errors.ErrUnsupported)
}
