package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"riposte/internal/source/lines"
)

// maxBehind bounds how many files that one stream missed are opened at once.
const maxBehind = 64

// arrange finds the files that continue a stream which stood at marks: those it
// stood in, by whatever name they go now, those that had the name since, and
// the one that has it. Names may change while it looks. What two looks one after
// the other agree on is right; for the rest it looks again.
func (f *Follower) arrange(s *stream, marks []mark) {
	if real, err := filepath.EvalSymlinks(s.path); err == nil {
		s.real = real
	}
	for range 20 {
		p := f.plan(s, marks)
		if agreed, complete := p.check(); agreed {
			p.carryOut()
			if complete {
				return
			}
			marks = s.marks()
		} else {
			p.abandon()
		}
	}
	f.stale = true // it cannot go on like this for ever
}

// plan is what arrange finds out.
type plan struct {
	f      *Follower
	s      *stream
	dir    string
	base   string
	marks  []mark
	list   []entry
	line   []entry       // from the youngest file of the marks to the one at the path
	held   []*generation // the files that hold the marks
	opened []*generation // what was opened for this plan
	gens   []*generation // all together, in their order
	lost   int           // how many marks no file holds
	gone   *mark         // the last mark, when its file has no name here any more
	behind bool          // there are more than can be opened at once
	moved  bool          // a name led to another file than just before
	err    error
}

// entry is a regular file of a directory.
type entry struct {
	name    string
	id      fileID
	size    int64
	mtime   time.Time
	removed bool // it was there, and is open, but has no name any more
}

func (f *Follower) plan(s *stream, marks []mark) *plan {
	p := &plan{f: f, s: s, dir: filepath.Dir(s.real), base: filepath.Base(s.real), marks: marks}
	p.list = p.look()
	for i := range marks {
		m, last := &marks[i], i == len(marks)-1
		g := p.find(m, last)
		if g == nil {
			p.lost++
		} else {
			p.held = append(p.held, g)
		}
		if last && (g == nil || !slices.ContainsFunc(p.list, func(e entry) bool { return e.id == m.id })) {
			p.gone = m
		}
	}
	p.line = p.lineUp(p.list)
	p.assemble()
	return p
}

// look lists the directory. Without marks, and in a directory that may not be
// listed, only the path itself matters.
func (p *plan) look() []entry {
	names := []string{p.base}
	if len(p.marks) > 0 {
		if entries, err := os.ReadDir(p.dir); err == nil {
			names = names[:0]
			for _, e := range entries {
				if e.Type().IsRegular() {
					names = append(names, e.Name())
				}
			}
		}
	}
	out := make([]entry, 0, len(names))
	for _, name := range names {
		id, info, err := identify(filepath.Join(p.dir, name))
		switch {
		case err == nil && !info.IsDir():
			out = append(out, entry{name: name, id: id, size: info.Size(), mtime: info.ModTime()})
		case err != nil && name == p.base && !errors.Is(err, fs.ErrNotExist):
			p.err = err
		}
	}
	return out
}

func named(list []entry, name string) (entry, bool) {
	i := slices.IndexFunc(list, func(e entry) bool { return e.name == name })
	if i < 0 {
		return entry{}, false
	}
	return list[i], true
}

// find returns the file that holds a mark, nil when there is none.
func (p *plan) find(m *mark, last bool) *generation {
	at, there := named(p.list, p.base)
	if last && there && at.id != m.id && m.offset >= tailSize && p.f.open[at.id] == nil {
		// The path may have been given a copy of the file, by an editor or a
		// restore. It is no new file, then.
		if g := p.open(at, m); g != nil {
			return g
		}
	}
	if g := p.f.open[m.id]; g != nil && (g.stream != p.s || m.heldBy(g.file)) {
		return g
	}
	for _, e := range p.list {
		if e.id == m.id && e.size >= m.offset {
			if g := p.open(e, m); g != nil {
				return g
			}
		}
	}
	if m.offset > 0 {
		for _, e := range p.copies(m) {
			if g := p.open(e, m); g != nil {
				return g
			}
		}
	}
	return nil
}

