package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/journal"
)

// header is RFC 5424's, as far as it is used here.
var header = regexp.MustCompile(`^<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S{1,255}) riposte - (\S{1,32}) \[riposte@32473 seq="(-?\d+)" sha256="([0-9a-f]{64})"\] (\{.*\})$`)

func TestAppend(t *testing.T) {
	line := `{"seq":7,"prev":"00","time":"2026-11-23T08:58:00.123456789Z","receipt":{"order":"A","host":"000","time":"2026-11-23T08:58:00Z","outcome":"refused","command":"fw","target":{"kind":"address","value":"203.0.113.1"},"reason":"a\nb"}}`
	got, err := Append([]byte("x"), []byte(line), "web 1\n")
	m := header.FindStringSubmatch(strings.TrimPrefix(string(got), "x"))
	if err != nil || m == nil {
		t.Fatalf("%q %v", got, err)
	}
	if m[1] != "108" || m[2] != "2026-11-23T08:58:00.123456Z" || m[3] != "web1" || m[4] != "refused" || m[5] != "7" || m[7] != line {
		t.Errorf("%q", m)
	}
	got, err = Append(nil, []byte(`{"seq":1,"time":"2026-11-23T08:58:00Z","note":{"action":"pau se"}}`), "")
	if m := header.FindStringSubmatch(string(got)); err != nil || m == nil || m[1] != "109" || m[3] != "-" || m[4] != "pause" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := Append(nil, []byte("nonsense"), "h"); err == nil {
		t.Error("what is no record was sent")
	}
}

func FuzzAppend(f *testing.F) {
	f.Add(`{"seq":1,"time":"2026-11-23T08:58:00Z","note":{"action":"pause"}}`, "web1")
	f.Fuzz(func(t *testing.T, line, host string) {
		line = strings.TrimSpace(strings.NewReplacer("\n", "", "\r", "").Replace(line)) // as the journal's lines are
		if line == "null" {
			return // JSON, but no record
		}
		got, err := Append(nil, []byte(line), host)
		if err == nil && !header.Match(got) {
			t.Errorf("%q", got)
		}
	})
}

func open(t *testing.T) *journal.Journal {
	t.Helper()
	j, _, err := journal.Open(filepath.Join(t.TempDir(), "journal.db"), journal.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func note(t *testing.T, j *journal.Journal, n int) {
	t.Helper()
	r := journal.Record{Time: time.Now(), Receipt: &riposte.Receipt{Order: fmt.Sprint("o", n), Outcome: riposte.Verified, Time: time.Now()}}
	if err := j.Commit(&journal.Batch{Records: []journal.Record{r}}); err != nil {
		t.Fatal(err)
	}
}

// tell is told each line that is logged.
type tell chan struct{}

func (c tell) Write(b []byte) (int, error) {
	c <- struct{}{}
	return len(b), nil
}

// readFramed reads one message that is preceded by its length.
func readFramed(r *bufio.Reader) (string, error) {
	length, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(length))
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	for at := 0; at < n; {
		k, err := r.Read(b[at:])
		if err != nil {
			return "", err
		}
		at += k
	}
	return string(b), nil
}

// A server gets every record once and in order, also those from before it was
// there.
func TestFollow(t *testing.T) {
	j := open(t)
	note(t, j, 1)
	path := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	missed := make(chan struct{}, 9)
	o := Options{Journal: j, Address: "unix://" + path, Host: "web1", Log: slog.New(slog.NewTextHandler(tell(missed), nil))}
	follow := func() { done <- Follow(ctx, o) }
	go follow()
	<-missed // it found no server
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for r := bufio.NewReader(c); ; {
				m, err := readFramed(r)
				if err != nil {
					break
				}
				got <- m
			}
			_ = c.Close()
		}
	}()
	next := func(seq int) {
		t.Helper()
		select {
		case m := <-got:
			if f := header.FindStringSubmatch(m); f == nil || f[5] != strconv.Itoa(seq) {
				t.Errorf("%q is not record %d", m, seq)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("record %d did not come", seq)
		}
	}
	next(1)
	note(t, j, 2)
	note(t, j, 3)
	next(2)
	next(3)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// A restart goes on where it was.
	note(t, j, 4)
	ctx, cancel = context.WithCancel(t.Context())
	go follow()
	next(4)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A server that accepts and reads nothing does not hold up the end.
func TestServerThatReadsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Dial(t.Context(), "unix://"+path, "web1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// Until the socket holds no more: then Send waits.
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.conn.(*net.UnixConn).SetWriteBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	done, sent := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		for {
			if err := s.Send(ctx, []byte(`{"seq":9,"note":{"action":"`+strings.Repeat("x", 1<<10)+`"}}`)); err != nil {
				done <- err
				return
			}
			select {
			case sent <- struct{}{}:
			default:
			}
		}
	}()
	for quiet := false; !quiet; {
		select {
		case <-sent:
		case <-time.After(50 * time.Millisecond):
			quiet = true
		}
	}
	began := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || time.Since(began) > timeout/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestDatagrams(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	path := filepath.Join(t.TempDir(), "log")
	unix, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	for address, l := range map[string]net.PacketConn{"udp://" + udp.LocalAddr().String(): udp, "unix://" + path: unix} {
		s, err := Dial(t.Context(), address, "web1")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), []byte(`{"seq":9,"prev":"","time":"2026-11-23T08:58:00Z","note":{"action":"pause"}}`)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64<<10)
		n, _, err := l.ReadFrom(b)
		if err != nil || !header.Match(b[:n]) {
			t.Errorf("%s: %q %v", address, b[:n], err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, address := range []string{"http://192.0.2.1:1", "::", "", "unix:///nowhere/at/all", "tcp://127.0.0.1:1"} {
		if s, err := Dial(t.Context(), address, "h"); err == nil {
			_ = s.Close()
			t.Errorf("%q: connected", address)
		}
	}
}
