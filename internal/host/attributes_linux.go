package host

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// copyAttributes copies extended attributes (SELinux label, ACL) from the file
// at path to f, as far as the kernel lets us: what it refuses it has set by its
// own policy.
func copyAttributes(f *os.File, path string) {
	names := make([]byte, 4<<10)
	n, err := unix.Listxattr(path, names)
	if err != nil {
		return
	}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		if n, err := unix.Getxattr(path, name, value); err == nil {
			_ = unix.Fsetxattr(int(f.Fd()), name, value[:n], 0)
		}
	}
}
