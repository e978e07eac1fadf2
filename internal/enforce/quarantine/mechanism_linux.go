package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/enforce"
)

// Mechanism moves files into the quarantine. It is used by one goroutine at a
// time, of one process.
type Mechanism struct {
	o    Options
	dir  *os.File
	at   inode             // of the quarantine
	step func(name string) // told what was done, for tests that stop us there
}

var _ enforce.Lister = (*Mechanism)(nil)

// New opens the quarantine, makes it if need be, and clears away what a crash
// left half made. It fails when the folder is not root's alone.
func New(o Options) (*Mechanism, error) {
	if o.Dir == "" {
		o.Dir = "/var/lib/riposte/quarantine"
	}
	if o.Protected == nil {
		o.Protected = Essential()
	}
	m := &Mechanism{o: o, step: func(string) {}}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	return m, nil
}

func (m *Mechanism) open() (err error) {
	if m.o.Dir, err = filepath.Abs(m.o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.o.Dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(m.o.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if m.dir, err = openAt(unix.AT_FDCWD, m.o.Dir, unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return fmt.Errorf("opening %s: %w", m.o.Dir, err)
	}
	var st unix.Stat_t
	err = unix.Fstat(m.fd(), &st)
	switch {
	case err != nil:
	case int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("%s belongs to user id %d: nobody else may reach into it", m.o.Dir, st.Uid)
	default:
		m.at = inodeOf(&st)
		if err = m.dir.Chmod(0o700); err == nil {
			err = m.clear()
		}
	}
	if err != nil {
		return errors.Join(err, m.dir.Close())
	}
	return nil
}

// clear removes the pieces that a crash left, unless another process is at work
// here and may still make pairs of them. The lock ends with the mechanism.
func (m *Mechanism) clear() error {
	if err := unix.Flock(m.fd(), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil
	}
	x, err := m.scan()
	if err != nil || len(x.pieces) == 0 {
		return err
	}
	return m.drop(x.pieces...)
}

// Close closes the quarantine. What is in it stays there.
func (m *Mechanism) Close() error { return m.dir.Close() }

// Name returns "quarantine".
func (m *Mechanism) Name() string { return Name }

// Kind returns riposte.File.
func (m *Mechanism) Kind() riposte.Kind { return riposte.File }

// Durable returns true: a file stays in quarantine over a restart.
func (m *Mechanism) Durable() bool { return true }

// Apply moves the files. One that is in quarantine already, with nothing at its
// path, is as it should be; a new file at the path follows the old one.
func (m *Mechanism) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return m.each(ctx, effects, m.take)
}

// Undo puts the files back.
func (m *Mechanism) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return m.each(ctx, effects, m.giveBack)
}

func (m *Mechanism) each(ctx context.Context, effects []enforce.Effect, do func(context.Context, *index, *enforce.Effect) (string, error)) []enforce.Result {
	if len(effects) == 0 {
		return nil
	}
	x, err := m.scan()
	if err != nil {
		return enforce.Fail(effects, fmt.Errorf("%s: %w", Name, err))
	}
	results := make([]enforce.Result, len(effects))
	for i := range effects {
		err := ctx.Err()
		if err == nil {
			results[i].Output, err = do(ctx, x, &effects[i])
		}
		if err != nil {
			results[i].Err = fmt.Errorf("%s: %w", Name, err)
		}
		results[i].Verified = err == nil
	}
	return results
}

// List returns the files in quarantine that no Undo has released.
func (m *Mechanism) List(ctx context.Context) ([]enforce.Effect, error) {
	x, err := m.scan()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	var out []enforce.Effect
	for hash := range x.pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		held, _, err := m.held(x, hash)
		if err == nil && len(held) > 0 { // one that is damaged is the next Apply's or Undo's error, one that is going is gone
			r := held[len(held)-1]
			out = append(out, enforce.Effect{Order: r.Order, By: r.By, Target: riposte.Target{Kind: riposte.File, Value: r.Path}})
		}
	}
	return out, nil
}

