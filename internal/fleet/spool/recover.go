package spool

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// Report says what was found damaged when a spool was opened. The zero value:
// nothing.
type Report struct {
	Records int    // damaged in the middle of a file, and not acknowledged
	Numbers uint64 // records not acknowledged of which nothing is left where there should be
	Cut     int64  // bytes at the ends of files that hold no whole record
}

// Words says what the operator has to know, "" when all is well.
func (r Report) Words() string {
	switch {
	case uint64(r.Records)+r.Numbers > 0:
		return fmt.Sprintf("the spool was damaged: %d records that were not sent yet are lost, and %d bytes that hold no whole record were cut off",
			uint64(r.Records)+r.Numbers, r.Cut)
	case r.Cut > 0:
		return fmt.Sprintf("the last write to the spool was cut short by a crash: %d bytes were cut off, and what they told of is read again from its source", r.Cut)
	}
	return ""
}

// recover reads all files, cuts off what is torn, and begins a new segment in
// an epoch of its own.
func (s *Spool) recover() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if number, ok := segmentNumber(e.Name()); ok {
			s.segs = append(s.segs, &segment{path: segmentPath(s.dir, number), number: number})
		}
	}
	slices.SortFunc(s.segs, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	kept := s.segs[:0]
	var missing, bad []span
	for _, seg := range s.segs {
		known := s.last
		found, err := s.scan(seg)
		if err != nil {
			return fmt.Errorf("read %s: %w", seg.path, err)
		}
		s.report.Cut += found.cut
		if !found.headed {
			// Nobody knows what it tells of.
			if err := os.Remove(seg.path); err != nil {
				return err
			}
			continue
		}
		if len(kept) == 0 {
			// Files before it are gone because they were acknowledged, even if
			// the note of that is not on the disk.
			s.acked = max(s.acked, found.before)
		} else if found.before > known {
			missing = append(missing, span{known + 1, found.before})
		}
		bad = append(bad, found.bad...)
		kept = append(kept, seg)
	}
	s.segs = kept
	for _, m := range missing {
		s.report.Numbers += m.above(s.acked)
	}
	for _, b := range bad {
		s.report.Records += int(b.above(s.acked))
	}
	s.epoch = newEpoch(s.epoch)
	if err := s.roll(); err != nil {
		return err
	}
	s.front.seg, s.front.off = s.segs[0], s.segs[0].start
	if err := s.settle(); err != nil {
		return err
	}
	return s.discard()
}

// newEpoch returns a number above the one before that no spool had: the time in
// nanoseconds, the last of them at random, for clocks that are coarse or always
// start in the same year.
func newEpoch(before uint64) uint64 {
	const random = 1 << 10
	return max(uint64(max(time.Now().UnixNano(), 0))&^(random-1)|rand.Uint64N(random), before+1)
}

// span is the records from one number to another.
type span struct{ from, to uint64 }

// above counts those with a number above n.
func (s span) above(n uint64) uint64 {
	if s.to <= n {
		return 0
	}
	return s.to - max(s.from, n+1) + 1
}

// scanned is what a segment was found to hold.
type scanned struct {
	headed bool   // it has a head
	before uint64 // by which this number was the last one given before it
	bad    []span // records whose body is damaged
	cut    int64  // bytes behind the last whole record
	parts  parts  // whose last record has not come yet
}

// parts are records that belong together, as far as they were read.
type parts struct {
	records int
	bytes   int64
	last    uint64 // number
	bad     []span
}

// scan reads a segment into the spool's state, and cuts off its torn end.
func (s *Spool) scan(seg *segment) (scanned, error) {
	f, err := os.OpenFile(seg.path, os.O_RDWR, 0)
	if err != nil {
		return scanned{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return scanned{}, err
	}
	var out scanned
	r := &scanner{r: bufio.NewReaderSize(f, 1<<18), left: info.Size()}
	for {
		h, positions, payload, whole, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return out, err
		}
		if !s.take(seg, h, positions, payload, whole, &out) {
			break
		}
	}
	out.cut = info.Size() - seg.size
	if out.cut == 0 || !out.headed {
		return out, nil
	}
	if err := f.Truncate(seg.size); err != nil {
		return out, err
	}
	return out, f.Sync()
}

// take takes a record that was read into the spool's state, parts with the last
// one of them. It is false when the record cannot stand where it stands.
func (s *Spool) take(seg *segment, h header, positions map[string]string, payload []byte, whole bool, out *scanned) bool {
	if !out.headed {
		if h.kind != kindHead || !whole || !bytes.HasPrefix(payload, []byte(formatName)) || len(payload) != headSize {
			return false
		}
		out.headed, out.before = true, h.n
		numbers := payload[len(formatName):]
		seg.epoch = binary.LittleEndian.Uint64(numbers)
		seg.start, seg.size = h.size(), h.size()
		s.epoch = max(s.epoch, seg.epoch)
		s.acked = max(s.acked, binary.LittleEndian.Uint64(numbers[8:]))
		s.last = max(s.last, h.n, s.acked)
		seg.last = s.last
		s.positions = positions
		return true
	}
	switch p := &out.parts; {
	case isData(h.kind) && h.n > max(s.last, p.last):
		p.records++
		p.bytes += h.size()
		p.last = h.n
		if !whole {
			p.bad = append(p.bad, span{h.n, h.n})
		}
		if h.kind == kindPart {
			return true
		}
		s.last, seg.last = p.last, p.last
		seg.records += p.records
		seg.bytes += p.bytes
		seg.size += p.bytes
		out.bad = append(out.bad, p.bad...)
		out.parts = parts{}
		merge(s.positions, positions)
	case h.kind == kindAck && p.records == 0:
		s.acked = max(s.acked, min(h.n, s.last))
		seg.size += h.size()
	default:
		return false
	}
	return true
}

// scanner reads the records of a segment in turn.
type scanner struct {
	r    *bufio.Reader
	left int64
}

// next returns a record, io.EOF at the end or where no further record can be
// found. whole is false when the body is damaged: its length is still to be
// trusted. The payload is that of heads only.
func (c *scanner) next() (h header, positions map[string]string, payload []byte, whole bool, err error) {
	var b [headerSize]byte
	if c.left < headerSize {
		return h, nil, nil, false, io.EOF
	}
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return h, nil, nil, false, err
	}
	h, ok := parseHeader(b[:])
	if !ok || h.size() > c.left {
		return h, nil, nil, false, io.EOF
	}
	c.left -= h.size()
	text := make([]byte, h.positions)
	if _, err := io.ReadFull(c.r, text); err != nil {
		return h, nil, nil, false, err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	sum.Write(text)
	rest := int64(h.length - h.positions)
	if h.kind == kindHead && rest == int64(headSize) {
		payload = make([]byte, rest)
		if _, err := io.ReadFull(c.r, payload); err != nil {
			return h, nil, nil, false, err
		}
		sum.Write(payload)
	} else if _, err := io.CopyN(sum, c.r, rest); err != nil {
		return h, nil, nil, false, err
	}
	if sum.Sum32() == h.sum {
		if positions, err = parsePositions(text); err == nil {
			return h, positions, payload, true, nil
		}
	}
	return h, nil, payload, false, nil
}
