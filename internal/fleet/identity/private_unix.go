//go:build unix

package identity

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// private refuses a file or directory that anybody but its user could read or
// write: a key in it is not a secret, or not ours.
func private(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return privateInfo(path, st)
}

func privateInfo(path string, st fs.FileInfo) error {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d and not to user %d, who runs riposte: it is not trusted; if it is yours, chown it", path, sys.Uid, os.Geteuid())
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		want := fs.FileMode(0o600)
		if st.IsDir() {
			want = 0o700
		}
		return fmt.Errorf("%s has mode %04o: others can get at the keys in it; look who did, then chmod %04o", path, mode, want)
	}
	return nil
}
