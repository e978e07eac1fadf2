//go:build !linux

package selftest

import (
	"context"
	"errors"
	"fmt"
)

// Run fails: only Linux has network namespaces.
func Run(context.Context, Options) (*Report, error) {
	return nil, fmt.Errorf("the self-test builds a network of Linux namespaces: %w", errors.ErrUnsupported)
}
