package broker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/lab"
)

// secure is TLS as a client of any other making would do it.
func secure(c *tls.Config) nats.Option {
	return func(o *nats.Options) error {
		o.Secure, o.TLSConfig, o.TLSHandshakeFirst = true, c, true
		return nil
	}
}

func address(url string) string { return url[strings.Index(url, "//")+2:] }

// testTransport tries everything that is not TLS 1.3 with the pinned authority.
func testTransport(t *testing.T, p *place) {
	c := p.agent(t, "001")
	where := address(p.urls[0])

	old := p.authority.ClientTLS()
	old.MinVersion, old.MaxVersion, old.ServerName = tls.VersionTLS12, tls.VersionTLS12, "127.0.0.1"
	if conn, err := tls.Dial("tcp", where, old); err == nil || !strings.Contains(err.Error(), "protocol version") {
		if err == nil {
			conn.Close()
		}
		t.Errorf("TLS 1.2: %v", err)
	}

	plain := strings.Replace(p.urls[0], "tls://", "nats://", 1)
	if nc, err := nats.Connect(plain, nats.UserJWTAndSeed(c.JWT, string(c.Seed)), nats.Timeout(2*time.Second)); err == nil {
		nc.Close()
		t.Error("plain text is served")
	}

	if nc, err := nats.Connect(p.urls[0], nats.UserJWTAndSeed(c.JWT, string(c.Seed)), nats.TLSHandshakeFirst(), nats.NoReconnect()); err == nil {
		nc.Close()
		t.Error("a client that pins no authority believes the broker")
	}

	var unknown *tls.CertificateVerificationError
	other := *c
	other.CA = newAuthority(t).CAPEM()
	if nc, err := nats.Connect(p.urls[0], append(other.Options(), nats.NoReconnect())...); !errors.As(err, &unknown) {
		if err == nil {
			nc.Close()
		}
		t.Errorf("a client of another authority believes the broker: %v", err)
	}
	other.CA = nil
	if nc, err := nats.Connect(p.urls[0], other.Options()...); err == nil || !strings.Contains(err.Error(), "no certificate authority") {
		if err == nil {
			nc.Close()
		}
		t.Errorf("an agent without authority: %v", err)
	}
	named := p.authority.ClientTLS()
	named.ServerName = "elsewhere.example"
	if nc, err := nats.Connect(p.urls[0], nats.UserJWTAndSeed(c.JWT, string(c.Seed)), secure(named), nats.NoReconnect()); !errors.As(err, &unknown) {
		if err == nil {
			nc.Close()
		}
		t.Errorf("under a name that the certificate does not have: %v", err)
	}
}

// raw opens a TLS connection and reads the broker's greeting.
func raw(t *testing.T, p *place) (net.Conn, *bufio.Reader) {
	t.Helper()
	conf := p.authority.ClientTLS()
	conf.ServerName = "127.0.0.1"
	conn, err := tls.Dial("tcp", address(p.urls[0]), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO ") {
		t.Fatalf("read %q, %v", line, err)
	}
	return conn, r
}

// testMalformed sends what no client sends. Each connection is ended by the
// broker, and the broker goes on.
func testMalformed(t *testing.T, p *place) {
	for name, text := range map[string]string{
		"noise":                  "\x00\xff\xfe\x80 hello\r\n",
		"http":                   "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"no line end":            strings.Repeat("A", 1<<16),
		"a long subject":         "PUB " + strings.Repeat("a", 1<<20) + " 1\r\n",
		"a negative length":      "PUB riposte.event.001 -1\r\n\r\n",
		"a huge length":          "PUB riposte.event.001 99999999999999999999\r\n",
		"a wrong length":         "HPUB riposte.event.001 100 1\r\nx\r\n",
		"connect with rubbish":   "CONNECT {\"jwt\":\"" + strings.Repeat("x", 2000) + "\"}\r\n",
		"connect with no JSON":   "CONNECT {\r\n",
		"connect twice":          "CONNECT {}\r\nCONNECT {}\r\n",
		"as a route":             "RS+ FLEET riposte.order.all\r\n",
		"as a leaf":              "LS+ riposte.order.all\r\n",
		"publish before connect": "PUB riposte.order.all 6\r\nforged\r\n",
		"deep JSON":              "CONNECT " + strings.Repeat("[", 3000) + "\r\n",
	} {
		conn, r := raw(t, p)
		if _, err := conn.Write([]byte(text)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				t.Errorf("%s: %v", name, err)
			}
		}
		rest, err := io.ReadAll(io.LimitReader(r, 1<<20)) // until the broker ends it
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: the connection stays open; read %q", name, rest)
		}
	}
	// A large message from somebody who is let in but does not play by the rules.
	testOversized(t, p)
	p.connect(t, p.agent(t, "002").Options()).quiet(t)
}

