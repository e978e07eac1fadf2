// Package spool is an agent's bounded queue on disk: what it has to tell the
// servers waits here while they cannot hear it. With each record stand the
// positions of the sources it was read from, so that a line is in the spool if
// and only if the position behind it is, whatever happens to the process.
//
// A record reaches the operating system before Append returns, so it outlives
// the process, and the disk within a second: a power cut loses at most that
// second, with its positions, and the sources read it again.
//
// The records stand in files of some megabytes. Each begins with all that is
// known from the files before it, which are removed when all their records are
// acknowledged.
package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"riposte/internal/host"
)

// ErrClosed means that the spool was closed.
var ErrClosed = errors.New("the spool is closed")

// ErrTooLarge means that a record would not fit into an empty spool.
var ErrTooLarge = errors.New("the record is larger than the spool")

// Options bound a spool. The zero value has the defaults.
type Options struct {
	MaxBytes     int64 // of records not acknowledged; 0 for 512 MiB. The files take one segment more, or one AppendAll
	SegmentBytes int64 // of a file, about; 0 for 8 MiB
}

const (
	defaultMaxBytes     = 512 << 20
	defaultSegmentBytes = 8 << 20
)

// Record is one record of the spool. Epoch and N together name it for ever: N
// rises by one with every record, and Epoch with every Open. A power cut may
// take the last records and leave no trace of them; their numbers are given
// again, and must not be taken for the first.
type Record struct {
	Epoch   uint64
	N       uint64
	Time    time.Time // of Append
	Payload []byte    // the caller's own
}

// Stats says how full the spool is.
type Stats struct {
	Records int       // not acknowledged
	Bytes   int64     // which they take
	Oldest  time.Time // when the oldest of them was appended; zero when there is none
	Lost    int       // records that were damaged when they were to be read, since Open
	Problem string    // why the last flush to the disk failed; "" when it did not
}

// Spool is safe for concurrent use.
type Spool struct {
	dir    string
	o      Options
	report Report
	epoch  uint64

	mu        sync.Mutex
	segs      []*segment // oldest first; the last one is written
	last      uint64     // number given last
	acked     uint64     // everything up to here is done
	done      uint64     // everything up to here is acknowledged, and held beyond acked
	hold      uint64     // what is behind this is kept, even if it is acknowledged
	positions map[string]string
	front     cursor        // at the first record not acknowledged
	reader    cursor        // where Next was last
	readers   []*cursor     // all but front
	changed   chan struct{} // closed at the next change
	buf       []byte
	bad       map[uint64]bool // records that are damaged and not acknowledged
	lost      int
	closed    bool
	trouble   error // of the last flush

	dirty chan struct{} // there is something to flush
	end   chan struct{}
	wg    sync.WaitGroup
}

// Open opens the spool in the folder dir, making it if need be. What a crash
// left torn is cut off; Report tells of it. A folder serves one spool at a
// time, which the caller sees to.
func Open(dir string, o Options) (*Spool, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if err := host.PrivateDir(dir); err != nil {
		return nil, fmt.Errorf("make the spool's folder: %w", err)
	}
	s := &Spool{
		dir: dir, o: o, positions: map[string]string{}, bad: map[uint64]bool{}, changed: make(chan struct{}),
		dirty: make(chan struct{}, 1), end: make(chan struct{}), hold: math.MaxUint64,
	}
	s.readers = []*cursor{&s.reader}
	if err := s.recover(); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("open the spool %s: %w", dir, err)
	}
	s.wg.Go(s.flush)
	return s, nil
}

// Report says what Open found damaged.
func (s *Spool) Report() Report { return s.report }

// Epoch is the epoch of the records appended since Open.
func (s *Spool) Epoch() uint64 { return s.epoch }

// Acked is the number up to which everything is done.
func (s *Spool) Acked() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// Positions returns the position of each source behind all records that were
// ever appended and not lost.
func (s *Spool) Positions() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.positions)
}

