// Package facts keeps over a restart what the analysis learned from events: what
// was seen (if_fts), what is to be ignored (<ignore>), what a record was last
// (check_diff). It knows nothing of what a fact means.
//
// The file begins with a line that names it. Each fact follows as a record: the
// length of its content and a checksum of it, both 32 bits and little-endian, then
// the kind (one byte), the length of the key (a varint), key and value. Records
// are only appended, many at a time. A crash can tear the last one, which is cut
// off at the next start. When the file has grown enough it is rewritten with the
// newest record of each key alone.
package facts

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"riposte/internal/analysis"
)

const (
	magic      = "riposte facts 1\n"
	headLength = 8
	maxRecord  = 1 << 20  // bytes of a record's content; a fact of the analysis has less than 9 kB
	maxWaiting = 32 << 20 // bytes that wait for the disk
	slack      = 16 << 20 // bytes that the file may grow before it is rewritten
)

// Limit is how many bytes of facts a rewritten file holds; the oldest give way.
// The analysis itself remembers about as much.
const Limit = 80 << 20

var checksums = crc32.MakeTable(crc32.Castagnoli)

// Store is the file. It may be used by several goroutines.
type Store struct {
	path  string
	limit int64
	slack int64

	mu      sync.Mutex // of what waits
	waiting []byte
	lost    int

	disk sync.Mutex // of the file
	file *os.File
	size int64 // of the records that are whole, with what is in front of them
	base int64 // size after the last rewriting
	old  []byte
}

// Open opens the file at path, or makes it. problem says in words what of it could
// not be read, "" if nothing: that is set aside and what stood in front of it kept.
func Open(path string) (s *Store, problem string, err error) {
	s = &Store{path: path, limit: Limit, slack: slack}
	if s.file, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, "", fmt.Errorf("open the facts: %w", err)
	}
	if problem, err = s.repair(); err != nil {
		return nil, "", errors.Join(fmt.Errorf("open the facts: %w", err), s.file.Close())
	}
	s.base = s.size
	return s, problem, nil
}

// repair finds the end of the whole records and cuts off what is behind it. A file
// of another kind is moved aside.
func (s *Store) repair() (problem string, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return "", err
	}
	head := make([]byte, min(info.Size(), int64(len(magic))))
	if _, err := io.ReadFull(io.NewSectionReader(s.file, 0, info.Size()), head); err != nil {
		return "", err
	}
	if string(head) != magic[:len(head)] {
		aside := s.path + ".unreadable"
		if err := errors.Join(s.file.Close(), os.Rename(s.path, aside)); err != nil {
			return "", err
		}
		if s.file, err = os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return "", err
		}
		problem, info, head = fmt.Sprintf("%s held no facts of riposte's and is now %s", s.path, aside), nil, nil
	}
	if len(head) < len(magic) {
		if _, err := s.file.WriteAt([]byte(magic), 0); err != nil {
			return "", err
		}
		s.size = int64(len(magic))
		return problem, nil
	}
	if s.size, err = scan(s.file, info.Size(), func(int64, []byte) error { return nil }); err != nil {
		return "", err
	}
	if torn := info.Size() - s.size; torn > 0 {
		problem = fmt.Sprintf("the last %d bytes of %s were no whole facts and are cut off", torn, s.path)
		return problem, s.file.Truncate(s.size)
	}
	return "", nil
}

// scan calls f with the place and the content of each whole record and returns
// where the first one that is not whole begins.
func scan(file io.ReaderAt, size int64, f func(at int64, content []byte) error) (end int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(file, int64(len(magic)), size-int64(len(magic))), 256<<10)
	end = int64(len(magic))
	var head [headLength]byte
	var content []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return end, unlessEnd(err)
		}
		n := binary.LittleEndian.Uint32(head[:4])
		if n < 2 || n > maxRecord {
			return end, nil
		}
		if uint32(cap(content)) < n {
			content = make([]byte, n)
		}
		content = content[:n]
		if _, err := io.ReadFull(r, content); err != nil {
			return end, unlessEnd(err)
		}
		if crc32.Checksum(content, checksums) != binary.LittleEndian.Uint32(head[4:]) {
			return end, nil
		}
		if err := f(end, content); err != nil {
			return end, err
		}
		end += headLength + int64(n)
	}
}

// unlessEnd is err unless it says that there is no more.
func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// appendRecord appends a fact as a record.
func appendRecord(b []byte, f analysis.Fact) []byte {
	at := len(b)
	b = append(b, make([]byte, headLength)...)
	b = append(b, byte(f.Kind))
	b = binary.AppendUvarint(b, uint64(len(f.Key)))
	b = append(append(b, f.Key...), f.Value...)
	head := headOf(b[at+headLength:])
	copy(b[at:], head[:])
	return b
}

// headOf makes what stands in front of a record's content.
func headOf(content []byte) (head [headLength]byte) {
	binary.LittleEndian.PutUint32(head[:4], uint32(len(content)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(content, checksums))
	return head
}

// split takes the content of a record apart: what identifies the fact, and its
// value.
func split(content []byte) (kind analysis.FactKind, key, value []byte, ok bool) {
	n, used := binary.Uvarint(content[1:])
	if used <= 0 || n > uint64(len(content)-1-used) {
		return 0, nil, nil, false
	}
	rest := content[1+used:]
	return analysis.FactKind(content[0]), rest[:n], rest[n:], true
}

// Each calls f with the facts in the order in which they were learned. It is for
// the start, before Add.
func (s *Store) Each(f func(analysis.Fact)) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	_, err := scan(s.file, s.size, func(_ int64, content []byte) error {
		if kind, key, value, ok := split(content); ok {
			f(analysis.Fact{Kind: kind, Key: string(key), Value: string(value)})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the facts: %w", err)
	}
	return nil
}

// Add takes a fact, which is on the disk after the next Flush. It never waits for
// the disk; when 32 MiB wait already the fact is lost.
func (s *Store) Add(f analysis.Fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(f.Key) + len(f.Value); n > maxRecord/2 || len(s.waiting)+n > maxWaiting {
		s.lost++
		return
	}
	s.waiting = appendRecord(s.waiting, f)
}

// Lost returns how many facts had no room.
func (s *Store) Lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Flush writes what waits, all of it at once, and returns when the disk has it.
// What cannot be written waits for the next Flush.
func (s *Store) Flush() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	batch := s.waiting
	s.waiting = s.old[:0]
	s.mu.Unlock()
	if len(batch) == 0 {
		s.old = batch
		return nil
	}
	err := s.append(batch)
	if err != nil {
		s.mu.Lock()
		s.waiting = append(batch, s.waiting...) // behind it come those of since then
		s.old = nil
		s.mu.Unlock()
		return fmt.Errorf("write the facts: %w", err)
	}
	s.old = nil
	if cap(batch) <= 1<<20 {
		s.old = batch
	}
	if s.size-s.base > max(s.slack, s.base) || s.size > s.limit+s.slack && s.size > s.base {
		if err := s.rewrite(); err != nil {
			return fmt.Errorf("rewrite the facts: %w", err)
		}
	}
	return nil
}

// append writes records behind the whole ones; what a failing write left there is
// written over.
func (s *Store) append(batch []byte) error {
	if s.file == nil {
		return os.ErrClosed
	}
	if _, err := s.file.WriteAt(batch, s.size); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.size += int64(len(batch))
	return nil
}

// Close writes what waits and closes the file.
func (s *Store) Close() error {
	err := s.Flush()
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.file == nil {
		return nil
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}
