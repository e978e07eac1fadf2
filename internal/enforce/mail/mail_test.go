package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"riposte"
	"riposte/internal/enforce"
)

// server is a mail server that keeps what it is given and refuses what the test
// tells it to.
type received struct {
	from, to, user string
	data           []byte
	tls            bool
}

type postOffice struct {
	mu     sync.Mutex
	mail   []received
	rcpt   func(n int, to string) error // n counts from 1
	data   func(n int) error
	rcpts  int
	datas  int
	server *smtp.Server

	user, password string
	implicit       bool
}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{p: p, c: c}, nil
}

type session struct {
	p              *postOffice
	c              *smtp.Conn
	from, to, user string
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != s.p.user || password != s.p.password {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.rcpts++
	if s.p.rcpt != nil {
		if err := s.p.rcpt(s.p.rcpts, to); err != nil {
			return err
		}
	}
	s.to += to
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.datas++
	if s.p.data != nil {
		if err := s.p.data(s.p.datas); err != nil {
			return err
		}
	}
	_, secure := s.c.TLSConnectionState()
	s.p.mail = append(s.p.mail, received{s.from, s.to, s.user, b, secure})
	return nil
}

func (s *session) Reset()        { s.from, s.to = "", "" }
func (s *session) Logout() error { return nil }

// open starts the post office and returns its address.
func (p *postOffice) open(t *testing.T, secure *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if p.implicit {
		l = tls.NewListener(l, secure)
	}
	p.server = smtp.NewServer(p)
	p.server.Domain = "mx.test"
	p.server.TLSConfig = secure
	p.server.ErrorLog = quiet{}
	done := make(chan struct{})
	go func() { defer close(done); p.server.Serve(l) }()
	t.Cleanup(func() { p.server.Close(); <-done })
	return l.Addr().String()
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func newMail(t *testing.T, server string, change ...func(*Options)) *Mail {
	t.Helper()
	o := Options{
		Server: server, From: "riposte@web-01.test", To: []string{"admin@mx.test"}, Host: "web-01.test",
		Limit: 5 * time.Second, Pause: 10 * time.Millisecond,
	}
	for _, c := range change {
		c(&o)
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func effect() enforce.Effect {
	return enforce.Effect{
		Command: riposte.Command{Name: "mail-test", Executable: "mail-test.sh"},
		By:      "rule 1002",
		Alert: &riposte.Alert{
			ID: "1795408700.7", Time: time.Unix(1795408700, 0).UTC(), Location: "/var/log/messages", Hostname: "web-01",
			Rule:    riposte.Rule{ID: 1002, Level: 2, Description: "Unknown problem somewhere in the system.", Groups: "syslog,errors,"},
			FullLog: "Nov 23 04:38:20 web-01 app[7]: segmentation fault",
			Fields:  []riposte.Field{{Name: "srcip", Value: "192.0.2.7"}},
		},
	}
}

func apply(t *testing.T, m *Mail, e enforce.Effect) enforce.Result {
	t.Helper()
	r := m.Apply(t.Context(), []enforce.Effect{e})
	if len(r) != 1 || !r[0].NoUndo {
		t.Fatalf("results %+v, expected one without undo", r)
	}
	return r[0]
}

// read takes a mail apart as its reader's program does.
func read(t *testing.T, data []byte) (header mail.Header, subject, body string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	var r io.Reader = m.Body
	switch enc := m.Header.Get("Content-Transfer-Encoding"); enc {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "7bit", "8bit", "":
	default:
		t.Fatalf("transfer encoding %q", enc)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, subject, strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestMail(t *testing.T) {
	p := &postOffice{}
	r := apply(t, newMail(t, p.open(t, nil)), effect())
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if r.Output != "mailed to admin@mx.test" {
		t.Errorf("output %q", r.Output)
	}
	if len(p.mail) != 1 || p.mail[0].from != "riposte@web-01.test" || p.mail[0].to != "admin@mx.test" {
		t.Fatalf("received %+v", p.mail)
	}
	header, subject, body := read(t, p.mail[0].data)
	if want := "[riposte] web-01.test: level 2, rule 1002: Unknown problem somewhere in the system."; subject != want {
		t.Errorf("subject %q, expected %q", subject, want)
	}
	for _, k := range []string{"From", "To", "Date", "Message-Id"} {
		if header.Get(k) == "" {
			t.Errorf("no %s", k)
		}
	}
	if header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("header %v", header)
	}
	want := `Riposte on web-01.test answers with the response "mail-test".

Rule       1002, level 2: Unknown problem somewhere in the system.
Groups     syslog, errors
Time       Mon, 23 Nov 2026 04:38:20 +0000
Location   /var/log/messages
Host       web-01
Alert      1795408700.7

Fields
    srcip: 192.0.2.7

Record
    Nov 23 04:38:20 web-01 app[7]: segmentation fault
`
	if body != want {
		t.Errorf("body\n%s\nexpected\n%s", body, want)
	}
}

// TestHostile: whatever an attacker writes into a log, there is one mail, to
// those it is for, with the headers that riposte writes.
func TestHostile(t *testing.T) {
	for _, text := range []string{
		"x\r\nBcc: victim@mx.test\r\n\r\nforged",
		"x\nSubject: forged",
		"\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<victim@mx.test>\r\nDATA\r\nforged\r\n.\r\n",
		".\r\n.", "\x00\x1b[2J\xff\xfe", "=?utf-8?q?=0d=0aBcc:_victim?=", "é\u202e\u2028",
		strings.Repeat("A", 1<<20), strings.Repeat("\n", 100000), "%s%n $(id) `id` ; id",
		"\n\nRecord\nNov 23 forged: all is well",
	} {
		p := &postOffice{}
		e := effect()
		e.Alert.FullLog, e.Alert.Rule.Description, e.Alert.Location, e.Alert.Hostname = text, text, text, text
		e.Alert.Fields = []riposte.Field{{Name: text, Value: text, Dynamic: true}}
		e.Alert.Previous = slices.Repeat([]string{text}, 30)
		e.Command.Name = text
		if r := apply(t, newMail(t, p.open(t, nil)), e); r.Err != nil {
			t.Errorf("%.40q: %v", text, r.Err)
			continue
		}
		if len(p.mail) != 1 || p.mail[0].to != "admin@mx.test" {
			t.Errorf("%.40q: %d mails", text, len(p.mail))
			continue
		}
		header, subject, body := read(t, p.mail[0].data)
		if len(header["Subject"]) != 1 || len(header["To"]) != 1 || header.Get("Bcc") != "" || len(header) > 9 {
			t.Errorf("%.40q: header %v", text, header)
		}
		if strings.ContainsAny(subject, "\r\n\x00\x1b") || strings.ContainsAny(body, "\r\x00\x1b") {
			t.Errorf("%.40q: control characters in subject %q or body", text, subject)
		}
		if n := strings.Count(body, "\nRecord\n"); n != 1 {
			t.Errorf("%.40q: the body has %d records", text, n)
		}
		if n := len(p.mail[0].data); n > 1<<20 {
			t.Errorf("%.40q: mail of %d bytes", text, n)
		}
	}
}

func TestRefusals(t *testing.T) {
	temporary := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"}
	final := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "unknown here"}
	tests := []struct {
		name   string
		office postOffice
		to     []string
		mails  int
		rcpts  int
		err    string
		output string
	}{
		{"later, then yes", postOffice{rcpt: func(n int, _ string) error { return pick(n < 3, temporary) }}, nil, 1, 3, "", "mailed to admin@mx.test"},
		{"later for ever", postOffice{rcpt: func(int, string) error { return temporary }}, nil, 0, 3, "later", "not mailed to admin@mx.test"},
		{"no", postOffice{rcpt: func(int, string) error { return final }}, nil, 0, 1, "unknown here", "not mailed"},
		{"no to the text", postOffice{data: func(int) error { return final }}, nil, 0, 1, "unknown here", "not mailed"},
		{"later for the text", postOffice{data: func(n int) error { return pick(n == 1, temporary) }}, nil, 1, 2, "", "mailed"},
		{"one of two", postOffice{rcpt: func(_ int, to string) error { return pick(to == "gone@mx.test", final) }},
			[]string{"gone@mx.test", "admin@mx.test"}, 1, 2, "", "not mailed to gone@mx.test"},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			m := newMail(t, tt.office.open(t, nil), func(o *Options) {
				if tt.to != nil {
					o.To = tt.to
				}
			})
			r := apply(t, m, effect())
			if (r.Err != nil) != (tt.err != "") || r.Err != nil && !strings.Contains(r.Err.Error(), tt.err) {
				t.Errorf("error %v, expected %q", r.Err, tt.err)
			}
			if !strings.Contains(r.Output, tt.output) {
				t.Errorf("output %q, expected %q in it", r.Output, tt.output)
			}
			if len(tt.office.mail) != tt.mails || tt.office.rcpts != tt.rcpts {
				t.Errorf("%d mails after %d recipients, expected %d after %d", len(tt.office.mail), tt.office.rcpts, tt.mails, tt.rcpts)
			}
		})
	}
}

func pick(refuse bool, err error) error {
	if refuse {
		return err
	}
	return nil
}

// certificate is one that its own holder vouches for, for 127.0.0.1.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestTLS: what each setting makes of a server with a certificate that nobody
// knows, with one that is known, and without any.
func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	tests := []struct {
		name   string
		tls    TLS
		offers bool
		roots  *x509.CertPool
		user   string
		mails  int
		secure bool
		says   string
	}{
		{"opportunistic, unknown", Opportunistic, true, nil, "", 1, true, ""},
		{"opportunistic, none", Opportunistic, false, nil, "", 1, false, ""},
		{"opportunistic, unknown, with a password", Opportunistic, true, nil, "bob", 0, false, "certificate"},
		{"opportunistic, known, with a password", Opportunistic, true, pool, "bob", 1, true, ""},
		{"always, known", Always, true, pool, "", 1, true, ""},
		{"always, known, with a password", Always, true, pool, "bob", 1, true, ""},
		{"always, known, wrong password", Always, true, pool, "eve", 0, false, "AUTH"},
		{"always, unknown", Always, true, nil, "", 0, false, "certificate"},
		{"always, none", Always, false, pool, "", 0, false, "STARTTLS"},
		{"never", Never, true, nil, "", 1, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &postOffice{user: "bob", password: "secret"}
			var config *tls.Config
			if tt.offers {
				config = &tls.Config{Certificates: []tls.Certificate{cert}}
			}
			host, port, err := server(p.open(t, config))
			if err != nil {
				t.Fatal(err)
			}
			r := relay{host: host, port: port, helo: "web-01.test", tls: tt.tls, roots: tt.roots, user: tt.user, password: "secret", limit: 5 * time.Second}
			e := effect()
			err = r.send(t.Context(), "admin@mx.test", write(&e, "riposte@web-01.test", "web-01"))
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, expected %q", err, tt.says)
			}
			if len(p.mail) != tt.mails || tt.mails > 0 && (p.mail[0].tls != tt.secure || p.mail[0].user != tt.user) {
				t.Errorf("received %+v", p.mail)
			}
		})
	}
}

