//go:build !linux

package nft

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// Mechanism exists on Linux only.
type Mechanism struct{ enforce.Lister }

// New fails: nftables is a part of Linux.
func New() (*Mechanism, error) {
	return nil, fmt.Errorf("nftables is a part of Linux: %w", errors.ErrUnsupported)
}

// Close does nothing.
func (*Mechanism) Close() error { return nil }
