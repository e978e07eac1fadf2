package spool

import (
	"context"
	"fmt"
)

// Reader reads a spool besides Next, at a place of its own. It is for one
// goroutine.
type Reader struct {
	s *Spool
	c cursor
}

// NewReader returns one more reader, as long as the spool is open.
func (s *Spool) NewReader() *Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Reader{s: s}
	s.readers = append(s.readers, &r.c)
	return r
}

// Next returns the first record behind after that is still in the spool, of
// whatever epoch. While there is none it waits, until ctx ends.
func (r *Reader) Next(ctx context.Context, after uint64) (Record, error) {
	for {
		record, wait, err := r.try(after)
		if wait == nil {
			return record, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
}

func (r *Reader) try(after uint64) (Record, <-chan struct{}, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Record{}, nil, ErrClosed
	}
	record, ok, err := s.find(&r.c, after)
	switch {
	case err != nil:
		return Record{}, nil, fmt.Errorf("read the spool: %w", err)
	case !ok:
		return Record{}, s.changed, nil
	}
	return record, nil, nil
}

// Hold keeps the records behind the number n, acknowledged or not, until it is
// called with another: somebody else reads them, too. Until it is called nothing
// is held. Errors are those of Ack.
func (s *Spool) Hold(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = n
	return s.ack()
}
