package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"riposte"
	"riposte/internal/fleet"
)

// takeOrders takes orders as they come, and asks for those it may have missed:
// after every (re)connection, when the numbers of a subject leave a gap, and now
// and then, for the broker may fail to pass on what it should.
func (a *Agent) takeOrders(ctx context.Context) error {
	a.ask()
	retry := time.NewTimer(0)
	defer retry.Stop()
	var came []*nats.Msg
	for {
		if len(came) > 0 && a.inStep() {
			if err := a.take(ctx, came); err != nil {
				return err
			}
			came = nil
		}
		// What comes over a new connection waits until it is known what was missed:
		// dealt with first, it would stand for all that was issued before it.
		live := a.live
		if len(came) > 0 || !a.inStep() {
			live = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.resync:
			retry.Reset(0)
		case <-retry.C:
			if !a.nc.IsConnected() {
				a.synced.Store(false)
				continue // the connection asks when it is there
			}
			switch err := a.sync(ctx); {
			case err == nil:
				retry.Reset(a.o.Recheck*3/4 + rand.N(a.o.Recheck/2)) // not all agents at once
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, context.Canceled): // the connection is a new one: it is asked at once
				a.synced.Store(false)
				retry.Reset(time.Second)
				continue
			default:
				a.synced.Store(false)
				retry.Reset(time.Second)
				a.o.Log.Warn("the server cannot be asked for orders", "error", err)
			}
			a.overlap = len(came) + len(a.live)
		case <-a.refused.due():
			a.refused.tell()
		case m := <-live:
			came = a.gather(m)
		}
	}
}

// inStep reports whether all that was issued before this connection was made is
// dealt with.
func (a *Agent) inStep() bool { return a.caughtUp && a.nc.Stats().Reconnects == a.connection }

// gather takes along what has arrived meanwhile.
func (a *Agent) gather(m *nats.Msg) []*nats.Msg {
	ms := []*nats.Msg{m}
	for len(ms) < 1024 {
		select {
		case m := <-a.live:
			ms = append(ms, m)
		default:
			return ms
		}
	}
	return ms
}

// take deals with live messages. An error means that the journal cannot be
// written.
func (a *Agent) take(ctx context.Context, ms []*nats.Msg) error {
	var es []fleet.Envelope
	for _, m := range ms {
		known := slog.LevelWarn
		if a.overlap > 0 {
			a.overlap--
			known = slog.LevelDebug
		}
		e, err := fleet.Open(signedCore(m), a.o.Credentials.OrderKeys, a.o.Credentials.ID)
		if err != nil {
			a.refused.add("subject", m.Subject, "error", err)
			continue
		}
		if m.Subject != fleet.LiveSubject(e.To) || (e.Seq == 0) != (e.Kind == fleet.KindBundle) {
			a.refused.add("subject", m.Subject, "error", "it came another way", "to", e.To, "kind", e.Kind, "sequence", e.Seq)
			continue
		}
		if e.Seq == 0 { // stands outside the log, and has a version
			es = append(es, e)
			continue
		}
		seen := a.had(e.To)
		if e.Seq <= seen && !a.anew(&e) {
			a.o.Log.Log(ctx, known, "an order that was here before is left out", "sequence", e.Seq)
			continue
		}
		if last, err := strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64); err != nil || last > seen || e.Seq <= seen {
			a.lost.Store(true)
			a.ask() // what was missed comes before this, with this
			break
		}
		a.admit(&e)
		es = append(es, e)
	}
	return a.carry(ctx, es)
}

// onItsWay is how old an order is at most that may still be on its way.
const onItsWay = 5 * time.Second

// had is the sequence of the last order to an addressee.
func (a *Agent) had(to string) uint64 { return max(a.seen[to], a.o.At.Seq) }

// anew reports whether an order in a place that is behind is of a log that has
// begun anew: one that has been dealt with was not issued later than all of them.
func (a *Agent) anew(e *fleet.Envelope) bool {
	return !a.admitted.IsZero() && e.Issued.After(a.admitted)
}

