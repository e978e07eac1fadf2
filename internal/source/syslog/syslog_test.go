package syslog

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var everybody = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// serve starts a server on a free port.
func serve(t testing.TB, opt Options) (*Server, <-chan riposte.Batch, func()) {
	t.Helper()
	if opt.Address == "" {
		opt.Address = "127.0.0.1:0"
	}
	if opt.Allowed == nil {
		opt.Allowed = everybody
	}
	s, err := Listen(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan riposte.Batch)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, out) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, out, stop
}

func dial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial(s.opt.Network, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// want receives events and compares their texts.
func want(t *testing.T, out <-chan riposte.Batch, texts ...string) []riposte.Event {
	t.Helper()
	var got []riposte.Event
	for len(got) < len(texts) {
		select {
		case b := <-out:
			got = append(got, b.Events...)
		case <-time.After(10 * time.Second):
			t.Fatalf("%d events came, want %q", len(got), texts)
		}
	}
	for i := range got {
		if i >= len(texts) || got[i].Text != texts[i] {
			t.Fatalf("event %d: %q, want %q", i, got[i].Text, texts)
		}
	}
	return got
}

func TestUDP(t *testing.T) {
	s, out, stop := serve(t, Options{Network: "udp", MaxMessage: 30})
	conn := dial(t, s)
	for _, m := range []string{"<13>Nov 23 06:00:00 web1 a: b\n", "<13>" + strings.Repeat("x", 60)} {
		if _, err := io.WriteString(conn, m); err != nil {
			t.Fatal(err)
		}
	}
	got := want(t, out, "Nov 23 06:00:00 web1 a: b", strings.Repeat("x", 26))
	if got[0].Location != "127.0.0.1" || got[0].Cut || !got[1].Cut || got[0].Time.IsZero() {
		t.Errorf("events %+v", got)
	}
	stop()
	// Another process may borrow the port for a moment; riposte would keep it.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		again, err := net.ListenPacket("udp", s.Addr().String())
		if err == nil {
			_ = again.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the port is still taken: %v", err)
		}
	}
}

