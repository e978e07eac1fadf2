package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nkeys"

	"riposte/internal/host"
)

// The files of keys that no server has vouched for yet, beside the credentials.
const (
	JoinFile  = "join.json"  // of a host that is about to join
	RekeyFile = "rekey.json" // of an agent that is about to change its key
)

// Pending is a private key that no server has vouched for yet. It is on the disk
// before a server hears of it: an answer that is lost is asked for again with the
// same key, whatever stopped in between.
type Pending struct {
	For     string    `json:"token"`            // the id of the token to join with, or the public key to replace
	Ordered time.Time `json:"ordered,omitzero"` // when the order to change the key was issued
	Seed    []byte    `json:"seed"`
}

// BeginKey returns the key that was begun with for what p is for, or a new one.
// It is on the disk then, for the owner's eyes only.
func BeginKey(dir, file string, p Pending) (Pending, error) {
	begun, ok, err := BegunKey(dir, file, p.For)
	if err != nil {
		return p, err
	}
	if ok && !begun.Ordered.Before(p.Ordered) {
		return begun, nil
	}
	if p.Seed = begun.Seed; !ok {
		if p.Seed, _, err = NewKey(); err != nil {
			return p, err
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	if err = host.PrivateDir(dir); err == nil {
		err = private(dir)
	}
	if err == nil {
		err = host.ReplaceFile(filepath.Join(dir, file), append(b, '\n'), 0o600)
	}
	if err != nil {
		return p, fmt.Errorf("store the new key: %w", err)
	}
	return p, nil
}

// BegunKey returns the key that was begun with, if one was begun with for this
// purpose. One that others could have read or written is refused.
func BegunKey(dir, file, purpose string) (p Pending, ok bool, err error) {
	b, err := readPrivate(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	if json.Unmarshal(b, &p) != nil || p.For != purpose {
		return Pending{}, false, nil // of something else, which is over
	}
	if _, err := nkeys.FromSeed(p.Seed); err != nil {
		return Pending{}, false, nil
	}
	return p, true, nil
}

// EndKey forgets the key that was begun with: it is in the credentials now.
func EndKey(dir, file string) error {
	if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear up: %w", err)
	}
	return nil
}
