package hostsdeny

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const debian = "# /etc/hosts.deny: list of hosts that are _not_ allowed to access the system.\n#\n# ALL: PARANOID"

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func open(t testing.TB, path string, format Format) *File {
	t.Helper()
	f, err := New(path, format)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func effect(t testing.TB, text string) enforce.Effect {
	t.Helper()
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		t.Fatal(err)
	}
	return enforce.Effect{Target: target}
}

func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, effects ...enforce.Effect) {
	t.Helper()
	for i, r := range do(t.Context(), effects) {
		if r.Err != nil || !r.Verified {
			t.Fatalf("%s: %+v", effects[i].Target, r)
		}
	}
}

func TestContract(t *testing.T) {
	for _, format := range []Format{Deny, Allow} {
		path := filepath.Join(t.TempDir(), "hosts")
		put(t, path, debian)
		enforcetest.Suite{
			New:    func(t testing.TB) enforce.Mechanism { return open(t, path, format) },
			Marked: true,
			InForce: func(t testing.TB, target riposte.Target) bool {
				p, _ := target.Prefix()
				ours, _, _ := strings.Cut(get(t, path), end)
				return strings.Contains(ours, "\n"+format.line(p)+"\n") && strings.HasPrefix(ours, begin)
			},
			Foreign: func(t testing.TB, near riposte.Target) func(testing.TB) {
				p, _ := near.Prefix()
				foreign := "# theirs\n" + format.line(p) + "\nALL:" + near.Value + "\nALL: 1" + near.Value + "\nsshd: ALL EXCEPT LOCAL"
				put(t, path, foreign)
				t.Cleanup(func() { put(t, path, debian) })
				return func(t testing.TB) {
					t.Helper()
					now := get(t, path)
					if !strings.HasSuffix(now, foreign) || now != foreign && !strings.HasPrefix(now, begin) {
						t.Errorf("the file is now\n%s", now)
					}
				}
			},
		}.Run(t)
		if now := get(t, path); now != debian {
			t.Errorf("the file is left as\n%s", now)
		}
	}
}

