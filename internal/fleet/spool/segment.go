package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"riposte/internal/host"
)

// A segment is a file of records, one behind the other. A record is a header
// and a body, the body positions and payload. The header, little endian:
//
//	 0  uint32  length of the body
//	 4  uint32  length of the positions in it
//	 8  uint64  number: of the record; in a head the last one given, in an ack the last one acknowledged
//	16  int64   time in nanoseconds since 1970
//	24  uint32  kind
//	28  uint32  CRC-32C of the body
//	32  uint32  CRC-32C of the header up to here
//
// Positions are strings with a varint of their length before them, source and
// position in turn. The first record of a segment is a head: its positions are
// those behind all records before it, its payload is the format's name, the
// epoch of the segment's records and what was acknowledged. Records that belong
// together are parts but for the last, which alone has positions, and follow each
// other within a segment: parts without it are of a write that was cut short.
const (
	headerSize = 36
	maxRecord  = 1 << 30

	kindHead = 1
	kindData = 2
	kindAck  = 3
	kindPart = 4 // data that belongs together with the record behind it

	formatName = "riposte spool 1\n"
	headSize   = len(formatName) + 8 + 8
	suffix     = ".spool"
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// segment is a file of the spool.
type segment struct {
	path    string
	number  uint64   // in its name
	file    *os.File // nil while nobody reads it
	epoch   uint64   // of its records
	start   int64    // behind the head
	size    int64    // end of the last whole record
	last    uint64   // number of its last record, or of the last one before it
	records int      // not acknowledged
	bytes   int64    // which they take
}

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%012d%s", number, suffix))
}

// segmentNumber reads the number in a file's name.
func segmentNumber(name string) (number uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 12 {
		return 0, false
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0, false
		}
		number = number*10 + uint64(d-'0')
	}
	return number, true
}

// record is a record to be written.
type record struct {
	kind      uint32
	n         uint64
	time      time.Time
	positions map[string]string
	payload   []byte
}

// isData reports whether a record of this kind is one that was appended.
func isData(kind uint32) bool { return kind == kindData || kind == kindPart }

// recordSize is what a record takes in a file.
func recordSize(payload []byte, positions map[string]string) int64 {
	size := int64(headerSize) + int64(len(payload))
	for source, position := range positions {
		size += textSize(source) + textSize(position)
	}
	return size
}

func textSize(s string) int64 {
	n := int64(1 + len(s))
	for l := len(s); l >= 0x80; l >>= 7 {
		n++
	}
	return n
}

// appendTo appends the record as it stands in a file.
func (r *record) appendTo(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, headerSize)...)
	for source, position := range r.positions {
		b = appendText(appendText(b, source), position)
	}
	positions := len(b) - at - headerSize
	b = append(b, r.payload...)
	h := b[at : at+headerSize]
	body := b[at+headerSize:]
	binary.LittleEndian.PutUint32(h, uint32(len(body)))
	binary.LittleEndian.PutUint32(h[4:], uint32(positions))
	binary.LittleEndian.PutUint64(h[8:], r.n)
	binary.LittleEndian.PutUint64(h[16:], uint64(r.time.UnixNano()))
	binary.LittleEndian.PutUint32(h[24:], r.kind)
	binary.LittleEndian.PutUint32(h[28:], checksum(body))
	binary.LittleEndian.PutUint32(h[32:], checksum(h[:32]))
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// header is the header of a record that was read.
type header struct {
	length    uint32 // of the body
	positions uint32 // of which positions
	n         uint64
	time      time.Time
	kind      uint32
	sum       uint32 // of the body
}

func (h header) size() int64 { return headerSize + int64(h.length) }

// parseHeader reads a header; ok is false when it is damaged, or a header of
// something else.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || binary.LittleEndian.Uint32(b[32:]) != checksum(b[:32]) {
		return h, false
	}
	h = header{
		length:    binary.LittleEndian.Uint32(b),
		positions: binary.LittleEndian.Uint32(b[4:]),
		n:         binary.LittleEndian.Uint64(b[8:]),
		time:      time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:]))),
		kind:      binary.LittleEndian.Uint32(b[24:]),
		sum:       binary.LittleEndian.Uint32(b[28:]),
	}
	return h, h.positions <= h.length && h.length <= maxRecord
}

// parsePositions reads the positions of a body.
func parsePositions(b []byte) (map[string]string, error) {
	out := map[string]string{}
	for len(b) > 0 {
		var source, position string
		var err error
		if source, b, err = cutText(b); err != nil {
			return nil, err
		}
		if position, b, err = cutText(b); err != nil {
			return nil, err
		}
		out[source] = position
	}
	return out, nil
}

func cutText(b []byte) (string, []byte, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return "", nil, errors.New("positions are malformed")
	}
	return string(b[k : k+int(n)]), b[k+int(n):], nil
}

