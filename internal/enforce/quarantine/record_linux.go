package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// record is what is known of a file in quarantine.
type record struct {
	Path     string            `json:"path"`
	Order    string            `json:"order"`
	By       string            `json:"by"`
	Taken    time.Time         `json:"taken"`
	Mode     uint32            `json:"mode"` // as stat has it, the kind of file included
	UID      uint32            `json:"uid"`
	GID      uint32            `json:"gid"`
	Size     int64             `json:"size"`
	Accessed time.Time         `json:"accessed"`
	Modified time.Time         `json:"modified"`
	Xattrs   map[string][]byte `json:"xattrs,omitempty"`
	Device   uint64            `json:"device"`
	Inode    uint64            `json:"inode"`
	Copied   bool              `json:"copied,omitempty"`   // what is here is a copy from another file system
	Returned inode             `json:"returned,omitzero"`  // of the copy that is being given back
	Released string            `json:"released,omitempty"` // why undo left it here
}

// inode identifies a file while it exists.
type inode struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// inodeOf converts, since the fields are not of one width on all machines.
func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), uint64(st.Ino)} }

// original is the file that the record describes.
func (r *record) original() inode { return inode{r.Device, r.Inode} }

// describe makes the record of a file: st and the descriptor fd, which may be
// opened by O_PATH, are of the same.
func describe(path string, st *unix.Stat_t, fd int) record {
	return record{
		Path: path, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size,
		Accessed: time.Unix(st.Atim.Unix()).UTC(), Modified: time.Unix(st.Mtim.Unix()).UTC(),
		Device: uint64(st.Dev), Inode: uint64(st.Ino), Xattrs: xattrs(fd),
	}
}

// same reports whether st is the file of the record, as it was.
func (r *record) same(st *unix.Stat_t) bool {
	return r.original() == inodeOf(st) && r.Size == st.Size && r.Modified.Equal(time.Unix(st.Mtim.Unix()))
}

// xattrs reads extended attributes, as far as the kernel lets us.
func xattrs(fd int) map[string][]byte {
	path := descriptor(fd)
	names := make([]byte, 64<<10)
	n, err := unix.Listxattr(path, names)
	if err != nil || n == 0 {
		return nil
	}
	out := make(map[string][]byte)
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if n, err := unix.Getxattr(path, name, value); err == nil {
			out[name] = slices.Clone(value[:n])
		}
	}
	return out
}

// descriptor is a path to what is open as fd, for system calls that take
// nothing else or no descriptor opened by O_PATH.
func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// entry is the name of a pair in the quarantine.
type entry struct {
	hash   string
	number int
}

// hashOf is the part of an entry's name that its path makes.
func hashOf(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:12])
}

func (e entry) String() string { return e.hash + "." + strconv.Itoa(e.number) }

func (e entry) record() string { return e.String() + ".json" }
func (e entry) file() string   { return e.String() + ".file" }
func (e entry) part() string   { return e.String() + ".part" }
func (e entry) temp() string   { return e.String() + ".temp" }

// The names by which a file is known for a moment in its own folder: the
// original whose copy is complete, and the copy that is not.
func (e entry) outgoing() string { return ".riposte-" + e.String() + ".old" }
func (e entry) incoming() string { return ".riposte-" + e.String() + ".new" }

// parseEntry reads the name of a file in the quarantine; kind is what stands
// behind the last dot.
func parseEntry(name string) (e entry, kind string, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || len(parts[0]) != 24 {
		return e, "", false
	}
	n, err := strconv.Atoi(parts[1])
	e = entry{hash: parts[0], number: n}
	return e, parts[2], err == nil && n >= 0 && name == e.String()+"."+parts[2]
}

// index is what is in the quarantine: the whole pairs by the hash of their
// path, in order of their numbers, and the pieces that make no pair.
type index struct {
	pairs  map[string][]entry
	pieces []string
	next   map[string]int // the lowest number behind all that are there
}

// scan reads the folder, by a descriptor of its own: List may do so at any time.
func (m *Mechanism) scan() (*index, error) {
	dir, err := m.openIn(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.o.Dir, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", m.o.Dir, err)
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	x := &index{pairs: make(map[string][]entry), next: make(map[string]int)}
	for _, name := range names {
		e, kind, ok := parseEntry(name)
		if !ok {
			continue // somebody else's
		}
		x.next[e.hash] = max(x.next[e.hash], e.number+1)
		switch {
		case kind == "json" && there[e.file()]:
			x.pairs[e.hash] = append(x.pairs[e.hash], e)
		case kind == "json", kind == "part", kind == "temp":
			x.pieces = append(x.pieces, name)
		}
	}
	for _, pairs := range x.pairs {
		slices.SortFunc(pairs, func(a, b entry) int { return a.number - b.number })
	}
	return x, nil
}

// read reads a record.
func (m *Mechanism) read(e entry) (r record, err error) {
	f, err := m.openIn(e.record(), unix.O_RDONLY, 0)
	if err != nil {
		return r, fmt.Errorf("record %s: %w", e, err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 8<<20)).Decode(&r); err != nil {
		return r, fmt.Errorf("record %s is damaged: %w", m.place(e.record()), err)
	}
	if hashOf(r.Path) != e.hash {
		return r, fmt.Errorf("record %s is damaged: it names %q", m.place(e.record()), r.Path)
	}
	return r, nil
}

// write brings a record to the disk, in place of the one that is there.
func (m *Mechanism) write(e entry, r record) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("record %s: %w", e, err)
	}
	_ = unix.Unlinkat(m.fd(), e.temp(), 0) // of a crash
	f, err := m.openIn(e.temp(), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("record %s: %w", e, err)
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = unix.Renameat(m.fd(), e.temp(), m.fd(), e.record())
	}
	if err == nil {
		err = m.dir.Sync()
	}
	if err != nil {
		_ = unix.Unlinkat(m.fd(), e.temp(), 0)
		return fmt.Errorf("record %s: %w", e, err)
	}
	return nil
}

// drop removes files from the quarantine; that one is not there is as good.
func (m *Mechanism) drop(names ...string) error {
	var errs []error
	for _, name := range names {
		if err := unix.Unlinkat(m.fd(), name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing %s: %w", m.place(name), err))
		}
	}
	return errors.Join(append(errs, m.dir.Sync())...)
}

// openIn opens a file in the quarantine.
func (m *Mechanism) openIn(name string, flags int, perm uint32) (*os.File, error) {
	return openAt(m.fd(), name, flags, perm)
}

// fd is the quarantine's descriptor.
func (m *Mechanism) fd() int { return int(m.dir.Fd()) }

// place is the path of a file in the quarantine, for people.
func (m *Mechanism) place(name string) string { return m.o.Dir + "/" + name }
