package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/ledger"
)

// ServerOptions are what a server's end of the link is made of.
type ServerOptions struct {
	Authority *identity.Authority
	Ledger    *ledger.Ledger
	// URLs of the broker, and what a connection to it needs besides the keys: an
	// embedded broker is connected to within the process.
	URLs    string
	Connect []nats.Option
	// Public are the URLs that agents are told to connect to.
	Public  []string
	Name    string // of this server, unique among the servers
	Alone   bool   // the broker is this server's own: no other can lead
	Version string

	Replicas  int           // of each stream, on so many nodes of a cluster; 0 for 1
	MaxEvents int64         // bytes of events kept at most; 0 for 4 GB. When they are reached agents keep theirs
	Room      int64         // bytes that the broker stores at most; 0: not known. What is wanted is cut to it
	KeepFor   time.Duration // how long judged events are kept, to rebuild what rules remember
	Silent    time.Duration // without a sign of life for so long an agent is silent; 0 for 35 s

	// Told is told what happened to agents, in words: silent, back, joined, removed.
	Told func(Notice)
	Log  *slog.Logger
}

const (
	defaultMaxEvents = 4 << 30
	defaultSilent    = 35 * time.Second
	maxOrders        = 1 << 30                 // bytes of orders kept
	keepOrders       = 30 * 24 * time.Hour     // an agent that was away longer starts anew
	maxStored        = fleet.MaxMessage + 4096 // bytes of a message with its headers
	duplicates       = 2 * time.Minute         // within which the broker itself knows a repeated message
)

// Server is a server's end of the link.
type Server struct {
	o      ServerOptions
	nc     *nats.Conn
	sys    *nats.Conn
	js     jetstream.JetStream
	state  jetstream.KeyValue
	roster *identity.Roster
	tokens *identity.Tokens
	signer *fleet.Signer
	codec  *fleet.Codec

	events, orders, receipted jetstream.Stream

	book      book // of orders
	presence  presence
	bundle    atomic.Pointer[fleet.Signed]
	version   atomic.Uint64 // of the bundle
	leading   atomic.Bool
	start     time.Time    // what heldUntil counts from: a clock that is never set
	heldUntil atomic.Int64 // until when nobody else can lead, as nanoseconds after start
	issuing   sync.Mutex
	asked     atomic.Uint64 // calls of current
	looking   sync.Mutex
	looked    uint64                      // which of them a look was for
	issued    atomic.Pointer[fleet.Place] // the last that this server issued
}

// Dial connects to the broker and makes sure of the streams. It returns when the
// fleet can be served, or ctx ends.
func Dial(ctx context.Context, o ServerOptions) (_ *Server, err error) {
	o.Replicas, o.MaxEvents, o.Silent = cmp.Or(o.Replicas, 1), cmp.Or(o.MaxEvents, defaultMaxEvents), cmp.Or(o.Silent, defaultSilent)
	if o.Told == nil {
		o.Told = func(Notice) {}
	}
	if o.Room > 0 && o.MaxEvents > o.Room/2 {
		o.Log.Warn("the disk has room for fewer events than fleet.store_mb says", "megabytes", o.Room/2>>20, "wanted", o.MaxEvents>>20)
		o.MaxEvents = o.Room / 2
	}
	s := &Server{o: o, codec: fleet.NewCodec(), start: time.Now()}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.signer, err = fleet.NewSigner(o.Authority.OrderSeed()); err != nil {
		return nil, err
	}
	user, err := o.Authority.ServerOptions()
	if err != nil {
		return nil, err
	}
	if s.nc, err = connect(o.URLs, o.Log, append(user, o.Connect...), nats.Name("riposte server "+o.Name)); err != nil {
		return nil, err
	}
	if user, err = o.Authority.SystemOptions(); err != nil {
		return nil, err
	}
	if s.sys, err = connect(o.URLs, o.Log, append(user, o.Connect...), nats.Name("riposte server "+o.Name+" (accounts)")); err != nil {
		return nil, err
	}
	if err := connected(ctx, s.nc); err != nil {
		return nil, fmt.Errorf("connect to the broker at %s: %w", o.URLs, err)
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithPublishAsyncMaxPending(maxInFlight), jetstream.WithPublishAsyncTimeout(patience)); err != nil {
		return nil, err
	}
	if err := s.streams(ctx); err != nil {
		return nil, err
	}
	if err := s.lists(ctx); err != nil {
		return nil, err
	}
	s.presence.hosts = map[string]*Host{}
	return s, nil
}

