package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// look finds out whether the stream's path leads to another file than before.
func (f *Follower) look(s *stream) {
	id, _, err := identify(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.complain(s.path, nil)
		f.lookAround(s)
		return
	}
	if err != nil {
		f.complain(s.path, err)
		return
	}
	if n := len(s.gens); s.behind || n > 0 && s.gens[n-1].id == id {
		return
	}
	if g := f.open[id]; g != nil {
		f.adopt(s, g)
		return
	}
	f.arrange(s, s.marks())
}

// lookAround finds files that had the stream's path and lost it since it was
// looked at, though nothing is there now. It need not look twice at a directory
// that has not changed; time stamps are too coarse to tell right after a change.
func (f *Follower) lookAround(s *stream) {
	info, err := os.Stat(filepath.Dir(s.real))
	if err != nil || s.behind || len(s.marks()) == 0 {
		return
	}
	changed := info.ModTime()
	if changed.Equal(s.around) && f.now().Sub(changed) > time.Second {
		return
	}
	s.around = changed
	f.arrange(s, s.marks())
}

// adopt takes over an open file that was renamed from one followed path to
// another one. A file that has two names at once stays where it is.
func (f *Follower) adopt(s *stream, g *generation) {
	from := g.stream
	if from == s || f.current(from, g) {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(from.gens), func(o *generation) bool { return o == g })
	if len(kept) == 0 {
		from.former = from.marks()[len(from.gens)-1:]
	}
	from.gens = kept
	f.tell(from)
	f.replace(s, append(slices.Clone(s.gens), g))
}

// rewritten deals with a file that no longer holds what was read of it.
func (f *Follower) rewritten(s *stream, g *generation) {
	marks := s.marks()
	f.replace(s, slices.DeleteFunc(slices.Clone(s.gens), func(o *generation) bool { return o == g }))
	f.arrange(s, marks)
	for _, o := range s.gens {
		if o.id == g.id && o.read == 0 {
			o.hole, o.fresh = true, true
		}
	}
}

// precede is asked when a truncated file has been looked into: was it written,
// copied and truncated once more before that? Then the copies come first, and
// the chunk that was read, which may stand in one of them, is read again later.
func (f *Follower) precede(s *stream, g *generation) bool {
	info, err := g.file.Stat()
	if err != nil || g.drained && info.ModTime().Equal(g.changed) {
		return false
	}
	g.changed = info.ModTime()
	g.fresh = g.drained
	before := slices.Clone(s.gens)
	f.arrange(s, s.marks())
	// A few bytes are not enough to see by them, at the next read, that the file
	// was truncated once more. They are left there for a while.
	few := g.read < tailSize && len(f.work.records) == 0 && f.now().Sub(info.ModTime()) < time.Second
	if slices.Equal(before, s.gens) && !few {
		return false
	}
	g.rewind()
	g.fresh = true
	return true
}
