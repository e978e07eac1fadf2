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

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/fleet/spool"
)

// AgentOptions are what an agent's end of the link is made of.
type AgentOptions struct {
	Credentials *identity.Credentials
	Dir         string // where the credentials are stored again when they change
	Spool       *spool.Spool
	Connect     []nats.Option // besides those of the credentials
	Codec       *fleet.Codec  // nil for one of its own

	// Analysed reports whether a record of events that says it is judged here is;
	// nil: all are. What is not is sent as others are.
	Analysed func(n uint64) bool

	// At is the last order dealt with, and SetAt stores it, at once and for good
	// when now is true.
	At    fleet.Place
	SetAt func(at fleet.Place, now bool) error
	// Orders takes orders; it returns when they are in the journal.
	Orders func(context.Context, []riposte.Order) error
	// Undo takes back what the server says.
	Undo func(context.Context, fleet.Undo) error
	// Bundle checks a bundle, uses it, and stores it. After an error the one
	// before is still in use.
	Bundle  func(context.Context, fleet.Bundle) error
	Version uint64    // of the bundle in use
	Made    time.Time // when that was made

	// Receipts reads the journal: receipts after a number, and the number to go
	// on from. ReceiptsFrom is where to begin, ReceiptsSent stores how far the
	// broker has them, Acted says that there are new ones.
	Receipts     func(ctx context.Context, after int64, limit int) ([]riposte.Receipt, int64, error)
	ReceiptsFrom int64
	ReceiptsSent func(last int64) error
	Acted        <-chan struct{}

	// Presence fills in what the link does not know, for a sign of life each Beat
	// (0 for 10 s), and one when the connection is new.
	Presence func(*fleet.Presence)
	Beat     time.Duration
	// Recheck is how often orders are asked for that did not come (0 for a minute).
	Recheck time.Duration
	Log     *slog.Logger

	eachRefusal bool // is said; see refusals
}

const (
	defaultBeat    = 10 * time.Second
	defaultRecheck = time.Minute
)

// Agent is an agent's end of the link.
type Agent struct {
	o     AgentOptions
	nc    *nats.Conn
	js    jetstream.JetStream
	codec *fleet.Codec

	cursor      atomic.Uint64 // the sequence of at, for others to read
	at          fleet.Place   // how far orders are dealt with
	admitted    time.Time     // when the newest order was issued that was let in
	version     atomic.Uint64
	made        time.Time // when the bundle was made
	bundleError atomic.Pointer[string]
	skew        time.Duration // the server's clock less this one's
	live        chan *nats.Msg
	listening   []*nats.Subscription
	resync      chan struct{}
	asking      atomic.Pointer[context.CancelFunc] // ends the request for orders that is on its way
	seen        map[string]uint64                  // by addressee: the last sequence of it
	lost        atomic.Bool                        // something before the cursor may be missing
	overlap     int                                // live messages that may be in the last answer, too
	synced      atomic.Bool
	caughtUp    bool          // it has been told what it had missed,
	connection  uint64        // over this connection, by its number
	news        chan struct{} // a sign of life is due now
	rekey       chan struct{} // a new key is to be brought now
	refused     *refusals
}

// NewAgent connects, or begins trying to: an agent works without its server.
func NewAgent(o AgentOptions) (*Agent, error) {
	o.Beat, o.Recheck = cmp.Or(o.Beat, defaultBeat), cmp.Or(o.Recheck, defaultRecheck)
	a := &Agent{
		o: o, codec: o.Codec, live: make(chan *nats.Msg, 8192), resync: make(chan struct{}, 1), seen: map[string]uint64{}, news: make(chan struct{}, 1),
		rekey: make(chan struct{}, 1), refused: newRefusals(o.Log, refusalsEvery),
	}
	if a.codec == nil {
		a.codec = fleet.NewCodec()
	}
	if o.eachRefusal {
		a.refused.every = 0
	}
	a.at, a.admitted, a.made = o.At, o.At.Issued, o.Made
	a.cursor.Store(o.At.Seq)
	a.version.Store(o.Version)
	var err error
	again := func(*nats.Conn) {
		a.synced.Store(false) // until the server has said what was missed
		a.ask()
		a.tell()
		a.wantKey()
		// What was asked over the connection before is not answered any more.
		if stop := a.asking.Load(); stop != nil {
			(*stop)()
		}
	}
	if a.nc, err = connect(strings.Join(o.Credentials.URLs, ","), o.Log, append(o.Credentials.Options(), o.Connect...),
		nats.ConnectHandler(again), nats.ReconnectHandler(again), nats.ErrorHandler(a.trouble)); err != nil {
		return nil, err
	}
	if a.js, err = jetstream.New(a.nc, jetstream.WithPublishAsyncMaxPending(maxUnacked+1), jetstream.WithPublishAsyncTimeout(patience)); err != nil {
		a.nc.Close()
		return nil, err
	}
	return a, nil
}

