package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"riposte"
	"riposte/internal/aggregate"
	"riposte/internal/api"
	"riposte/internal/enforce"
	"riposte/internal/executor"
	"riposte/internal/guard"
	"riposte/internal/journal"
	"riposte/internal/response"
	"riposte/internal/settings"
)

// aggregator has the executor do what the book of aggregation wants.
type aggregator struct {
	all      func(context.Context, func(*journal.Response) error) error // all in force that may be aggregated, from the journal
	executor *executor.Executor
	ids      *response.IDs
	log      *slog.Logger
	acts     func() bool // whether this host carries responses out
	order    func(id string) *riposte.Order
	sent     func([]riposte.Order)

	mu   sync.Mutex
	book *aggregate.Book
	wake chan struct{}
}

// levels are what the settings ask for, as far as the guard would let it pass.
func levels(s *settings.Settings) (v4, v6 []aggregate.Level) {
	add := func(to *[]aggregate.Level, bits, count, widest int) {
		if count > 0 && bits >= widest {
			*to = append(*to, aggregate.Level{Bits: bits, Count: count})
		}
	}
	add(&v4, 24, s.Aggregate.IPv4.P24, s.Guard.WidestIPv4)
	add(&v6, 64, s.Aggregate.IPv6.P64, s.Guard.WidestIPv6)
	add(&v6, 56, s.Aggregate.IPv6.P56, s.Guard.WidestIPv6)
	add(&v6, 48, s.Aggregate.IPv6.P48, s.Guard.WidestIPv6)
	return v4, v6
}

// newAggregator returns an aggregator that knows what is in force. Only
// mechanisms that can say what they hold take prefixes: whether a script does
// nobody knows.
func newAggregator(ctx context.Context, s *settings.Settings, g *guard.Guard, mechanisms []enforce.Mechanism, j *journal.Journal) (*aggregator, error) {
	v4, v6 := levels(s)
	a := &aggregator{wake: make(chan struct{}, 1), all: j.LoadOrders}
	if len(v4) == 0 { // as usual; there may be very many
		a.all = j.LoadIPv6
	}
	fit := map[string]bool{}
	for _, m := range mechanisms {
		if _, lists := m.(enforce.Lister); lists && m.Kind() == riposte.Address {
			fit[m.Name()] = true
		}
	}
	a.book = aggregate.New(aggregate.Options{
		Levels4: v4, Levels6: v6,
		Protected: func(p netip.Prefix) bool { return g.Protected(enforce.AddressTarget(p)) != nil },
		Fit:       func(name string) bool { return fit[name] },
	})
	return a, a.load(ctx)
}

