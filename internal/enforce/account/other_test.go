package account

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/enforce"
)

// player plays the tools of a system that is not at hand: it answers the
// questions, records the commands, and keeps the account's lock.
type player struct {
	t        *testing.T
	answers  map[string]string // by the whole command line
	lock     string
	unlock   string
	locked   bool
	commands []string
	onLock   func(locked bool)
}

func (p *player) run(_ context.Context, argv []string, _ []byte) ([]byte, []byte, error) {
	line := strings.Join(argv, " ")
	if line == p.lock || line == p.unlock {
		p.locked = line == p.lock
		p.onLock(p.locked)
	}
	p.commands = append(p.commands, line)
	if out, ok := p.answers[line]; ok {
		return []byte(out), nil, nil
	}
	if strings.HasPrefix(line, "id ") || strings.HasPrefix(line, "powershell.exe ") {
		return nil, []byte("no such user"), errors.New("exit status 1")
	}
	return nil, nil, nil
}

// TestOtherSystems records the exact commands for each system that this machine
// is not.
func TestOtherSystems(t *testing.T) {
	const ask = "powershell.exe -NoProfile -NonInteractive -Command $u = Get-LocalUser -Name 'bob'; $u.SID.Value; $u.Enabled"
	tests := []struct {
		os, lock, unlock, end  string
		openPasswd, lockPasswd string // fields of master.passwd: password and shell
	}{
		{"freebsd", "pw lock bob", "pw unlock bob", "pkill -KILL -U 1001", "$6$x:%:/bin/sh", "*LOCKED*$6$x:%:/bin/sh"},
		{"netbsd", "usermod -C yes bob", "usermod -C no bob", "pkill -KILL -U 1001", "$6$x:%:/bin/sh", "*LOCKED*$6$x:%:/bin/sh"},
		{"openbsd", "usermod -Z bob", "usermod -U bob", "pkill -KILL -U 1001", "$6$x:%:/bin/sh", "*$6$x:%:/bin/sh-"},
		{"darwin", "pwpolicy -u bob -disableuser", "pwpolicy -u bob -enableuser", "pkill -KILL -U 1001", "", ""},
		{"windows", "net.exe user bob /active:no", "net.exe user bob /active:yes", "logoff.exe 2", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.os, func(t *testing.T) {
			passwords := filepath.Join(t.TempDir(), "master.passwd")
			p := &player{t: t, lock: tt.lock, unlock: tt.unlock, answers: map[string]string{
				"id -u bob": "1001\n", "id -u root": "0\n", "id -u www": "80\n",
				"quser.exe bob": " USERNAME              SESSIONNAME        ID  STATE   IDLE TIME  LOGON TIME\r\n>bob                   rdp-tcp#1           2  Active          .  23/11/2026 04:38\r\n",
				strings.Replace(ask, "bob", "Administrator", 1): "S-1-5-21-1-2-3-500\r\nTrue\r\n",
			}}
			p.onLock = func(locked bool) {
				fields, enabled, authority := tt.openPasswd, "True", ";ShadowHash;"
				if locked {
					fields, enabled, authority = tt.lockPasswd, "False", ";ShadowHash; ;DisabledUser;;ShadowHash;"
				}
				os.WriteFile(passwords, []byte("bob:"+strings.Replace(fields, "%", "1001:1001::0:0:Bob:/home/bob", 1)+"\n"), 0o600)
				p.answers[ask] = "S-1-5-21-1-2-3-1001\r\n" + enabled + "\r\n"
				p.answers["dscl . -read /Users/bob AuthenticationAuthority"] = "AuthenticationAuthority: " + authority
			}
			p.onLock(false)
			m, err := New(Options{Dir: t.TempDir(), OS: tt.os, Run: p.run, Passwords: passwords})
			if err != nil {
				t.Fatal(err)
			}
			bob := []enforce.Effect{{Target: riposte.Target{Kind: riposte.User, Value: "bob"}}}
			r := m.Apply(t.Context(), bob)[0]
			if r.Err != nil || !r.Verified || !p.locked {
				t.Fatalf("lock: %+v, commands %q", r, p.commands)
			}
			if !slices.Contains(p.commands, tt.end) {
				t.Errorf("sessions are not ended by %q but %q", tt.end, p.commands)
			}
			if list, err := m.List(t.Context()); err != nil || len(list) != 1 || list[0].Target != bob[0].Target {
				t.Errorf("list %v, %v", list, err)
			}
			if r := m.Undo(t.Context(), bob)[0]; r.Err != nil || p.locked {
				t.Errorf("undo: %+v, commands %q", r, p.commands)
			}

			// Locked by somebody else: neither locked again nor unlocked.
			p.onLock(true)
			p.locked, p.commands = true, nil
			if r := m.Apply(t.Context(), bob)[0]; r.Err != nil || r.State == "" {
				t.Errorf("lock of the locked: %+v", r)
			}
			if r := m.Undo(t.Context(), bob)[0]; r.Err != nil || slices.Contains(p.commands, tt.lock) || slices.Contains(p.commands, tt.unlock) {
				t.Errorf("undo: %+v, commands %q", r, p.commands)
			}

			for _, name := range []string{"root", "www", "Administrator", "nosuchuser"} {
				if r := m.Apply(t.Context(), []enforce.Effect{{Target: riposte.Target{Kind: riposte.User, Value: name}}})[0]; r.Err == nil {
					t.Errorf("%s was locked", name)
				}
			}
		})
	}
	if _, err := New(Options{OS: "plan9"}); err == nil {
		t.Error("accounts can be locked on plan9")
	}
}