// copies returns the files in which a truncated one may live on, the youngest
// first.
func (p *plan) copies(m *mark) []entry {
	stem, ext := strings.TrimSuffix(p.base, filepath.Ext(p.base)), filepath.Ext(p.base)
	var out []entry
	for _, e := range p.list {
		related := strings.HasPrefix(e.name, p.base) || strings.HasPrefix(e.name, stem) && strings.HasSuffix(e.name, ext)
		if related && e.name != p.base && e.size >= m.offset && e.id != m.id && p.f.open[e.id] == nil && p.opening(e.id) == nil {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b entry) int { return b.mtime.Compare(a.mtime) })
	return out[:min(len(out), 32)]
}

func (p *plan) opening(id fileID) *generation {
	for _, g := range p.opened {
		if g.id == id {
			return g
		}
	}
	return nil
}

// lineUp returns, of a listing, the youngest file of the marks, those that had
// the path after it and lost it again, which are named like it, and the one at
// the path.
func (p *plan) lineUp(list []entry) []entry {
	var line []entry
	from, ok := p.youngest(list)
	if ok {
		line = append(line, from)
	}
	if ok && (from.name != p.base || dated(p.s.input.Location)) {
		root := p.base
		if from.name == root {
			root = "" // the name tells a time itself
		}
		style := styleOf(root, from.name)
		for _, e := range list {
			if e.name != p.base && style.of(root, e.name) && style.follows(from, e) && !compressed(e.name) && !p.others(e) && !p.copied(e) {
				line = append(line, e)
			}
		}
		slices.SortFunc(line[1:], style.compare)
	}
	if at, there := named(list, p.base); there && from.name != p.base && (p.f.open[at.id] == nil || p.f.open[at.id].stream == p.s) {
		line = append(line, at)
	}
	return line
}

// youngest returns the entry of the youngest file that holds a mark. Where
// nothing was read yet of the file at the path, that says nothing about what
// came before.
func (p *plan) youngest(list []entry) (entry, bool) {
	for _, g := range slices.Backward(p.held) {
		for _, e := range list {
			if e.id == g.id && (e.name != p.base || g.mark.offset > 0) {
				g.name = e.name
				return e, true
			}
		}
	}
	// All of them were removed: the youngest one is where its name was.
	for _, g := range slices.Backward(p.held) {
		if info, err := g.file.Stat(); err == nil && g.name != "" && g.name != p.base {
			return entry{name: g.name, id: g.id, size: info.Size(), mtime: info.ModTime(), removed: true}, true
		}
	}
	return entry{}, false
}

// others reports whether a file is dealt with already: it holds an older mark
// or is followed by a path of its own.
func (p *plan) others(e entry) bool {
	return p.f.open[e.id] != nil || p.f.streams[filepath.Join(p.dir, e.name)] != nil ||
		slices.ContainsFunc(p.held, func(g *generation) bool { return g.id == e.id })
}

// copied reports whether all that a file holds stands at the path, too: then it
// is a copy that was made in order to truncate the file there, which has not
// happened yet.
func (p *plan) copied(e entry) bool {
	at, _, _, err := openLog(p.s.path)
	if err != nil {
		return false
	}
	defer func() { _ = at.Close() }()
	file, id, info, err := openLog(filepath.Join(p.dir, e.name))
	if err != nil {
		p.moved = p.moved || errors.Is(err, fs.ErrNotExist)
		return false
	}
	defer func() { _ = file.Close() }()
	p.moved = p.moved || id != e.id
	m, err := markAt(file, id, info.Size())
	return err == nil && m.heldBy(at)
}

// assemble puts the files in their order and opens those that are new.
func (p *plan) assemble() {
	at, there := named(p.list, p.base)
	for _, g := range p.held {
		if g.stream == p.s && !(there && g.id == at.id) { // others go on in the stream they were renamed to
			p.gens = append(p.gens, g)
		}
	}
	if len(p.line) > maxBehind {
		p.line, p.behind = p.line[:maxBehind], true
	}
	for _, e := range p.line {
		g := p.holding(e.id)
		switch {
		case g != nil && e.name != p.base:
			continue // is there
		case g == nil && e.name == p.base:
			g = p.begin(e)
		case g == nil:
			g = p.open(e, &mark{id: e.id, head: hash(nil), tail: hash(nil)})
		}
		if g != nil && g.stream == p.s {
			p.gens = append(p.gens, g)
		}
	}
}

