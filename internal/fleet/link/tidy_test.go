package link

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// tells has an agent tell what it did.
func (m *member) tells(agent string, rs ...riposte.Receipt) {
	m.t.Helper()
	b, err := m.codec.AppendReceipts(nil, &fleet.Receipts{Epoch: 1, N: 1, Receipts: rs})
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.js.Publish(m.t.Context(), fleet.ReceiptSubject(agent), b); err != nil {
		m.t.Fatal(err)
	}
}

// applied is a response without end.
func applied(order string, at time.Time) riposte.Receipt {
	return riposte.Receipt{Order: order, Time: at, Outcome: riposte.Applied, Command: "drop", Mechanism: "nftables",
		Target: riposte.Target{Kind: riposte.Address, Value: "192.0.2.1"}}
}

// onRecord writes which orders the ledger has receipts of, and from whom.
func (m *member) onRecord() string {
	m.t.Helper()
	rs, err := m.o.Ledger.Receipts(m.t.Context(), ledger.Filter{})
	if err != nil {
		m.t.Fatal(err)
	}
	var out []string
	for i := range rs {
		out = append(out, rs[i].Order+"@"+rs[i].Host)
	}
	return strings.Join(out, " ")
}

// inForce writes what is in force where.
func (m *member) inForce() string {
	m.t.Helper()
	es, err := m.o.Ledger.InForce(m.t.Context(), ledger.Filter{})
	if err != nil {
		m.t.Fatal(err)
	}
	var out []string
	for i := range es {
		out = append(out, fmt.Sprintf("%s@%s", es[i].Order, es[i].Host))
	}
	return strings.Join(out, " ")
}

// TestPruned: a server clears its ledger at its start and whenever it is time.
func TestPruned(t *testing.T) {
	b := newBed(t)
	m := b.server("one")
	now := time.Now()
	refused := func(order string, ago time.Duration) riposte.Receipt {
		r := applied(order, now.Add(-ago))
		r.Outcome = riposte.Refused
		return r
	}
	m.tells("001", refused("old", keepOrders+2*time.Hour), refused("older", keepOrders+time.Minute), refused("new", keepOrders-2*time.Hour))
	until(t, "they are in the ledger", func() bool { return strings.Contains(m.onRecord(), "new@001") })
	l, position := m.o.Ledger, m.o.Ledger.Position()

	ctx, cancel := context.WithCancel(t.Context())
	ticks, done := make(chan time.Time), make(chan error, 1)
	go func() { done <- m.prune(ctx, now.Add(-time.Hour), ticks) }()
	until(t, "what was too old an hour ago is gone", func() bool { return m.onRecord() == "new@001 older@001" })
	ticks <- now
	until(t, "what is too old is gone", func() bool { return m.onRecord() == "new@001" })
	ticks <- now
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if l.Position() != position {
		t.Error("the position has moved")
	}

	// The next start does, too.
	m.tells("001", refused("late", 2*keepOrders))
	until(t, "it is in the ledger", func() bool { return m.onRecord() == "new@001 late@001" })
	next := b.server("one again", func(o *ServerOptions) { o.Ledger = l })
	until(t, "it is gone", func() bool { return next.onRecord() == "new@001" })
	next.end()
}

// TestForgotten: what a removed agent held is in force no more, on each server,
// whoever removed it and whenever a server hears of it; its receipts stay.
func TestForgotten(t *testing.T) {
	b := newBed(t)
	one, two := b.server("one"), b.server("two")
	one.candidate(nil)
	until(t, "one leads", one.Leads)
	for _, id := range []string{"001", "002"} {
		b.enrolled(one, id)
		one.tells(id, applied("o-"+id, time.Now()))
	}
	for _, s := range []*member{one, two} {
		until(t, "both are in force", func() bool { return s.inForce() == "o-001@001 o-002@002" })
	}
	if _, err := two.Remove(t.Context(), "001"); err != nil {
		t.Fatal(err)
	}
	if got := two.inForce(); got != "o-002@002" {
		t.Errorf("in force after the removal: %q", got)
	}
	until(t, "the other server has forgotten it, too", func() bool { return one.inForce() == "o-002@002" })

	// What was on its way when it was removed.
	one.tells("001", applied("late", time.Now()))
	three := b.server("three") // which was away all the time
	for _, s := range []*member{one, two, three} {
		until(t, "the receipts are on record", func() bool { return strings.Count(s.onRecord(), "@001") == 2 })
		until(t, "only what is in force is in the list", func() bool { return s.inForce() == "o-002@002" })
	}
}
