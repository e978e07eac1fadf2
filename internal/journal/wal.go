package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// What SQLite does with a write-ahead log that is damaged in the middle is to
// read it up to there and to say nothing. So the log is looked at before SQLite
// sees it. The format is https://sqlite.org/fileformat2.html#walformat.
const (
	walHeader   = 32
	walFrame    = 24 // before each page
	walMagic    = 0x377f0682
	maxPageSize = 65536
)

// scanLog says in words what of a write-ahead log cannot be read, "" when all
// is well. A log that ends in a write which was never committed is well: that is
// how every crash looks.
func scanLog(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the write-ahead log: %w", err)
	}
	defer f.Close()
	return readLog(f)
}

func readLog(from io.Reader) (string, error) {
	r := bufio.NewReaderSize(from, 1<<16)
	var head [walHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", nil // shorter than its header: nothing was committed to it
		}
		return "", fmt.Errorf("read the write-ahead log: %w", err)
	}
	size := binary.BigEndian.Uint32(head[8:])
	magic := binary.BigEndian.Uint32(head[:])
	if magic&^1 != walMagic || size < 512 || size > maxPageSize || size&(size-1) != 0 {
		return "the header of the write-ahead log is damaged; what was in the log is lost", nil
	}
	sum := walSum{}
	if magic&1 == 1 {
		sum.order = binary.BigEndian
	} else {
		sum.order = binary.LittleEndian
	}
	sum.add(head[:24])
	if !sum.is(head[24:]) {
		return "the header of the write-ahead log is damaged; what was in the log is lost", nil
	}
	salts := [8]byte(head[16:24])
	frame := make([]byte, walFrame+int(size))
	good, bad := 0, 0
	for {
		if _, err := io.ReadFull(r, frame); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			return "", fmt.Errorf("read the write-ahead log: %w", err)
		}
		if [8]byte(frame[8:16]) != salts {
			break // left over from before the log started anew
		}
		if bad == 0 {
			sum.add(frame[:8])
			sum.add(frame[walFrame:])
			if sum.is(frame[16:24]) {
				good++
				continue
			}
		}
		bad++
	}
	switch bad {
	case 0:
		return "", nil
	case 1:
		return "the last write to the journal was cut short by a crash, or is damaged; it was dropped", nil
	}
	return fmt.Sprintf("the write-ahead log is damaged after page %d; the %d pages written last were dropped", good, bad), nil
}

// walSum is the log's running checksum.
type walSum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

func (w *walSum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		w.s0 += w.order.Uint32(b) + w.s1
		w.s1 += w.order.Uint32(b[4:]) + w.s0
	}
}

func (w *walSum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == w.s0 && binary.BigEndian.Uint32(b[4:]) == w.s1
}
