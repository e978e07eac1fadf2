package devlog

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"riposte"
)

func TestLine(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct{ name, msg, want string }{
		{"as logger sends", "<38>Nov 23 06:54:19 sshd[42]: Failed password", "Nov 23 06:54:19 web1 sshd[42]: Failed password"},
		{"no header", "hello", "Jan  2 03:04:05 web1 hello"},
		{"second line forged", "<38>Nov 23 06:54:19 su: a\nNov 23 06:54:19 web1 sshd[1]: b", "Nov 23 06:54:19 web1 su: a#012Nov 23 06:54:19 web1 sshd[1]: b"},
		{"escape and NUL", "<38>Nov 23 06:54:19 su: \x1b[2J\x00x\x00", "Nov 23 06:54:19 web1 su: #033[2J#000x"},
		{"priority unclosed", "<38x", "Jan  2 03:04:05 web1 <38x"},
		{"empty", "", "Jan  2 03:04:05 web1 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Line(c.msg, "web1", now); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s, err := Listen(path, "web1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, "web1"); !errors.Is(err, ErrTaken) {
		t.Fatalf("a second listener got %v, want ErrTaken", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, done := make(chan riposte.Batch), make(chan error)
	go func() { done <- s.Run(ctx, out) }()

	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("<38>Nov 23 06:54:19 sshd[42]: one")); err != nil {
		t.Fatal(err)
	}
	b := <-out
	if len(b.Events) != 1 || b.Events[0].Text != "Nov 23 06:54:19 web1 sshd[42]: one" {
		t.Fatalf("got %+v", b)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A socket left behind by a crash is taken over; one that a syslog daemon put
// in our socket's place meanwhile is left alone.
func TestSocketLeftBehindAndReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	dead, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() // a unixgram listener does not remove its file
	s, err := Listen(path, "web1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other daemon's socket was removed: %v", err)
	}
}