// TestImplicitTLS: a connection that is encrypted from its first byte.
func TestImplicitTLS(t *testing.T) {
	cert, pool := certificate(t)
	p := &postOffice{implicit: true}
	host, port, err := server(p.open(t, &tls.Config{Certificates: []tls.Certificate{cert}}))
	if err != nil {
		t.Fatal(err)
	}
	e := effect()
	r := relay{host: host, port: port, helo: "web-01.test", tls: Always, implicit: true, roots: pool, limit: 5 * time.Second}
	if err := r.send(t.Context(), "admin@mx.test", write(&e, "riposte@web-01.test", "web-01")); err != nil || len(p.mail) != 1 || !p.mail[0].tls {
		t.Errorf("error %v, received %d", err, len(p.mail))
	}
}

func TestPort(t *testing.T) {
	f := func(o Options, port int) {
		t.Helper()
		o.To = []string{"admin@mx.test"}
		m, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		var said string
		m.o.Tries = 1
		r := m.Apply(t.Context(), []enforce.Effect{effect()})[0]
		if r.Err != nil {
			said = r.Err.Error()
		}
		if !strings.Contains(said, fmt.Sprintf("127.0.0.1:%d", port)) {
			t.Errorf("%+v: error %q, expected port %d", o, said, port)
		}
	}
	free := func() int { // nobody listens
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}()
	f(Options{Server: "127.0.0.1", Port: free}, free)
	f(Options{Server: fmt.Sprintf("127.0.0.1:%d", free), Port: 25}, free)
}