// held returns the records of what is in quarantine from one path and was not
// released, the oldest first, and their entries.
func (m *Mechanism) held(x *index, hash string) (records []record, entries []entry, err error) {
	for _, e := range x.pairs[hash] {
		r, err := m.read(e)
		if err != nil {
			return nil, nil, err
		}
		if r.Released == "" {
			records, entries = append(records, r), append(entries, e)
		}
	}
	return records, entries, nil
}

// admissible returns why a path is refused.
func (m *Mechanism) admissible(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return fmt.Errorf("%q is not the full path of a file", path)
	}
	if within(path, m.o.Dir) {
		return fmt.Errorf("%s is in quarantine itself", path)
	}
	for _, p := range append(m.o.Protected[:len(m.o.Protected):len(m.o.Protected)], executable()) {
		if p != "" && within(path, p) {
			return fmt.Errorf("%s is protected (%s): this host does not run without it", path, p)
		}
	}
	return nil
}

// executable is the program that is running, "" when it cannot be told.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}

// within reports whether path is dir or in it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// take moves the file of an effect into the quarantine and says where it is.
func (m *Mechanism) take(ctx context.Context, x *index, e *enforce.Effect) (said string, err error) {
	path := e.Target.Value
	if e.Target.Kind != riposte.File {
		return "", fmt.Errorf("%s %q is not a file", e.Target.Kind, e.Target)
	}
	if err := m.admissible(path); err != nil {
		return "", err
	}
	hash := hashOf(path)
	records, entries, err := m.held(x, hash)
	if err != nil {
		return "", err
	}
	dir, err := openFolder(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
			return "", nil // gone with its folder
		}
		return "", err
	}
	defer dir.Close()
	name := filepath.Base(path)
	file, err := openAt(dir.fd(), name, unix.O_PATH, 0)
	if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		newest := len(entries) - 1
		return "", m.tidy(dir, entries[newest], &records[newest])
	}
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return "", fmt.Errorf("looking at %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", fmt.Errorf("%s is %s; only regular files are quarantined", path, kindOf(st.Mode))
	}
	if n := len(entries) - 1; n >= 0 && records[n].Copied && records[n].same(&st) {
		// Its copy is complete: a crash came before it was removed.
		return "", m.remove(dir, name, entries[n], &records[n])
	}
	r := describe(path, &st, int(file.Fd()))
	r.Order, r.By, r.Taken = e.Order, e.By, time.Now().UTC()
	r.Copied = inodeOf(&st).Device != m.at.Device
	to := entry{hash: hash, number: x.next[hash]}
	x.next[hash]++
	said, err = m.move(ctx, dir, name, file, to, r)
	if err == nil {
		x.pairs[hash] = append(x.pairs[hash], to)
		said = strings.TrimSpace(fmt.Sprintf("moved to %s\n%s", m.place(to.file()), said))
		if st.Nlink > 1 {
			said += fmt.Sprintf("\nthe file has %d other names (hard links) that are left", st.Nlink-1)
		}
	}
	return said, err
}

// giveBack puts what is in quarantine from the effect's path back there. Of
// several files the last one goes back.
func (m *Mechanism) giveBack(ctx context.Context, x *index, e *enforce.Effect) (said string, err error) {
	if e.Target.Kind != riposte.File {
		return "", nil // it was never taken
	}
	path := e.Target.Value
	hash := hashOf(path)
	records, entries, err := m.held(x, hash)
	if err != nil || len(entries) == 0 {
		return "", err
	}
	last := len(entries) - 1
	var notes []string
	for i := range last {
		note, err := m.release(entries[i], records[i], "a later file of that path was quarantined")
		if err != nil {
			return "", err
		}
		notes = append(notes, note)
	}
	note, err := m.restore(ctx, entries[last], records[last])
	if err != nil {
		return "", err
	}
	left := x.pairs[hash][:0:0]
	for _, e := range x.pairs[hash] {
		if _, err := statAt(m.fd(), e.file()); err == nil {
			left = append(left, e)
		}
	}
	x.pairs[hash] = left
	return strings.TrimSpace(strings.Join(append(notes, note), "\n")), nil
}

// release leaves a file in the quarantine that is not in force any more.
func (m *Mechanism) release(e entry, r record, why string) (said string, err error) {
	r.Released = why
	if err := m.write(e, r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: the file that was quarantined is kept as %s", why, m.place(e.file())), nil
}
