package identity

import (
	"io/fs"

	"riposte/internal/host"
)

// private refuses a directory that belongs to a stranger. What is made in it
// inherits who may read: host.PrivateDir has seen to that.
func private(dir string) error { return host.PrivateDir(dir) }

func privateInfo(string, fs.FileInfo) error { return nil }
