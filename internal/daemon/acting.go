package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/alertlog"
	"riposte/internal/enforce"
	"riposte/internal/enforce/all"
	"riposte/internal/enforce/isolate"
	"riposte/internal/enforce/mail"
	"riposte/internal/enforce/script"
	"riposte/internal/enforce/webhook"
	"riposte/internal/guard"
	"riposte/internal/host"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/settings"
)

// registry lists the mechanisms of this host as settings and configuration
// want them.
func registry(s *settings.Settings, cfg *conf.Config, reexec func() error, managers func(context.Context) ([]netip.AddrPort, error)) (*all.Registry, error) {
	m := mail.Options{
		Server: first(s.Mail.Host, cfg.Global.SMTPServer), Port: s.Mail.Port, TLS: mail.TLS(s.Mail.TLS), User: s.Mail.User,
		From: first(s.Mail.From, cfg.Global.EmailFrom), To: s.Mail.To, Host: s.HostName(),
	}
	if len(m.To) == 0 {
		m.To = cfg.Global.EmailTo
	}
	if s.Mail.PasswordFile != "" {
		p, err := os.ReadFile(s.Mail.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("mail.password_file: %w", err)
		}
		m.Password = strings.TrimSpace(string(p))
	}
	return all.New(all.Options{
		Builtin:   all.Builtin(s.Builtin),
		Firewall:  all.Firewall(s.Firewall),
		HostsDeny: s.HostsDeny,
		StateDir:  s.StateDir,
		Reexec:    reexec,
		Roots:     []string{s.Root},
		Mail:      m,
		Webhook:   webhook.Options{URL: s.Webhook.URL, Host: s.HostName(), EncodeAlert: encodeAlert},
		Isolate:   isolation(s, managers),
		Script: script.Options{
			Dir: s.BinDir(), Host: s.HostName(), Generation: script.Generation(s.Script.Generation), Pins: s.Script.Pins,
			User: s.Script.User, Limit: s.Script.Timeout, Parallel: s.Script.Parallel, Output: s.Script.OutputLimit, EncodeAlert: encodeAlert,
		},
	}), nil
}

// alone is who manages a host that is alone.
func alone(context.Context) ([]netip.AddrPort, error) { return nil, nil }

// isolation says whom an isolated host still talks to.
func isolation(s *settings.Settings, managers func(context.Context) ([]netip.AddrPort, error)) isolate.Options {
	o := isolate.Options{
		Managers: managers,
		Admins:   func(context.Context) ([]netip.Addr, error) { return host.Sessions() },
		DHCP:     true,
	}
	for _, text := range s.Isolate.Keep {
		if t, err := riposte.ParseTarget(riposte.Address, text); err == nil {
			p, _ := t.Prefix()
			o.Keep = append(o.Keep, p)
		}
	}
	return o
}

// encodeAlert is how scripts and webhooks get an alert, whatever the dialect.
func encodeAlert(a *riposte.Alert) []byte { return alertlog.AppendJSON(nil, a, ossec.Wazuh) }

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// mechanism says by what a command would be carried out on this host.
func mechanism(s *settings.Settings, cfg *conf.Config, cmd riposte.Command) (string, error) {
	r, err := registry(s, cfg, func() error { return nil }, alone)
	if err != nil {
		return "", err
	}
	defer r.Close()
	m, err := r.Resolve(cmd)
	if err != nil {
		return "", errors.New(oneLine(err))
	}
	return m.Name(), nil
}

// oneLine writes an error that joins several on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// newGuard makes the guard that settings and configuration ask for.
func newGuard(s *settings.Settings, cfg *conf.Config, peers func() ([]netip.Addr, error)) (*guard.Guard, error) {
	o := guard.Options{
		Lookup:   lookup,
		Account:  account,
		WidestV4: s.Guard.WidestIPv4,
		WidestV6: s.Guard.WidestIPv6,
		Limit:    guard.Limit(s.Guard.Limit),
		Limits:   map[string]guard.Limit{},
		Breaker:  guard.Breaker(s.Guard.Breaker),
	}
	for name, l := range s.Guard.Limits {
		o.Limits[name] = guard.Limit(l)
	}
	if s.Guard.Own {
		o.Own = host.Addresses
	}
	if s.Guard.Gateway {
		o.Gateways = host.Gateways
	}
	if s.Guard.Resolvers {
		o.Resolvers = host.Resolvers
	}
	if s.Guard.Sessions {
		o.Sessions = host.Sessions
	}
	o.Peers = peers
	allow, err := allowList(s, cfg)
	if err != nil {
		return nil, err
	}
	o.Allow = allow
	return guard.New(o)
}

// guardBounds are the bounds that the settings ask for.
func guardBounds(s *settings.Settings) guard.Bounds {
	o := guard.Options{WidestV4: s.Guard.WidestIPv4, WidestV6: s.Guard.WidestIPv6, Limit: guard.Limit(s.Guard.Limit),
		Limits: map[string]guard.Limit{}, Breaker: guard.Breaker(s.Guard.Breaker)}
	for name, l := range s.Guard.Limits {
		o.Limits[name] = guard.Limit(l)
	}
	return o.Bounds()
}

// allowList joins the allow lists of riposte.yaml and ossec.conf.
func allowList(s *settings.Settings, cfg *conf.Config) ([]guard.Entry, error) {
	var out []guard.Entry
	for _, text := range s.Allow {
		e, err := guard.ParseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("allow: %w", err)
		}
		e.Source = "riposte.yaml"
		out = append(out, e)
	}
	for _, a := range cfg.Global.AllowList {
		out = append(out, guard.Entry{Prefix: a.Prefix, Name: a.Name, Not: a.Not, Source: a.Pos.String()})
	}
	return out, nil
}

func lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

func account(name string) (int, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	id, err := strconv.Atoi(u.Uid)
	return id, err == nil
}

// guardWords says in words what is protected.
func guardWords(s *settings.Settings, cfg *conf.Config) []string {
	words := []string{"loopback"}
	add := func(on bool, what string, addrs func() ([]netip.Addr, error)) {
		if !on {
			return
		}
		as, err := addrs()
		if err != nil || len(as) == 0 {
			words = append(words, what+" (none now)")
			return
		}
		var texts []string
		for i, a := range as {
			if i == 4 {
				texts = append(texts, fmt.Sprintf("and %d more", len(as)-i))
				break
			}
			texts = append(texts, a.String())
		}
		words = append(words, what+" "+strings.Join(texts, " "))
	}
	add(s.Guard.Own, "own addresses", host.Addresses)
	add(s.Guard.Gateway, "gateways", host.Gateways)
	add(s.Guard.Resolvers, "resolvers", host.Resolvers)
	add(s.Guard.Sessions, "administrators logged in from", host.Sessions)
	out := []string{strings.Join(words, ", ")}
	if n := len(s.Allow) + len(cfg.Global.AllowList); n > 0 {
		out = append(out, fmt.Sprintf("%d entries of the allow list", n))
	}
	return out
}

// Opener returns what opens a mechanism of its own for a stock executable, for
// a self-test in another network namespace.
func Opener(s *settings.Settings, executable string) func() (enforce.Mechanism, error) {
	return func() (enforce.Mechanism, error) {
		own := *s
		own.Bin = "/nonexistent" // the built-in one is to be tested
		r, err := registry(&own, &conf.Config{}, nil, alone)
		if err != nil {
			return nil, err
		}
		return r.Resolve(riposte.Command{Name: executable, Executable: executable, Expect: []riposte.Kind{riposte.Address}})
	}
}
