package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// errRaced says that somebody put something else in the file's place.
var errRaced = errors.New("it was exchanged while it was being moved")

// move writes the record and moves the file called name, which is open as file.
func (m *Mechanism) move(ctx context.Context, dir *folder, name string, file *os.File, to entry, r record) (said string, err error) {
	if err := m.write(to, r); err != nil {
		return "", err
	}
	m.step("recorded")
	if !r.Copied {
		err = m.rename(dir, name, file, to)
		if !errors.Is(err, unix.EXDEV) {
			return "", m.unless(err, to)
		}
		r.Copied = true // one device, but two mounts of it
		if err := m.write(to, r); err != nil {
			return "", m.unless(err, to)
		}
	}
	if said, err = m.copyHere(ctx, dir, name, to, &r); err != nil {
		return "", m.unless(err, to)
	}
	m.step("complete")
	return said, m.remove(dir, name, to, &r)
}

// unless returns err, if there is one, with the record of what did not come
// removed.
func (m *Mechanism) unless(err error, e entry) error {
	if err == nil {
		return nil
	}
	if _, serr := statAt(m.fd(), e.file()); serr == nil {
		return err // it came all the same
	}
	return errors.Join(err, m.drop(e.part(), e.record()))
}

// rename moves the file by its name, and sees whether it was that file.
func (m *Mechanism) rename(dir *folder, name string, file *os.File, to entry) error {
	if err := moveAt(dir.fd(), name, m.fd(), to.file()); err != nil {
		return fmt.Errorf("moving %s: %w", filepath.Join(dir.path, name), hint(err))
	}
	m.step("moved")
	var seen unix.Stat_t
	err := unix.Fstat(int(file.Fd()), &seen)
	got, gotErr := statAt(m.fd(), to.file())
	if err = errors.Join(err, gotErr); err == nil && inodeOf(&seen) != inodeOf(&got) {
		err = errRaced
	}
	if err != nil {
		back := moveAt(m.fd(), to.file(), dir.fd(), name)
		return fmt.Errorf("%s: %w", filepath.Join(dir.path, name), errors.Join(err, back))
	}
	return errors.Join(dir.Sync(), m.dir.Sync())
}

// hint adds to an error what people wonder about.
func hint(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (the file or its folder may be immutable: see lsattr)", err)
	}
	return err
}

// attempts is how often a file is copied that is written to meanwhile.
const attempts = 3

// copyHere makes the complete copy of a file in the quarantine.
func (m *Mechanism) copyHere(ctx context.Context, dir *folder, name string, to entry, r *record) (said string, err error) {
	from, err := openAt(dir.fd(), name, unix.O_RDONLY, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: r.Path, Err: err}
	}
	defer from.Close()
	for try := 1; ; try++ {
		var before, after unix.Stat_t
		if err := unix.Fstat(int(from.Fd()), &before); err != nil {
			return "", err
		}
		if r.original() != inodeOf(&before) {
			return "", fmt.Errorf("%s: %w", r.Path, errRaced)
		}
		if err := m.copyIn(ctx, from, to); err != nil {
			return "", fmt.Errorf("copying %s: %w", r.Path, err)
		}
		if err := unix.Fstat(int(from.Fd()), &after); err != nil {
			return "", err
		}
		if before.Size == after.Size && before.Mtim == after.Mtim {
			break
		}
		if try == attempts {
			said = "it was written to while it was copied"
			break
		}
	}
	m.step("copied")
	if err := moveAt(m.fd(), to.part(), m.fd(), to.file()); err != nil {
		return "", fmt.Errorf("copying %s: %w", r.Path, err)
	}
	return said, m.dir.Sync()
}

// copyIn copies to the entry's part, down to the disk.
func (m *Mechanism) copyIn(ctx context.Context, from *os.File, to entry) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	part, err := m.openIn(to.part(), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(transfer(ctx, part, from), part.Close())
}

// transfer copies all of from to to and brings it to the disk.
func transfer(ctx context.Context, to, from *os.File) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(to, from, 16<<20)
		if errors.Is(err, io.EOF) {
			return to.Sync()
		}
		if err != nil {
			return err
		}
	}
}