// TestSilence: a server that accepts the connection and says nothing, and one
// that is not there, cost no more than the limit.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := newMail(t, l.Addr().String(), func(o *Options) { o.Limit, o.Tries = 100*time.Millisecond, 2 })
	began := time.Now()
	if r := apply(t, m, effect()); r.Err == nil {
		t.Error("a silent server took the mail")
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := newMail(t, l.Addr().String()).Apply(ctx, []enforce.Effect{effect()}); !errors.Is(r[0].Err, context.Canceled) {
		t.Errorf("after the end of the context: %v", r[0].Err)
	}
	l.Close()
	if r := apply(t, newMail(t, l.Addr().String()), effect()); r.Err == nil {
		t.Error("a server that is not there took the mail")
	}
}

func TestByHand(t *testing.T) {
	p := &postOffice{}
	e := effect()
	e.Alert, e.By = nil, "uid 0 (root)"
	if r := apply(t, newMail(t, p.open(t, nil)), e); r.Err != nil {
		t.Fatal(r.Err)
	}
	_, subject, body := read(t, p.mail[0].data)
	if subject != "[riposte] web-01.test: mail-test by hand" || !strings.Contains(body, "By         uid 0 (root)\n") {
		t.Errorf("subject %q, body %q", subject, body)
	}
}

