//go:build unix

package hostsdeny

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/host"
)

// File blocks addresses and prefixes by lines in a TCP wrappers file. Its calls
// may come from any goroutines; other processes may edit the file meanwhile.
type File struct {
	path   string
	format Format

	mu  sync.Mutex // held while the file is replaced
	own *identity  // as our last edit left it

	beforeReplace func() // for tests: another hand at the worst moment
}

var _ enforce.Lister = (*File)(nil)

// Default is the file that this system's libwrap reads, and its format.
func Default() (path string, format Format) {
	if runtime.GOOS == "freebsd" {
		return "/etc/hosts.allow", Allow
	}
	return "/etc/hosts.deny", Deny
}

// New blocks by lines in the file at path. A file that is not there is made by
// the first Apply.
func New(path string, format Format) (*File, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%s: %w", Name, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %s is not a regular file", Name, path)
	}
	return &File{path: path, format: format}, nil
}

// Name returns "hosts.deny".
func (f *File) Name() string { return Name }

// Kind returns riposte.Address.
func (f *File) Kind() riposte.Kind { return riposte.Address }

// Durable returns true: the file outlives a restart of the machine.
func (f *File) Durable() bool { return true }

// Apply writes the targets' lines, in one go, and reads them back.
func (f *File) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return f.change(ctx, effects, (*file).add, true)
}

// Undo takes the targets' lines out, in one go. Lines of other people's that say
// the same stay.
func (f *File) Undo(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	return f.change(ctx, effects, (*file).remove, false)
}

// change edits the file for all members at once and sees that want holds of
// each in it afterwards.
func (f *File) change(ctx context.Context, effects []enforce.Effect, edit func(*file, netip.Prefix), want bool) []enforce.Result {
	results := make([]enforce.Result, len(effects))
	members := enforce.Members(effects, results)
	if len(members) == 0 {
		return results
	}
	after, err := f.rewrite(ctx, func(content *file) {
		for _, m := range members {
			edit(content, m.Prefix)
		}
	})
	if err != nil {
		enforce.FailAll(members, results, fmt.Errorf("%s: %w", Name, err))
		return results
	}
	for _, m := range members {
		if after.known[m.Prefix] != want {
			m.Fail(results, fmt.Errorf("%s: the line of %s was changed by somebody else at once", Name, m.Prefix))
			continue
		}
		for _, i := range m.Effects {
			results[i].Verified = true
		}
	}
	return results
}

// attempts is how often an edit is begun anew because the file has changed.
const attempts = 5

// rewrite edits the file and returns what is in it afterwards. A change by
// somebody else between our reading and our writing is seen and kept: the edit
// begins anew. Only an editor that has read the file before and writes it later
// can still undo ours; the executor's next look at the list finds that out.
func (f *File) rewrite(ctx context.Context, edit func(*file)) (*file, error) {
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range attempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		before, err := f.load()
		if err != nil {
			return nil, err
		}
		content := read(f.format, before)
		edit(content)
		after := content.bytes()
		if bytes.Equal(after, before) {
			return content, nil
		}
		if f.beforeReplace != nil {
			f.beforeReplace()
		}
		if now, err := f.load(); err != nil || !bytes.Equal(now, before) {
			continue // the next round says what is wrong
		}
		written, err := f.replace(after)
		if err != nil {
			return nil, err
		}
		return read(f.format, written), nil
	}
	return nil, fmt.Errorf("%s is changed by somebody else all the time", f.path)
}

// replace writes the file anew, and returns what is in it then.
func (f *File) replace(content []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := host.ReplaceFile(f.path, content, 0o644); err != nil {
		return nil, err
	}
	id := f.identify()
	written, err := f.load()
	if err == nil && bytes.Equal(written, content) {
		f.own = &id
	}
	return written, err
}

// maxSize is the largest file that is read: a line for each of a million
// addresses.
const maxSize = 64 << 20

// load reads the file. One that is not there is empty.
func (f *File) load() ([]byte, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", f.path)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("%s has %d bytes, more than %d", f.path, info.Size(), maxSize)
	}
	return os.ReadFile(f.path)
}

// lock keeps other processes of ours from editing the file. The lock is on its
// directory: the file itself is replaced by every edit.
func (f *File) lock(ctx context.Context) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			dir.Close()
			return nil, fmt.Errorf("locking %s: %w", dir.Name(), err)
		}
		select {
		case <-ctx.Done():
			dir.Close()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// List returns the targets of our lines. They have no end of their own.
func (f *File) List(ctx context.Context) ([]enforce.Effect, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	content, err := f.load()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	in := read(f.format, content)
	out := make([]enforce.Effect, 0, len(in.blocked))
	for _, p := range in.blocked {
		out = append(out, enforce.Effect{Target: enforce.AddressTarget(p)})
	}
	return out, nil
}
