package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds what is read of a file of keys, in bytes.
const maxFile = 1 << 20

// readPrivate reads a file of keys, in a directory of keys, and refuses both
// when others could have read or written them.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		defer f.Close()
		err = private(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	st, err := f.Stat() // of what is read, not of what has the name a moment later
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err == nil {
		err = privateInfo(path, st)
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	return b, nil
}
