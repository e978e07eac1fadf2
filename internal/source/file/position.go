package file

import (
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strconv"
	"strings"
)

// fileID is what the kernel tells files of one host apart by, as long as they
// exist.
type fileID struct{ dev, ino uint64 }

// headSize and tailSize are how many bytes at the beginning of a file and
// before an offset a mark remembers.
const (
	headSize = 256
	tailSize = 256
)

// mark is a place in a file that can be found again: the file may have been
// renamed, copied, or replaced by another one since.
type mark struct {
	id     fileID
	offset int64
	head   uint64 // hash of the first bytes, headSize at most, none beyond offset
	tail   uint64 // hash of the last bytes before offset, tailSize at most
	skip   bool   // the rest of the line at offset is to be thrown away
}

// hash is FNV-1a: it need not resist an attacker, who could as well write what
// he likes into the log itself.
func hash(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

// hashAt hashes n bytes of the file from offset.
func hashAt(f *os.File, offset int64, n int) (uint64, error) {
	var buf [max(headSize, tailSize)]byte
	if _, err := f.ReadAt(buf[:n], offset); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	return hash(buf[:n]), nil
}

func headLen(offset int64) int { return int(min(offset, headSize)) }
func tailLen(offset int64) int { return int(min(offset, tailSize)) }

// markAt makes the mark of an offset in an open file.
func markAt(f *os.File, id fileID, offset int64) (m mark, err error) {
	m = mark{id: id, offset: offset}
	if m.head, err = hashAt(f, 0, headLen(offset)); err != nil {
		return m, err
	}
	m.tail, err = hashAt(f, offset-int64(tailLen(offset)), tailLen(offset))
	return m, err
}

// heldBy reports whether the file holds what was before the mark where it was.
func (m *mark) heldBy(f *os.File) bool {
	there, err := markAt(f, m.id, m.offset)
	return err == nil && there.head == m.head && there.tail == m.tail
}

// beginsAs reports whether a file of this size begins with what the marked one
// began with, and is of a like size: the same log, shortened or edited. A new
// log with the same banner would be much smaller.
func (m *mark) beginsAs(f *os.File, size int64) bool {
	if m.offset < headSize || size < m.offset/2 {
		return false
	}
	head, err := hashAt(f, 0, headSize)
	return err == nil && head == m.head
}

// encode appends the mark as text: dev.ino.offset.head.tail, with .s at its end
// when inside a line that was cut.
func (m *mark) encode(dst []byte) []byte {
	dst = strconv.AppendUint(dst, m.id.dev, 10)
	dst = strconv.AppendUint(append(dst, '.'), m.id.ino, 10)
	dst = strconv.AppendInt(append(dst, '.'), m.offset, 10)
	dst = strconv.AppendUint(append(dst, '.'), m.head, 36)
	dst = strconv.AppendUint(append(dst, '.'), m.tail, 36)
	if m.skip {
		dst = append(dst, ".s"...)
	}
	return dst
}

// positionVersion begins every position. Alone it says that the source is known
// and nothing of it has been read, so that all of it is new.
const positionVersion = "1"

// encodePosition writes the marks of one stream, oldest file first.
func encodePosition(marks []mark) string {
	dst := append(make([]byte, 0, 96), positionVersion...)
	for i := range marks {
		dst = marks[i].encode(append(dst, ' '))
	}
	return string(dst)
}

func parsePosition(text string) ([]mark, error) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != positionVersion {
		return nil, fmt.Errorf("position %q: expected version %s", text, positionVersion)
	}
	var marks []mark
	for _, w := range words[1:] {
		m, err := parseMark(w)
		if err != nil {
			return nil, fmt.Errorf("position %q: %w", text, err)
		}
		marks = append(marks, m)
	}
	return marks, nil
}

func parseMark(text string) (mark, error) {
	text, skip := strings.CutSuffix(text, ".s")
	parts := strings.Split(text, ".")
	if len(parts) != 5 {
		return mark{}, fmt.Errorf("%q has %d parts, expected 5", text, len(parts))
	}
	var n [5]uint64
	for i, p := range parts {
		base := 10
		if i > 2 {
			base = 36
		}
		var err error
		if n[i], err = strconv.ParseUint(p, base, 64); err != nil {
			return mark{}, fmt.Errorf("%q: %w", text, err)
		}
	}
	if n[2] > 1<<62 {
		return mark{}, fmt.Errorf("%q: offset out of range", text)
	}
	return mark{id: fileID{n[0], n[1]}, offset: int64(n[2]), head: n[3], tail: n[4], skip: skip}, nil
}