// lists opens the lists of agents and of tokens. Right after a start, when all
// agents come back at once, the broker may take its time.
func (s *Server) lists(ctx context.Context) error {
	for {
		tctx, cancel := context.WithTimeout(ctx, 4*patience)
		roster, err := identity.NewRoster(tctx, s.js, s.o.Replicas, s.o.Log)
		if err != nil {
			err = fmt.Errorf("the list of agents: %w", err)
		} else if s.tokens, err = identity.NewTokens(tctx, s.js, s.o.Replicas); err != nil {
			err = fmt.Errorf("the enrolment tokens: %w", err)
		}
		cancel()
		if err == nil {
			s.roster = roster
			return nil
		}
		s.o.Log.Warn("the broker is not ready", "error", err)
		if perr := pause(ctx, time.Second); perr != nil {
			return err
		}
	}
}

// Close drops the connections.
func (s *Server) Close() {
	for _, nc := range []*nats.Conn{s.nc, s.sys} {
		if nc != nil {
			nc.Close()
		}
	}
}

// Roster is the list of agents.
func (s *Server) Roster() *identity.Roster { return s.roster }

// NewToken makes an enrolment token.
func (s *Server) NewToken(ctx context.Context, o identity.IssueOptions) (string, identity.TokenRecord, error) {
	o.URLs = s.o.Public
	return s.tokens.Issue(ctx, s.o.Authority, s.roster, o)
}

// Tokens returns the enrolment tokens of the last months, the newest first.
func (s *Server) Tokens(ctx context.Context) ([]identity.TokenRecord, error) {
	return s.tokens.List(ctx)
}

// WithdrawToken makes a token worthless that was not used yet.
func (s *Server) WithdrawToken(ctx context.Context, id string) (identity.TokenRecord, error) {
	return s.tokens.Withdraw(ctx, id)
}

// Head is the last sequence of the log of orders.
func (s *Server) Head() uint64 { return s.book.last() }

// Connected reports whether the broker can be reached now.
func (s *Server) Connected() bool { return s.nc.IsConnected() }

// Leads reports whether this server judges and orders.
func (s *Server) Leads() bool { return s.holds() }

// Run answers agents and keeps what is known of them until ctx ends. It is to be
// run on every server, whether it leads or not.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := s.loadOrders(ctx); err != nil {
		return err
	}
	if err := s.loadBundle(ctx); err != nil {
		return err
	}
	if err := s.forget(ctx); err != nil { // before receipts of theirs are read
		s.o.Log.Warn("fleet: removed agents", "error", err)
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel(nil)
	for name, part := range map[string]func(context.Context) error{
		"list of agents": s.roster.Watch,
		"orders":         s.followOrders,
		"receipts":       s.followReceipts,
		"presence":       s.watchPresence,
		"streams":        s.keepStreams,
		"removed agents": s.forgetRemoved,
		"old receipts":   s.pruneLedger,
		"bundle":         s.followBundle,
		"rights":         func(ctx context.Context) error { return s.roster.Enforce(ctx, s.o.Authority, s.sys) },
	} {
		parts.Go(func() { s.keep(ctx, name, part) })
	}
	stop, err := s.answer(ctx)
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

// keep runs a part again whenever it fails.
func (s *Server) keep(ctx context.Context, name string, part func(context.Context) error) {
	for ctx.Err() == nil {
		err := part(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended")
		}
		s.o.Log.Warn("fleet: "+name, "error", err)
		_ = pause(ctx, time.Second) // the loop sees that ctx ended
	}
}

// answer serves the requests of agents.
func (s *Server) answer(ctx context.Context) (stop func(), err error) {
	var subs []*nats.Subscription
	var calls sync.WaitGroup
	gate := make(chan struct{}, 32) // a flood of requests waits in the connection, not in goroutines
	stop = func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // the connection is gone: so is the subscription
		}
		calls.Wait()
	}
	for subject, serve := range map[string]func(context.Context, *nats.Msg){
		fleet.SyncSubject("*"):  s.serveSync,
		fleet.RekeySubject("*"): s.serveRekey,
		fleet.JoinSubject:       s.serveJoin,
	} {
		sub, err := s.nc.QueueSubscribe(subject, "servers", func(m *nats.Msg) {
			gate <- struct{}{}
			calls.Go(func() {
				defer func() { <-gate }()
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				serve(ctx, m)
			})
		})
		if err != nil {
			stop()
			return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		subs = append(subs, sub)
	}
	sub, err := s.hearNotices()
	if err != nil {
		stop()
		return nil, fmt.Errorf("subscribe to %s: %w", noticeSubject, err)
	}
	subs = append(subs, sub)
	return stop, nil
}

// tail is the last part of a subject: whom it is from or for. The broker lets
// nobody publish in another's name.
func tail(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }
