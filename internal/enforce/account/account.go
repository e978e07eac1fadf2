// Package account answers with the lock of a user's account: disable-account.
//
// A lock keeps the user from logging in and ends the sessions that are open.
// What the account was like before is on disk before anything is changed, so
// that the undo gives back exactly what was taken: an account that somebody
// else had locked stays locked. The super-user, system accounts and riposte's
// own account are refused.
package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// Options say how accounts are locked. Every zero value has a default.
type Options struct {
	Dir         string         // of the records of what was locked; "" for /var/lib/riposte/accounts
	OS          string         // whose commands are used; "" for runtime.GOOS
	Run         enforce.Runner // nil for enforce.Exec
	Limit       time.Duration  // for one account; 0 for 30 s
	AllowSystem bool           // system accounts may be locked too; never the super-user
	Passwords   string         // the BSDs' password file; "" for /etc/master.passwd
}

// Account is the mechanism.
type Account struct {
	o      Options
	system system
}

var _ enforce.Lister = (*Account)(nil)

// system is what an operating system says about accounts and does to them.
type system interface {
	// find returns the account of that very name.
	find(ctx context.Context, name string) (account, error)
	// lock makes a login impossible and returns what undoes it.
	lock(ctx context.Context, a account) error
	// unlock takes back what lock did to the account as it was before.
	unlock(ctx context.Context, now, before account) error
	// end ends the user's sessions, and says what it found.
	end(ctx context.Context, a account) (said string, err error)
}

// account is one account as the system knows it.
type account struct {
	Name   string `json:"name"`
	UID    uint64 `json:"uid"`
	Locked bool   `json:"locked"`           // its password is locked, or there is none to lock
	Expiry string `json:"expiry,omitempty"` // on Linux: the day it expires, "" for never
	gone   bool   // it can log in in no way: fully locked
	system bool   // it is no person's
}

// New returns the mechanism, or an error where accounts cannot be locked.
func New(o Options) (*Account, error) {
	if o.Dir == "" {
		o.Dir = "/var/lib/riposte/accounts"
	}
	if o.OS == "" {
		o.OS = runtime.GOOS
	}
	if o.Run == nil {
		o.Run = enforce.Exec
	}
	if o.Limit <= 0 {
		o.Limit = 30 * time.Second
	}
	if o.Passwords == "" {
		o.Passwords = "/etc/master.passwd"
	}
	a := &Account{o: o}
	switch o.OS {
	case "linux":
		a.system = linux{run: o.Run}
	case "freebsd", "netbsd", "openbsd", "darwin", "windows":
		a.system = other{os: o.OS, run: o.Run, passwords: o.Passwords}
	default:
		return nil, fmt.Errorf("accounts cannot be locked on %s", o.OS)
	}
	return a, nil
}

// Name is "account".
func (m *Account) Name() string { return "account" }

// Kind is User.
func (m *Account) Kind() riposte.Kind { return riposte.User }

// Durable is true: a lock outlives a restart of the machine.
func (m *Account) Durable() bool { return true }

// Apply locks the accounts and ends their sessions. Sessions that cannot be
// ended do not make it an error: the output says so.
func (m *Account) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return m.each(ctx, effects, m.lock)
}

// Undo gives back what was taken. The state of an effect, or the record on
// disk, says what that was; an account without either is left alone.
func (m *Account) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return m.each(ctx, effects, m.unlock)
}

func (m *Account) each(ctx context.Context, effects []enforce.Effect, do func(context.Context, *enforce.Effect) enforce.Result) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range effects {
		if out[i].Err = ctx.Err(); out[i].Err != nil {
			continue
		}
		one, cancel := context.WithTimeout(ctx, m.o.Limit)
		out[i] = do(one, &effects[i])
		cancel()
	}
	return out
}

