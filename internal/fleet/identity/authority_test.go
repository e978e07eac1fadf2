package identity_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet/identity"
)

func newAuthority(t *testing.T) (*identity.Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	a, err := identity.Init(dir, identity.InitOptions{Names: []string{"broker.example", "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

func TestAuthorityStays(t *testing.T) {
	a, dir := newAuthority(t)
	b, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.OrderKey() != b.OrderKey() || a.Account() != b.Account() || string(a.CAPEM()) != string(b.CAPEM()) || string(a.OrderSeed()) != string(b.OrderSeed()) {
		t.Error("another authority after opening it again")
	}
	if runtime.GOOS != "windows" {
		for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "authority.json"): 0o600} {
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
				t.Errorf("%s: %v, %v", path, st.Mode(), err)
			}
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "authority.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Init(dir, identity.InitOptions{}); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("a second authority in the same place: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "authority.json")); err != nil || string(after) != string(before) {
		t.Error("it was written over", err)
	}
}

func TestAuthorityIsJudged(t *testing.T) {
	if _, err := identity.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "riposte server init") {
		t.Errorf("none there: %v", err)
	}
	if _, err := identity.Init(t.TempDir()+"/x", identity.InitOptions{Names: []string{"broker:4222"}}); err == nil || !strings.Contains(err.Error(), "without port") {
		t.Errorf("a name with port: %v", err)
	}
	change := func(old, new string) func(t *testing.T, dir, file string) {
		return func(t *testing.T, _, file string) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(b), old) {
				t.Fatalf("%q is not in it", old)
			}
			if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want, spoil := range map[string]func(t *testing.T, dir, file string){
		"chmod 0600":           func(t *testing.T, _, file string) { ok(t, os.Chmod(file, 0o640)) },
		"chmod 0700":           func(t *testing.T, dir, _ string) { ok(t, os.Chmod(dir, 0o755)) },
		"belongs to user 4711": func(t *testing.T, _, file string) { own(t, file) },
		"belongs to user":      func(t *testing.T, dir, _ string) { own(t, dir) },
		"is damaged":           change("{", ""),
		`key "operator"`:       change(`"operator": "S`, `"operator": "X`),
		`key "order"`:          change(`"order": "SU`, `"order": "SO`),
		"authority is damaged": change("BEGIN CERTIFICATE", "BEGIN"),
		"format 2":             change(`"version": 1`, `"version": 2`),
		"is not a file":        func(t *testing.T, _, file string) { ok(t, os.Remove(file)); ok(t, os.Mkdir(file, 0o700)) },
		"longer than":          func(t *testing.T, _, file string) { ok(t, os.Truncate(file, 2<<20)) },
	} {
		t.Run(want, func(t *testing.T) {
			if runtime.GOOS == "windows" && (strings.HasPrefix(want, "chmod") || strings.HasPrefix(want, "belongs")) {
				t.Skip("Windows has no modes")
			}
			_, dir := newAuthority(t)
			spoil(t, dir, filepath.Join(dir, "authority.json"))
			if _, err := identity.Open(dir); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, expected %q in it", err, want)
			}
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func own(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file away")
	}
	ok(t, os.Chown(path, 4711, 4711))
}

// handshake has a client and a broker speak TLS.
func handshake(server, client *tls.Config) (*tls.ConnectionState, error) {
	s, c := net.Pipe()
	defer s.Close()
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(s, server).Handshake() // the client says what is wrong
		s.Close()
	}()
	conn := tls.Client(c, client)
	err := conn.Handshake()
	state := conn.ConnectionState()
	c.Close()
	<-done
	return &state, err
}

// TestCertificateIsRenewed lets a broker run for years: its certificate never
// ends, and clients that pin the authority see nothing of it.
func TestCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newAuthority(t)
		server, client := a.ServerTLS(), a.ClientTLS()
		client.ServerName = "broker.example"
		serials := map[string]bool{}
		for range 60 {
			state, err := handshake(server, client)
			if err != nil {
				t.Fatal(err)
			}
			leaf := state.PeerCertificates[0]
			if left := time.Until(leaf.NotAfter); left < 29*24*time.Hour {
				t.Fatalf("only %s are left", left)
			}
			if state.Version != tls.VersionTLS13 {
				t.Fatalf("TLS version %x", state.Version)
			}
			serials[leaf.SerialNumber.String()] = true
			time.Sleep(20 * 24 * time.Hour)
		}
		if len(serials) < 10 || len(serials) > 30 {
			t.Errorf("%d certificates in three years", len(serials))
		}
	})
}

