package file

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"riposte/internal/source/lines"
)

// chunkSize is how much is read at once.
const chunkSize = 256 << 10

// errRewritten means that a file no longer holds what was read of it: it was
// truncated, and perhaps written again since.
var errRewritten = errors.New("the file was rewritten")

// workspace is the memory that reading uses over and over again.
type workspace struct {
	buf     [tailSize + chunkSize]byte
	head    [headSize]byte
	recent  []byte // the part of buf that holds the bytes before where the file was read to
	lines   []lines.Line
	records []record
}

// generation is one file that has, or had, the name that a stream follows. It
// stays open after the name has gone to another file until nothing more can be
// expected in it.
type generation struct {
	stream  *stream
	file    *os.File
	id      fileID
	name    string // what it was called in the directory when last seen there
	watch   int    // what the watcher calls it, 0: not watched
	read    int64  // how far it has been read
	mark    mark   // how far its records have been handed over
	head    []byte // the first bytes, headSize at most, none beyond read
	before  []byte // the last bytes before read, tailSize at most
	split   *lines.Splitter
	join    joiner
	grown   time.Time // when anything was last read
	drained bool      // the last look found nothing more
	hole    bool      // begun after a truncation: NULs before the first byte are a hole
	fresh   bool      // begun after a truncation: other files may come before it
	changed time.Time // when a fresh file was last changed, as far as we have looked
}

// newGeneration reads file from m.offset on.
func newGeneration(s *stream, file *os.File, m mark, now time.Time) (*generation, error) {
	g := &generation{stream: s, file: file, id: m.id, mark: m, grown: now}
	g.rewind()
	g.head = g.head[:headLen(m.offset)]
	g.before = g.before[:tailLen(m.offset)]
	if _, err := file.ReadAt(g.head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if _, err := file.ReadAt(g.before, m.offset-int64(len(g.before))); err != nil && err != io.EOF {
		return nil, err
	}
	return g, nil
}

// rewind goes back to the mark, which must be at the beginning of the file when
// anything was read already.
func (g *generation) rewind() {
	in := g.stream.input
	g.read, g.drained = g.mark.offset, false
	g.split = lines.NewSplitter(in.max(), g.mark.skip)
	g.join = joiner{framing: in.Framing, max: in.max()}
	g.head = make([]byte, 0, headSize)
	g.before = make([]byte, 0, tailSize)
}

// next reads the next chunk and puts the records that it completes into the
// workspace. With every read it makes sure that the first bytes, and those just
// before, are still what they were.
func (g *generation) next(w *workspace, now time.Time) error {
	w.records = w.records[:0]
	kept := len(g.before)
	n, err := g.file.ReadAt(w.buf[:kept+chunkSize], g.read-int64(kept))
	if err != nil && err != io.EOF {
		return err
	}
	if n < kept || !bytes.Equal(w.buf[:kept], g.before) {
		return errRewritten
	}
	// Looked at last: then what was read is of the same life of the file.
	head := w.head[:len(g.head)]
	if n, err := g.file.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	} else if n < len(head) || !bytes.Equal(head, g.head) {
		return errRewritten
	}
	w.recent = w.buf[:n]
	chunk := w.buf[kept:n]
	g.drained = len(chunk) == 0
	if g.drained {
		return nil
	}
	g.read += int64(len(chunk))
	g.head = append(g.head, chunk[:min(len(chunk), headSize-len(g.head))]...)
	g.before = append(g.before[:0], w.buf[max(0, n-tailSize):n]...)
	g.grown = now
	if g.hole {
		chunk = bytes.TrimLeft(chunk, "\x00")
		g.hole = len(chunk) == 0
	}
	g.cut(w, chunk)
	return nil
}

// cut makes records of a chunk that ends where the file was read to.
func (g *generation) cut(w *workspace, chunk []byte) {
	w.lines = g.split.Split(w.lines[:0], chunk)
	start := g.read - int64(len(chunk))
	plain := g.join.framing.plain()
	for _, l := range w.lines {
		end := start + int64(l.End)
		switch {
		case !plain:
			w.records = g.join.add(w.records, l, end)
		case l.Text != "":
			w.records = append(w.records, record{text: l.Text, end: end, cut: l.Cut})
		}
	}
}

// exhausted reports whether the file holds nothing that was not read.
func (g *generation) exhausted() bool {
	info, err := g.file.Stat()
	return g.drained && (err != nil || info.Size() <= g.read)
}

// waits reports whether anything is held back.
func (g *generation) waits() bool { return g.split.Pending() > 0 || g.join.count > 0 }

// flush gives up waiting for the next line of a record and, with line, for the
// end of the last line, which will not come when the file has been put aside.
func (g *generation) flush(w *workspace, line bool) {
	w.records, w.recent = w.records[:0], nil
	if line {
		for _, l := range g.split.Flush(nil) {
			if g.join.framing.plain() {
				w.records = append(w.records, record{text: l.Text, end: g.read, cut: l.Cut})
			} else {
				w.records = g.join.add(w.records, l, g.read)
			}
		}
	}
	w.records = g.join.flush(w.records)
}

// moveTo moves the mark to an offset up to which records have been handed over.
// recent holds bytes before g.read, as many as are at hand.
func (g *generation) moveTo(offset int64, recent []byte) {
	m := mark{id: g.id, offset: offset, head: hash(g.head[:headLen(offset)])}
	m.skip = offset == g.read && g.split.Skipping()
	n := tailLen(offset)
	if from := len(recent) - int(g.read-offset) - n; from >= 0 {
		m.tail = hash(recent[from : from+n])
	} else {
		// A failure means that the file was truncated since: the next read will
		// see it, and no file will be found that holds this mark.
		m.tail, _ = hashAt(g.file, offset-int64(n), n)
	}
	g.mark = m
}
