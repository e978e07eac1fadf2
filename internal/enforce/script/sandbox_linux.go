package script

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
)

// sandbox is a place for a script in which it sees the host but changes a copy:
// every file system is under an overlay in memory, and the network is one of
// its own. It needs root; without, the script runs from a folder of its own
// with the rights of whoever tries it.
type sandbox struct {
	kept    string // what the script is kept from, in words
	path    string // the script's path as it sees it
	root    string // its root folder, "" for the host's
	scratch string
	token   string
	jobs    chan func() // run on the thread that is inside
	done    chan struct{}
	uppers  []upper
}

// upper is the folder that takes the changes to the file system at mount.
type upper struct{ dir, mount string }

func newSandbox(path string) (*sandbox, error) {
	scratch, err := os.MkdirTemp("", "riposte-script-")
	if err != nil {
		return nil, err
	}
	b := &sandbox{scratch: scratch, token: rand.Text(), path: path}
	if os.Geteuid() == 0 {
		if err = b.isolate(); err == nil {
			b.kept = "files are changed in a copy, the network is one of its own"
			return b, nil
		}
	} else {
		err = errors.New("not root")
	}
	if path, cerr := copyScript(path, scratch); cerr == nil {
		b.path = path
	} else {
		b.close()
		return nil, cerr
	}
	b.kept = fmt.Sprintf("not kept from anything (%v): it ran as user id %d from a folder of its own", err, os.Geteuid())
	return b, nil
}

// isolate starts the thread that lives in namespaces of its own. A process
// started from it lives there too.
func (b *sandbox) isolate() error {
	b.jobs, b.done = make(chan func()), make(chan struct{})
	ready := make(chan error, 1)
	go func() {
		defer close(b.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		err := b.enter()
		ready <- err
		if err != nil {
			return
		}
		for job := range b.jobs {
			job()
		}
	}()
	err := <-ready
	if err != nil {
		<-b.done
		b.jobs = nil
	}
	return err
}

// enter takes the calling thread into namespaces of its own and builds the
// copy of the host there.
func (b *sandbox) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	mounts, err := fileSystems()
	if err != nil {
		return err
	}
	if err := unix.Mount("riposte", b.scratch, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount scratch: %w", err)
	}
	b.root = filepath.Join(b.scratch, "root")
	for i, m := range mounts {
		if err := b.cover(i, m); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"/proc", "/proc", "", unix.MS_BIND | unix.MS_REC},
		{"", "/proc", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY},
		{"/sys", "/sys", "", unix.MS_BIND},
		{"", "/sys", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY},
		{"riposte", "/run", "tmpfs", 0}, // the sockets of the host's services are not there
		{"riposte", "/dev", "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, b.root+m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, d := range []string{"null", "zero", "random", "urandom"} {
		f := filepath.Join(b.root, "dev", d)
		if err := os.WriteFile(f, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+d, f, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /dev/%s: %w", d, err)
		}
	}
	return nil
}

// cover mounts an overlay on the copy's m, read-only if it takes none.
func (b *sandbox) cover(i int, m string) error {
	target := filepath.Join(b.root, m)
	dir := func(what string) string { return filepath.Join(b.scratch, what+strconv.Itoa(i)) }
	for _, d := range []string{dir("upper"), dir("work"), target} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + m + ",upperdir=" + dir("upper") + ",workdir=" + dir("work")
	if !strings.ContainsAny(m, ",:\\") && unix.Mount("riposte", target, "overlay", 0, options) == nil {
		b.uppers = append(b.uppers, upper{dir("upper"), m})
		return nil
	}
	if m == "/" {
		return errors.New("no overlay file system")
	}
	if err := unix.Mount(m, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", m, err)
	}
	if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", m, err)
	}
	return nil
}

