// Package devlog is the local syslog socket for hosts where nothing else
// listens on it: small containers, mostly. On any other host the journal or a
// syslog daemon owns the socket, and their log is what riposte follows.
package devlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"riposte"
)

// Path is where local programs send their syslog messages.
const Path = "/dev/log"

// Location is the location text of the events.
const Location = "/dev/log"

// maxMessage bounds a datagram; longer ones are cut and marked.
const maxMessage = 64 << 10

// ErrTaken means that a syslog daemon answers on the socket.
var ErrTaken = errors.New("a syslog daemon answers there")

// Source receives datagrams on a unix socket.
type Source struct {
	conn *net.UnixConn
	path string
	info fs.FileInfo // of the socket we made
	host string
}

// Listen takes the socket at path, unless somebody answers on it: then the
// error is ErrTaken. host is written into each line, which arrives without.
func Listen(path, host string) (*Source, error) {
	if c, err := net.Dial("unixgram", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, ErrTaken)
	} else if !errors.Is(err, fs.ErrNotExist) {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("listen on %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove dead socket: %w", err)
		}
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	s := &Source{conn: conn, path: path, host: host}
	if err := os.Chmod(path, 0o666); err == nil { // every program may log
		s.info, err = os.Lstat(path)
		if err == nil {
			return s, nil
		}
	}
	s.Close()
	return nil, fmt.Errorf("open %s to all programs: %w", path, err)
}

// Close stops listening and removes the socket, if it is still ours.
func (s *Source) Close() {
	_ = s.conn.Close()
	if now, err := os.Lstat(s.path); err == nil && s.info != nil && os.SameFile(now, s.info) {
		_ = os.Remove(s.path)
	}
}

// Run sends what arrives until ctx ends, then closes the socket.
func (s *Source) Run(ctx context.Context, out chan<- riposte.Batch) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer s.Close()
	buf := make([]byte, maxMessage+1)
	for {
		n, err := s.conn.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.path, err)
		}
		now := time.Now()
		ev := riposte.Event{Time: now, Location: Location, Cut: n > maxMessage}
		ev.Text = Line(string(buf[:min(n, maxMessage)]), s.host, now)
		select {
		case out <- riposte.Batch{Source: "devlog:" + s.path, Events: []riposte.Event{ev}}:
		case <-ctx.Done():
			return nil
		}
	}
}

// Line turns a datagram of syslog(3) into a line of a log file: the priority
// goes, the host name comes in, control characters become #ooo as rsyslog
// writes them, so that one message stays one line.
func Line(msg, host string, now time.Time) string {
	if strings.HasPrefix(msg, "<") {
		if i := strings.IndexByte(msg, '>'); i > 0 && i <= 4 {
			msg = msg[i+1:]
		}
	}
	msg = strings.TrimRight(msg, "\x00\n")
	const stamp = len("Jan _2 15:04:05")
	head := now.Format(time.Stamp)
	if len(msg) > stamp && msg[stamp] == ' ' {
		if _, err := time.Parse(time.Stamp, msg[:stamp]); err == nil {
			head, msg = msg[:stamp], msg[stamp+1:]
		}
	}
	var b strings.Builder
	b.Grow(len(head) + len(host) + len(msg) + 2)
	b.WriteString(head)
	b.WriteByte(' ')
	b.WriteString(host)
	b.WriteByte(' ')
	for i := 0; i < len(msg); i++ {
		if c := msg[i]; c < 0x20 || c == 0x7f {
			fmt.Fprintf(&b, "#%03o", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
