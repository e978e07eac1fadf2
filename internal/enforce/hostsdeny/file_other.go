//go:build !unix

package hostsdeny

import (
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// File exists on Unix only.
type File struct{ enforce.Lister }

// Default returns no file: this system has none.
func Default() (path string, format Format) { return "", Deny }

// New fails: TCP wrappers are a part of Unix.
func New(string, Format) (*File, error) {
	return nil, fmt.Errorf("%s is a part of Unix: %w", Name, errors.ErrUnsupported)
}