func TestFileKept(t *testing.T) {
	dir := t.TempDir()
	real, path := filepath.Join(dir, "real"), filepath.Join(dir, "hosts.deny")
	put(t, real, debian)
	if err := os.Symlink("real", path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(real, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(real, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	f := open(t, path, Deny)
	must(t, f.Apply, effect(t, "203.0.113.9"))
	before, err := os.Stat(real)
	if err != nil {
		t.Fatal(err)
	}
	must(t, f.Apply, effect(t, "203.0.113.9"))
	must(t, f.Undo, effect(t, "203.0.113.10"))
	after, err := os.Stat(real)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("the file was written again without need")
	}
	st := after.Sys().(*syscall.Stat_t)
	if after.Mode().Perm() != 0o640 || os.Geteuid() == 0 && (st.Uid != 12 || st.Gid != 34) {
		t.Errorf("mode %v, owner %d:%d", after.Mode(), st.Uid, st.Gid)
	}
	if link, err := os.Readlink(path); err != nil || link != "real" {
		t.Errorf("the link is %q, %v", link, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func TestAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.deny")
	f := open(t, path, Deny)
	if list, err := f.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	must(t, f.Undo, effect(t, "203.0.113.9"))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("undoing nothing made a file: %v", err)
	}
	must(t, f.Apply, effect(t, "203.0.113.9"))
	if got := get(t, path); got != begin+"\nALL: 203.0.113.9\n"+end+"\n" {
		t.Errorf("the file is\n%s", got)
	}
	must(t, f.Undo, effect(t, "203.0.113.9"))
	if got := get(t, path); got != "" {
		t.Errorf("the file is left as\n%s", got)
	}
	if _, err := New(filepath.Dir(path), Deny); err == nil {
		t.Error("a directory was taken for the file")
	}
}

// TestConcurrentEdit: a change by somebody else at the worst moment is kept.
func TestConcurrentEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.deny")
	put(t, path, "# theirs\n")
	f := open(t, path, Deny)
	edits := 0
	f.beforeReplace = func() {
		if edits++; edits <= 2 {
			put(t, path, get(t, path)+fmt.Sprintf("ALL: 198.51.100.%d\n", edits))
		}
	}
	must(t, f.Apply, effect(t, "203.0.113.9"))
	want := begin + "\nALL: 203.0.113.9\n" + end + "\n# theirs\nALL: 198.51.100.1\nALL: 198.51.100.2\n"
	if got := get(t, path); got != want {
		t.Errorf("the file is\n%s", got)
	}
	edits = -100
	f.beforeReplace = func() { edits++; put(t, path, fmt.Sprintf("# %d\n", edits)) }
	if r := f.Apply(t.Context(), []enforce.Effect{effect(t, "203.0.113.10")}); r[0].Err == nil {
		t.Error("applied to a file that changes all the time")
	}
}

// TestManyProcesses: riposte's own processes do not lose each other's lines.
func TestManyProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.deny")
	put(t, path, debian)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f := open(t, path, Deny)
			for j := range 10 {
				if r := f.Apply(t.Context(), []enforce.Effect{effect(t, fmt.Sprintf("203.0.%d.%d", i, j))}); r[0].Err != nil {
					t.Error(r[0].Err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := open(t, path, Deny).List(t.Context()); err != nil || len(list) != 80 {
		t.Errorf("listed %d, %v", len(list), err)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.deny")
	f := open(t, path, Deny)
	unlock, err := f.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := f.Apply(ctx, []enforce.Effect{effect(t, "203.0.113.9")}); !errors.Is(r[0].Err, context.DeadlineExceeded) {
		t.Errorf("applied in spite of the lock: %+v", r)
	}
}

func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.deny")
	put(t, path, "")
	if err := os.Truncate(path, maxSize+1); err != nil {
		t.Fatal(err)
	}
	if r := open(t, path, Deny).Apply(t.Context(), []enforce.Effect{effect(t, "203.0.113.9")}); r[0].Err == nil {
		t.Error("a huge file was read")
	}
}

// TestSSHD: a real sshd, linked with libwrap, turns the target away and nobody
// else, and lets it in again.
func TestSSHD(t *testing.T) {
	lab.Need(t, "sshd", "ssh-keygen", "ldd")
	here, attacker, bystander := lab.Here(t), lab.NewHost(t, "attacker"), lab.NewHost(t, "bystander")
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(here.Run(t, "ldd", sshd), "libwrap") {
		t.Skip("needs an sshd that is linked with libwrap")
	}
	lab.PrivateDir(t, "/etc")
	put(t, "/etc/nsswitch.conf", "passwd: files\nhosts: files\n") // no name server to be waited for
	a := lab.Connect(t, here, attacker, netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:a::/64"))
	b := lab.Connect(t, here, bystander, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:b::/64"))

	dir := t.TempDir()
	here.Run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/key")
	put(t, dir+"/config", "Port 2222\nHostKey "+dir+"/key\nPidFile none\nUsePAM no\nUseDNS no\n")
	lab.PrivateDir(t, "/run")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	here.Start(t, exec.Command(sshd, "-D", "-f", dir+"/config"))

	// greeted asks whether sshd says its name.
	greeted := func(from *lab.Host, to netip.Addr) error {
		c, err := from.Dial("tcp", netip.Addr{}, netip.AddrPortFrom(to, 2222))
		if err != nil {
			return err
		}
		defer c.Close()
		// libwrap keeps who is turned away waiting for five seconds.
		if err := c.SetDeadline(time.Now().Add(2 * lab.Patience)); err != nil {
			return err
		}
		banner, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && !strings.HasPrefix(banner, "SSH-2.0-") {
			err = fmt.Errorf("greeted with %q", banner)
		}
		return err
	}
	for deadline := time.Now().Add(5 * time.Second); greeted(bystander, b.A4) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not come up: %v", greeted(bystander, b.A4))
		}
	}

	path, format := Default()
	f := open(t, path, format)
	expect := func(when string, v4, v6 bool) {
		t.Helper()
		for _, q := range []struct {
			host *lab.Host
			to   netip.Addr
			want bool
		}{{attacker, a.A4, v4}, {attacker, a.A6, v6}, {bystander, b.A4, true}, {bystander, b.A6, true}} {
			if err := greeted(q.host, q.to); (err == nil) != q.want {
				t.Errorf("%s: %s to %s: %v", when, q.host, q.to, err)
			}
		}
	}
	expect("before", true, true)
	must(t, f.Apply, effect(t, a.B4.String()))
	expect("IPv4 blocked", false, true)
	must(t, f.Apply, effect(t, a.B6.String()))
	expect("both blocked", false, false)
	must(t, f.Undo, effect(t, a.B4.String()), effect(t, a.B6.String()))
	expect("undone", true, true)
	must(t, f.Apply, effect(t, "203.0.113.0/24"), effect(t, "2001:db8:a::/64"))
	expect("prefixes blocked", false, false)
	must(t, f.Undo, effect(t, "203.0.113.0/24"), effect(t, "2001:db8:a::/64"))
	expect("prefixes undone", true, true)
}

func BenchmarkFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "hosts.deny")
	put(b, path, debian)
	f := open(b, path, Deny)
	for _, n := range []int{1, 10_000, 100_000} {
		all := make([]enforce.Effect, n)
		for i := range all {
			all[i].Target = enforcetest.Addresses(i)
		}
		b.Run(fmt.Sprint(n, "/apply"), func(b *testing.B) {
			for b.Loop() {
				must(b, f.Apply, all...)
				b.StopTimer()
				must(b, f.Undo, all...)
				b.StartTimer()
			}
		})
	}
}
