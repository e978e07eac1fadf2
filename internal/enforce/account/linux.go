package account

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"riposte/internal/enforce"
)

// The files that Linux knows its local accounts by.
const (
	passwdFile = "/etc/passwd"
	shadowFile = "/etc/shadow"
	limitsFile = "/etc/login.defs"
)

// lockedDay is the expiry by which riposte locks: the second of January 1970,
// as usermod's own manual proposes. A locked password alone does not keep out
// whoever has a key.
const lockedDay = "1"

// linux locks by usermod: the password by "!", the whole account by its expiry.
type linux struct{ run enforce.Runner }

func (l linux) find(_ context.Context, name string) (account, error) {
	a := account{Name: name}
	entry, err := lookUp(passwdFile, name, 7)
	if err != nil {
		return a, err
	}
	if a.UID, err = strconv.ParseUint(entry[2], 10, 32); err != nil {
		return a, fmt.Errorf("%s: user id %q of %s is no number", passwdFile, entry[2], name)
	}
	shadow, err := lookUp(shadowFile, name, 9)
	if err != nil {
		return a, fmt.Errorf("%s has no password of its own here: %w", name, err)
	}
	a.Locked = strings.HasPrefix(shadow[1], "!") || shadow[1] == ""
	a.Expiry = shadow[7]
	day, err := strconv.Atoi(a.Expiry)
	expired := err == nil && day >= 0 && int64(day) <= time.Now().Unix()/(24*60*60)
	a.gone = a.Locked && expired
	a.system = a.UID < firstPerson() || a.UID == 65534
	return a, nil
}

// lookUp returns the fields of the line for that name.
func lookUp(file, name string, fields int) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if f[0] == name && len(f) >= fields {
			return f, nil
		}
	}
	return nil, fmt.Errorf("%w: %s has no %q", errUnknown, file, name)
}

// firstPerson is the least user id of a person's account.
func firstPerson() uint64 {
	text, _ := os.ReadFile(limitsFile)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "UID_MIN" {
			if n, err := strconv.ParseUint(f[1], 10, 32); err == nil {
				return n
			}
		}
	}
	return 1000
}

func (l linux) lock(ctx context.Context, a account) error {
	argv := []string{"usermod", "--expiredate", lockedDay}
	if !a.Locked {
		argv = append(argv, "--lock")
	}
	return l.usermod(ctx, append(argv, "--", a.Name))
}

// unlock leaves alone what somebody has changed since.
func (l linux) unlock(ctx context.Context, now, before account) error {
	argv := []string{"usermod"}
	if now.Expiry == lockedDay && before.Expiry != lockedDay {
		argv = append(argv, "--expiredate", before.Expiry)
	}
	if now.Locked && !before.Locked {
		argv = append(argv, "--unlock")
	}
	if len(argv) == 1 {
		return nil
	}
	return l.usermod(ctx, append(argv, "--", now.Name))
}

// usermod waits its turn: the files are locked while another program changes
// them.
func (l linux) usermod(ctx context.Context, argv []string) error {
	for {
		_, stderr, err := l.run(ctx, argv, nil)
		if err == nil || !strings.Contains(string(stderr), "cannot lock") {
			return err
		}
		t := time.NewTimer(200 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// end ends the user's sessions where logind knows them, and then every process
// that is left.
func (l linux) end(ctx context.Context, a account) (string, error) {
	uid := strconv.FormatUint(a.UID, 10)
	if _, err := os.Stat("/run/systemd/users/" + uid); err == nil && enforce.Find("loginctl") != "" {
		// The user's processes are ended below, whatever logind says.
		l.run(ctx, []string{"loginctl", "terminate-user", uid}, nil)
	}
	n, err := endProcesses(ctx, a.UID)
	switch {
	case err != nil:
		return "", err
	case n == 0:
		return "no process of " + a.Name + " was running", nil
	}
	return fmt.Sprintf("ended %d process(es) of %s", n, a.Name), nil
}
