// Package executor carries orders out, takes them back on time, and keeps the
// host as the journal says it is.
//
// The way of an order: may it run (guard), which mechanism makes it real, how
// long does it last (ladder), write it down (journal), do it, write down what
// came of it, start its clock. The way back: the clock or a person ends it, the
// mechanism undoes it, that is written down. Whatever happens in between, the
// journal knows what may be on the host, so that a restart can settle it.
//
// The rules of the game:
//
//   - One response per command and target is in force. A trigger while it is
//     restarts its clock for the same time again; the next offence after it has
//     ended climbs the ladder: the timeout, then ladder[0], ladder[1], …, the
//     last for ever. An offender's rung is kept until it is forgotten or
//     forgiven. IPv6 offenders are counted by their /64.
//   - An order without timeout neither counts nor makes an offender. A mechanism
//     that can list what it holds (enforce.Lister) holds it until it is undone by
//     hand; any other carries it out, each time anew.
//   - Two commands that share a mechanism and a target share one effect: it has
//     the later of their ends, and is undone with the last of them.
//   - A stop is not an amnesty: what is in force stays so, in the journal and on
//     the host, unless asked otherwise.
//   - An undo that fails is tried again until it succeeds, however long that
//     takes, and shows in every list until then.
//
// Time: ends are kept as wall time in UTC. While riposte runs, a clock that is
// set moves the ends with it, so that a response lasts as long as it was given;
// a machine that sleeps goes on counting. Across a restart only the wall clock
// is there to go by, and no response is left more time than it was given in all.
//
// One goroutine owns all state (see loop.go). Each mechanism is served by
// goroutines of its own, so that a slow script holds up nothing but its own
// target, and a firewall nothing at all.
package executor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/guard"
	"riposte/internal/journal"
)

// ErrStopped means that the executor is not running, or no longer.
var ErrStopped = errors.New("the executor is stopped")

// Options are what an executor is made of. Journal and Resolve are required.
type Options struct {
	Journal *journal.Journal
	Guard   *guard.Guard // nil: everything may run
	// Resolve finds the mechanism that a command runs on here.
	Resolve func(riposte.Command) (enforce.Mechanism, error)
	// Mechanisms are all that may hold effects of earlier runs, whether or not
	// a command resolves to them today.
	Mechanisms []enforce.Mechanism
	Host       string // agent id of this host, for receipts
	// Boot tells one run of the machine from another. What a mechanism that is
	// no Lister holds is put back when it has changed; "" puts it back at every
	// start, and leaves it to the mechanism to see that it is there.
	Boot string

	// Notify is told every receipt, in order, from a goroutine of its own. It may
	// take its time; when it falls far behind, receipts are left out (they are
	// in the journal) and counted in Status.
	Notify func(riposte.Receipt)

	// Rest is called, from a goroutine of its own, when all is done after very
	// much was: a moment to give memory back. nil: nothing is.
	Rest func()

	Observe     func(riposte.Command) bool // whether to say only what would be done; nil: never
	ForgetAfter time.Duration              // how long after the end of its last answer an offender is forgotten; 0: never
	OffenderV6  int                        // bits by which IPv6 offenders are counted; 0 for 64

	OnStop   OnStop
	StopTime time.Duration // what a stop waits for mechanisms at work; 0 for 10 s

	Now     func() time.Time     // wall clock; nil for time.Now
	Elapsed func() time.Duration // clock that is never set and goes on while the machine sleeps; nil: the monotonic clock, which sleeps too
	Log     *slog.Logger         // nil: silent
	Step    func(string)         // called at each step, see Steps; for tests
}

// OnStop says what a stop does with what is in force.
type OnStop uint8

// A stop keeps what is in force, or undoes it.
const (
	Keep OnStop = iota
	Undo
)

const (
	defaultStopTime   = 10 * time.Second
	defaultOffenderV6 = 64
)

// Steps are the points at which Options.Step is called, in the order in which
// one order passes them. A crash at any of them loses nothing.
func Steps() []string {
	return []string{
		"taken",   // an order is in hand, nothing is written
		"written", // its intent is in the journal
		"synced",  // and on the disk, where the mechanism asks for it
		"apply",   // the mechanism is about to act
		"applied", // it has acted, nobody knows
		"settled", // what came of it is in the journal
		"end",     // its time is up, or a person ended it
		"undo",    // the mechanism is about to undo
		"undone",  // it has undone, nobody knows
		"over",    // that it is over is in the journal
	}
}

