// Package audit sends the records of the journal to a syslog server, where who
// takes over this host cannot change them. Messages are those of RFC 5424: the
// text is the record's line as the journal has it, and the structured data has
// its number and its SHA-256, which is the prev of the next one.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"riposte"
	"riposte/internal/journal"
)

// maxDatagram is how much of a message one datagram takes: what is longer is
// cut, and its hash no longer fits.
const maxDatagram = 60_000

// timeout bounds connecting and sending.
const timeout = 10 * time.Second

// Sender sends records to one server. It is used by one goroutine at a time.
type Sender struct {
	conn   net.Conn
	host   string
	stream bool // messages are preceded by their length (RFC 6587)
	buf    []byte
}

// Dial connects to a server: udp://host:port, tcp://host:port or unix:///path. An
// UDP server need not be there. host is this host's name in the messages.
func Dial(ctx context.Context, address, host string) (*Sender, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("syslog server %q: %w", address, err)
	}
	network, at := u.Scheme, u.Host
	switch network {
	case "udp", "tcp":
	case "unix":
		network, at = "unixgram", u.Path
	default:
		return nil, fmt.Errorf("syslog server %q: expected udp://host:port, tcp://host:port or unix:///path", address)
	}
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(ctx, network, at)
	if errors.Is(err, syscall.EPROTOTYPE) {
		network = "unix"
		conn, err = d.DialContext(ctx, network, at)
	}
	if err != nil {
		return nil, fmt.Errorf("syslog server %s: %w", address, err)
	}
	return &Sender{conn: conn, host: host, stream: network == "tcp" || network == "unix"}, nil
}

// Send sends a record, given by its line in the journal. A server that takes
// nothing is waited for until ctx ends, and for 10 s at most.
func (s *Sender) Send(ctx context.Context, line []byte) error {
	msg, err := Append(s.buf[:0], line, s.host)
	if err != nil {
		return err
	}
	s.buf = msg
	if err := s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("send to the syslog server: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetWriteDeadline(time.Unix(1, 0)) })() // a connection that is closed needs none
	if s.stream {
		head := append(strconv.AppendInt(nil, int64(len(msg)), 10), ' ')
		_, err = (&net.Buffers{head, msg}).WriteTo(s.conn)
	} else {
		_, err = s.conn.Write(msg[:min(len(msg), maxDatagram)])
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("send to the syslog server: %w", err)
	}
	return nil
}

// Close closes the connection.
func (s *Sender) Close() error { return s.conn.Close() }

// The priorities: facility 13, log audit, with the severities notice and
// warning.
const (
	notice  = 13*8 + 5
	warning = 13*8 + 4
)

// sdID names the structured data. 32473 is the number that RFC 5612 keeps for
// those who have none of their own.
const sdID = "riposte@32473"

// Append appends a record as a syslog message.
func Append(dst, line []byte, host string) ([]byte, error) {
	var r journal.Record
	if err := json.Unmarshal(line, &r); err != nil {
		return dst, fmt.Errorf("audit record: %w", err)
	}
	priority, what := notice, "-"
	switch {
	case r.Receipt != nil:
		what = r.Receipt.Outcome.String()
		if r.Receipt.Outcome == riposte.Refused || r.Receipt.Outcome == riposte.Failed {
			priority = warning
		}
	case r.Note != nil:
		what = r.Note.Action
	}
	sum := sha256.Sum256(line)
	dst = fmt.Appendf(dst, "<%d>1 %s %s riposte - %s [%s seq=\"%d\" sha256=\"%s\"] ", priority,
		r.Time.UTC().Format("2006-01-02T15:04:05.000000Z"), word(host, 255), word(what, 32), sdID, r.Seq, hex.EncodeToString(sum[:]))
	return append(dst, line...), nil
}

// word makes a field of the header: visible ASCII, no longer than the standard
// allows, "-" for nothing.
func word(s string, most int) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s) && len(b) < most; i++ {
		if s[i] > ' ' && s[i] < 0x7f {
			b = append(b, s[i])
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}
