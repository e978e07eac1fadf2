package journald

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"riposte/internal/source/lines"
)

// entry is what riposte needs of one journal entry.
type entry struct {
	cursor  string
	time    time.Time // as the sender or, failing that, the journal has it
	host    string
	program string
	pid     string
	message string
	cut     bool // message was longer than lines.Max
	asked   []field
}

// maxField bounds the fields other than the message; longer ones are cut.
const maxField = 1 << 10

// fields are what journalctl is asked for, besides the cursor and the time of
// reception, which always come.
const fields = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_COMM,_PID,_HOSTNAME,_SOURCE_REALTIME_TIMESTAMP"

// exportReader reads the Journal Export Format of
// https://systemd.io/JOURNAL_EXPORT_FORMATS: fields as NAME=text lines or, when
// the value holds anything but printable text, as NAME, a newline, the length
// in 64 bits little endian, the value and a newline; an empty line ends the
// entry.
type exportReader struct {
	in    *bufio.Reader
	asked []string // fields to keep besides those that make a line
}

func newExportReader(r io.Reader, asked []string) *exportReader {
	return &exportReader{in: bufio.NewReaderSize(r, 256<<10), asked: asked}
}

// buffered reports whether more can be read without waiting.
func (r *exportReader) buffered() bool { return r.in.Buffered() > 0 }

// raw are the fields of an entry before they are weighed up. Of a field that a
// sender gave twice the first one counts.
type raw struct {
	cursor, realtime, source, host, identifier, comm, pid, syslogPID, message []byte
	cut                                                                       bool
	asked                                                                     []field
}

// field is one that a choice looks at; its value is nil when the entry has none.
type field struct {
	name  string
	value []byte
}

func (f *raw) slot(name []byte) *[]byte {
	switch string(name) {
	case "__CURSOR":
		return &f.cursor
	case "__REALTIME_TIMESTAMP":
		return &f.realtime
	case "_SOURCE_REALTIME_TIMESTAMP":
		return &f.source
	case "_HOSTNAME":
		return &f.host
	case "SYSLOG_IDENTIFIER":
		return &f.identifier
	case "_COMM":
		return &f.comm
	case "_PID":
		return &f.pid
	case "SYSLOG_PID":
		return &f.syslogPID
	case "MESSAGE":
		return &f.message
	}
	for i := range f.asked {
		if f.asked[i].name == string(name) {
			return &f.asked[i].value
		}
	}
	return nil
}

// next reads one entry. io.EOF means that the stream ended between two entries.
func (r *exportReader) next() (*entry, error) {
	var f raw
	for _, name := range r.asked {
		f.asked = append(f.asked, field{name: name})
	}
	for begun := false; ; {
		line, err := r.in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		switch {
		case err == io.EOF && len(line) == 0 && !begun:
			return nil, io.EOF
		case err == io.EOF:
			return nil, fmt.Errorf("journal export: %w inside an entry", io.ErrUnexpectedEOF)
		case err != nil && !long:
			return nil, fmt.Errorf("journal export: %w", err)
		case len(line) == 1 && !begun:
			continue // an empty entry
		case len(line) == 1:
			return f.entry()
		}
		begun = true
		name, value, text := bytes.Cut(line, []byte{'='})
		if !long && !text {
			name = bytes.TrimSuffix(name, []byte{'\n'})
		}
		if len(name) > 64 || !fieldName(name) {
			return nil, fmt.Errorf("journal export: %.40q is not the name of a field", name)
		}
		slot := f.slot(name)
		message := slot == &f.message
		if slot != nil && *slot != nil {
			slot = nil
		}
		switch {
		case text && long:
			err = r.longText(slot, value, message, &f)
		case text:
			keep(slot, bytes.TrimSuffix(value, []byte{'\n'}), message, &f)
		default:
			err = r.binary(slot, message, &f)
		}
		if err != nil {
			return nil, fmt.Errorf("journal export: %w", err)
		}
	}
}

// keep stores a value, as much of it as is allowed.
func keep(slot *[]byte, value []byte, message bool, f *raw) {
	if slot == nil {
		return
	}
	limit := maxField
	if message {
		limit = lines.Max
		f.cut = f.cut || len(*slot)+len(value) > limit
	}
	if *slot == nil {
		*slot = []byte{}
	}
	*slot = append(*slot, value[:min(len(value), limit-len(*slot))]...)
}

// longText reads a text value that does not fit the buffer. part is its
// beginning.
func (r *exportReader) longText(slot *[]byte, part []byte, message bool, f *raw) error {
	keep(slot, part, message, f)
	for {
		part, err := r.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return unexpected(err)
		}
		keep(slot, bytes.TrimSuffix(part, []byte{'\n'}), message, f)
		if err == nil {
			return nil
		}
	}
}

// binary reads a value with its length before it.
func (r *exportReader) binary(slot *[]byte, message bool, f *raw) error {
	var size [8]byte
	if _, err := io.ReadFull(r.in, size[:]); err != nil {
		return unexpected(err)
	}
	left := binary.LittleEndian.Uint64(size[:])
	if left > 1<<40 {
		return fmt.Errorf("a field of %d bytes", left)
	}
	keep(slot, nil, message, f)
	for left > 0 {
		part, err := r.in.Peek(int(min(left, 64<<10)))
		if err != nil {
			return unexpected(err)
		}
		keep(slot, part, message, f)
		n, _ := r.in.Discard(len(part))
		left -= uint64(n)
	}
	if c, err := r.in.ReadByte(); err != nil {
		return unexpected(err)
	} else if c != '\n' {
		return fmt.Errorf("%q after a field instead of a newline", c)
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func fieldName(name []byte) bool {
	for _, c := range name {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(name) > 0
}

// entry weighs the fields up: what the sender said of himself first, as syslog
// would have it, then what the journal knows.
func (f *raw) entry() (*entry, error) {
	if len(f.cursor) == 0 {
		return nil, errors.New("journal export: an entry without a cursor")
	}
	e := &entry{cursor: string(f.cursor), host: string(f.host), message: string(f.message), cut: f.cut, asked: f.asked}
	for i := range e.asked { // those that make a line, too, may be asked for
		e.asked[i].value = *f.slot([]byte(e.asked[i].name))
	}
	e.time = microseconds(f.source)
	if e.time.IsZero() {
		e.time = microseconds(f.realtime)
	}
	e.program = string(f.identifier)
	if e.program == "" {
		e.program = string(f.comm)
	}
	e.pid = string(f.syslogPID)
	if !number(e.pid) {
		e.pid = string(f.pid)
	}
	return e, nil
}

func microseconds(text []byte) time.Time {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}

func number(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) < 20
}