// load reads what is in force anew.
func (a *aggregator) load(ctx context.Context) error {
	var entries []aggregate.Entry
	err := a.all(ctx, func(r *journal.Response) error {
		if r.Phase == journal.Held {
			entries = append(entries, aggregate.Entry{
				Key: r.Key(), Mechanism: r.Mechanism, Order: r.Order, Until: r.Until, By: r.By, Rule: r.Rule, Force: r.Force,
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.book.Load(entries)
	return nil
}

// note is told every receipt.
func (a *aggregator) note(r *riposte.Receipt) {
	a.mu.Lock()
	a.book.Note(r, time.Now())
	a.mu.Unlock()
	a.stir()
}

func (a *aggregator) stir() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// recount is how often it is asked whether receipts were left out.
const recount = time.Minute

// run aggregates until ctx ends.
func (a *aggregator) run(ctx context.Context) error {
	tick := time.NewTicker(recount)
	defer tick.Stop()
	missed := uint64(0)
	a.stir() // for what was found at the start
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-tick.C:
			s, err := a.executor.Status(ctx)
			if err != nil || s.Missed == missed {
				continue
			}
			missed = s.Missed
			if err := a.load(ctx); err != nil {
				a.log.Error("cannot read what is in force, to aggregate it", "error", err)
				continue
			}
		}
		if a.acts() {
			a.act(ctx)
		}
	}
}

// act does what the book wants. What comes of it is noted by receipts.
func (a *aggregator) act(ctx context.Context) {
	a.mu.Lock()
	acts := a.book.Next(time.Now())
	a.mu.Unlock()
	if orders := a.orders(acts.Asks); len(orders) > 0 {
		if err := a.executor.Submit(ctx, orders); err != nil && ctx.Err() == nil {
			a.log.Error("cannot aggregate", "error", err)
			a.denied(acts.Asks)
		}
	}
	covered := map[netip.Prefix][]riposte.Key{}
	for _, c := range acts.Covered {
		covered[c.By] = append(covered[c.By], c.Key)
	}
	for by, keys := range covered {
		_, err := a.executor.Undo(ctx, executor.Selection{Keys: keys, Reason: "covered by " + by.String(), Covered: true}, "riposte", nil)
		if err != nil && ctx.Err() == nil && !errors.Is(err, executor.ErrNothing) {
			a.log.Warn("what a prefix covers could not be taken back; it is tried again", "prefix", by, "error", err)
		}
	}
}

func (a *aggregator) denied(asks []aggregate.Ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ask := range asks {
		a.book.Denied(ask)
	}
}

// orders makes orders of what is asked for. Every rung of their ladder lasts as
// long as the first, so that they end when they are to and their offender stays
// where he stands.
func (a *aggregator) orders(asks []aggregate.Ask) []riposte.Order {
	var out []riposte.Order
	for _, ask := range asks {
		like := a.order(ask.Like)
		now := time.Now()
		time := ask.Until.Sub(now)
		if like == nil || time <= 0 {
			a.denied([]aggregate.Ask{ask})
			continue
		}
		out = append(out, riposte.Order{
			ID: a.ids.New(now), Command: like.Command, Target: enforce.AddressTarget(ask.Prefix), Place: like.Place,
			Timeout: time, Ladder: slices.Repeat(append(like.Ladder[:0:0], time), len(like.Ladder)),
			Issued: now, By: aggregate.By(ask.Addresses, ask.Home),
		})
	}
	if len(out) > 0 {
		a.sent(out)
	}
	return out
}

// newAggregator returns the daemon's aggregator.
func (d *Daemon) newAggregator(s *settings.Settings) (*aggregator, error) {
	a, err := newAggregator(context.Background(), s, d.guard, d.mechanisms(), d.journal)
	if err != nil {
		return nil, err
	}
	a.executor, a.ids, a.log = d.executor, &d.ids, d.log
	a.acts = func() bool { return d.world.Load().Observing == "" }
	a.sent = d.recent.add
	a.order = func(id string) *riposte.Order {
		if o := d.recent.get(id); o != nil {
			return o
		}
		o, err := d.journal.Order(context.Background(), id)
		if err != nil {
			d.log.Warn("cannot aggregate like an order that cannot be read", "order", id, "error", err)
			return nil
		}
		return o
	}
	return a, nil
}

// addresses is how many addresses a block stands for, 0 when it is no aggregate,
// or only a piece of one.
func (a *aggregator) addresses(b *api.Block) int {
	n, home, ok := aggregate.Parse(b.By)
	if !ok || enforce.AddressTarget(home) != b.Target {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return cmp.Or(a.book.Addresses(riposte.Key{Command: b.Command, Target: b.Target}), n)
}

// inside returns what is to be freed beside a prefix that is to be.
func (a *aggregator) inside(command string, target riposte.Target) []riposte.Key {
	p, ok := target.Prefix()
	if !ok || p.IsSingleIP() {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.book.Inside(command, p)
}

// carve takes a target out of the prefixes that were made of its neighbours: it
// puts pieces in their place. It returns a receipt for each prefix.
func (a *aggregator) carve(ctx context.Context, command string, target riposte.Target, by string) ([]riposte.Receipt, error) {
	p, ok := target.Prefix()
	if !ok {
		return nil, nil
	}
	a.mu.Lock()
	cuts, err := a.book.Carve(command, p, time.Now())
	a.mu.Unlock()
	if err != nil {
		return nil, &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("%s cannot be taken out of the prefix that covers it: %v", target, err),
			Hint: "unblock the prefix, or riposte allow the address"}
	}
	var out []riposte.Receipt
	for i, cut := range cuts {
		r, err := a.cut(ctx, cut, target, by)
		if err != nil {
			a.mu.Lock()
			for _, left := range cuts[i:] {
				a.book.Stay(left)
			}
			a.mu.Unlock()
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// cut replaces one prefix by its pieces, first these, then it, so that nobody
// gets through meanwhile.
func (a *aggregator) cut(ctx context.Context, cut aggregate.Carving, target riposte.Target, by string) (riposte.Receipt, error) {
	rs, err := a.executor.Do(ctx, a.orders(cut.Pieces))
	if err != nil {
		return riposte.Receipt{}, err
	}
	kept := 0
	for _, r := range rs {
		switch r.Outcome {
		case riposte.Applied, riposte.Verified, riposte.Extended:
			kept++
		}
	}
	why := fmt.Sprintf("%s was taken out of it, %d of %d pieces of it go on", target, kept, len(cut.Pieces))
	done, err := a.executor.Undo(ctx, executor.Selection{Keys: []riposte.Key{cut.Key}, Reason: why, Covered: true}, by, nil)
	if err != nil {
		return riposte.Receipt{}, err
	}
	r := done[0]
	r.Reason = fmt.Sprintf("taken out of %s, of which %d of %d pieces go on", cut.Prefix, kept, len(cut.Pieces))
	r.Target = target
	return r, nil
}