// trouble is told what goes wrong with the connection. Live messages that came
// faster than they could be dealt with are gone.
func (a *Agent) trouble(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	a.o.Log.Warn("broker", "subject", subject, "error", err)
	if errors.Is(err, nats.ErrSlowConsumer) {
		a.lost.Store(true)
		a.ask()
	}
}

// Close drops the connection.
func (a *Agent) Close() { a.nc.Close() }

// Connected reports whether the broker can be reached now.
func (a *Agent) Connected() bool { return a.nc.IsConnected() }

// Synced reports whether the server can be reached and has said which orders
// were missed.
func (a *Agent) Synced() bool { return a.nc.IsConnected() && a.synced.Load() }

// Cursor is the sequence of the last order dealt with.
func (a *Agent) Cursor() uint64 { return a.cursor.Load() }

// Bundle is the version of the bundle in use, and why a newer one is not.
func (a *Agent) Bundle() (version uint64, problem string) {
	if p := a.bundleError.Load(); p != nil {
		problem = *p
	}
	return a.version.Load(), problem
}

// Address is the address by which this host reaches the server, "" when it does
// not.
func (a *Agent) Address() string { return a.nc.ConnectedAddr() }

// ask has the orders asked for.
func (a *Agent) ask() {
	select {
	case a.resync <- struct{}{}:
	default: // it is going to happen
	}
}

// tell has a sign of life given now.
func (a *Agent) tell() {
	select {
	case a.news <- struct{}{}:
	default: // it is going to happen
	}
}

// Run serves the link until ctx ends. What cannot be sent meanwhile waits in the
// spool and the journal.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := a.listen(); err != nil {
		return err
	}
	var parts sync.WaitGroup
	for name, part := range map[string]func(context.Context) error{
		"events": a.uploadEvents, "receipts": a.uploadReceipts, "orders": a.takeOrders, "presence": a.beat, "key": a.changeKey,
	} {
		parts.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("fleet: %s: %w", name, err))
			}
		})
	}
	parts.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err // ErrNewKey among them
	}
	return nil
}

// listen subscribes to live messages, anew if it did before.
func (a *Agent) listen() error {
	before := a.listening
	a.listening = nil
	for _, to := range []string{fleet.All, a.o.Credentials.ID} {
		sub, err := a.nc.ChanSubscribe(fleet.LiveSubject(to), a.live)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", fleet.LiveSubject(to), err)
		}
		a.listening = append(a.listening, sub)
	}
	for _, sub := range before {
		_ = sub.Unsubscribe() // one that is gone need not go
	}
	return nil
}

// beat gives signs of life.
func (a *Agent) beat(ctx context.Context) error {
	tick := time.NewTicker(a.o.Beat)
	defer tick.Stop()
	for {
		if a.nc.IsConnected() {
			st := a.o.Spool.Stats()
			p := fleet.Presence{ID: a.o.Credentials.ID, Name: a.o.Credentials.Name, Now: time.Now(), Cursor: a.Cursor(), Beat: a.o.Beat,
				SpoolRecords: st.Records, SpoolBytes: st.Bytes, Oldest: st.Oldest, Dropped: uint64(st.Lost)}
			if ip, err := a.nc.GetClientIP(); err == nil {
				p.Address = ip.String()
			}
			if key, err := a.o.Credentials.PublicKey(); err == nil {
				p.Key = key
			}
			p.Bundle, p.BundleError = a.Bundle()
			a.o.Presence(&p)
			b, err := fleet.Encode(p)
			if err == nil {
				err = a.nc.Publish(fleet.PresenceSubject(p.ID), b)
			}
			if err != nil {
				a.o.Log.Debug("no sign of life", "error", err)
			}
		}
		wait := tick.C
		if !a.synced.Load() { // it has just connected, or is about to: be seen soon
			wait = time.After(time.Second)
		}
		select {
		case <-wait:
		case <-a.news:
		case <-ctx.Done():
			return nil
		}
	}
}
