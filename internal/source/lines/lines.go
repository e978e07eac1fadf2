// Package lines cuts a stream of bytes into lines, for all sources that read
// one. It bounds what a line may hold, keeps every byte of it but the
// terminator, and holds back a line that is not complete.
package lines

import (
	"bytes"
	"strings"
)

// Max is the longest line in bytes that sources deliver whole, unless they say
// otherwise.
const Max = 64 << 10

// Line is one line of a stream.
type Line struct {
	Text string // without its terminator, LF or CR LF
	End  int    // how much of the chunk is used up when this line is dealt with
	Cut  bool   // the line was longer than the splitter's limit; the rest of it is lost
}

// Splitter cuts one stream into lines.
type Splitter struct {
	max  int
	rest []byte // a line that is not complete
	skip bool   // the rest of a line that was cut is being thrown away
}

// NewSplitter returns a splitter that cuts lines longer than max bytes. With
// skip it begins inside a line that was cut and throws its rest away.
func NewSplitter(max int, skip bool) *Splitter { return &Splitter{max: max, skip: skip} }

// Pending returns how many bytes of an incomplete line are held back.
func (s *Splitter) Pending() int { return len(s.rest) }

// Skipping reports whether the stream stands inside a line that was cut.
func (s *Splitter) Skipping() bool { return s.skip }

// Split appends the lines that chunk, the next part of the stream, completes.
// The lines share one copy of the chunk, which may be used again afterwards.
func (s *Splitter) Split(dst []Line, chunk []byte) []Line {
	done := 0
	if s.skip || len(s.rest) > 0 {
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			return s.hold(dst, chunk, len(chunk))
		}
		done = i + 1
		if !s.skip {
			s.rest = append(s.rest, chunk[:i]...)
			dst = append(dst, s.line(string(s.rest), done))
		}
		s.skip = false
		s.clear()
	}
	if last := bytes.LastIndexByte(chunk[done:], '\n'); last >= 0 {
		text := string(chunk[done : done+last])
		for {
			i := strings.IndexByte(text, '\n')
			if i < 0 {
				break
			}
			done += i + 1
			dst = append(dst, s.line(text[:i], done))
			text = text[i+1:]
		}
		done += len(text) + 1
		dst = append(dst, s.line(text, done))
	}
	return s.hold(dst, chunk[done:], len(chunk))
}

// hold keeps the beginning of a line, or delivers it cut when it is too long
// already. end is the length of the whole chunk.
func (s *Splitter) hold(dst []Line, part []byte, end int) []Line {
	if s.skip || len(part) == 0 {
		return dst
	}
	if len(s.rest)+len(part) <= s.max+1 { // one more: it may be the CR
		s.rest = append(s.rest, part...)
		return dst
	}
	text := string(s.rest) + string(part[:max(0, s.max-len(s.rest))])
	s.skip = true
	s.clear()
	return append(dst, Line{Text: text[:s.max], End: end, Cut: true})
}

// Flush appends what is held back, though its terminator has not come. The
// line's End is 0.
func (s *Splitter) Flush(dst []Line) []Line {
	if len(s.rest) > 0 {
		dst = append(dst, s.line(string(s.rest), 0))
		s.clear()
	}
	return dst
}

func (s *Splitter) line(text string, end int) Line {
	text = strings.TrimSuffix(text, "\r")
	if len(text) > s.max {
		return Line{Text: text[:s.max], End: end, Cut: true}
	}
	return Line{Text: text, End: end}
}

// clear empties the held part and lets go of memory that one long line took.
func (s *Splitter) clear() {
	if cap(s.rest) > 4<<10 {
		s.rest = nil
	}
	s.rest = s.rest[:0]
}
