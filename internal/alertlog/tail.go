package alertlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

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
// finished does not count.
func Tail(dir string) (w Written, err error) {
	if w.JSON, err = tail(filepath.Join(dir, AlertsJSON), "\n", alertID); err != nil {
		return w, err
	}
	w.Text, err = tail(filepath.Join(dir, AlertsText), "\n\n", blockID)
	return w, err
}

// tail returns the IDs of the records at the end of a file.
func tail(path, end string, id func(record []byte) string) (IDSet, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last alerts: %w", err)
	}
	defer f.Close()
	_, b, err := readTail(f)
	if err != nil {
		return nil, fmt.Errorf("read the last alerts: %w", err)
	}
	out := IDSet{}
	for {
		record, rest, ended := bytes.Cut(b, []byte(end))
		if !ended {
			return out, nil
		}
		b = rest
		if id := id(record); id != "" {
			out[id] = true
		}
	}
}

// readTail reads the end of a file, and where that begins.
func readTail(f *os.File) (from int64, b []byte, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, nil, err
	}
	if !st.Mode().IsRegular() {
		return 0, nil, nil
	}
	from = max(0, st.Size()-tailSize)
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

// cutTorn cuts off the end of a file that begins as a record does and does not
// end as one.
func cutTorn(path, begin, end string) error {
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
	from, b, err := readTail(f)
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
