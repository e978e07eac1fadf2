package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ReplaceFile gives the file at path the content data, so that at any instant,
// a crash included, it holds either all of the old or all of the new: the
// content goes to a temporary file beside it, to the disk, and then takes the
// name. An existing file keeps its mode, owner and extended attributes; a new
// one gets perm. A symbolic link is followed and stays.
//
// Where the name cannot be taken (a bind-mounted file, a directory that cannot
// be written) an existing file is overwritten in place, which is not atomic.
// The content then stands whole in the temporary file, if there could be one,
// until the overwriting is done. Two calls for one path must not overlap.
func ReplaceFile(path string, data []byte, perm fs.FileMode) error {
	target, err := followLinks(path)
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	old, err := os.Stat(target)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return fmt.Errorf("replace %s: not a regular file", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("replace %s: %w", path, err)
	case err != nil:
		old = nil
	}
	temp, err := writeBeside(target, old, data, perm)
	if err != nil {
		if old != nil && blocked(err) {
			err = overwrite(target, data)
		}
		if err != nil {
			return fmt.Errorf("replace %s: %w", path, err)
		}
		return nil
	}
	if err := os.Rename(temp, target); err != nil {
		if old == nil || !blocked(err) {
			_ = os.Remove(temp)
			return fmt.Errorf("replace %s: %w", path, err)
		}
		if err := overwrite(target, data); err != nil {
			return fmt.Errorf("replace %s: %w; its new content is in %s", path, err, temp)
		}
		_ = os.Remove(temp)
		return nil
	}
	if err := SyncDir(filepath.Dir(target)); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}

// followLinks returns where path leads to, even when nothing is there yet.
func followLinks(path string) (string, error) {
	for range 40 { // the kernel's own limit
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link, or nothing there: the caller will see
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", errors.New("too many symbolic links")
}

// writeBeside writes data to a new file in target's directory, down to the
// disk, dressed as old, and returns its name.
func writeBeside(target string, old fs.FileInfo, data []byte, perm fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return "", err
	}
	if old != nil {
		err = dressAs(f, old, target)
	} else {
		err = f.Chmod(perm)
	}
	if err != nil {
		return "", err
	}
	if err = f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// overwrite writes data over the file where it is.
func overwrite(target string, data []byte) error {
	f, err := os.OpenFile(target, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Truncate(int64(len(data)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