// admit lets an order in.
func (a *Agent) admit(e *fleet.Envelope) {
	a.seen[e.To] = e.Seq
	if e.Issued.After(a.admitted) {
		a.admitted = e.Issued
	}
}

// begin goes back to the place before an order of a log that has begun anew.
func (a *Agent) begin(e *fleet.Envelope) {
	a.o.Log.Warn("the server's log of orders has begun anew, as from a backup", "cursor", a.Cursor(), "sequence", e.Seq)
	clear(a.seen)
	a.o.At.Seq, a.at.Seq = e.Seq-1, e.Seq-1
	a.cursor.Store(e.Seq - 1)
}

// sync asks for all orders after the cursor, or after the last that surely
// nothing is missing before.
func (a *Agent) sync(ctx context.Context) (err error) {
	id := a.o.Credentials.ID
	after := a.Cursor()
	connection := a.nc.Stats().Reconnects
	hearing := a.synced.Load() && !a.lost.Load() && len(a.live) == 0 // nothing should be missing but what was issued just now
	unheard := 0
	if a.lost.Swap(false) {
		after = min(after, a.had(fleet.All), a.had(id))
		defer func() {
			if err != nil {
				a.lost.Store(true)
			}
		}()
	}
	for {
		r, err := a.request(ctx, after)
		if err != nil {
			return err
		}
		es, upTo := a.missed(&r, after)
		after = upTo
		if hearing {
			for i := range es {
				if e := &es[i]; e.Seq > 0 && r.Now.Sub(e.Issued) > min(a.o.Recheck/2, onItsWay) {
					unheard++
				}
			}
		}
		if err := a.carry(ctx, es); err != nil {
			return err
		}
		if !r.More {
			// Everything up to the head is dealt with, whomever it was for. A head that
			// nothing signed vouches for does not move the cursor.
			for _, to := range []string{fleet.All, id} {
				a.seen[to] = max(a.seen[to], a.Cursor())
			}
			a.caughtUp, a.connection = true, connection
			if !a.synced.Swap(true) {
				a.tell() // with the new cursor
				a.o.Log.Info("connected to the server", "orders_missed", len(r.Orders), "head", r.Head)
			}
			break
		}
		if len(r.Orders) == 0 {
			return errors.New("the server says that there is more, and gives nothing")
		}
	}
	if unheard > 0 {
		if err := a.listen(); err != nil {
			return err
		}
		a.ask() // for what came before that took effect
		a.o.Log.Warn("the broker did not pass on orders; subscribed to them anew", "orders", unheard)
	}
	return nil
}

// request asks the server once, and learns how far its clock is off.
func (a *Agent) request(ctx context.Context, after uint64) (r fleet.SyncReply, err error) {
	q, err := fleet.Encode(fleet.SyncRequest{After: after, Issued: a.admitted, Bundle: a.version.Load()})
	if err != nil {
		return r, err
	}
	before := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a.asking.Store(&cancel)
	m, err := a.nc.RequestWithContext(ctx, fleet.SyncSubject(a.o.Credentials.ID), q)
	if err != nil {
		return r, err
	}
	if err := fleet.Decode(m.Data, &r); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	now := time.Now()
	a.skew = r.Now.Sub(before.Add(now.Sub(before) / 2))
	if a.skew.Abs() <= now.Sub(before)/2 {
		a.skew = 0 // the way of the question explains it
	}
	return r, nil
}

