//go:build unix

package script

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// untrusted says why somebody else could have changed the file, "" if nobody
// could.
func untrusted(info fs.FileInfo) string {
	if info.Mode().Perm()&0o002 != 0 {
		return "can be written by everybody"
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to user id %d, expected root", st.Uid)
	}
	return ""
}

func executable(info fs.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }
