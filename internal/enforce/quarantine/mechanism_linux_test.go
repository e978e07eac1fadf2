package quarantine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) {
	if step := lab.Steps(); step != nil {
		os.Exit(child(step))
	}
	os.Exit(lab.Main(m))
}

// The quarantine on the file system of the files, and on another one.
var places = map[string]func(t testing.TB) string{
	"renamed": func(t testing.TB) string { return filepath.Join(t.TempDir(), "quarantine") },
	"copied": func(t testing.TB) string {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			t.Skipf("needs tmpfs: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return filepath.Join(dir, "quarantine")
	},
}

func open(t testing.TB, dir string) *Mechanism {
	t.Helper()
	lab.Need(t)
	m, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestContract(t *testing.T) {
	lab.Need(t)
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			dir, files := place(t), t.TempDir()
			enforcetest.Suite{
				New:    func(t testing.TB) enforce.Mechanism { return open(t, dir) },
				Bulk:   200,
				Marked: true,
				Target: func(i int) riposte.Target {
					path := filepath.Join(files, fmt.Sprint("file ", i))
					if pairs, _ := filepath.Glob(filepath.Join(dir, hashOf(path)+".*.file")); len(pairs) == 0 {
						if err := os.WriteFile(path, fmt.Append(nil, i), 0o640); err != nil {
							t.Fatal(err)
						}
					}
					return file(path)
				},
				InForce: func(_ testing.TB, target riposte.Target) bool {
					_, err := os.Lstat(target.Value)
					return errors.Is(err, os.ErrNotExist)
				},
				Foreign: func(t testing.TB, near riposte.Target) func(testing.TB) {
					mine := []string{near.Value + ".1", near.Value + "~", filepath.Join(dir, "notes.txt"), filepath.Join(dir, "a.0.json"), filepath.Join(dir, "a.0.part")}
					for _, path := range mine {
						if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					return func(t testing.TB) {
						t.Helper()
						for _, path := range mine {
							if text, err := os.ReadFile(path); string(text) != "mine" {
								t.Errorf("%s: %q, %v", path, text, err)
							}
						}
					}
				},
			}.Run(t)
			if left, _ := filepath.Glob(filepath.Join(dir, "*.file")); len(left) > 0 {
				t.Errorf("left in quarantine: %s", left)
			}
		})
	}
}

func file(path string) riposte.Target { return riposte.Target{Kind: riposte.File, Value: path} }

func effect(path string) enforce.Effect {
	return enforce.Effect{Order: "order-1", By: "rule 550", Target: file(path)}
}

// one applies or undoes one effect.
func one(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, path string) enforce.Result {
	t.Helper()
	results := do(t.Context(), []enforce.Effect{effect(path)})
	if len(results) != 1 {
		t.Fatalf("%d results for one effect", len(results))
	}
	return results[0]
}

func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, path string) string {
	t.Helper()
	r := one(t, do, path)
	if r.Err != nil || !r.Verified {
		t.Fatalf("%s: %+v", path, r)
	}
	return r.Output
}

// special makes a file that has everything, and returns what is to be seen of
// it.
func special(t testing.TB, path string) (all string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Repeat("malice ", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Chown(path, 1234, 4321),
		unix.Setxattr(path, "user.note", []byte{0, 1, 2, 'x'}, 0),
		unix.Setxattr(path, "trusted.riposte", []byte("yes"), 0),
		os.Chmod(path, 0o751|os.ModeSetuid|os.ModeSetgid),
		os.Chtimes(path, time.Unix(1_500_000_000, 123456789), time.Unix(1_600_000_000, 987654321)),
	} {
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			t.Fatal(err)
		}
	}
	return look(t, path)
}

// look prints all that undo must give back.
func look(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var attrs []string
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, value := range xattrs(int(f.Fd())) {
		attrs = append(attrs, fmt.Sprintf("%s=%x", name, value))
	}
	slices.Sort(attrs)
	return fmt.Sprintf("mode %o owner %d:%d times %d.%09d size %d %v %x", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, st.Size, attrs, text[:20])
}

// alone checks that a folder holds these names and no others.
func alone(t testing.TB, dir string, names ...string) {
	t.Helper()
	var got []string
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		got = append(got, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

// TestExact: what comes back is what went.
func TestExact(t *testing.T) {
	lab.Need(t)
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			dir, files := place(t), t.TempDir()
			m := open(t, dir)
			path := filepath.Join(files, "evil")
			before := special(t, path)
			said := must(t, m.Apply, path)
			alone(t, files)
			e := entry{hash: hashOf(path)}
			alone(t, dir, e.file(), e.record())
			if !strings.Contains(said, filepath.Join(dir, e.file())) {
				t.Errorf("said %q", said)
			}
			r, err := m.read(e)
			if err != nil || r.Path != path || r.Order != "order-1" || r.By != "rule 550" || r.UID != 1234 || r.Mode&0o7777 != 0o6751 || r.Copied != (name == "copied") {
				t.Errorf("record %+v, %v", r, err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the quarantine: %v, %v", info.Mode(), err)
			}
			if said := must(t, m.Undo, path); said != "" {
				t.Errorf("undo said %q", said)
			}
			if after := look(t, path); after != before {
				t.Errorf("came back as\n%s\nwent as\n%s", after, before)
			}
			alone(t, dir)
			alone(t, files, "evil")
		})
	}
}

// TestKept: undo never overwrites, keeps both, and says so.
func TestKept(t *testing.T) {
	lab.Need(t)
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			f := func(name, wantSaid, wantThere string, meanwhile func(path string)) {
				t.Helper()
				dir, files := place(t), filepath.Join(t.TempDir(), "www")
				if err := os.Mkdir(files, 0o755); err != nil {
					t.Fatal(err)
				}
				m := open(t, dir)
				path := filepath.Join(files, "index.php")
				if err := os.WriteFile(path, []byte("first"), 0o644); err != nil {
					t.Fatal(err)
				}
				must(t, m.Apply, path)
				meanwhile(path)
				said := must(t, m.Undo, path)
				kept := filepath.Join(dir, entry{hash: hashOf(path)}.file())
				if !strings.Contains(said, wantSaid) || !strings.Contains(said, kept) {
					t.Errorf("%s: said %q, want %q and %s", name, said, wantSaid, kept)
				}
				if text, err := os.ReadFile(kept); string(text) != "first" {
					t.Errorf("%s: kept %q, %v", name, text, err)
				}
				if text, _ := os.ReadFile(path); string(text) != wantThere {
					t.Errorf("%s: at its path is %q, want %q", name, text, wantThere)
				}
				if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
					t.Errorf("%s: listed %v, %v", name, list, err)
				}
				if said := must(t, m.Undo, path); said != "" {
					t.Errorf("%s: undone again, said %q", name, said)
				}
			}
			f("new file", "holds a new file", "new", func(path string) { os.WriteFile(path, []byte("new"), 0o644) })
			f("dangling link", "holds a new file", "", func(path string) { os.Symlink("/nowhere", path) })
			f("no folder", "is not there any more", "", func(path string) { os.Remove(filepath.Dir(path)) })
			f("linked folder", "is not there any more", "", func(path string) {
				os.Rename(filepath.Dir(path), filepath.Dir(path)+".old")
				os.Symlink(filepath.Dir(path)+".old", filepath.Dir(path))
			})
		})
	}
}

// TestAgain: a file that appears at the path of a quarantined one follows it,
// and the last one comes back.
func TestAgain(t *testing.T) {
	dir, path := places["renamed"](t), filepath.Join(t.TempDir(), "evil")
	m := open(t, dir)
	for i := range 3 {
		if err := os.WriteFile(path, fmt.Append(nil, i), 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, m.Apply, path)
	}
	if list, err := m.List(t.Context()); err != nil || len(list) != 1 || list[0].Target != file(path) || list[0].Order != "order-1" {
		t.Errorf("listed %+v, %v", list, err)
	}
	said := must(t, m.Undo, path)
	if text, _ := os.ReadFile(path); string(text) != "2" {
		t.Errorf("%q came back", text)
	}
	if strings.Count(said, "kept as") != 2 {
		t.Errorf("said %q", said)
	}
	must(t, m.Apply, path)
	must(t, m.Undo, path)
	if text, _ := os.ReadFile(path); string(text) != "2" {
		t.Errorf("%q came back", text)
	}
}

func TestRefused(t *testing.T) {
	dir, files := places["renamed"](t), t.TempDir()
	m := open(t, dir)
	in := func(name string) string { return filepath.Join(files, name) }
	for _, err := range []error{
		os.Mkdir(in("folder"), 0o755), os.Symlink("/etc/passwd", in("link")), os.Symlink(files, in("dirlink")), os.WriteFile(in("real"), nil, 0o600),
		unix.Mkfifo(in("pipe"), 0o600), unix.Mknod(in("device"), unix.S_IFCHR|0o600, 1<<8|3), os.WriteFile(filepath.Join(dir, "x.file"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := lab.Here(t).Run(t, "find", files, dir, program, "/etc/passwd", "-printf", "%p %M %i\n")
	f := func(path, want string) {
		t.Helper()
		r := one(t, m.Apply, path)
		if r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %v; want %q", path, r.Err, want)
		}
	}
	f(in("folder"), "is a folder")
	f(in("link"), "is a symbolic link")
	f(in("pipe"), "is a pipe")
	f(in("device"), "is a device")
	f(in("nothing"), "no such file")
	f(in("nowhere/file"), "no such file")
	f(in("real/file"), "not a directory")
	f(in("dirlink/real"), "name the file by its real path")
	f("real", "not the full path")
	f(files+"/../"+filepath.Base(files)+"/real", "not the full path")
	f(files+"//real", "not the full path")
	f("/", "not the full path")
	f("/etc/passwd", "is protected")
	f("/etc/pam.d/sshd", "is protected")
	f("/proc/self/status", "is protected")
	f("/dev/null", "is protected")
	f(program, "is protected")
	f(filepath.Join(dir, "x.file"), "in quarantine itself")
	if r := m.Apply(t.Context(), []enforce.Effect{{Target: riposte.Target{Kind: riposte.User, Value: in("real")}}}); r[0].Err == nil {
		t.Error("a user was taken for a file")
	}
	if after := lab.Here(t).Run(t, "find", files, dir, program, "/etc/passwd", "-printf", "%p %M %i\n"); after != before {
		t.Errorf("there is now\n%s\nwas\n%s", after, before)
	}
}

// TestRaced: what is put in the file's place while it is moved stays there.
func TestRaced(t *testing.T) {
	lab.Need(t)
	for name, at := range map[string]string{"renamed": "recorded", "copied": "complete"} {
		for what, put := range map[string]func(path string) error{
			"file":   func(path string) error { return os.WriteFile(path, []byte("good"), 0o644) },
			"folder": func(path string) error { return os.Mkdir(path, 0o755) },
			"link":   func(path string) error { return os.Symlink("/etc", path) },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir, files := places[name](t), t.TempDir()
				m := open(t, dir)
				path := filepath.Join(files, "evil")
				if err := os.WriteFile(path, []byte("evil"), 0o600); err != nil {
					t.Fatal(err)
				}
				m.step = func(step string) {
					if step == at {
						if err := errors.Join(os.Rename(path, path+".away"), put(path)); err != nil {
							t.Error(err)
						}
					}
				}
				before := func() string {
					return lab.Here(t).Run(t, "sh", "-c", "stat -c '%A %N' "+path+"; cat "+path+" 2>&1 || true")
				}
				if r := one(t, m.Apply, path); !errors.Is(r.Err, errRaced) {
					t.Errorf("%+v", r)
				}
				m.step = func(string) {}
				alone(t, files, "evil", "evil.away")
				if what == "file" && !strings.HasSuffix(before(), "good") {
					t.Errorf("the new file is %s", before())
				}
			})
		}
	}
}

// TestHardLinks: other names stay, and are spoken of.
func TestHardLinks(t *testing.T) {
	m := open(t, places["renamed"](t))
	path := filepath.Join(t.TempDir(), "evil")
	if err := errors.Join(os.WriteFile(path, nil, 0o755), os.Link(path, path+".twin")); err != nil {
		t.Fatal(err)
	}
	if said := must(t, m.Apply, path); !strings.Contains(said, "1 other names") {
		t.Errorf("said %q", said)
	}
	if info, err := os.Stat(path + ".twin"); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the twin: %v, %v", info, err)
	}
}

// TestImmutable: chattr +i is an error with a hint, and leaves nothing behind.
func TestImmutable(t *testing.T) {
	lab.Need(t, "chattr")
	dir, path := places["renamed"](t), filepath.Join(t.TempDir(), "evil")
	m := open(t, dir)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chattr", "+i", path).CombinedOutput(); err != nil {
		t.Skipf("this file system knows no immutable files: %s", out)
	}
	t.Cleanup(func() { exec.Command("chattr", "-i", path).Run() })
	if r := one(t, m.Apply, path); r.Err == nil || !strings.Contains(r.Err.Error(), "lsattr") {
		t.Errorf("%+v", r)
	}
	alone(t, dir)
}

// TestPrivate: a quarantine that others could reach into is not used.
func TestPrivate(t *testing.T) {
	lab.Need(t)
	dir := t.TempDir()
	mine, others, link := filepath.Join(dir, "mine"), filepath.Join(dir, "others"), filepath.Join(dir, "link")
	for _, err := range []error{os.Mkdir(mine, 0o777), os.Mkdir(others, 0o700), os.Chown(others, 1234, 0), os.Symlink(mine, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	open(t, mine)
	if info, err := os.Stat(mine); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, dir := range []string{others, link} {
		if m, err := New(Options{Dir: dir}); err == nil {
			t.Errorf("%s was taken", dir)
			m.Close()
		}
	}
}

// TestDamaged: a record that cannot be read spoils nothing else.
func TestDamaged(t *testing.T) {
	dir, files := places["renamed"](t), t.TempDir()
	m := open(t, dir)
	bad, good := filepath.Join(files, "bad"), filepath.Join(files, "good")
	for _, path := range []string{bad, good} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, m.Apply, path)
	}
	for _, text := range []string{"", "{", "null", `{"path":"/etc/passwd"}`, `{"path":`} {
		if err := os.WriteFile(filepath.Join(dir, entry{hash: hashOf(bad)}.record()), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := m.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("listed %v, %v", list, err)
		}
		if r := one(t, m.Undo, bad); r.Err == nil || !strings.Contains(r.Err.Error(), "damaged") {
			t.Errorf("%q: %+v", text, r)
		}
	}
	must(t, m.Undo, good)
	alone(t, files, "good")
}
