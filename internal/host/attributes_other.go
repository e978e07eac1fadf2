//go:build unix && !linux

package host

import "os"

// copyAttributes copies nothing: the BSDs keep labels elsewhere.
func copyAttributes(*os.File, string) {}
