package script

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoScript is what Find's error is when the folder holds no such file.
var ErrNoScript = errors.New("no such script")

// Find returns the path of the executable of that name in the script folder.
// It refuses what is not a plain name, what leads out of the folder, what
// somebody other than root and riposte's own account could have changed, what
// is not a program, and a file that is not the one that was pinned.
func (r *Runner) Find(name string) (string, error) {
	if r.o.Dir == "" {
		return "", fmt.Errorf("script %s: %w: no script folder is set", name, ErrNoScript)
	}
	if err := plainName(name); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(r.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", filepath.Join(r.o.Dir, name), ErrNoScript)
	}
	if err != nil {
		return "", fmt.Errorf("script folder: %w", err)
	}
	defer root.Close()
	folder, err := root.Stat(".")
	if err != nil {
		return "", fmt.Errorf("script folder: %w", err)
	}
	if why := untrusted(folder); why != "" {
		return "", fmt.Errorf("script folder %s %s: scripts in it are not run", r.o.Dir, why)
	}
	// The root follows links inside the folder and refuses those that leave it.
	f, err := root.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: %w", filepath.Join(r.o.Dir, name), ErrNoScript)
	case err != nil:
		return "", fmt.Errorf("script is refused: %w", err)
	}
	defer f.Close()
	path := filepath.Join(r.o.Dir, name)
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("script: %w", err)
	}
	switch why := untrusted(info); {
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("script %s is refused: it is not a regular file", path)
	case why != "":
		return "", fmt.Errorf("script %s is refused: it %s", path, why)
	case !executable(info):
		return "", fmt.Errorf("script %s is refused: it is not executable", path)
	}
	if pin, ok := r.o.Pins[name]; ok {
		if err := pinned(f, pin); err != nil {
			return "", fmt.Errorf("script %s is refused: %w", path, err)
		}
	}
	return path, nil
}

// plainName refuses everything but a file name: folders, parent steps, and the
// leading "!" by which Wazuh names a script that no <command> defines.
func plainName(name string) error {
	switch {
	case name == "":
		return errors.New("the command names no executable")
	case name == "." || name == "..", strings.ContainsAny(name, `/\:`), strings.HasPrefix(name, "!"), strings.HasPrefix(name, "-"):
		return fmt.Errorf("executable %q is refused: it must be the name of a file in the script folder", name)
	}
	for i := 0; i < len(name); i++ {
		if name[i] < 0x20 || name[i] == 0x7f {
			return fmt.Errorf("executable %q is refused: it holds a control character", name)
		}
	}
	return nil
}

func pinned(f io.Reader, pin string) error {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("its hash could not be had: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, pin) {
		return fmt.Errorf("it is not the file that was pinned: its SHA-256 is %s", got)
	}
	return nil
}