// remove removes the original whose copy is complete. It gets another name
// first, to see what it is: it may be another file by now, which stays.
func (m *Mechanism) remove(dir *folder, name string, e entry, r *record) error {
	err := moveAt(dir.fd(), name, dir.fd(), e.outgoing())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", r.Path, hint(err))
	}
	m.step("hidden")
	st, err := statAt(dir.fd(), e.outgoing())
	if err == nil && r.original() != inodeOf(&st) {
		return fmt.Errorf("%s: %w", r.Path, errors.Join(errRaced, moveAt(dir.fd(), e.outgoing(), dir.fd(), name)))
	}
	return m.tidy(dir, e, r)
}

// tidy ends the removal of an original that stands under another name.
func (m *Mechanism) tidy(dir *folder, e entry, r *record) error {
	st, err := statAt(dir.fd(), e.outgoing())
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!r.Copied || r.original() != inodeOf(&st)) {
		return nil
	}
	if err == nil {
		err = unix.Unlinkat(dir.fd(), e.outgoing(), 0)
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", filepath.Join(dir.path, e.outgoing()), err)
	}
	m.step("removed")
	return nil
}

// restore puts a file back to its path, and says what kept it from there.
func (m *Mechanism) restore(ctx context.Context, e entry, r record) (said string, err error) {
	dir, err := openFolder(r.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLink) || errors.Is(err, unix.ENOTDIR) {
		return m.release(e, r, fmt.Sprintf("%s is not there any more", filepath.Dir(r.Path)))
	}
	if err != nil {
		return "", err
	}
	defer dir.Close()
	name := filepath.Base(r.Path)
	if err := m.tidy(dir, e, &r); err != nil {
		return "", err
	}
	if !r.Copied {
		err = moveAt(m.fd(), e.file(), dir.fd(), name)
		if errors.Is(err, unix.EXDEV) {
			r.Copied = true
		}
	}
	if r.Copied {
		err = m.copyBack(ctx, dir, name, e, &r)
	}
	if errors.Is(err, fs.ErrExist) {
		return m.release(e, r, fmt.Sprintf("%s holds a new file", r.Path))
	}
	if err != nil {
		return "", fmt.Errorf("putting back %s: %w", r.Path, hint(err))
	}
	m.step("back")
	if err := dir.Sync(); err != nil {
		return "", fmt.Errorf("putting back %s: %w", r.Path, err)
	}
	return "", m.drop(e.file(), e.record())
}

// copyBack makes a copy of the file that is just as it was, and gives it its
// name: fs.ErrExist when that is taken.
func (m *Mechanism) copyBack(ctx context.Context, dir *folder, name string, e entry, r *record) error {
	st, err := statAt(dir.fd(), name)
	switch {
	case err == nil && r.Returned == inodeOf(&st):
		return nil // a crash came before the quarantine was cleared
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	from, err := m.openIn(e.file(), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	_ = unix.Unlinkat(dir.fd(), e.incoming(), 0) // of a crash
	to, err := openAt(dir.fd(), e.incoming(), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	if err = transfer(ctx, to, from); err == nil {
		err = r.dress(to)
	}
	if err == nil {
		if err = unix.Fstat(int(to.Fd()), &st); err == nil {
			r.Returned = inodeOf(&st)
			err = m.write(e, *r)
		}
	}
	m.step("returning")
	if err == nil {
		err = moveAt(dir.fd(), e.incoming(), dir.fd(), name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir.fd(), e.incoming(), 0)
	}
	return err
}

// dress gives a file all that the record says but the content. A change of
// owner clears the set-id bits and capabilities, so it comes first; the times
// come last.
func (r *record) dress(f *os.File) error {
	fd := int(f.Fd())
	if err := unix.Fchown(fd, int(r.UID), int(r.GID)); err != nil {
		return err
	}
	for name, value := range r.Xattrs {
		_ = unix.Fsetxattr(fd, name, value, 0) // this file system may not have it
	}
	if err := unix.Fchmod(fd, r.Mode&0o7777); err != nil {
		return err
	}
	times := []unix.Timespec{unix.NsecToTimespec(r.Accessed.UnixNano()), unix.NsecToTimespec(r.Modified.UnixNano())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, descriptor(fd), times, 0); err != nil {
		return err
	}
	return f.Sync()
}
