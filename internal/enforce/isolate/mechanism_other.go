//go:build !linux

package isolate

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// Mechanism exists on Linux only.
type Mechanism struct{ enforce.Lister }

// New fails: nftables is a part of Linux.
func New(Options) (*Mechanism, error) {
	return nil, fmt.Errorf("%s: nftables is a part of Linux: %w", Name, errors.ErrUnsupported)
}