func (m *Account) lock(ctx context.Context, e *enforce.Effect) enforce.Result {
	a, err := m.admissible(ctx, e.Target)
	if err != nil {
		return enforce.Result{Err: fmt.Errorf("account: %w", err)}
	}
	before, known, err := m.recorded(a.Name)
	if err == nil && !known {
		before = a
		err = m.record(before)
	}
	if err != nil {
		return enforce.Result{Err: err}
	}
	if !a.gone {
		if err := m.system.lock(ctx, a); err != nil {
			if !known {
				err = errors.Join(err, m.forget(a.Name))
			}
			return enforce.Result{Err: fmt.Errorf("account: lock %s: %w", a.Name, err)}
		}
	}
	state, _ := json.Marshal(before) // strings and numbers alone
	res := enforce.Result{State: string(state)}
	said, err := m.system.end(ctx, a)
	if err != nil {
		said = strings.TrimSpace(said + "\nsessions were not ended: " + err.Error())
	}
	res.Output = enforce.Visible(said)
	if now, err := m.system.find(ctx, a.Name); err == nil {
		res.Verified = now.gone
	}
	return res
}

// admissible finds the target's account and refuses those that must not be
// locked.
func (m *Account) admissible(ctx context.Context, t riposte.Target) (account, error) {
	if t.Kind != riposte.User {
		return account{}, fmt.Errorf("the target %s is no user", t)
	}
	if err := plain(t.Value); err != nil {
		return account{}, err
	}
	a, err := m.system.find(ctx, t.Value)
	switch {
	case err != nil:
		return a, err
	case a.UID == 0:
		return a, fmt.Errorf("%s is the super-user and is never locked", a.Name)
	case a.UID == uint64(os.Geteuid()) && m.o.OS != "windows":
		return a, fmt.Errorf("riposte runs as %s, which is never locked", a.Name)
	case a.system && !m.o.AllowSystem:
		return a, fmt.Errorf("%s is a system account, which is not locked", a.Name)
	}
	return a, nil
}

// plain refuses names that could be read as something else by the system's own
// programs or as a path of the record.
func plain(name string) error {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("._-@+", c):
		default:
			return fmt.Errorf("%q is no name of a local account: it holds %q", name, c)
		}
	}
	if name == "" || name[0] == '-' || name[0] == '.' || len(name) > 100 {
		return fmt.Errorf("%q is no name of a local account", name)
	}
	return nil
}

func (m *Account) unlock(ctx context.Context, e *enforce.Effect) enforce.Result {
	name := e.Target.Value
	if e.Target.Kind != riposte.User || plain(name) != nil {
		return enforce.Result{} // it was never locked
	}
	before, known, err := m.recorded(name)
	if !known {
		if json.Unmarshal([]byte(e.State), &before) != nil || before.Name != name {
			return enforce.Result{Err: err} // it was never locked, or it cannot be known how
		}
	}
	now, err := m.system.find(ctx, name)
	switch {
	case errors.Is(err, errUnknown), err == nil && now.UID != before.UID:
		// The account is gone, or another one by its name has come.
	case err != nil:
		return enforce.Result{Err: fmt.Errorf("account: %w", err)}
	default:
		if err := m.system.unlock(ctx, now, before); err != nil {
			return enforce.Result{Err: fmt.Errorf("account: unlock %s: %w", name, err)}
		}
	}
	if err := m.forget(name); err != nil {
		return enforce.Result{Err: err}
	}
	return enforce.Result{Verified: true}
}

// List returns the accounts that riposte has locked and that are locked still.
func (m *Account) List(ctx context.Context) ([]enforce.Effect, error) {
	files, err := filepath.Glob(filepath.Join(m.o.Dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("account: list records: %w", err)
	}
	var out []enforce.Effect
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), suffix)
		before, known, _ := m.recorded(name)
		if !known {
			continue // a damaged record is the next Apply's error
		}
		now, err := m.system.find(ctx, name)
		if errors.Is(err, errUnknown) || err == nil && (!now.gone || now.UID != before.UID) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("account: %w", err)
		}
		state, _ := json.Marshal(before)
		out = append(out, enforce.Effect{Target: riposte.Target{Kind: riposte.User, Value: name}, State: string(state)})
	}
	return out, nil
}

// errUnknown is find's error for a name that no account has.
var errUnknown = errors.New("there is no such account on this host")