func (p *plan) holding(id fileID) *generation {
	for _, g := range p.held {
		if g.id == id {
			return g
		}
	}
	return p.opening(id)
}

// begin opens the file at the path, which no mark knows.
func (p *plan) begin(e entry) *generation {
	file, id, info, err := openLog(p.s.path)
	if err != nil {
		p.err = err
		return nil
	}
	if id != e.id {
		p.moved = true
		_ = file.Close()
		return nil
	}
	m := mark{id: id, head: hash(nil), tail: hash(nil)}
	edited := p.gone != nil && p.gone.beginsAs(file, info.Size())
	if edited {
		p.f.log.Warn("the file was shortened or edited, following what is added now", "file", p.s.path)
	}
	if edited || len(p.marks) == 0 && !p.f.fromStart(p.s.input, info) {
		m, err = lastLine(file, id, info.Size())
	}
	return p.start(file, m, err)
}

// open opens the file of an entry if it holds the mark.
func (p *plan) open(e entry, m *mark) *generation {
	file, id, _, err := openLog(filepath.Join(p.dir, e.name))
	if err != nil {
		p.moved = p.moved || errors.Is(err, fs.ErrNotExist)
		p.err = err
		return nil
	}
	if id != e.id {
		p.moved = true
	}
	if id != e.id || !m.heldBy(file) {
		_ = file.Close()
		return nil
	}
	there := *m
	there.id = id
	return p.start(file, there, nil)
}

// start makes a generation of an open file, unless err says why not.
func (p *plan) start(file *os.File, m mark, err error) *generation {
	var g *generation
	if err == nil {
		g, err = newGeneration(p.s, file, m, p.f.now())
	}
	if err != nil {
		p.err = err
		_ = file.Close()
		return nil
	}
	p.opened = append(p.opened, g)
	return g
}

// fromStart says whether all that a file holds is new, when nothing of it was
// seen before.
func (f *Follower) fromStart(in *input, info fs.FileInfo) bool {
	switch {
	case in.FromStart:
		return true
	case !f.started:
		return in.known
	case dated(in.Location):
		// One name may come again, such as a weekday's. What was not written
		// lately is from the last time.
		return f.looked.Sub(info.ModTime()) < time.Minute
	}
	return true
}

// lastLine marks the beginning of a file's last line, so that a line which is
// being written is seen whole.
func lastLine(file *os.File, id fileID, size int64) (mark, error) {
	offset, skip := size, false
	buf := make([]byte, min(size, lines.Max))
	n, err := file.ReadAt(buf, size-int64(len(buf)))
	if n > 0 && err == nil {
		for n > 0 && buf[n-1] != '\n' {
			n--
			offset--
		}
		if n == 0 && offset > 0 {
			offset, skip = size, true
		}
	}
	m, err := markAt(file, id, offset)
	m.skip = skip
	return m, err
}

// check looks once more. The plan is agreed on when all files of its line still
// follow each other; it is complete when no further ones do. That a mark is lost
// must be seen in two listings that are the same: one alone may lack a file that
// was just being renamed.
func (p *plan) check() (agreed, complete bool) {
	list := p.look()
	if p.lost > 0 && !slices.EqualFunc(p.list, list, func(a, b entry) bool { return a.name == b.name && a.id == b.id }) {
		return false, false
	}
	again := p.lineUp(list)
	if p.moved || len(again) < len(p.line) {
		return false, false
	}
	for i, e := range p.line {
		if again[i].id != e.id {
			return false, false
		}
	}
	return true, p.behind || len(again) == len(p.line)
}

// carryOut makes the plan come true.
func (p *plan) carryOut() {
	p.f.complain(p.s.path, p.err)
	if p.lost > 0 && !p.f.started {
		p.f.log.Warn("the file that was followed before is gone; lines at its end may be lost", "file", p.s.path)
	}
	p.s.behind = p.behind
	p.f.replace(p.s, p.gens)
}

// abandon closes what was opened for the plan.
func (p *plan) abandon() {
	for _, g := range p.opened {
		_ = g.file.Close()
	}
}
