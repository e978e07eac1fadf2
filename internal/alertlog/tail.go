package alertlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"riposte"
)

// tailSize is how much of the end of a log is looked at.
const tailSize = 64 << 20

// Written are the IDs of numbered alerts (riposte.Alert.Number) that are in the
// logs: those of events that may be judged again after a stop in the middle. A
// crash may come between the two.
type Written struct{ JSON, Text IDSet }

// IDSet is a set of alert IDs.
type IDSet map[string]bool

func (s IDSet) has(a *riposte.Alert) bool { return a.Number != 0 && s[a.ID] }

// Tail returns what is at the end of the logs in dir. An alert that was not
// finished does not count. When the logs were rotated a moment before the stop,
// what is to be known stands in the files that were moved away: they are looked
// into, too, as long as they are in the same folder and not compressed.
func Tail(dir string) (w Written, err error) {
	if w.JSON, err = tail(filepath.Join(dir, AlertsJSON), "\n", alertID); err != nil {
		return w, err
	}
	w.Text, err = tail(filepath.Join(dir, AlertsText), "\n\n", blockID)
	return w, err
}

// tail returns the IDs of the records at the end of a log.
func tail(path, end string, id func(record []byte) string) (IDSet, error) {
	files, err := generations(path)
	if err != nil {
		return nil, err
	}
	out := IDSet{}
	left := int64(tailSize)
	for _, path := range files {
		_, b, err := readTail(path, left)
		if err != nil {
			return nil, fmt.Errorf("read the last alerts: %w", err)
		}
		if left -= int64(len(b)); left <= 0 {
			return out, nil
		}
		for {
			record, rest, ended := bytes.Cut(b, []byte(end))
			if !ended {
				break
			}
			b = rest
			if id := id(record); id != "" {
				out[id] = true
			}
		}
	}
	return out, nil
}

// generations returns a log and the files that were rotated away from it, as far
// as they stand beside it and are not compressed: the log first and then the one
// that was written last.
func generations(path string) ([]string, error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for rotated alert logs: %w", err)
	}
	ext := filepath.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	type old struct {
		path string
		at   time.Time
	}
	var olds []old
	for _, e := range entries {
		name := e.Name()
		// As logrotate calls them: alerts.json.1, alerts.json-20261123, alerts-20261123.json.
		rotated := strings.HasPrefix(name, base+".") || strings.HasPrefix(name, base+"-") || strings.HasPrefix(name, stem+"-") && strings.HasSuffix(name, ext)
		if !rotated || slices.Contains([]string{".gz", ".zst", ".xz", ".bz2"}, filepath.Ext(name)) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil { // else it is gone
			olds = append(olds, old{filepath.Join(dir, name), info.ModTime()})
		}
	}
	slices.SortStableFunc(olds, func(a, b old) int { return b.at.Compare(a.at) })
	out := []string{path}
	for _, o := range olds {
		out = append(out, o.path)
	}
	return out, nil
}

// readTail reads at most so many bytes of the end of a file, and where they
// begin. What is no file, or not there, is empty.
func readTail(path string, most int64) (from int64, b []byte, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return 0, nil, err
	}
	from = max(0, st.Size()-most)
	b, err = io.ReadAll(io.NewSectionReader(f, from, st.Size()-from))
	return from, b, err
}

func endsWith(f *os.File, end string) (bool, error) {
	st, err := f.Stat()
	if err != nil || st.Size() < int64(len(end)) {
		return false, err
	}
	b := make([]byte, len(end))
	_, err = f.ReadAt(b, st.Size()-int64(len(end)))
	return string(b) == end, err
}

// cutTorn cuts off the end of a log that begins as a record does and does not end
// as one, and that of the file that was rotated away last: riposte may have been
// stopped before it went on in a new one.
func cutTorn(path, begin, end string) error {
	files, err := generations(path)
	if err != nil {
		return err
	}
	if len(files) > 1 {
		_ = cutEnd(files[1], begin, end) // what cannot be mended there is no reason not to start
	}
	return cutEnd(path, begin, end)
}

func cutEnd(path, begin, end string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open alert log: %w", err)
	}
	defer f.Close()
	if whole, err := endsWith(f, end); err == nil && whole {
		return nil
	}
	from, b, err := readTail(path, tailSize)
	if err != nil {
		return fmt.Errorf("look for a torn alert: %w", err)
	}
	at := 0
	if i := bytes.LastIndex(b, []byte(end)); i >= 0 {
		at = i + len(end)
	} else if from > 0 {
		return nil // no alert is that long
	}
	torn := b[at:]
	if n := min(len(torn), len(begin)); n == 0 || string(torn[:n]) != begin[:n] {
		return nil
	}
	if err := f.Truncate(from + int64(at)); err != nil {
		return fmt.Errorf("cut off a torn alert: %w", err)
	}
	return nil
}

// numbered is the least number that an event from an agent has: the place of
// its message in the stream comes above 20 bits.
const numbered = 1 << 20

// blockID finds the ID of a numbered alert in its block.
func blockID(block []byte) string {
	text, ok := bytes.CutPrefix(block, []byte(alertMark))
	if !ok {
		return ""
	}
	text, _, ok = bytes.Cut(text, []byte{':'})
	if !ok || !isNumbered(text) {
		return ""
	}
	return string(text)
}

// alertID finds the ID of a numbered alert in its line. It stands in a member
// "id" of digits, a dot and digits, which no other member "id" is made of.
func alertID(line []byte) string {
	mark := []byte(`"id":"`)
	for {
		_, rest, ok := bytes.Cut(line, mark)
		if !ok {
			return ""
		}
		line = rest
		if text, _, ok := bytes.Cut(rest, []byte{'"'}); ok && isNumbered(text) {
			return string(text)
		}
	}
}

// isNumbered reports whether text is the ID of a numbered alert.
func isNumbered(text []byte) bool {
	sec, n, ok := bytes.Cut(text, []byte{'.'})
	if !ok || len(text) > 40 {
		return false
	}
	if _, err := strconv.ParseInt(string(sec), 10, 64); err != nil {
		return false
	}
	number, err := strconv.ParseUint(string(n), 10, 64)
	return err == nil && number >= numbered
}
