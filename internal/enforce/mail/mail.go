// Package mail answers an alert with a mail: the mail-test of the active
// response page, a one-time response that is never undone. It mails to
// <email_to> of <global>, from <email_from>, through <smtp_server>, which is a
// mail server or, when it begins with "/", a local sendmail program.
package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// Options say how mail is sent.
type Options struct {
	Server   string        // host, address, host:port, [address]:port, or the path of a sendmail program
	Port     int           // unless Server names one; 0: 587 with TLS Always, else 25
	TLS      TLS           // of the connection to Server
	User     string        // account at the server; "" for none
	Password string        // of that account
	From     string        // "" for riposte at this host
	To       []string      // at least one
	Host     string        // name of this host; "" for the system's
	Limit    time.Duration // for one try; 0 for 15 s
	Tries    int           // 0 for three
	Pause    time.Duration // before the second try, twice that before the third; 0 for a second
}

// TLS says whether mail is sent encrypted.
type TLS uint8

// Opportunistic is what mail servers do among themselves: encrypted when the
// server offers it, whoever it is, since the alternative is to send in the
// clear. Always is to that very server or not at all, on port 465 from the
// first byte. Never does without.
const (
	Opportunistic TLS = iota
	Always
	Never
)

// Mail is the mechanism.
type Mail struct {
	o    Options
	send func(ctx context.Context, to string, m *letter) error
}

var _ enforce.Parallel = (*Mail)(nil)

// New returns the mechanism, or an error that says which setting is missing or
// cannot be read.
func New(o Options) (*Mail, error) {
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	if o.Host == "" {
		o.Host = "localhost"
	}
	if o.From == "" {
		o.From = "riposte@" + o.Host
	}
	if o.Limit <= 0 {
		o.Limit = 15 * time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if len(o.To) == 0 {
		return nil, errors.New("mail: nobody to mail to: set <email_to> in <global>")
	}
	if o.Server == "" {
		return nil, errors.New("mail: no server to mail through: set <smtp_server> in <global>")
	}
	from, err := address("<email_from>", o.From)
	if err != nil {
		return nil, err
	}
	o.From = from
	to := make([]string, len(o.To))
	for i, a := range o.To {
		if to[i], err = address("<email_to>", a); err != nil {
			return nil, err
		}
	}
	o.To = to
	m := &Mail{o: o}
	if strings.HasPrefix(o.Server, "/") {
		m.send = program{path: o.Server, from: o.From}.send
		return m, nil
	}
	host, port, err := server(o.Server)
	if err != nil {
		return nil, err
	}
	switch {
	case port > 0:
	case o.Port > 0:
		port = o.Port
	case o.TLS == Always:
		port = 587
	default:
		port = 25
	}
	m.send = relay{
		host: host, port: port, helo: helo(o.Host), limit: o.Limit,
		tls: o.TLS, implicit: o.TLS == Always && port == implicitPort, user: o.User, password: o.Password,
	}.send
	return m, nil
}

// implicitPort is where a connection is encrypted from its first byte (RFC
// 8314).
const implicitPort = 465

// address returns the bare address, which the two ways of sending put on a
// command line or in a protocol line.
func address(setting, text string) (string, error) {
	a, err := mail.ParseAddress(text)
	if err == nil && strings.HasPrefix(a.Address, "-") {
		err = errors.New("it begins with '-'")
	}
	if err != nil {
		return "", fmt.Errorf("mail: %s %q is not a mail address: %w", setting, text, err)
	}
	return a.Address, nil
}

// server splits the setting into host and port, 0 unless given.
func server(text string) (host string, port int, err error) {
	host = strings.Trim(text, "[]")
	if h, p, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("mail: <smtp_server> %q: %q is no port", text, p)
		}
		host, port = h, int(n)
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n/") {
		return "", 0, fmt.Errorf("mail: <smtp_server> %q is no host", text)
	}
	return host, port, nil
}

// helo returns the host's name if it can be said to a mail server.
func helo(host string) string {
	for _, c := range host {
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return "localhost"
		}
	}
	return host
}

// Name is "mail".
func (m *Mail) Name() string { return "mail" }

// Kind is None: a mail acts on nothing.
func (m *Mail) Kind() riposte.Kind { return riposte.None }

// Durable is false: there is nothing to take back.
func (m *Mail) Durable() bool { return false }

// Parallel is how many may be on their way at a time: one server that does not
// answer is not to hold up what goes to another.
func (m *Mail) Parallel() int { return 4 }

// Apply sends one mail for each effect to each recipient. An effect has failed
// when nobody could be reached; its output names those who could not.
func (m *Mail) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range effects {
		out[i] = m.mail(ctx, &effects[i])
	}
	return out
}

// Undo does nothing: what is sent is sent.
func (m *Mail) Undo(_ context.Context, effects []enforce.Effect) []enforce.Result {
	out := make([]enforce.Result, len(effects))
	for i := range out {
		out[i].NoUndo = true
	}
	return out
}

func (m *Mail) mail(ctx context.Context, e *enforce.Effect) enforce.Result {
	l := write(e, m.o.From, m.o.Host)
	res := enforce.Result{NoUndo: true}
	var said []string
	var failed []error
	for _, to := range m.o.To {
		if err := m.try(ctx, to, l); err != nil {
			failed = append(failed, fmt.Errorf("mail to %s: %w", to, err))
			said = append(said, enforce.OneLine(fmt.Sprintf("not mailed to %s: %v", to, err), 500))
			continue
		}
		said = append(said, "mailed to "+to)
	}
	res.Output = strings.Join(said, "\n")
	if len(failed) == len(m.o.To) {
		res.Err = errors.Join(failed...)
	}
	return res
}

// try sends to one recipient, again while the failure may pass.
func (m *Mail) try(ctx context.Context, to string, l *letter) error {
	pause := m.o.Pause
	for n := 1; ; n++ {
		one, cancel := context.WithTimeout(ctx, m.o.Limit)
		err := m.send(one, to, l)
		cancel()
		if err == nil || n == m.o.Tries || !passing(err) {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
		pause *= 2
	}
}
