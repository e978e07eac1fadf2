//go:build !linux

package firewalld

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// Mechanism exists on Linux only.
type Mechanism struct{ enforce.Lister }

// New fails: firewalld is a program for Linux.
func New(Options) (*Mechanism, error) {
	return nil, fmt.Errorf("firewalld is a program for Linux: %w", errors.ErrUnsupported)
}

// Close does nothing.
func (*Mechanism) Close() error { return nil }
