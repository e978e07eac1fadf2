package host

import "os"

// IsTerminal reports whether a person reads what is written to stream, or
// writes what is read from it.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isTerminal(f.Fd())
}
