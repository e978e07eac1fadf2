package facts

import (
	"bufio"
	"errors"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"

	"riposte/internal/host"
)

// rewrite makes a new file of the newest record of each key, as many of the newest
// as there is room for, and gives it the name. At every instant the name stands
// for a whole file.
func (s *Store) rewrite() error {
	keep, err := s.newest()
	if err != nil {
		return err
	}
	temp := s.path + ".new"
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	size, err := s.copy(file, keep)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(temp)
		return err
	}
	// Windows gives no name away that an open file has.
	if err := s.file.Close(); err != nil {
		return err
	}
	renamed := os.Rename(temp, s.path)
	if s.file, err = os.OpenFile(s.path, os.O_RDWR, 0o600); err != nil {
		s.file = nil
		return errors.Join(renamed, err)
	}
	if renamed != nil {
		return renamed
	}
	s.size, s.base = size, size
	return host.SyncDir(filepath.Dir(s.path))
}

// newest returns the places of the records that a new file is to hold, sorted.
func (s *Store) newest() ([]int64, error) {
	// Two keys of one hash of 64 bits are taken for one: the older is forgotten,
	// which the real systems do to all of them.
	type place struct{ at, length int64 }
	last := map[uint64]place{}
	seed := maphash.MakeSeed()
	_, err := scan(s.file, s.size, func(at int64, content []byte) error {
		if _, key, _, ok := split(content); ok {
			var h maphash.Hash
			h.SetSeed(seed)
			h.WriteByte(content[0])
			h.Write(key)
			last[h.Sum64()] = place{at, headLength + int64(len(content))}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]place, 0, len(last))
	for _, p := range last {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b place) int { return int(b.at - a.at) })
	room := s.limit
	var keep []int64
	for _, p := range all {
		if room -= p.length; room < 0 {
			break
		}
		keep = append(keep, p.at)
	}
	slices.Reverse(keep)
	return keep, nil
}

// copy writes the records at the given places to a new file and returns its size.
func (s *Store) copy(to *os.File, keep []int64) (size int64, err error) {
	w := bufio.NewWriterSize(to, 256<<10)
	if _, err := w.WriteString(magic); err != nil {
		return 0, err
	}
	size = int64(len(magic))
	_, err = scan(s.file, s.size, func(at int64, content []byte) error {
		if len(keep) == 0 || keep[0] != at {
			return nil
		}
		keep = keep[1:]
		head := headOf(content)
		size += int64(len(head) + len(content))
		if _, err := w.Write(head[:]); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return 0, err
	}
	return size, w.Flush()
}
