//go:build !unix

package stdin

import (
	"context"
	"io"
)

// interruptible closes the input when ctx ends.
func interruptible(ctx context.Context, in io.Reader) (r io.Reader, stop func()) {
	s := closing(ctx, in)
	return in, func() { s() }
}
