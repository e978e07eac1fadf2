package link

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
)

// holder is whoever holds an enrolment token.
func (b *bed) holder() (token identity.Token, nc *nats.Conn) {
	b.t.Helper()
	text, err := b.authority.NewToken(identity.TokenOptions{URLs: []string{b.broker.URL()}, ID: identity.NewTokenID(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		b.t.Fatal(err)
	}
	if token, err = identity.ParseToken(text); err != nil {
		b.t.Fatal(err)
	}
	if nc, err = nats.Connect(b.broker.URL(), token.Options()...); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return token, nc
}

// TestJoinWithoutKey: a server signs an answer for a public key only, and for
// nothing else that an order could be addressed to.
func TestJoinWithoutKey(t *testing.T) {
	b := newBed(t)
	var said diary
	b.server("one", func(o *ServerOptions) { o.Log = said.logger() })
	token, nc := b.holder()
	_, public, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	in, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(key string) {
		t.Helper()
		q := fleet.JoinRequest{Key: key, Host: "web-01"}
		if q.Token, err = token.Proof(public); err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest(fleet.JoinSubject, in.Subject, encode(q)); err != nil {
			t.Fatal(err)
		}
	}
	answered := func() {
		t.Helper()
		until(t, "it is answered", func() bool { // when the server listens
			ask(public) // of a token that nobody knows
			reply, err := in.NextMsg(30 * time.Second)
			if err != nil && !errors.Is(err, nats.ErrNoResponders) {
				t.Fatal(err)
			}
			if err != nil {
				return false
			}
			e, err := fleet.Open(signedCore(reply), []string{b.authority.OrderKey()}, public)
			if err != nil || e.To != public {
				t.Errorf("answered %+v, %v", e, err)
			}
			return true
		})
	}
	answered()
	for i, key := range []string{"", fleet.All, "001", b.authority.Account(), public[1:], public + "A"} {
		ask(key)
		until(t, "it is refused: "+key, func() bool { return said.count("an enrolment without a public key is refused") == i+1 })
	}
	answered()
	if n, _, err := in.Pending(); n != 0 || err != nil {
		t.Errorf("%d more answers were signed (%v)", n, err)
	}
}

// TestJoinPrivate: a key that others could have read is not joined with, and the
// token is still good then.
func TestJoinPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs file modes, which Windows lacks: there the directory keeps strangers out")
	}
	b := newBed(t)
	m := b.server("one", func(o *ServerOptions) { o.Public = []string{b.broker.URL()} })
	text, rec, err := m.NewToken(t.Context(), identity.IssueOptions{Name: "web-01", For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "fleet")
	p, err := identity.BeginKey(dir, identity.JoinFile, identity.Pending{For: rec.ID})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identity.JoinFile)
	join := func() (*identity.Credentials, error) {
		return Join(t.Context(), text, dir, "web-01", "1", slog.New(slog.DiscardHandler))
	}
	for _, spoil := range []func() error{
		func() error { return os.Chmod(path, 0o644) },
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return os.Chown(path, 12345, -1) },
	} {
		if err := spoil(); errors.Is(err, fs.ErrPermission) {
			continue // not root: nobody else's files to be had
		} else if err != nil {
			t.Fatal(err)
		}
		if c, err := join(); err == nil || !strings.Contains(err.Error(), "chown") && !strings.Contains(err.Error(), "chmod") || c != nil {
			t.Errorf("joined with what others could read: %+v, %v", c, err)
		}
		if err := errors.Join(os.Chmod(path, 0o600), os.Chmod(dir, 0o700), os.Chown(path, os.Geteuid(), -1)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := join()
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Seed) != string(p.Seed) {
		t.Error("it joined with another key than it had begun with")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}