// write puts records behind the last one. With an error the file is as if
// nothing was written: what was, the next record overwrites. The caller holds mu.
func (s *Spool) write(rs ...record) error {
	seg := s.tail()
	s.buf = s.buf[:0]
	for i := range rs {
		s.buf = rs[i].appendTo(s.buf)
	}
	n, err := seg.file.WriteAt(s.buf, seg.size)
	if cap(s.buf) > 4<<20 {
		s.buf = nil
	}
	if err != nil {
		if n > 0 {
			_ = seg.file.Truncate(seg.size) // the write's own error is the one to report
		}
		return err
	}
	seg.size += int64(n)
	return nil
}

// roll begins a new segment. It reaches the disk, and before it the one it
// follows, so that what its head tells of may be removed. The caller holds mu.
func (s *Spool) roll() (err error) {
	number := uint64(1)
	if len(s.segs) > 0 {
		old := s.tail()
		number = old.number + 1
		if old.file != nil {
			if err := old.file.Sync(); err != nil {
				return err
			}
		}
	}
	head := record{kind: kindHead, n: s.last, time: time.Now(), positions: s.positions}
	head.payload = binary.LittleEndian.AppendUint64([]byte(formatName), s.epoch)
	head.payload = binary.LittleEndian.AppendUint64(head.payload, s.acked)
	text := head.appendTo(nil)
	seg := &segment{
		path: segmentPath(s.dir, number), number: number, epoch: s.epoch,
		start: int64(len(text)), size: int64(len(text)), last: s.last,
	}
	// What a failed attempt left is overwritten.
	if seg.file, err = os.OpenFile(seg.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	_, err = seg.file.Write(text)
	if err == nil {
		err = seg.file.Sync()
	}
	if err == nil {
		err = host.SyncDir(s.dir)
	}
	if err != nil {
		return errors.Join(err, seg.file.Close(), os.Remove(seg.path))
	}
	var old *segment
	if len(s.segs) > 0 {
		old = s.tail()
	}
	s.segs = append(s.segs, seg)
	if old != nil {
		s.putAway(old)
	}
	return nil
}

// putAway closes a segment's file unless somebody is at it. It was flushed, or
// only read, so that closing it can lose nothing. The caller holds mu.
func (s *Spool) putAway(seg *segment) {
	if seg.file == nil || seg == s.tail() || seg == s.front.seg || slices.ContainsFunc(s.readers, func(c *cursor) bool { return c.seg == seg }) {
		return
	}
	_ = seg.file.Close()
	seg.file = nil
}

// cursor is a place in the spool.
type cursor struct {
	seg    *segment
	off    int64
	passed uint64 // number of the record before
}

// pass moves behind the record with the given header.
func (c *cursor) pass(h header) {
	c.off += h.size()
	if isData(h.kind) {
		c.passed = h.n
	}
}

// move puts a cursor at a place. The caller holds mu.
func (s *Spool) move(c *cursor, to *segment, off int64) {
	from := c.seg
	c.seg, c.off = to, off
	if from != nil && from != to {
		s.putAway(from)
	}
}

// peek returns the header of the record at c, which passes over all that is no
// data. ok is false at the end. The caller holds mu.
func (s *Spool) peek(c *cursor) (h header, ok bool, err error) {
	var b [headerSize]byte
	for {
		if c.off >= c.seg.size {
			next := s.after(c.seg)
			if next == nil {
				return h, false, nil
			}
			s.move(c, next, next.start)
			continue
		}
		if err := c.seg.read(b[:], c.off); err != nil {
			return h, false, err
		}
		h, ok := parseHeader(b[:])
		if !ok || c.off+h.size() > c.seg.size {
			s.abandon(c)
			continue
		}
		if isData(h.kind) {
			return h, true, nil
		}
		c.pass(h)
	}
}

// abandon gives up what is behind c in its segment, because it was damaged
// since it was written.
func (s *Spool) abandon(c *cursor) {
	if c == &s.front {
		s.lost += c.seg.records
		c.seg.records, c.seg.bytes = 0, 0
	}
	c.off = c.seg.size
}

// after returns the segment behind seg, nil for the last one.
func (s *Spool) after(seg *segment) *segment {
	for i, have := range s.segs[:len(s.segs)-1] {
		if have == seg {
			return s.segs[i+1]
		}
	}
	return nil
}

// payload returns the payload of the record at c; whole is false when it is
// damaged.
func (s *Spool) payload(c *cursor, h header) (payload []byte, whole bool, err error) {
	b := make([]byte, h.length)
	if err := c.seg.read(b, c.off+headerSize); err != nil {
		return nil, false, err
	}
	if checksum(b) != h.sum {
		return nil, false, nil
	}
	return b[h.positions:], true, nil
}

// read fills b from the segment.
func (g *segment) read(b []byte, off int64) error {
	if g.file == nil {
		f, err := os.Open(g.path)
		if err != nil {
			return err
		}
		g.file = f
	}
	n, err := g.file.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		clear(b[n:]) // somebody cut the file: what is missing reads as damage
		err = nil
	}
	return err
}