func TestUndo(t *testing.T) {
	m := newMail(t, "127.0.0.1:1")
	if r := m.Undo(t.Context(), []enforce.Effect{effect(), effect()}); len(r) != 2 || r[0].Err != nil || r[1].Err != nil {
		t.Errorf("undo: %+v", r)
	}
}

func TestSettings(t *testing.T) {
	f := func(server, from string, to []string, says string) {
		t.Helper()
		_, err := New(Options{Server: server, From: from, To: to, Host: "web-01"})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q %q %q: error %v, expected %q", server, from, to, err, says)
		}
	}
	to := []string{"admin@mx.test"}
	f("mx.test", "riposte@web-01", to, "")
	f("mx.test", "", to, "")
	f("mx.test:2525", "Riposte <riposte@web-01>", []string{"Admin <a@mx.test>", "b@mx.test"}, "")
	f("192.0.2.1", "", to, "")
	f("2001:db8::1", "", to, "")
	f("[2001:db8::1]:25", "", to, "")
	f("/usr/sbin/sendmail", "", to, "")
	f("mx.test", "", nil, "<email_to>")
	f("", "", to, "<smtp_server>")
	f("mx.test:mail", "", to, "no port")
	f("mx.test:0", "", to, "no port")
	f("mx test", "", to, "no host")
	f("mx.test", "nobody", to, "<email_from>")
	f("mx.test", "", []string{"a@mx.test\r\nBcc: x@y"}, "<email_to>")
	f("mx.test", "", []string{"-odb@mx.test"}, "begins with '-'")
	if h := helo("höst"); h != "localhost" {
		t.Errorf("helo %q", h)
	}
}

// TestProgram hands a mail to a program that keeps its arguments and input.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sendmail")
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$@\" > %s/arguments\ncat > %[1]s/mail\n[ -e %[1]s/refuse ] && { echo 'no room' >&2; exit 75; }\nexit 0\n", dir)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := apply(t, newMail(t, path), effect()); r.Err != nil {
		t.Fatal(r.Err)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "arguments"))
	if want := "-oi\n-f\nriposte@web-01.test\n--\nadmin@mx.test\n"; string(args) != want {
		t.Errorf("arguments %q, expected %q", args, want)
	}
	text, _ := os.ReadFile(filepath.Join(dir, "mail"))
	if _, subject, _ := read(t, text); !strings.Contains(subject, "rule 1002") || bytes.Contains(text, []byte("\r")) {
		t.Errorf("mail %q", text)
	}
	os.WriteFile(filepath.Join(dir, "refuse"), nil, 0o600)
	if r := apply(t, newMail(t, path), effect()); r.Err == nil || !strings.Contains(r.Err.Error(), "no room") {
		t.Errorf("error %v", r.Err)
	}
	if r := apply(t, newMail(t, filepath.Join(dir, "none")), effect()); r.Err == nil {
		t.Error("a program that is not there took the mail")
	}
}