// testOversized speaks the protocol by hand, signature and all, and announces a
// message that is too large.
func testOversized(t *testing.T, p *place) {
	c := p.agent(t, "001")
	conf := p.authority.ClientTLS()
	conf.ServerName = "127.0.0.1"
	conn, err := tls.Dial("tcp", address(p.urls[0]), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	info, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	connect(t, conn, c, info)
	fmt.Fprintf(conn, "PUB %s %d\r\n", fleet.EventSubject("001"), identity.MaxPayload+1)
	rest, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, io.EOF) {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("the connection stays open: %q", rest)
		}
	}
	if !bytes.Contains(rest, []byte("Maximum Payload Violation")) {
		t.Errorf("read %q", rest)
	}
}

func TestPlainIsForLoopback(t *testing.T) {
	a := newAuthority(t)
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0", "localhost:0", "192.0.2.1:0"} {
		b, err := Start(context.Background(), Options{Authority: a, Listen: listen, StoreDir: t.TempDir() + "/b", Plain: true, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			b.Close()
			t.Errorf("%s: plain text is served", listen)
		} else if !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	b := startAt(t, Options{Authority: a, Plain: true})
	if !strings.HasPrefix(b.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL %s", b.URL())
	}
	p := &place{authority: a, urls: []string{b.URL()}, replicas: 1}
	p.serve(t, b.Options()...)
	p.connect(t, p.agent(t, "001").Options()).quiet(t)
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	a := newAuthority(t)
	taken := startAt(t, Options{Authority: a})
	for listen, want := range map[string]string{
		"nonsense":           "host:port",
		"127.0.0.1:x":        "not a port",
		"127.0.0.1:70000":    "not a port",
		address(taken.URL()): "address already in use",
		"192.0.2.1:0":        "cannot assign",
	} {
		b, err := Start(context.Background(), Options{Authority: a, Listen: listen, StoreDir: t.TempDir() + "/b", Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			b.Close()
			t.Errorf("%s: started", listen)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q in it", listen, err, want)
		}
	}
}

// TestSilentConnections: hundreds of connections that say nothing, in plain TCP
// and behind TLS, neither keep an agent out nor stay.
func TestSilentConnections(t *testing.T) {
	a := newAuthority(t)
	b := startAt(t, Options{Authority: a, Handshake: 3 * time.Second})
	p := &place{authority: a, urls: []string{b.URL()}, replicas: 1}
	p.serve(t, b.Options()...)
	before := b.srv.NumClients()
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	conf := a.ClientTLS()
	conf.ServerName = "127.0.0.1"
	for i := range 600 {
		conn, err := net.Dial("tcp", address(b.URL()))
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
		switch i % 3 {
		case 1: // begins and never ends
			if _, err := conn.Write([]byte{0x16, 0x03, 0x01}); err != nil {
				t.Fatal(err)
			}
		case 2:
			if i%10 == 0 { // behind TLS
				if err := tls.Client(conn, conf).Handshake(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	lab.Until(t, "the silent ones to be in", func() bool { return b.srv.NumClients() > before+100 })
	agent := p.connect(t, p.agent(t, "001").Options())
	if _, err := agent.Request(fleet.EventSubject("001"), []byte("x"), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "the silent ones to be out", func() bool { return b.srv.NumClients() == before+1 })
	agent.quiet(t)
}
