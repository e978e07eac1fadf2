//go:build !linux

package journald

import (
	"context"
	"os"
)

// nudge does nothing: there is no journal here.
func nudge(context.Context, *os.Process) {}
