//go:build linux

package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
)

// insideEnv tells the test program that it runs in a mount namespace with a
// copy of /etc of its own.
const insideEnv = "RIPOSTE_ACCOUNT_INSIDE"

// inside runs the calling test in such a namespace, by running the test program
// again, and reports whether the caller is the one that runs there.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: to make and lock accounts")
	}
	for _, tool := range []string{"useradd", "usermod", "mount", "cp"} {
		if enforce.Find(tool) == "" {
			t.Skipf("%s is missing: apt-get install passwd mount coreutils", tool)
		}
	}
	copied := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", `mount -t tmpfs etc "$1" && cp -a /etc/. "$1" && mount --bind "$1" /etc &&
mount -t tmpfs mail /var/mail && exec "$2" -test.run "^$3\$" -test.v`, "sh", copied, os.Args[0], t.Name())
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("inside the namespace: %v\n%s", err, out)
	} else if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("inside the namespace no such test passed:\n%s", out)
	}
	return false
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, stderr, err := enforce.Exec(t.Context(), argv, nil)
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", argv, err, out, stderr)
	}
	return string(out)
}

// people makes an account with a password.
func people(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		run(t, "useradd", "--no-create-home", "--no-log-init", "--password", "$6$salt$hash", n)
	}
}

func newAccount(t testing.TB) *Account {
	t.Helper()
	m, err := New(Options{Dir: filepath.Join(t.TempDir(), "accounts")})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func effect(name string) enforce.Effect {
	return enforce.Effect{Command: riposte.Command{Name: "disable-account"}, Target: riposte.Target{Kind: riposte.User, Value: name}}
}

func lock(t *testing.T, m *Account, e enforce.Effect) enforce.Result {
	t.Helper()
	r := m.Apply(t.Context(), []enforce.Effect{e})[0]
	if r.Err != nil || !r.Verified || r.State == "" {
		t.Fatalf("lock of %s: %+v", e.Target, r)
	}
	return r
}

func unlock(t *testing.T, m *Account, e enforce.Effect, state string) {
	t.Helper()
	e.State = state
	if r := m.Undo(t.Context(), []enforce.Effect{e})[0]; r.Err != nil {
		t.Fatalf("undo of %s: %+v", e.Target, r)
	}
}

// shadow returns the password and expiry fields of the account.
func shadow(t *testing.T, name string) string {
	t.Helper()
	f, err := lookUp(shadowFile, name, 9)
	if err != nil {
		t.Fatal(err)
	}
	return f[1] + " " + f[7]
}

// TestLock locks a real account and gives it back as it was, whatever it was.
func TestLock(t *testing.T) {
	if !inside(t) {
		return
	}
	people(t, "plain", "expires", "locked", "nopass", "star", "expired")
	run(t, "usermod", "--expiredate", "30000", "expires")
	run(t, "usermod", "--lock", "locked")
	run(t, "usermod", "--password", "", "nopass")
	run(t, "usermod", "--password", "*", "star")
	run(t, "usermod", "--expiredate", "1", "--lock", "expired")
	m := newAccount(t)
	for _, name := range []string{"plain", "expires", "locked", "nopass", "star", "expired"} {
		before := shadow(t, name)
		e := effect(name)
		first := lock(t, m, e)
		if got := shadow(t, name); !strings.HasSuffix(got, " 1") || !strings.HasPrefix(got, "!") && name != "nopass" {
			t.Errorf("%s: locked it is %q", name, got)
		}
		again := lock(t, newAccountAt(t, m.o.Dir), e) // after a crash that lost the state
		if again.State != first.State {
			t.Errorf("%s: state %s, before the crash %s", name, again.State, first.State)
		}
		unlock(t, newAccountAt(t, m.o.Dir), e, "")
		if got := shadow(t, name); got != before {
			t.Errorf("%s: it was %q and is %q", name, before, got)
		}
		unlock(t, m, e, "") // idempotent
	}

	// A lost folder of records: the state is enough.
	e := effect("plain")
	state := lock(t, m, e).State
	if err := os.RemoveAll(m.o.Dir); err != nil {
		t.Fatal(err)
	}
	unlock(t, m, e, state)
	if got := shadow(t, "plain"); got != "$6$salt$hash " {
		t.Errorf("plain is %q", got)
	}

	// What somebody changed meanwhile stays changed.
	lock(t, m, e)
	run(t, "usermod", "--expiredate", "31000", "--password", "$6$other$hash", "plain")
	if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed as locked: %v, %v", list, err)
	}
	unlock(t, m, e, "")
	if got := shadow(t, "plain"); got != "$6$other$hash 31000" {
		t.Errorf("plain is %q", got)
	}

	// An account that is gone, or another one by its name.
	lock(t, m, e)
	run(t, "userdel", "plain")
	unlock(t, m, e, "")
	lock(t, m, effect("star"))
	run(t, "userdel", "star")
	run(t, "useradd", "--no-create-home", "--no-log-init", "--uid", "5000", "--password", "!other", "star")
	unlock(t, m, effect("star"), "")
	if got := shadow(t, "star"); got != "!other " {
		t.Errorf("another account by the same name is %q", got)
	}
	if files, _ := os.ReadDir(m.o.Dir); len(files) != 0 {
		t.Errorf("records are left: %v", files)
	}
}

func newAccountAt(t *testing.T, dir string) *Account {
	t.Helper()
	m, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLogin: a locked user cannot log in, be it with a password or without, and
// what runs for the user ends.
func TestLogin(t *testing.T) {
	if !inside(t) {
		return
	}
	if enforce.Find("su") == "" {
		t.Skip("su is missing: apt-get install util-linux")
	}
	people(t, "mallory", "alice")
	login := func(name string) error {
		_, _, err := enforce.Exec(t.Context(), []string{"su", name, "-s", "/bin/sh", "-c", "true"}, nil)
		return err
	}
	if err := login("mallory"); err != nil {
		t.Fatalf("before the lock: %v", err)
	}
	a, err := linux{}.find(t.Context(), "mallory")
	if err != nil {
		t.Fatal(err)
	}
	b, err := linux{}.find(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	start := func(uid uint64) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM HUP; sleep 60 & while :; do sleep 1; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: 65534}, Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return cmd
	}
	hers, his := start(b.UID), start(a.UID)
	time.Sleep(50 * time.Millisecond) // for the shell's own child
	m := newAccount(t)
	r := lock(t, m, effect("mallory"))
	if !strings.HasPrefix(r.Output, "ended ") {
		t.Errorf("output %q", r.Output)
	}
	if err := his.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the user's process ended with %v", err)
	}
	if runsFor(a.UID) || !runsFor(b.UID) {
		t.Errorf("processes: the user's %v, the other's %v", runsFor(a.UID), runsFor(b.UID))
	}
	if err := login("mallory"); err == nil {
		t.Error("the locked user can log in")
	}
	if err := login("alice"); err != nil {
		t.Errorf("another user cannot log in: %v", err)
	}
	unlock(t, m, effect("mallory"), r.State)
	if err := login("mallory"); err != nil {
		t.Errorf("after the undo: %v", err)
	}
	syscall.Kill(-hers.Process.Pid, syscall.SIGKILL)
	hers.Wait()
}

func runsFor(uid uint64) bool {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	return slices.ContainsFunc(dirs, func(d string) bool { return runsAs(d, uid) })
}

func TestRefused(t *testing.T) {
	if !inside(t) {
		return
	}
	people(t, "person")
	run(t, "useradd", "--no-create-home", "--no-log-init", "--system", "service")
	run(t, "useradd", "--no-create-home", "--no-log-init", "--non-unique", "--uid", "0", "toor")
	m := newAccount(t)
	for name, says := range map[string]string{
		"root": "super-user", "toor": "super-user", "service": "system account", "nobody": "system account", "daemon": "system account",
		"nosuchuser": "no such account", "Person": "no such account", "-rf": "no name", "a b": "holds ' '", "../etc": "holds '/'",
		"": "no name", "a:b": "holds ':'", "person\n": "holds", ".": "no name",
	} {
		r := m.Apply(t.Context(), []enforce.Effect{effect(name)})[0]
		if r.Err == nil || !strings.Contains(r.Err.Error(), says) {
			t.Errorf("%q: error %v, expected %q", name, r.Err, says)
		}
		unlock(t, m, effect(name), "")
	}
	allowed, err := New(Options{Dir: m.o.Dir, AllowSystem: true})
	if err != nil {
		t.Fatal(err)
	}
	lock(t, allowed, effect("service"))
	unlock(t, allowed, effect("service"), "")
	if r := allowed.Apply(t.Context(), []enforce.Effect{effect("root")})[0]; r.Err == nil {
		t.Error("root was locked")
	}
	if f, _ := os.ReadDir(m.o.Dir); len(f) != 0 {
		t.Errorf("records are left: %v", f)
	}

	// A lock that fails leaves no record behind it.
	broken, err := New(Options{Dir: m.o.Dir, Run: func(context.Context, []string, []byte) ([]byte, []byte, error) {
		return nil, nil, errors.New("no")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := broken.Apply(t.Context(), []enforce.Effect{effect("person")})[0]; r.Err == nil {
		t.Error("no error")
	}
	if f, _ := os.ReadDir(m.o.Dir); len(f) != 0 {
		t.Errorf("records are left: %v", f)
	}

	// A damaged record is said, and not guessed at; the state still undoes.
	state := lock(t, m, effect("person")).State
	os.WriteFile(m.file("person"), []byte("{"), 0o600)
	if r := m.Apply(t.Context(), []enforce.Effect{effect("person")})[0]; r.Err == nil || !strings.Contains(r.Err.Error(), "damaged") {
		t.Errorf("error %v", r.Err)
	}
	if r := m.Undo(t.Context(), []enforce.Effect{effect("person")})[0]; r.Err == nil {
		t.Error("undone without knowing what")
	}
	unlock(t, m, effect("person"), state)
	if got := shadow(t, "person"); got != "$6$salt$hash " {
		t.Errorf("person is %q", got)
	}
}

// add adds lines to one of the copied files.
func add(t *testing.T, file, lines string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(lines)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestContract runs the contract of all mechanisms.
func TestContract(t *testing.T) {
	if !inside(t) {
		return
	}
	const users = 64 // as many as the suite asks for
	var passwd, shadow strings.Builder
	for i := range users {
		fmt.Fprintf(&passwd, "user%d:x:%d:65534::/nonexistent:/bin/sh\n", i, 20000+i)
		fmt.Fprintf(&shadow, "user%d:$6$salt$hash:20000:0:99999:7:::\n", i)
	}
	add(t, passwdFile, passwd.String())
	add(t, shadowFile, shadow.String())
	dir := filepath.Join(t.TempDir(), "accounts")
	enforcetest.Suite{
		New: func(t testing.TB) enforce.Mechanism {
			m, err := New(Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Target: func(i int) riposte.Target {
			return riposte.Target{Kind: riposte.User, Value: fmt.Sprintf("user%d", i)}
		},
		Bulk:   20,
		Marked: true,
		InForce: func(t testing.TB, target riposte.Target) bool {
			a, err := linux{}.find(t.Context(), target.Value)
			if err != nil {
				t.Fatal(err)
			}
			return a.gone
		},
		Foreign: func(t testing.TB, near riposte.Target) func(testing.TB) {
			// Somebody else has locked the account already.
			if _, _, err := enforce.Exec(t.Context(), []string{"usermod", "--lock", near.Value}, nil); err != nil {
				t.Fatal(err)
			}
			return func(t testing.TB) {
				if f, err := lookUp(shadowFile, near.Value, 9); err != nil || !strings.HasPrefix(f[1], "!") {
					t.Errorf("the lock of somebody else is gone: %v, %v", f, err)
				}
			}
		},
	}.Run(t)
}
