package journal

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// lazy is how long a commit that nobody waits for may stay off the disk. What it
// tells of is gone with the kernel anyway when the machine loses power; and a
// flush holds up the commits that meet it for some milliseconds.
const lazy = time.Second

// flusher brings the write-ahead log to the disk, one flush for all commits that
// came before it. It works on a descriptor of its own, so that the writer never
// waits for the disk: a flush is of the file, whoever wrote it.
type flusher struct {
	file *os.File
	done chan struct{} // closed to stop
	wg   sync.WaitGroup

	mu     sync.Mutex
	last   uint64 // commits so far
	synced uint64 // of which on the disk
	err    error  // of the last flush
	waits  []wait
	urgent chan struct{}
	dirty  chan struct{}
}

type wait struct {
	upto uint64
	ch   chan error
}

func startFlusher(wal string) (*flusher, error) {
	// The log exists: opening the journal has written to it, or will not be
	// flushed by anyone before it does.
	f, err := os.OpenFile(wal, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the write-ahead log: %w", err)
	}
	fl := &flusher{file: f, done: make(chan struct{}), urgent: make(chan struct{}, 1), dirty: make(chan struct{}, 1)}
	fl.wg.Go(fl.run)
	return fl, nil
}

// committed notes one more commit.
func (f *flusher) committed() {
	f.mu.Lock()
	f.last++
	f.mu.Unlock()
	poke(f.dirty)
}

// wait returns when all commits so far are on the disk.
func (f *flusher) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.synced >= f.last && f.err == nil {
		f.mu.Unlock()
		return nil
	}
	w := wait{upto: f.last, ch: make(chan error, 1)}
	f.waits = append(f.waits, w)
	f.mu.Unlock()
	poke(f.urgent)
	select {
	case err := <-w.ch:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *flusher) run() {
	for {
		select {
		case <-f.urgent:
		case <-f.dirty:
			t := time.NewTimer(lazy)
			select {
			case <-f.urgent:
			case <-t.C:
			case <-f.done:
			}
			t.Stop()
		case <-f.done:
			f.flush()
			return
		}
		f.flush()
	}
}

func (f *flusher) flush() {
	f.mu.Lock()
	upto, behind := f.last, f.last != f.synced || f.err != nil
	f.mu.Unlock()
	var err error
	if behind {
		if err = f.file.Sync(); err != nil {
			err = fmt.Errorf("flush the journal to the disk: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err = err; err == nil {
		f.synced = upto
	}
	rest := f.waits[:0]
	for _, w := range f.waits {
		if w.upto <= upto || err != nil {
			w.ch <- err
			continue
		}
		rest = append(rest, w)
	}
	f.waits = rest
	if len(rest) > 0 {
		poke(f.urgent)
	}
}

// stop flushes a last time.
func (f *flusher) stop() error {
	close(f.done)
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.file.Close(); err != nil && f.err == nil {
		return fmt.Errorf("close the write-ahead log: %w", err)
	}
	return f.err
}

// poke wakes the reader of a channel of capacity one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
