//go:build unix

package hostsdeny

import (
	"os"
	"syscall"
)

// identity tells one state of a file from another without reading it.
type identity struct {
	inode   uint64
	changed int64 // modification, in nanoseconds
	size    int64
}

// identify returns what the file is now: the zero value when it is not there.
func (f *File) identify() identity {
	info, err := os.Stat(f.path)
	if err != nil {
		return identity{}
	}
	id := identity{changed: info.ModTime().UnixNano(), size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.inode = st.Ino
	}
	return id
}