// Append adds a record with the positions behind it and returns its number; a
// position "" forgets the source. While the spool is full it waits, until ctx
// ends. With an error nothing was appended.
func (s *Spool) Append(ctx context.Context, payload []byte, positions map[string]string) (uint64, error) {
	return s.AppendAll(ctx, [][]byte{payload}, positions)
}

// AppendAll adds records that belong together, with the positions behind the last
// of them, whose number it returns: whatever happens, all of them are in the
// spool, or none. Together they may be more than the spool holds; then they wait
// until it is empty.
func (s *Spool) AppendAll(ctx context.Context, payloads [][]byte, positions map[string]string) (uint64, error) {
	if len(payloads) == 0 {
		return 0, errors.New("append to the spool: no record is given")
	}
	var total int64
	for i, payload := range payloads {
		size := recordSize(payload, nil)
		if i == len(payloads)-1 {
			size = recordSize(payload, positions)
		}
		if size > min(s.o.MaxBytes, maxRecord) {
			return 0, fmt.Errorf("append a record of %d bytes: %w", size, ErrTooLarge)
		}
		total += size
	}
	for {
		n, wait, err := s.tryAppend(total, payloads, positions)
		if wait == nil {
			return n, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, fmt.Errorf("the spool is full: %w", ctx.Err())
		}
	}
}

// tryAppend appends, or returns what to wait for.
func (s *Spool) tryAppend(size int64, payloads [][]byte, positions map[string]string) (n uint64, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, nil, ErrClosed
	}
	if _, held := s.held(); held > 0 && held+size > s.o.MaxBytes {
		return 0, s.changed, nil
	}
	if s.tail().size >= s.o.SegmentBytes {
		if err := s.roll(); err != nil {
			return 0, nil, fmt.Errorf("begin a new file of the spool: %w", err)
		}
	}
	seg := s.tail()
	rs := make([]record, len(payloads))
	for i, payload := range payloads {
		rs[i] = record{kind: kindPart, n: s.last + 1 + uint64(i), time: time.Now(), payload: payload}
	}
	end := &rs[len(rs)-1]
	end.kind, end.positions = kindData, positions
	if err := s.write(rs...); err != nil {
		return 0, nil, fmt.Errorf("append to the spool: %w", err)
	}
	s.last += uint64(len(rs))
	seg.last = s.last
	seg.records += len(rs)
	seg.bytes += size
	merge(s.positions, positions)
	s.wake()
	return s.last, nil, nil
}

