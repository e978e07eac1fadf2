//go:build unix

package host

import "os"

// PrivateDir makes a folder that only root gets into, if it is not there yet.
func PrivateDir(path string) error { return os.MkdirAll(path, 0o700) }
