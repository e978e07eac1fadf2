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
)

// tailSize is how much of the end of a log is looked at.
const tailSize = 64 << 20

// Tail returns the IDs of the numbered alerts (riposte.Alert.Number) at the end
// of alerts.json in dir: what was written before riposte was stopped in the
// middle, and may be judged again. A last line that was not finished does not
// count.
func Tail(dir string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(dir, AlertsJSON))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last alerts: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the last alerts: %w", err)
	}
	from := max(0, st.Size()-tailSize)
	b, err := io.ReadAll(io.NewSectionReader(f, from, st.Size()-from))
	if err != nil {
		return nil, fmt.Errorf("read the last alerts: %w", err)
	}
	out := map[string]bool{}
	for {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		if !ended {
			return out, nil
		}
		b = rest
		if id := alertID(line); id != "" {
			out[id] = true
		}
	}
}

// numbered is the least number that an event from an agent has: the place of
// its message in the stream comes above 20 bits.
const numbered = 1 << 20

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
		text, _, ok := bytes.Cut(rest, []byte{'"'})
		if !ok || len(text) > 40 {
			continue
		}
		sec, n, ok := bytes.Cut(text, []byte{'.'})
		if !ok {
			continue
		}
		if _, err := strconv.ParseInt(string(sec), 10, 64); err != nil {
			continue
		}
		if number, err := strconv.ParseUint(string(n), 10, 64); err == nil && number >= numbered {
			return string(text)
		}
	}
}
