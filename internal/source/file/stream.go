package file

import (
	"errors"
	"slices"
	"time"

	"riposte"
)

// stream is one path and the files that have it or had it: what OSSEC calls a
// location.
type stream struct {
	input  *input
	path   string
	real   string        // path with its symbolic links resolved
	gens   []*generation // open files, in the order in which they had the name
	former []mark        // where the stream stood when it had an open file last
	wanted time.Time     // when the path last was what its input stands for
	dirty  bool          // is in Follower.dirty
	around time.Time     // when the directory had last changed as we looked for files that lost the name
	behind bool          // more files lost the name than can be open at once
}

// maxBatch bounds the events of a batch.
const maxBatch = 256

// maxAside bounds how many files of one stream stay open though they are read
// to their end and have lost the name.
const maxAside = 8

func (f *Follower) newStream(in *input, path string) *stream {
	s := &stream{input: in, path: path, real: path, former: f.stored[path], wanted: f.looked}
	delete(f.stored, path)
	f.streams[path] = s
	return s
}

// marks returns where the stream stands.
func (s *stream) marks() []mark {
	if len(s.gens) == 0 {
		return s.former
	}
	marks := make([]mark, len(s.gens))
	for i, g := range s.gens {
		marks[i] = g.mark
	}
	return marks
}

// readNext reads a chunk of the stream whose turn it is. Its older files come
// first: the next one begins when the one before it has nothing more.
func (f *Follower) readNext() {
	s := f.dirty[0]
	f.dirty = f.dirty[1:]
	s.dirty = false
	for _, g := range s.gens {
		err := g.next(f.work, f.now())
		switch {
		case errors.Is(err, errRewritten):
			f.rewritten(s, g)
			f.touch(s)
			return
		case err != nil:
			f.complain(s.path, err)
			continue
		case g.fresh && f.precede(s, g):
			return // whatever came before it has been touched
		case g.drained:
			continue
		}
		f.hand(s, g)
		f.touch(s)
		return
	}
	if s.behind { // all that was open is read: room for more
		f.arrange(s, s.marks())
	}
}

// hand makes batches of the records in the workspace.
func (f *Follower) hand(s *stream, g *generation) {
	records := f.work.records
	for len(records) > 0 {
		n := min(len(records), maxBatch)
		events := make([]riposte.Event, 0, n)
		for i := range records[:n] {
			r := &records[i]
			if s.input.Keep == nil || s.input.Keep(r.text) {
				events = append(events, riposte.Event{Time: g.grown, Location: s.path, Format: s.input.Format, Text: s.input.given(r.text), Cut: r.cut})
			}
		}
		g.moveTo(records[n-1].end, f.work.recent)
		f.pending = append(f.pending, riposte.Batch{Source: SourceOf(s.path), Position: encodePosition(s.marks()), Events: events})
		records = records[n:]
	}
	clear(f.work.records)
}

// settle ends what only time can end: records that wait for a next line, and
// files that lost the name and went quiet.
func (f *Follower) settle(s *stream) {
	now := f.now()
	var keep []*generation
	for i, g := range s.gens {
		quiet := now.Sub(g.grown)
		aside := i < len(s.gens)-1 || s.wanted.Before(f.looked) || !f.current(s, g)
		done := aside && g.exhausted() && (quiet >= f.linger || i < len(s.gens)-maxAside)
		switch {
		case !g.drained || !g.waits():
		case done || aside && quiet >= f.flushAfter:
			g.flush(f.work, true)
			f.hand(s, g)
		case g.join.framing.timed() && quiet >= g.join.framing.wait():
			g.flush(f.work, false)
			f.hand(s, g)
		}
		if !done {
			keep = append(keep, g)
		}
	}
	f.replace(s, keep)
}

// current reports whether the stream's path leads to g.
func (f *Follower) current(s *stream, g *generation) bool {
	id, _, err := identify(s.path)
	return err == nil && id == g.id
}

// replace makes gens the open files of a stream: new ones are watched, those
// that are no longer among them closed. If anything changed the new position is
// told, lest a later start look for files that have long been dealt with.
func (f *Follower) replace(s *stream, gens []*generation) {
	if slices.Equal(gens, s.gens) {
		return
	}
	if len(gens) == 0 && len(s.gens) > 0 {
		s.former = s.marks()[len(s.gens)-1:]
	}
	keep := make(map[*generation]bool, len(gens))
	for _, g := range gens {
		keep[g] = true
		g.stream = s
		if f.open[g.id] == g {
			continue
		}
		f.open[g.id] = g
		f.watchFile(g)
	}
	for _, g := range s.gens {
		if !keep[g] {
			f.drop(g)
		}
	}
	s.gens = gens
	f.tell(s)
	f.touch(s)
}

// tell sends a stream's position without events.
func (f *Follower) tell(s *stream) {
	f.pending = append(f.pending, riposte.Batch{Source: SourceOf(s.path), Position: encodePosition(s.marks())})
}

// watchFile watches an open file, or makes sure that it is polled.
func (f *Follower) watchFile(g *generation) {
	watch, err := f.watch.addFile(g.file)
	if err != nil {
		f.blind = true
		return
	}
	g.watch = watch
	f.files[watch] = g
}

// drop closes a file.
func (f *Follower) drop(g *generation) {
	if f.open[g.id] == g {
		delete(f.open, g.id)
	}
	if f.files[g.watch] == g {
		delete(f.files, g.watch)
		f.watch.remove(g.watch)
	}
	_ = g.file.Close()
}