func TestUDPBurst(t *testing.T) {
	s, out, _ := serve(t, Options{Network: "udp"})
	conn := dial(t, s)
	const n = 2000 // of small messages, within the kernel's default buffer
	for i := range n {
		if _, err := fmt.Fprintf(conn, "<13>m%d", i); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for seen < n/2 {
		select {
		case b := <-out:
			if len(b.Events) > maxBatch {
				t.Fatalf("a batch of %d", len(b.Events))
			}
			seen += len(b.Events)
		case <-time.After(5 * time.Second):
			t.Fatalf("%d of %d came", seen, n)
		}
	}
}

func TestSendersMustBeAllowed(t *testing.T) {
	if _, err := Listen(Options{Network: "udp", Address: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "allowed-ips") {
		t.Errorf("nobody allowed: %v", err)
	}
	denied := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	s, out, _ := serve(t, Options{Network: "udp", Denied: denied})
	local := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}
	bad, err := net.DialUDP("udp", local, s.Addr().(*net.UDPAddr))
	if err != nil {
		t.Skipf("needs 127.0.0.2: %v", err)
	}
	defer func() { _ = bad.Close() }()
	if _, err := io.WriteString(bad, "<13>denied"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(dial(t, s), "<13>allowed"); err != nil {
		t.Fatal(err)
	}
	want(t, out, "allowed")

	tcp, out, _ := serve(t, Options{Network: "tcp", Denied: denied})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a server that should have hung up", n)
	}
	if _, err := io.WriteString(dial(t, tcp), "<13>allowed\n"); err != nil {
		t.Fatal(err)
	}
	want(t, out, "allowed")
}

func TestAdmit(t *testing.T) {
	s := &Server{opt: Options{Allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10")},
		Denied: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}}}
	f := func(addr string, want bool) {
		t.Helper()
		if got := s.admit(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	f("192.0.2.1", true)
	f("::ffff:192.0.2.1", true)
	f("192.0.2.9", false)
	f("::ffff:192.0.2.9", false)
	f("198.51.100.1", false)
	f("fe80::1%lo", true)
}

func TestTCP(t *testing.T) {
	s, out, _ := serve(t, Options{Network: "tcp"})
	conn := dial(t, s)
	if _, err := io.WriteString(conn, "<13>one\n38 <13>1 2026-11-23T06:00:00Z h a - - - x<13>thr"); err != nil {
		t.Fatal(err)
	}
	got := want(t, out, "one", local("2026-11-23T06:00:00Z")+" h a: x")
	if got[0].Location != "127.0.0.1" {
		t.Errorf("location %q", got[0].Location)
	}
}

func TestTCPMessagesComeAsTheyAre(t *testing.T) {
	s, out, _ := serve(t, Options{Network: "tcp"})
	conn := dial(t, s)
	for i := range 50 { // each one is delivered though the connection stays open
		if _, err := fmt.Fprintf(conn, "<13>m%d\n<13>half", i); err != nil {
			t.Fatal(err)
		}
		want(t, out, fmt.Sprintf("m%d", i))
		if _, err := io.WriteString(conn, " done\n"); err != nil {
			t.Fatal(err)
		}
		want(t, out, "half done")
	}
	_ = conn.Close()
	other := dial(t, s)
	if _, err := io.WriteString(other, "<13>no end"); err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	want(t, out, "no end")
}

// hangsUp waits for the server to end the connection and returns when it did.
func hangsUp(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	begin := time.Now()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("the server said something")
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatal("the server does not hang up")
	}
	return time.Since(begin)
}

func TestSlowSenders(t *testing.T) {
	s, out, _ := serve(t, Options{Network: "tcp", Patience: 200 * time.Millisecond, IdleTimeout: time.Hour})
	slow := dial(t, s)
	quiet := dial(t, s)
	if _, err := io.WriteString(slow, "<13>one\n<13>tw"); err != nil {
		t.Fatal(err)
	}
	want(t, out, "one")
	drip := make(chan struct{})
	go func() {
		defer close(drip)
		for range 20 {
			if _, err := io.WriteString(slow, "o"); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if took := hangsUp(t, slow); took > 900*time.Millisecond {
		t.Errorf("a byte now and then kept the connection open for %v", took)
	}
	<-drip
	if _, err := io.WriteString(quiet, "<13>still here\n"); err != nil {
		t.Fatal(err)
	}
	want(t, out, "still here")

	idle, _, _ := serve(t, Options{Network: "tcp", IdleTimeout: 50 * time.Millisecond})
	hangsUp(t, dial(t, idle))
}

func TestConnectionLimits(t *testing.T) {
	s, out, _ := serve(t, Options{Network: "tcp", MaxPerHost: 2})
	first, second := dial(t, s), dial(t, s)
	for i, c := range []net.Conn{first, second} {
		if _, err := fmt.Fprintf(c, "<13>%d\n", i); err != nil {
			t.Fatal(err)
		}
		want(t, out, fmt.Sprint(i))
	}
	hangsUp(t, dial(t, s))
	_ = first.Close()
	for { // until the server has seen it
		conn := dial(t, s)
		if _, err := io.WriteString(conn, "<13>in\n"); err != nil {
			continue
		}
		select {
		case b := <-out:
			if b.Events[0].Text != "in" {
				t.Errorf("got %q", b.Events[0].Text)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestTLS(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	s, out, _ := serve(t, Options{Network: "tcp", Patience: 200 * time.Millisecond,
		TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}})
	conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "10 <13>secret"); err != nil {
		t.Fatal(err)
	}
	want(t, out, "secret")
	silent := dial(t, s) // never begins its handshake
	hangsUp(t, silent)
	plain := dial(t, s)
	if _, err := io.WriteString(plain, "<13>in the clear\n"); err != nil {
		t.Fatal(err)
	}
	for { // an alert comes back before the end
		_ = plain.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := plain.Read(make([]byte, 64)); err != nil {
			break
		}
	}
	select {
	case b := <-out:
		t.Errorf("a message without TLS: %+v", b)
	default:
	}
}

func TestListenErrors(t *testing.T) {
	f := func(opt Options, text string) {
		t.Helper()
		opt.Allowed = everybody
		if _, err := Listen(opt); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	f(Options{Network: "sctp", Address: "127.0.0.1:0"}, "udp or tcp")
	f(Options{Network: "udp", Address: "nowhere"}, "listen for syslog on udp nowhere")
	f(Options{Network: "tcp", Address: "127.0.0.1:99999"}, "listen for syslog on tcp")
}

func benchmark(b *testing.B, network, end string) {
	s, out, stop := serve(b, Options{Network: network})
	conn := dial(b, s)
	const chunk = 200
	text := "<34>Oct 11 22:14:15 mymachine sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2" + end
	lines := 0
	for b.Loop() {
		if network == "tcp" {
			if _, err := io.WriteString(conn, strings.Repeat(text, chunk)); err != nil {
				b.Fatal(err)
			}
		} else {
			for range chunk {
				if _, err := io.WriteString(conn, text); err != nil {
					b.Fatal(err)
				}
			}
		}
		for got := 0; got < chunk; {
			n := len((<-out).Events)
			got += n
			lines += n
		}
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	_ = conn.Close()
	stop()
}

func BenchmarkUDP(b *testing.B) { benchmark(b, "udp", "") }
func BenchmarkTCP(b *testing.B) { benchmark(b, "tcp", "\n") }
