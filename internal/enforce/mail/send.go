package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os/exec"
	"time"

	gomail "github.com/wneessen/go-mail"

	"riposte/internal/enforce"
)

// message writes the letter to one recipient by the rules of RFC 5322.
func (l *letter) message(to string) (*gomail.Msg, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.From(l.from); err != nil {
		return nil, err
	}
	if err := m.To(to); err != nil {
		return nil, err
	}
	m.Subject(l.subject)
	m.SetDateWithValue(l.date)
	m.SetMessageID()
	m.SetGenHeader("Auto-Submitted", "auto-generated") // no vacation notes (RFC 3834)
	m.SetBodyString(gomail.TypeTextPlain, l.body)
	return m, nil
}

// relay sends through a mail server.
type relay struct {
	host           string
	port           int
	helo           string
	tls            TLS
	implicit       bool           // the connection is encrypted from the first byte
	roots          *x509.CertPool // who may vouch for the server; nil for the system's
	user, password string
	limit          time.Duration
}

func (r relay) send(ctx context.Context, to string, l *letter) error {
	msg, err := l.message(to)
	if err != nil {
		return err
	}
	hangUp := func() {}
	defer func() { hangUp() }()
	config := &tls.Config{
		ServerName: r.host, RootCAs: r.roots, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: r.tls == Opportunistic && r.user == "", // a password goes to no stranger
	}
	options := []gomail.Option{
		gomail.WithPort(r.port), gomail.WithHELO(r.helo), gomail.WithTimeout(r.limit), gomail.WithTLSConfig(config),
		gomail.WithTLSPolicy(map[TLS]gomail.TLSPolicy{
			Opportunistic: gomail.TLSOpportunistic, Always: gomail.TLSMandatory, Never: gomail.NoTLS,
		}[r.tls]),
		gomail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := r.dial(dialing, network, address, config)
			if err == nil {
				// The client's own limit starts anew with each command.
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				hangUp = func() { stop(); conn.Close() }
			}
			return conn, err
		}),
	}
	if r.user != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(r.user), gomail.WithPassword(r.password))
	}
	if r.implicit {
		options = append(options, gomail.WithSSL())
	}
	client, err := gomail.NewClient(r.host, options...)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if msg.IsDelivered() {
		return nil // whatever happened to the farewell
	}
	if cut := ctx.Err(); cut != nil && err != nil {
		return fmt.Errorf("%w: %v", cut, err)
	}
	return err
}

func (r relay) dial(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	if r.implicit {
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// program hands the mail to a sendmail program.
type program struct{ path, from string }

func (p program) send(ctx context.Context, to string, l *letter) error {
	msg, err := l.message(to)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := msg.WriteTo(&text); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	_, _, err = enforce.Exec(ctx, []string{p.path, "-oi", "-f", p.from, "--", to}, bytes.ReplaceAll(text.Bytes(), []byte("\r\n"), []byte("\n")))
	return err
}

// passing reports whether a failure may be gone at the next try. A server's
// last word (5xx) is not; neither is a program that is not there.
func passing(err error) bool {
	if errors.Is(err, exec.ErrNotFound) {
		return false
	}
	var sent *gomail.SendError
	if errors.As(err, &sent) && sent.ErrorCode() != 0 {
		return sent.ErrorCode() < 500
	}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code < 500
	}
	return true
}