// missed opens what a server answered, and returns what is new of it and the
// sequence to go on after.
func (a *Agent) missed(r *fleet.SyncReply, after uint64) (es []fleet.Envelope, upTo uint64) {
	id := a.o.Credentials.ID
	if r.Bundle != nil {
		if e, err := fleet.Open(*r.Bundle, a.o.Credentials.OrderKeys, id); err != nil {
			a.o.Log.Error("a bundle that claims to be the server's is refused", "error", err)
		} else if e.Kind != fleet.KindBundle || e.Seq != 0 {
			a.o.Log.Error("what comes in the place of a bundle is refused", "kind", e.Kind, "sequence", e.Seq)
		} else {
			es = append(es, e)
		}
	}
	for _, s := range r.Orders {
		e, err := fleet.Open(s, a.o.Credentials.OrderKeys, id)
		switch {
		case err != nil:
			a.o.Log.Error("an order that claims to be the server's is refused", "error", err)
			continue
		case e.Seq == 0 || e.Kind == fleet.KindBundle:
			a.o.Log.Error("what comes in the place of an order is refused", "kind", e.Kind, "sequence", e.Seq)
			continue
		case e.Seq <= max(after, a.had(e.To)) && a.anew(&e):
			a.begin(&e)
		case e.Seq <= after:
			a.o.Log.Warn("an order that was here before is left out", "sequence", e.Seq)
			continue
		}
		after = e.Seq
		if e.Seq > a.had(e.To) { // else it came past the one that was missing
			a.admit(&e)
			es = append(es, e)
		}
	}
	return es, after
}

// carry deals with messages in their order: orders that follow each other go to
// the executor at once.
func (a *Agent) carry(ctx context.Context, es []fleet.Envelope) error {
	var orders []riposte.Order
	upTo := a.at
	flush := func(now bool) error {
		if len(orders) > 0 {
			if err := a.o.Orders(ctx, orders); err != nil && ctx.Err() == nil {
				return fmt.Errorf("orders cannot be taken: %w", err)
			}
			orders = nil
		}
		if upTo != a.at && ctx.Err() == nil {
			a.at = upTo
			a.cursor.Store(upTo.Seq)
			return a.o.SetAt(upTo, now)
		}
		return nil
	}
	reach := func(e *fleet.Envelope) {
		upTo.Seq = max(upTo.Seq, e.Seq)
		if e.Seq > 0 && e.Issued.After(upTo.Issued) {
			upTo.Issued = e.Issued
		}
	}
	for i := range es {
		e := &es[i]
		if e.Kind == fleet.KindOrder {
			var o riposte.Order
			if err := fleet.Decode(e.Body, &o); err != nil {
				a.o.Log.Error("an order is not understood", "sequence", e.Seq, "error", err)
			} else {
				o.Issued = o.Issued.Add(-a.skew) // by this host's clock
				orders = append(orders, o)
			}
			reach(e)
			continue
		}
		if err := flush(false); err != nil {
			return err
		}
		if err := a.other(ctx, e); err != nil {
			a.o.Log.Error("what the server wants cannot be done", "kind", e.Kind, "error", err)
		}
		reach(e)
		// An undo that came twice would take back what was ordered after it.
		if err := flush(true); err != nil {
			return err
		}
	}
	return flush(false)
}

// other deals with what is no order.
func (a *Agent) other(ctx context.Context, e *fleet.Envelope) error {
	switch e.Kind {
	case fleet.KindUndo:
		var u fleet.Undo
		if err := fleet.Decode(e.Body, &u); err != nil {
			return err
		}
		return a.o.Undo(ctx, u)
	case fleet.KindBundle:
		var b fleet.Bundle
		if err := fleet.Decode(e.Body, &b); err != nil {
			return err
		}
		if !b.Made.After(a.made) {
			return nil
		}
		if err := a.o.Bundle(ctx, b); err != nil {
			words := fmt.Sprintf("version %d: %v", b.Version, err)
			a.bundleError.Store(&words)
			return fmt.Errorf("the bundle of version %d is not used: %w", b.Version, err)
		}
		a.version.Store(b.Version)
		a.made = b.Made
		a.bundleError.Store(nil)
		return nil
	case fleet.KindRotate:
		return a.beginKey(e.Issued)
	}
	return errors.New("this riposte does not know what that is")
}
