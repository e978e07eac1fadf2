// Package broker runs NATS within the server, or writes the configuration with
// which an external cluster serves the same fleet. What users may do stands in
// the claims that package identity writes; here are the bounds of a connection:
// TLS 1.3 from its first byte, little time to say who one is, small messages.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"riposte/internal/fleet/identity"
	"riposte/internal/host"
)

// The bounds of every broker of a fleet, embedded or not.
const (
	pingInterval = 10 * time.Second
	maxPings     = 2 // without answer, and the connection is dead
	maxPending   = 16 << 20
	// syncInterval is how much a power cut may take. A process that is killed
	// loses nothing.
	syncInterval = time.Second
	// claimsSync is how often the nodes of a cluster compare their claims: a node
	// that was away may let in for so long whose key was revoked meanwhile.
	claimsSync = 2 * time.Second

	defaultHandshake      = 10 * time.Second
	defaultMaxConnections = 1 << 16
	// reserved file descriptors are kept for streams and everything else: a
	// stream that cannot open its file stops.
	reserved = 512
)

// Options are what an embedded broker is made of.
type Options struct {
	Authority *identity.Authority
	Listen    string // host:port; port 0 takes a free one
	StoreDir  string // of streams and claims
	MaxStore  int64  // bytes of streams on disk; 0 for three quarters of the free space
	// MaxConnections bounds all connections, those that have not said who they
	// are included: leave room for them. 0 is 65,536. It is lowered to what the
	// system lets the process open.
	MaxConnections int
	// Handshake is how long a connection may take for TLS, and again for saying
	// who it is; 0 for 10 s.
	Handshake time.Duration
	// Plain leaves out TLS. Start refuses it unless Listen is a loopback address.
	Plain bool
	Log   *slog.Logger
}

// Broker is an embedded broker.
type Broker struct {
	srv *natsserver.Server
	url string
}

// Start starts a broker and returns when it takes connections, or ctx ends. Its
// owner ends it with Close.
func Start(ctx context.Context, o Options) (*Broker, error) {
	opts, err := o.server()
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	// Half the time of a handshake may be spent waiting at the gate.
	gate := newGate(cmp.Or(o.Handshake, defaultHandshake) / 2)
	if opts.TLSConfig != nil {
		opts.TLSConfig = gate.guard(opts.TLSConfig)
	}
	srv, err := natsserver.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	// To look up an account takes the lock that every new connection takes.
	gate.turn = func() { srv.LookupOrRegisterAccount(natsserver.DEFAULT_GLOBAL_ACCOUNT) }
	log := newLogger(o.Log)
	srv.SetLoggerV2(log, false, false, false)
	b := &Broker{srv: srv}
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
	}()
	if err := b.wait(ctx, started, log); err != nil {
		<-started
		b.Close()
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	scheme := "tls://"
	if o.Plain {
		scheme = "nats://"
	}
	b.url = scheme + srv.Addr().String()
	return b, nil
}

