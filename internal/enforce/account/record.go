package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"riposte/internal/host"
)

// suffix ends the name of a record: the account's name stands before it.
const suffix = ".account"

// record writes down what an account is like before it is locked. It is on disk
// when record returns.
func (m *Account) record(a account) error {
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("account: record of %s: %w", a.Name, err)
	}
	if err := os.MkdirAll(m.o.Dir, 0o700); err != nil {
		return fmt.Errorf("account: record of %s: %w", a.Name, err)
	}
	if err := host.ReplaceFile(m.file(a.Name), b, 0o600); err != nil {
		return fmt.Errorf("account: record of %s: %w", a.Name, err)
	}
	return nil
}

// recorded returns what record wrote. A record that cannot be read is an error:
// to lock again would lose what it held.
func (m *Account) recorded(name string) (a account, known bool, err error) {
	b, err := os.ReadFile(m.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("account: record of %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &a); err != nil || a.Name != name {
		return a, false, fmt.Errorf("account: record of %s: %s is damaged: %q", name, m.file(name), b[:min(len(b), 80)])
	}
	return a, true, nil
}

func (m *Account) forget(name string) error {
	err := os.Remove(m.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(m.o.Dir)
	}
	if err != nil {
		return fmt.Errorf("account: record of %s: %w", name, err)
	}
	return nil
}

func (m *Account) file(name string) string { return filepath.Join(m.o.Dir, name+suffix) }

// syncDir makes a change of the folder's entries last. Windows has no such
// call and needs none.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
