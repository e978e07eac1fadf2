package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
)

// The reserve is a file of noise beside the journal that is given up when the
// disk is full, so that whoever fills the disk with log lines does not disarm
// riposte by it. Noise, because some file systems store zeros in no space.

func reservePath(path string) string { return path + ".reserve" }

// dropReserve gives the reserve up and reports whether there was one.
func dropReserve(path string) bool { return os.Remove(reservePath(path)) == nil }

// restoreReserve makes the reserve if it is missing and there is room.
func (j *Journal) restoreReserve() error {
	if j.o.Reserve < 0 || fileSize(reservePath(j.path)) >= int64(j.o.Reserve) {
		return nil
	}
	err := writeReserve(reservePath(j.path), j.o.Reserve)
	if err != nil {
		return fmt.Errorf("set disk space aside for the journal: %w", err)
	}
	j.mu.Lock()
	j.full = false
	j.mu.Unlock()
	return nil
}

func writeReserve(path string, size int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	_, err = rand.Read(buf)
	for left := size; left > 0 && err == nil; left -= len(buf) {
		buf[0]++ // no two blocks alike
		_, err = f.Write(buf[:min(left, len(buf))])
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