// Executor carries orders out on this host.
type Executor struct {
	o       Options
	inbox   chan *submission
	calls   chan func()
	results chan *batch
	listed  chan *listing
	synced  chan []*job
	ready   chan struct{} // closed when the first reconciliation is done
	stopped chan struct{} // closed when Run has returned
	once    sync.Once     // of Run
	tell    *teller

	loop // owned by the goroutine of Run
}

// New returns an executor. Nothing happens before Run.
func New(o Options) *Executor {
	if o.StopTime <= 0 {
		o.StopTime = defaultStopTime
	}
	if o.OffenderV6 <= 0 {
		o.OffenderV6 = defaultOffenderV6
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		start := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	x := &Executor{
		o: o, inbox: make(chan *submission), calls: make(chan func()), results: make(chan *batch),
		listed: make(chan *listing), synced: make(chan []*job), ready: make(chan struct{}), stopped: make(chan struct{}),
		tell: newTeller(o.Notify),
	}
	x.loop.init(x)
	return x
}

// Ready is closed once the host was made to agree with the journal after the
// start, as far as it could be.
func (x *Executor) Ready() <-chan struct{} { return x.ready }

// submission is what one call of Submit or Do brings.
type submission struct {
	orders  []riposte.Order
	entries []*journal.Entry // of the orders
	bad     map[int]error    // why an order has none
	next    int              // orders taken so far
	written chan error
	answers *answers // nil for Submit
}

// Submit hands orders over and returns once their intents are in the journal,
// where they outlive the process. What becomes of them is told by Notify. The
// orders must not be changed afterwards. An error means that some intents could
// not be written; their receipts say so, too.
func (x *Executor) Submit(ctx context.Context, orders []riposte.Order) error {
	_, err := x.submit(ctx, orders, nil)
	return err
}

// Do is Submit that waits for what becomes of the orders: one receipt for each,
// in their order.
func (x *Executor) Do(ctx context.Context, orders []riposte.Order) ([]riposte.Receipt, error) {
	a := &answers{receipts: make([]riposte.Receipt, len(orders)), left: len(orders), done: make(chan struct{})}
	if len(orders) == 0 {
		return nil, nil
	}
	// Orders that were taken have their receipts, even if those could not be
	// written.
	if taken, err := x.submit(ctx, orders, a); !taken {
		return nil, err
	}
	select {
	case <-a.done:
		return a.receipts, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-x.stopped:
		return nil, ErrStopped
	}
}

func (x *Executor) submit(ctx context.Context, orders []riposte.Order, a *answers) (taken bool, err error) {
	if len(orders) == 0 {
		return false, nil
	}
	s := &submission{orders: orders, entries: make([]*journal.Entry, len(orders)), bad: map[int]error{}, written: make(chan error, 1), answers: a}
	for i := range orders { // beside what the executor does meanwhile
		var err error
		if s.entries[i], err = journal.NewEntry(&orders[i], x.o.Now()); err != nil {
			s.bad[i] = err
		}
	}
	select {
	case x.inbox <- s:
	case <-ctx.Done():
		return false, ctx.Err()
	case <-x.stopped:
		return false, ErrStopped
	}
	select {
	case err := <-s.written:
		return true, err
	case <-ctx.Done():
		return true, ctx.Err()
	case <-x.stopped:
		return true, ErrStopped
	}
}

// answers collects the receipts that a caller of Do waits for.
type answers struct {
	receipts []riposte.Receipt
	left     int
	done     chan struct{}
}

func (a *answers) set(i int, r riposte.Receipt) {
	if a == nil {
		return
	}
	a.receipts[i] = r
	if a.left--; a.left == 0 {
		close(a.done)
	}
}

// call runs do in the goroutine that owns all state and waits for it.
func (x *Executor) call(ctx context.Context, do func()) error {
	done := make(chan struct{})
	select {
	case x.calls <- func() { do(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-x.stopped:
		return ErrStopped
	}
	select {
	case <-done:
		return nil
	case <-x.stopped:
		return ErrStopped
	}
}
