package alertlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"riposte"
	"riposte/internal/ossec"
)

// The files in the log directory.
const (
	AlertsJSON = "alerts.json"
	AlertsText = "alerts.log"
	Responses  = "active-responses.log"
)

// fileMode lets a log shipper's group read the logs and nobody else.
const fileMode = 0o640

// keep is how much of what could not be written waits for the next try, in
// bytes a file.
const keep = 8 << 20

// Writer appends to the three logs of one directory. It may be used by several
// goroutines. What cannot be written is kept, as far as it fits 8 MiB a file,
// and goes out with the next write that succeeds.
type Writer struct {
	dir     string
	dialect ossec.Dialect

	mu                    sync.Mutex
	json, text, responses logFile
	written               Written
	parts                 []part
	lines                 []byte
}

// Open opens the logs in dir, which is made if it is missing. An alert that a
// crash has left torn at the end of a log is cut off: its event was not dealt with
// and is judged again.
func Open(dir string, d ossec.Dialect) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open alert logs: %w", err)
	}
	w := &Writer{dir: dir, dialect: d}
	w.Parallel(1)
	w.json.path = filepath.Join(dir, AlertsJSON)
	w.text.path = filepath.Join(dir, AlertsText)
	w.responses.path = filepath.Join(dir, Responses)
	err := errors.Join(cutTorn(w.json.path, "{", "\n"), cutTorn(w.text.path, alertMark, "\n\n"))
	if err = errors.Join(err, w.Reopen()); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Leave has alerts left out of either log that were in it before.
func (w *Writer) Leave(written Written) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = written
}

// Parallel makes the encoding of many alerts the work of up to n goroutines. The
// files are the same.
func (w *Writer) Parallel(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = make([]part, max(1, n))
	for i := range w.parts {
		w.parts[i].encoder = NewEncoder(w.dialect)
	}
}

// part is a share of the alerts that are written together.
type part struct {
	encoder *Encoder
	page    page
}

// minPart is how many alerts are worth a goroutine of their own.
const minPart = 64

// WriteAlerts appends those alerts whose Log is set to alerts.json and
// alerts.log.
func (w *Writer) WriteAlerts(alerts []*riposte.Alert) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := max(1, min(len(w.parts), len(alerts)/minPart))
	var wg sync.WaitGroup
	for i := range w.parts[:n] {
		share := alerts[i*len(alerts)/n : (i+1)*len(alerts)/n]
		if p := &w.parts[i]; i+1 < n {
			wg.Go(func() { p.encoder.fill(&p.page, share, w.written) })
		} else {
			p.encoder.fill(&p.page, share, w.written)
		}
	}
	wg.Wait()
	for i := range w.parts[:n] {
		err = errors.Join(err, w.write(&w.parts[i]))
	}
	return err
}

// write writes a part, of which only the beginning may be encoded yet.
func (w *Writer) write(p *part) (err error) {
	for {
		err = errors.Join(err, w.json.write(p.page.json, p.page.alerts), w.text.write(p.page.text, p.page.alerts))
		if len(p.page.rest) == 0 {
			return err
		}
		p.encoder.fill(&p.page, p.page.rest, w.written)
	}
}

// WriteResponses appends to active-responses.log.
func (w *Writer) WriteResponses(responses []Response) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = w.lines[:0]
	for i := range responses {
		w.lines = AppendResponse(w.lines, &responses[i], w.dialect)
	}
	return w.responses.write(w.lines, len(responses))
}

// Reopen opens the files anew by their names, after logrotate has moved them
// away. A file that cannot be opened stays the one it was.
func (w *Writer) Reopen() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.json.reopen(), w.text.reopen(), w.responses.reopen())
}

// Lost returns how many alerts and responses could be neither written nor kept.
func (w *Writer) Lost() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.json.lost, w.text.lost) + w.responses.lost
}

// Close writes what is waiting and closes the files.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.json.close(), w.text.close(), w.responses.close())
}

// logFile is one file and what waits to be written to it.
type logFile struct {
	path string
	file *os.File
	buf  []byte // of writes that failed
	lost int
}

// write writes entries, behind what waits. Of a write that fails midway the rest
// waits, so that no line is torn for good. Entries for which there is no room
// behind what waits already are lost.
func (f *logFile) write(entries []byte, n int) error {
	if len(f.buf) == 0 {
		done, err := f.put(entries)
		f.buf = append(f.buf, entries[done:]...)
		return err
	}
	if len(f.buf)+len(entries) > keep {
		f.lost += n
	} else {
		f.buf = append(f.buf, entries...)
	}
	return f.flush()
}

// flush writes what waits.
func (f *logFile) flush() error {
	done, err := f.put(f.buf)
	f.buf = append(f.buf[:0], f.buf[done:]...)
	return err
}

func (f *logFile) put(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if f.file == nil {
		return 0, fmt.Errorf("write %s: %w", f.path, os.ErrClosed)
	}
	return f.file.Write(b) // an *os.PathError names the file
}

func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_RDWR, fileMode)
	if err != nil {
		return fmt.Errorf("open alert log: %w", err)
	}
	err = f.close()
	f.file = file
	return errors.Join(err, f.endLine())
}

// endLine ends a last line that a crash has left torn, so that the next entry
// begins a line of its own.
func (f *logFile) endLine() error {
	size, err := f.file.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return nil // a pipe, or empty
	}
	var last [1]byte
	if _, err := f.file.ReadAt(last[:], size-1); err != nil || last[0] == '\n' {
		return nil
	}
	if _, err := f.file.WriteString("\n"); err != nil {
		return fmt.Errorf("end torn line: %w", err)
	}
	return nil
}

func (f *logFile) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.flush(), f.file.Close())
	f.file = nil
	return err
}