func TestNamesChange(t *testing.T) {
	a, dir := newAuthority(t)
	client := a.ClientTLS()
	client.ServerName = "new.example"
	if _, err := handshake(a.ServerTLS(), client); err == nil {
		t.Fatal("a name that the certificate does not have")
	}
	ok(t, a.SetNames([]string{"new.example", "2001:db8::1"}))
	again, err := identity.Open(dir)
	ok(t, err)
	for _, name := range []string{"new.example", "2001:db8::1", "localhost", "127.0.0.1", "::1"} {
		client.ServerName = name
		for _, x := range []*identity.Authority{a, again} {
			if _, err := handshake(x.ServerTLS(), client); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if again.OrderKey() != a.OrderKey() {
		t.Error("the keys changed")
	}
	if err := a.SetNames([]string{"a b"}); err == nil {
		t.Error("a name with a space")
	}
}

func TestCredentials(t *testing.T) {
	a, _ := newAuthority(t)
	seed, key, err := identity.NewKey()
	ok(t, err)
	claims, err := a.Agent("001", "web-01", key)
	ok(t, err)
	c := identity.Credentials{
		ID: "001", Name: "web-01", Groups: []string{"web"}, JWT: claims, Seed: seed,
		CA: a.CAPEM(), OrderKeys: []string{a.OrderKey()}, URLs: []string{"tls://broker.example:4222"},
	}
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := identity.LoadCredentials(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "riposte agent join") {
		t.Errorf("none there: %v", err)
	}
	ok(t, c.Save(dir))
	got, err := identity.LoadCredentials(dir)
	ok(t, err)
	if p, err := got.PublicKey(); err != nil || p != key || got.JWT != claims || got.Groups[0] != "web" {
		t.Errorf("read back %+v, %v", got, err)
	}
	if runtime.GOOS != "windows" {
		open := filepath.Join(t.TempDir(), "open")
		ok(t, os.Mkdir(open, 0o755))
		if err := c.Save(open); err == nil || !strings.Contains(err.Error(), "chmod 0700") {
			t.Errorf("stored where everybody may look: %v", err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "agent.json")); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	for want, spoil := range map[string]func(*identity.Credentials){
		"not an agent's id":        func(c *identity.Credentials) { c.ID = "all" },
		"no private key":           func(c *identity.Credentials) { c.Seed = []byte("SU") },
		"no JWT":                   func(c *identity.Credentials) { c.JWT = "" },
		"to be obeyed":             func(c *identity.Credentials) { c.OrderKeys = nil },
		"not a public key":         func(c *identity.Credentials) { c.OrderKeys = []string{"U"} },
		"no certificate authority": func(c *identity.Credentials) { c.CA = nil },
		"the certificate": func(c *identity.Credentials) {
			c.CA = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
		"no broker's URL": func(c *identity.Credentials) { c.URLs = nil },
		"plain text":      func(c *identity.Credentials) { c.URLs = []string{"nats://broker.example:4222"} },
		"partly":          func(c *identity.Credentials) { c.URLs = []string{"nats://127.0.0.1:1", "tls://broker.example:1"} },
		"tls://":          func(c *identity.Credentials) { c.URLs = []string{"http://broker.example"} },
	} {
		bad := c
		spoil(&bad)
		ok(t, bad.Save(dir))
		if _, err := identity.LoadCredentials(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q in it", err, want)
		}
		if want == "no private key" || want == "no JWT" || want == "to be obeyed" || want == "not a public key" || want == "not an agent's id" {
			continue // the broker's to refuse
		}
		if nc, err := nats.Connect("tls://127.0.0.1:1", bad.Options()...); err == nil || !strings.Contains(err.Error(), want) {
			if err == nil {
				nc.Close()
			}
			t.Errorf("connected with: %v, expected %q in it", err, want)
		}
	}
	for _, id := range []string{"", "1", "all", "*", "001.>", "0011"} {
		if _, err := a.Agent(id, "x", key); err == nil {
			t.Errorf("credentials for %q", id)
		}
	}
	if _, err := a.Agent("001", "x", a.Account()); err == nil {
		t.Error("credentials for a key that is not a user's")
	}
}