// wait returns when the broker takes connections, or why it never will.
func (b *Broker) wait(ctx context.Context, started <-chan struct{}, log *logger) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := log.fatal(); err != nil {
			return err
		}
		if b.srv.ReadyForConnections(time.Millisecond) {
			return nil
		}
		select {
		case <-tick.C:
		case <-started:
			if err := log.fatal(); err != nil {
				return err
			}
			started = nil // it listens, or will in a moment
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// server writes what is wanted in nats-server's words.
func (o Options) server() (*natsserver.Options, error) {
	h, p, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: expected host:port: %w", o.Listen, err)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("listen on %q: %q is not a port", o.Listen, p)
	}
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	if o.Plain && !identity.Loopback(h) {
		return nil, fmt.Errorf("listen on %q without TLS: plain text is for loopback addresses only", o.Listen)
	}
	operator, err := jwt.DecodeOperatorClaims(o.Authority.OperatorJWT())
	if err != nil {
		return nil, fmt.Errorf("the operator: %w", err)
	}
	if err := host.PrivateDir(o.StoreDir); err != nil {
		return nil, err
	}
	claims, err := accounts(o.Authority, filepath.Join(o.StoreDir, "claims"))
	if err != nil {
		return nil, err
	}
	system, _ := o.Authority.SystemAccount()
	handshake := cmp.Or(o.Handshake, defaultHandshake).Seconds()
	opts := &natsserver.Options{
		ServerName: "riposte",
		Host:       h, Port: port,
		TrustedOperators: []*jwt.OperatorClaims{operator},
		SystemAccount:    system,
		AccountResolver:  claims,
		JetStream:        true, StoreDir: filepath.Join(o.StoreDir, "streams"),
		JetStreamMaxStore: o.MaxStore, SyncInterval: syncInterval,
		MaxConn:     maxConnections(cmp.Or(o.MaxConnections, defaultMaxConnections), o.Log),
		MaxPayload:  identity.MaxServerPayload,
		MaxPending:  maxPending,
		AuthTimeout: handshake, TLSTimeout: handshake,
		PingInterval: pingInterval, MaxPingsOut: maxPings,
		NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
	}
	if !o.Plain {
		opts.TLS, opts.TLSConfig, opts.TLSHandshakeFirst = true, o.Authority.ServerTLS(), true
	}
	return opts, nil
}

// accounts is where the broker finds the claims of its accounts, and keeps those
// that are pushed to it. A key that was revoked when the broker last ran is
// revoked from the first moment now.
func accounts(a *identity.Authority, dir string) (natsserver.AccountResolver, error) {
	r, err := natsserver.NewDirAccResolver(dir, 0, claimsSync, natsserver.NoDelete)
	if err != nil {
		return nil, fmt.Errorf("the claims of the accounts: %w", err)
	}
	var revoked []string
	if text, err := r.LoadAcc(a.Account()); err == nil {
		old, err := jwt.DecodeAccountClaims(text)
		if err != nil {
			return nil, fmt.Errorf("the claims of the hosts' account in %s are damaged: %w: remove them; servers push revoked keys again", dir, err)
		}
		revoked = slices.Collect(maps.Keys(old.Revocations))
	}
	claims, err := a.AccountJWT(revoked)
	if err != nil {
		return nil, err
	}
	system, systemClaims := a.SystemAccount()
	servers, serverClaims := a.FleetAccount()
	if err := errors.Join(r.Store(system, systemClaims), r.Store(servers, serverClaims), r.Store(a.Account(), claims)); err != nil {
		return nil, fmt.Errorf("the claims of the accounts: %w", err)
	}
	return r, nil
}

// maxConnections is how many connections may be open: as many as wanted, and no
// more than leaves file descriptors for the streams.
func maxConnections(want int, log *slog.Logger) int {
	limit, ok := openFiles()
	if !ok || want <= limit-reserved {
		return want
	}
	may := max(limit-reserved, limit/2)
	log.Warn("the broker takes fewer connections: the limit of open files is low", "connections", may, "wanted", want, "files", limit)
	return may
}

// URL is where this host reaches the broker.
func (b *Broker) URL() string { return b.url }

// Options connect within the process, past TCP and TLS, whatever URL is given.
// They follow those that say who connects, as in
//
//	user, err := authority.ServerOptions()
//	nc, err := nats.Connect(broker.URL(), append(user, broker.Options()...)...)
func (b *Broker) Options() []nats.Option {
	return []nats.Option{nats.InProcessServer(b.srv), func(o *nats.Options) error {
		o.Secure, o.TLSConfig, o.TLSHandshakeFirst = false, nil, false
		o.Url, o.Servers = "", []string{"nats://127.0.0.1"} // a name only; tls:// would mean TLS here too
		return nil
	}}
}

// Room is how many bytes of streams are stored at most.
func (b *Broker) Room() int64 {
	if c := b.srv.JetStreamConfig(); c != nil {
		return c.MaxStore
	}
	return 0
}

// Close ends all connections, brings the streams to the disk and waits.
func (b *Broker) Close() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}
