//go:build !linux

package quarantine

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// Mechanism exists on Linux only.
type Mechanism struct{ enforce.Lister }

// New fails: what keeps a file safe from races and gives it back whole differs
// from system to system, and is made for Linux alone.
func New(Options) (*Mechanism, error) {
	return nil, fmt.Errorf("%s: files are quarantined on Linux only: %w", Name, errors.ErrUnsupported)
}

// Close does nothing.
func (*Mechanism) Close() error { return nil }
