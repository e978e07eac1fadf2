package account

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"riposte/internal/enforce"
)

// other locks by the commands of the BSDs, macOS and Windows. They lock the
// account as a whole, for passwords and keys alike.
type other struct {
	os        string
	run       enforce.Runner
	passwords string // the BSDs' /etc/master.passwd
}

func (o other) find(ctx context.Context, name string) (account, error) {
	a := account{Name: name}
	var err error
	switch o.os {
	case "windows":
		err = o.findWindows(ctx, &a)
	case "darwin":
		if err = o.findUID(ctx, &a, 500); err == nil {
			var out []byte
			out, _, err = o.run(ctx, []string{"dscl", ".", "-read", "/Users/" + name, "AuthenticationAuthority"}, nil)
			a.Locked = strings.Contains(string(out), ";DisabledUser;")
		}
	default:
		if err = o.findUID(ctx, &a, 1000); err == nil {
			var f []string
			if f, err = lookUp(o.passwords, name, 10); err == nil {
				// FreeBSD's pw and NetBSD's usermod mark the password, OpenBSD's
				// usermod the shell too.
				a.Locked = strings.HasPrefix(f[1], "*LOCKED*") || o.os == "openbsd" && strings.HasPrefix(f[1], "*") && strings.HasSuffix(f[9], "-")
			}
		}
	}
	a.gone = a.Locked
	return a, err
}

// findUID asks id, which knows no account by a wrong name.
func (o other) findUID(ctx context.Context, a *account, firstPerson uint64) error {
	out, _, err := o.run(ctx, []string{"id", "-u", a.Name}, nil)
	if err != nil {
		return fmt.Errorf("%w: %v", errUnknown, err)
	}
	if a.UID, err = strconv.ParseUint(strings.TrimSpace(string(out)), 10, 32); err != nil {
		return fmt.Errorf("id -u %s says %q, expected a number", a.Name, out)
	}
	a.system = a.UID < firstPerson || a.UID == 65534
	return nil
}

// findWindows asks PowerShell, whose words do not change with the language of
// the system. The last part of a Windows SID numbers the account: 500 is the
// built-in administrator, persons start at 1000.
func (o other) findWindows(ctx context.Context, a *account) error {
	// plain has let no quote through.
	query := "$u = Get-LocalUser -Name '" + a.Name + "'; $u.SID.Value; $u.Enabled"
	out, _, err := o.run(ctx, []string{"powershell.exe", "-NoProfile", "-NonInteractive", "-Command", query}, nil)
	if err != nil {
		return fmt.Errorf("%w: %v", errUnknown, err)
	}
	f := strings.Fields(string(out))
	if len(f) != 2 {
		return fmt.Errorf("%w: %q", errUnknown, a.Name)
	}
	if a.UID, err = strconv.ParseUint(f[0][strings.LastIndexByte(f[0], '-')+1:], 10, 32); err != nil {
		return fmt.Errorf("SID %q of %s ends in no number", f[0], a.Name)
	}
	a.Locked = strings.EqualFold(f[1], "False")
	a.system = a.UID < 1000
	return nil
}

func (o other) lock(ctx context.Context, a account) error {
	return o.do(ctx, map[string][]string{
		"freebsd": {"pw", "lock", a.Name},
		"netbsd":  {"usermod", "-C", "yes", a.Name},
		"openbsd": {"usermod", "-Z", a.Name},
		"darwin":  {"pwpolicy", "-u", a.Name, "-disableuser"},
		"windows": {"net.exe", "user", a.Name, "/active:no"},
	})
}

func (o other) unlock(ctx context.Context, now, before account) error {
	if !now.Locked || before.Locked {
		return nil
	}
	return o.do(ctx, map[string][]string{
		"freebsd": {"pw", "unlock", now.Name},
		"netbsd":  {"usermod", "-C", "no", now.Name},
		"openbsd": {"usermod", "-U", now.Name},
		"darwin":  {"pwpolicy", "-u", now.Name, "-enableuser"},
		"windows": {"net.exe", "user", now.Name, "/active:yes"},
	})
}

func (o other) do(ctx context.Context, commands map[string][]string) error {
	_, _, err := o.run(ctx, commands[o.os], nil)
	return err
}

func (o other) end(ctx context.Context, a account) (string, error) {
	if o.os == "windows" {
		return o.logOff(ctx, a)
	}
	// pkill ends with 1 when there was nothing to kill.
	_, stderr, err := o.run(ctx, []string{"pkill", "-KILL", "-U", strconv.FormatUint(a.UID, 10)}, nil)
	if err != nil && len(stderr) > 0 {
		return "", err
	}
	return "processes of " + a.Name + " were ended", nil
}

// logOff ends the sessions that quser lists for the user: the column after the
// session's name, which may be empty, is its number.
func (o other) logOff(ctx context.Context, a account) (string, error) {
	out, _, err := o.run(ctx, []string{"quser.exe", a.Name}, nil)
	if err != nil {
		return a.Name + " has no session", nil // quser's way to say so
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(strings.TrimLeft(line, ">"))
		if len(f) < 3 || !strings.EqualFold(f[0], a.Name) {
			continue
		}
		for _, id := range f[1:3] {
			if _, err := strconv.Atoi(id); err == nil {
				if _, _, err := o.run(ctx, []string{"logoff.exe", id}, nil); err != nil {
					return "", err
				}
				n++
				break
			}
		}
	}
	return fmt.Sprintf("ended %d session(s) of %s", n, a.Name), nil
}