// Next returns the first record behind after that is not acknowledged. It waits
// until there is one, or ctx ends; and before the first record of an epoch it
// waits until all of the epoch before are acknowledged, so that a receiver that
// sees a new epoch need not expect anything of an older one.
func (s *Spool) Next(ctx context.Context, after uint64) (Record, error) {
	for {
		r, wait, err := s.tryNext(after)
		if wait == nil {
			return r, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
}

func (s *Spool) tryNext(after uint64) (Record, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Record{}, nil, ErrClosed
	}
	r, ok, err := s.find(&s.reader, after)
	if err == nil && ok {
		_, _, err = s.peek(&s.front)
	}
	switch {
	case err != nil:
		return Record{}, nil, fmt.Errorf("read the spool: %w", err)
	case !ok || r.Epoch != s.front.seg.epoch:
		return Record{}, s.changed, nil
	}
	return r, nil, nil
}

// find reads the first record behind after, with one of the readers. The caller
// holds mu.
func (s *Spool) find(c *cursor, after uint64) (Record, bool, error) {
	after = max(after, s.acked)
	if c.seg == nil || c.passed > after || c.passed < s.front.passed {
		s.move(c, s.front.seg, s.front.off)
		c.passed = s.front.passed
	}
	for {
		h, ok, err := s.peek(c)
		if err != nil || !ok {
			return Record{}, false, err
		}
		if h.n > after && !s.bad[h.n] {
			payload, whole, err := s.payload(c, h)
			if whole || err != nil {
				return Record{Epoch: c.seg.epoch, N: h.n, Time: h.time, Payload: payload}, whole, err
			}
			s.bad[h.n] = true
			s.lost++
			if err := s.settle(); err != nil {
				return Record{}, false, err
			}
		}
		c.pass(h)
	}
}

// Ack notes that everything up to the number n is done and need not be kept. An
// error means that the note may not outlive the process, so that some records
// would come back, or that room could not be freed yet.
func (s *Spool) Ack(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = max(s.done, min(n, s.last))
	return s.ack()
}

// ack puts on record what is acknowledged and not held. The caller holds mu.
func (s *Spool) ack() error {
	if s.closed {
		return ErrClosed
	}
	n := min(s.done, s.hold)
	if n <= s.acked {
		return nil
	}
	s.acked = n
	// When the disk is full the note cannot be written, but room can be made.
	err := s.write(record{kind: kindAck, n: n, time: time.Now()})
	err = errors.Join(err, s.settle(), s.discard())
	s.wake()
	if err != nil {
		return fmt.Errorf("acknowledge record %d of the spool: %w", n, err)
	}
	return nil
}

// Last is the number of the last record that was appended.
func (s *Spool) Last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// settle moves front behind what is acknowledged or cannot be read. The caller
// holds mu.
func (s *Spool) settle() error {
	for {
		h, ok, err := s.peek(&s.front)
		if err != nil || !ok || h.n > s.acked && !s.bad[h.n] {
			return err
		}
		delete(s.bad, h.n)
		s.front.seg.records--
		s.front.seg.bytes -= h.size()
		s.front.pass(h)
	}
}

// discard removes the files that nobody needs any more. The caller holds mu.
func (s *Spool) discard() error {
	for len(s.segs) > 1 && s.segs[0].last <= s.acked {
		seg := s.segs[0]
		for _, c := range slices.Concat(s.readers, []*cursor{&s.front}) {
			if c.seg == seg {
				s.move(c, s.segs[1], s.segs[1].start)
			}
		}
		if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.segs = s.segs[1:]
	}
	return nil
}

// held counts what is not acknowledged. The caller holds mu.
func (s *Spool) held() (records int, bytes int64) {
	for _, seg := range s.segs {
		records += seg.records
		bytes += seg.bytes
	}
	return records, bytes
}

// Stats says how full the spool is.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Lost: s.lost}
	st.Records, st.Bytes = s.held()
	if s.trouble != nil {
		st.Problem = s.trouble.Error()
	}
	if s.closed {
		return st
	}
	if h, ok, err := s.peek(&s.front); ok && err == nil {
		st.Oldest = h.time
	}
	return st
}

// wake tells all who wait that something changed. The caller holds mu.
func (s *Spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

func (s *Spool) tail() *segment { return s.segs[len(s.segs)-1] }

// lazy is how long a record may stay off the disk.
const lazy = time.Second

// flush brings what was written to the disk, once a second at most.
func (s *Spool) flush() {
	for {
		select {
		case <-s.dirty:
		case <-s.end:
			return
		}
		t := time.NewTimer(lazy)
		select {
		case <-t.C:
		case <-s.end:
			t.Stop()
			return // Close flushes
		}
		s.mu.Lock()
		file := s.tail().file
		s.mu.Unlock()
		// Without the lock, so that nobody waits for the disk. A file that was
		// closed meanwhile was flushed before.
		err := file.Sync()
		if errors.Is(err, os.ErrClosed) {
			err = nil
		}
		s.mu.Lock()
		if s.trouble = err; err != nil {
			s.trouble = fmt.Errorf("flush the spool to the disk: %w", err)
		}
		s.mu.Unlock()
	}
}

// Close flushes and closes. Whoever waits gets ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.wake()
	s.mu.Unlock()
	close(s.end)
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.tail().file.Sync()
	if err = errors.Join(err, s.closeFiles()); err != nil {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}

func (s *Spool) closeFiles() error {
	var errs []error
	for _, seg := range s.segs {
		if seg.file != nil {
			errs = append(errs, seg.file.Close())
			seg.file = nil
		}
	}
	return errors.Join(errs...)
}

// merge puts the newer positions over the older ones.
func merge(have, newer map[string]string) {
	for source, position := range newer {
		if position == "" {
			delete(have, source)
			continue
		}
		have[source] = position
	}
}