// fileSystems returns the mount points of file systems that hold files, parents
// first.
func fileSystems() ([]string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	octal := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	mounts := []string{"/"}
	for line := range strings.Lines(string(info)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		m := octal.Replace(fields[4])
		outside := slices.ContainsFunc([]string{"/proc", "/sys", "/dev", "/run"}, func(p string) bool {
			return m == p || strings.HasPrefix(m, p+"/")
		})
		if st, err := os.Stat(m); outside || m == "/" || err != nil || !st.IsDir() || slices.Contains(mounts, m) {
			continue
		}
		mounts = append(mounts, m)
	}
	slices.SortFunc(mounts, func(a, b string) int { return len(a) - len(b) })
	return mounts, nil
}

// do runs f inside.
func (b *sandbox) do(f func()) {
	if b.jobs == nil {
		f()
		return
	}
	finished := make(chan struct{})
	b.jobs <- func() { defer close(finished); f() }
	<-finished
}

func (b *sandbox) start(cmd *exec.Cmd) (err error) {
	if b.root != "" {
		cmd.SysProcAttr.Chroot = b.root
	}
	b.do(func() { err = cmd.Start() })
	return err
}

// mark is a word in the environment by which a process of the sandbox is
// known, whatever session it has fled to.
func (b *sandbox) mark() string { return "RIPOSTE_SCRIPT_TEST=" + b.token }

// sweep ends all processes of the sandbox and returns how many there were.
func (b *sandbox) sweep() int {
	seen := map[int]bool{}
	for range 50 {
		none := true
		for _, pid := range b.processes() {
			none = false
			seen[pid] = true
			unix.Kill(pid, unix.SIGKILL)
		}
		if none {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return len(seen)
}

func (b *sandbox) processes() []int {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, f := range environs {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(env, []byte(b.mark())) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// trace tells where the target is found: in the files that the script made or
// changed, logs left out, and in the network's rules and routes.
func (b *sandbox) trace(target string) (where []string) {
	if target == "" {
		return nil
	}
	b.do(func() {
		for _, u := range b.uppers {
			where = append(where, findIn(u.dir, u.mount, target)...)
		}
		if b.root == "" {
			where = append(where, findIn(b.scratch, "/", target)...)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for _, argv := range [][]string{
			{"nft", "list", "ruleset"}, {"iptables-legacy-save"}, {"ip6tables-legacy-save"},
			{"ipset", "save"}, {"ip", "route", "show", "table", "all"},
		} {
			if enforce.Find(argv[0]) == "" {
				continue
			}
			if out, _, err := enforce.Exec(ctx, argv, nil); err == nil && hasWord(out, target) {
				where = append(where, "the output of "+strings.Join(argv, " "))
			}
		}
	})
	return where
}

func findIn(dir, mount, target string) (where []string) {
	const most = 1 << 20 // bytes of a file that are looked at
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || len(where) >= 20 {
			return nil
		}
		name := filepath.Join(mount, strings.TrimPrefix(p, dir))
		if d.IsDir() && (d.Name() == "logs" || name == "/var/log") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || strings.HasSuffix(name, ".log") {
			return nil
		}
		if hasWord([]byte(d.Name()), target) {
			where = append(where, name)
			return nil
		}
		f, err := os.Open(p)
		if err != nil {
			return nil
		}
		defer f.Close()
		text := make([]byte, most)
		n, _ := f.Read(text)
		if hasWord(text[:n], target) {
			where = append(where, name)
		}
		return nil
	})
	return where
}

// hasWord reports whether text holds the word, and not only as a part of a
// longer number or name.
func hasWord(text []byte, word string) bool {
	for {
		i := bytes.Index(text, []byte(word))
		if i < 0 {
			return false
		}
		if rest := text[i+len(word):]; len(rest) == 0 || rest[0] < '0' || rest[0] > '9' {
			return true
		}
		text = text[i+len(word):]
	}
}

// close leaves the sandbox: its mounts end with its thread.
func (b *sandbox) close() {
	b.sweep()
	if b.jobs != nil {
		close(b.jobs)
		<-b.done
	}
	os.RemoveAll(b.scratch)
}
