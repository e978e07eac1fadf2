package host

import (
	"io/fs"
	"os"
)

// blocked is false: on Windows a file that is in use cannot be overwritten
// either.
func blocked(error) bool { return false }

// dressAs does nothing: a new file inherits its rights from the directory.
func dressAs(*os.File, fs.FileInfo, string) error { return nil }

// SyncDir does nothing: NTFS journals names.
func SyncDir(string) error { return nil }
