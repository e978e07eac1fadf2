package daemon

import (
	"context"
	"slices"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// await waits a little for what the hosts say about an order, so that whoever
// gave it by hand sees it.
func (s *server) await(ctx context.Context, order string, to []string, rs []riposte.Receipt) []riposte.Receipt {
	want := s.expected(to)
	deadline := time.Now().Add(awaitReceipts)
	for time.Now().Before(deadline) {
		asked := time.Now()
		outcomes, err := s.ledger.Progress(ctx, order)
		answered := 0
		for _, n := range outcomes {
			answered += n
		}
		if err != nil || answered >= want {
			break
		}
		select {
		case <-time.After(max(20*time.Millisecond, 4*time.Since(asked))): // to count ten thousand takes time, too
		case <-ctx.Done():
			return rs
		}
	}
	list, err := s.ledger.ByOrder(ctx, order)
	if err != nil {
		s.log.Warn("what the hosts did cannot be read", "order", order, "error", err)
	}
	return append(rs, latest(list)...)
}

// awaitReceipts is how long a person is kept waiting for the agents. Those that
// are away answer when they are back.
const awaitReceipts = 5 * time.Second

// expected is how many agents can be expected to answer now.
func (s *server) expected(to []string) (n int) {
	l := s.link.Load()
	if slices.Contains(to, fleet.All) {
		_, _, n = l.Count()
		return n
	}
	for _, id := range to {
		if l.Present(id) {
			n++
		}
	}
	return n
}

// latest keeps the last receipt of each host.
func latest(rs []riposte.Receipt) []riposte.Receipt {
	at := map[string]int{}
	var out []riposte.Receipt
	for _, r := range rs {
		if i, ok := at[r.Host]; ok {
			out[i] = r
			continue
		}
		at[r.Host] = len(out)
		out = append(out, r)
	}
	return out
}

// awaitUndone waits a little until what was in force on other hosts is not any
// more.
func (s *server) awaitUndone(ctx context.Context, list []ledger.Entry, to []string, rs []riposte.Receipt) ([]riposte.Receipt, error) {
	waiting := map[string]ledger.Entry{}
	for _, e := range list {
		if slices.Contains(to, fleet.All) || slices.Contains(to, e.Host) {
			waiting[e.Host+" "+e.Order] = e
		}
	}
	if len(waiting) == 0 && len(rs) == 0 {
		return nil, &api.Error{Status: 404, Message: "nothing of that is in force on any host", Hint: "hosts that are away are told when they return; see riposte list --fleet"}
	}
	deadline := time.Now().Add(awaitReceipts)
	for len(waiting) > 0 && time.Now().Before(deadline) {
		for key, e := range waiting {
			got, err := s.ledger.Receipts(ctx, ledger.Filter{Host: e.Host, Order: e.Order, Limit: 1})
			if err != nil {
				return rs, err
			}
			if len(got) > 0 && got[0].Outcome == riposte.Undone {
				rs = append(rs, got[0])
				delete(waiting, key)
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return rs, ctx.Err()
		}
	}
	for _, e := range waiting {
		rs = append(rs, riposte.Receipt{Order: e.Order, Host: e.Host, Time: time.Now().UTC(), Outcome: riposte.Failed, Command: e.Command, Target: e.Target,
			Mechanism: e.Mechanism, Reason: "agent " + e.Host + " has not answered yet; it is told when it is there"})
	}
	return rs, nil
}
