//go:build !linux

package iptables

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// Mechanism exists on Linux only.
type Mechanism struct{ enforce.Lister }

// New fails: iptables is a part of Linux.
func New(enforce.Runner) (*Mechanism, error) {
	return nil, fmt.Errorf("iptables is a part of Linux: %w", errors.ErrUnsupported)
}

// Close does nothing.
func (*Mechanism) Close() error { return nil }
