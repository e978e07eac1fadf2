package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func open(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func fresh(t testing.TB) *Ledger { return open(t, filepath.Join(t.TempDir(), "fleet.db")) }

func address(t testing.TB, text string) riposte.Target {
	t.Helper()
	a, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// receipt is one of the command drop.
func receipt(order string, what riposte.Outcome, target riposte.Target, sec int) riposte.Receipt {
	return riposte.Receipt{
		Order: order, Time: start.Add(time.Duration(sec) * time.Second), Outcome: what, Command: "drop", Target: target,
		Mechanism: "nftables", Until: start.Add(time.Hour), By: "rule 5712", Rule: 5712, Alert: "1.1",
	}
}

func take(t testing.TB, l *Ledger, host string, seq uint64, rs ...riposte.Receipt) {
	t.Helper()
	if err := l.TakeAll(t.Context(), []Batch{{host, Place{Seq: seq}, rs}}); err != nil {
		t.Fatal(err)
	}
}

// inForce writes what is in force in short.
func inForce(t testing.TB, l *Ledger, f Filter) string {
	t.Helper()
	es, err := l.InForce(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, fmt.Sprintf("%s@%s:%s:%s", e.Target, e.Host, e.Order, e.Outcome))
	}
	return strings.Join(out, " ")
}

func TestWhatIsInForce(t *testing.T) {
	a := address(t, "192.0.2.1")
	again := func(r riposte.Receipt, until int) riposte.Receipt {
		r.Until = start.Add(time.Duration(until) * time.Second)
		return r
	}
	stray := receipt("", riposte.Undone, a, 9)
	stray.Command, stray.Rule, stray.Alert = "", 0, ""
	once := receipt("o1", riposte.Applied, a, 1)
	once.Once = true
	for _, c := range []struct {
		name string
		rs   []riposte.Receipt
		want string
	}{
		{"applied", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1)}, "192.0.2.1@001:o1:applied"},
		{"verified", []riposte.Receipt{receipt("o1", riposte.Verified, a, 1)}, "192.0.2.1@001:o1:verified"},
		{"never", []riposte.Receipt{
			receipt("o1", riposte.Refused, a, 1), receipt("o2", riposte.Failed, a, 2),
			receipt("o3", riposte.Expired, a, 3), receipt("o4", riposte.Observed, a, 4), once,
		}, ""},
		{"undone", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), receipt("o1", riposte.Undone, a, 2)}, ""},
		{"extended", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), again(receipt("o2", riposte.Extended, a, 2), 7200)}, "192.0.2.1@001:o1:extended"},
		{"extended and undone", []riposte.Receipt{
			receipt("o1", riposte.Applied, a, 1), receipt("o2", riposte.Extended, a, 2), receipt("o1", riposte.Undone, a, 3),
		}, ""},
		{"first heard of when extended", []riposte.Receipt{receipt("o2", riposte.Extended, a, 2)}, "192.0.2.1@001:o2:extended"},
		{"first heard of when extended, undone", []riposte.Receipt{receipt("o2", riposte.Extended, a, 2), receipt("o1", riposte.Undone, a, 3)}, ""},
		{"a later order is refused", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), receipt("o2", riposte.Refused, a, 2)}, "192.0.2.1@001:o1:applied"},
		{"a later order fails", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), receipt("o2", riposte.Failed, a, 2)}, "192.0.2.1@001:o1:applied"},
		{"cannot be undone", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), receipt("o1", riposte.Failed, a, 2)}, "192.0.2.1@001:o1:failed"},
		{"undone in the end", []riposte.Receipt{
			receipt("o1", riposte.Applied, a, 1), receipt("o1", riposte.Failed, a, 2), receipt("o1", riposte.Undone, a, 3),
		}, ""},
		{"repaired", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), receipt("o1", riposte.Repaired, a, 2)}, "192.0.2.1@001:o1:repaired"},
		{"taken over, then the first one ends", []riposte.Receipt{
			receipt("o1", riposte.Applied, a, 1), receipt("o2", riposte.Applied, a, 2), receipt("o1", riposte.Undone, a, 3),
		}, "192.0.2.1@001:o2:applied"},
		{"found on the host and removed", []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), stray}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			together, apart := fresh(t), fresh(t)
			take(t, together, "001", 1, c.rs...)
			for i, r := range c.rs {
				take(t, apart, "001", uint64(i+1), r)
			}
			for _, l := range []*Ledger{together, apart} {
				if got := inForce(t, l, Filter{}); got != c.want {
					t.Errorf("in force %q, want %q", got, c.want)
				}
			}
			rs, err := together.Receipts(t.Context(), Filter{Host: "001"})
			if err != nil || len(rs) != len(c.rs) {
				t.Errorf("%d receipts on record, %v; took %d", len(rs), err, len(c.rs))
			}
		})
	}
}

func TestEntriesTellAll(t *testing.T) {
	l := fresh(t)
	a := address(t, "192.0.2.0/24")
	r := receipt("o1", riposte.Applied, a, 1)
	r.Rung, r.Until = 2, time.Time{}
	e := receipt("o2", riposte.Extended, a, 5)
	e.Rung, e.By = 3, "uid 0 (root)"
	take(t, l, "007", 1, r, e)
	got, err := l.InForce(t.Context(), Filter{})
	want := []Entry{{
		Host: "007", Order: "o1", Command: "drop", Target: a, Mechanism: "nftables", Since: start.Add(time.Second),
		Until: start.Add(time.Hour), Rung: 3, Outcome: riposte.Extended, By: "rule 5712", Rule: 5712, Alert: "1.1",
	}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	// Repaired after a restart: it has been in force all the while.
	rep := receipt("o1", riposte.Repaired, a, 9)
	take(t, l, "007", 2, rep)
	if got, err := l.InForce(t.Context(), Filter{}); err != nil || !got[0].Since.Equal(start.Add(time.Second)) {
		t.Errorf("repaired, it is in force since %v, %v", got[0].Since, err)
	}
}

func TestReceiptsComeBackByteForByte(t *testing.T) {
	l := fresh(t)
	rs := []riposte.Receipt{
		{},
		{
			Order: "o\xff", Time: start, Outcome: riposte.Undone, Command: "c\x00d", Target: riposte.Target{Kind: riposte.File, Value: "/tmp/\xfe a"},
			Mechanism: "script x\xff", Until: start.Add(time.Second), Once: true, Rung: -1, Reason: "why\n", Output: "\x00\xff\xfe", By: "uid 0 (\xffroot)", Rule: 1 << 40, Alert: "a",
		},
		receipt("o2", riposte.Observed, riposte.Target{Kind: riposte.User, Value: "eve"}, 3),
	}
	take(t, l, "001", 4, rs...)
	for i := range rs {
		rs[i].Host = "001"
		if rs[i].Target == (riposte.Target{}) {
			rs[i].Target = riposte.Target{Kind: riposte.None}
		}
		got, err := l.ByOrder(t.Context(), rs[i].Order)
		if rs[i].Order == "" {
			got, err = l.Receipts(t.Context(), Filter{Target: "-"})
		}
		if d := cmp.Diff(rs[i:i+1], got); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	}
}

func TestTakingTwiceChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	l := open(t, path)
	a := address(t, "192.0.2.1")
	applied, undone := receipt("o1", riposte.Applied, a, 1), receipt("o1", riposte.Undone, a, 2)
	take(t, l, "001", 5, applied)
	take(t, l, "001", 5, receipt("o9", riposte.Applied, a, 7)) // the same message
	take(t, l, "001", 4, receipt("o9", riposte.Applied, a, 7)) // an older one
	take(t, l, "001", 6, undone)
	take(t, l, "001", 7, applied) // the same receipt in another message, late
	take(t, l, "002", 8, applied) // another host's
	take(t, l, "001", 9)          // nothing to be understood
	if got := inForce(t, l, Filter{}); got != "192.0.2.1@002:o1:applied" {
		t.Errorf("in force %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	if l.Position().Seq != 9 {
		t.Errorf("position %d after a restart, want 9", l.Position().Seq)
	}
	take(t, l, "003", 9, applied)
	if rs, err := l.ByOrder(t.Context(), "o1"); err != nil || len(rs) != 3 {
		t.Errorf("%d receipts, %v; want 3", len(rs), err)
	}
	var all []Batch
	for i, host := range []string{"004", "005", "006", "006", "005", "007"} {
		seq := []uint64{8, 9, 10, 10, 9, 12}[i]
		all = append(all, Batch{host, Place{Seq: seq}, []riposte.Receipt{receipt("o2", riposte.Applied, a, 1)}})
	}
	for range 2 {
		if err := l.TakeAll(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	if rs, err := l.ByOrder(t.Context(), "o2"); err != nil || len(rs) != 2 || rs[0].Host != "006" || rs[1].Host != "007" || l.Position().Seq != 12 {
		t.Errorf("%v, %v up to %d; want those of 006 and 007 up to 12", rs, err, l.Position().Seq)
	}
}

func TestATakeThatFailsLeavesNothing(t *testing.T) {
	l := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	one := []Batch{{"001", Place{Seq: 1}, []riposte.Receipt{receipt("o1", riposte.Applied, address(t, "192.0.2.1"), 1)}}}
	if err := l.TakeAll(ctx, one); !errors.Is(err, context.Canceled) {
		t.Errorf("taken in spite of the end: %v", err)
	}
	if l.Position().Seq != 0 || inForce(t, l, Filter{}) != "" {
		t.Error("it left something")
	}
	// A row of causes that was rolled back is not remembered.
	if _, err := l.db.Exec("CREATE TRIGGER no BEFORE INSERT ON in_force BEGIN SELECT raise(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	if err := l.TakeAll(t.Context(), one); err == nil {
		t.Error("no error")
	}
	if _, err := l.db.Exec("DROP TRIGGER no"); err != nil {
		t.Fatal(err)
	}
	take(t, l, "001", 1, receipt("o1", riposte.Applied, address(t, "192.0.2.1"), 1))
	if got := inForce(t, l, Filter{}); got != "192.0.2.1@001:o1:applied" {
		t.Errorf("in force %q", got)
	}
}

func TestFilters(t *testing.T) {
	l := fresh(t)
	user := riposte.Target{Kind: riposte.User, Value: "eve"}
	other := receipt("o3", riposte.Applied, user, 3)
	other.Command, other.Rule = "disable", 7
	take(t, l, "001", 1, receipt("o1", riposte.Applied, address(t, "192.0.2.1"), 1), receipt("o2", riposte.Applied, address(t, "192.0.2.0/24"), 2), other)
	take(t, l, "002", 2, receipt("o1", riposte.Verified, address(t, "192.0.2.1"), 4), receipt("o4", riposte.Applied, address(t, "2001:db8::1"), 5))
	for _, c := range []struct {
		f        Filter
		want     string // in force
		receipts string // newest first
	}{
		{
			Filter{}, "192.0.2.0/24@001:o2:applied 192.0.2.1@001:o1:applied 192.0.2.1@002:o1:verified 2001:db8::1@002:o4:applied eve@001:o3:applied",
			"o4@002 o1@002 o3@001 o2@001 o1@001",
		},
		{Filter{Target: "::ffff:192.0.2.1"}, "192.0.2.0/24@001:o2:applied 192.0.2.1@001:o1:applied 192.0.2.1@002:o1:verified", "o1@002 o2@001 o1@001"},
		{Filter{Target: "192.0.2.0/24"}, "192.0.2.0/24@001:o2:applied", "o2@001"},
		{Filter{Target: "eve"}, "eve@001:o3:applied", "o3@001"},
		{Filter{Host: "002"}, "192.0.2.1@002:o1:verified 2001:db8::1@002:o4:applied", "o4@002 o1@002"},
		{Filter{Command: "disable"}, "eve@001:o3:applied", "o3@001"},
		{Filter{Rule: 7}, "eve@001:o3:applied", "o3@001"},
		{Filter{Order: "o1"}, "192.0.2.1@001:o1:applied 192.0.2.1@002:o1:verified", "o1@002 o1@001"},
		{Filter{Since: start.Add(2 * time.Second), Before: start.Add(4 * time.Second)}, "192.0.2.0/24@001:o2:applied eve@001:o3:applied", "o3@001 o2@001"},
		{Filter{Limit: 1}, "192.0.2.0/24@001:o2:applied", "o4@002"},
		{Filter{Target: "192.0.2.9/8"}, "", ""},
	} {
		if got := inForce(t, l, c.f); got != c.want {
			t.Errorf("%+v: in force %q, want %q", c.f, got, c.want)
		}
		rs, err := l.Receipts(t.Context(), c.f)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rs {
			got = append(got, r.Order+"@"+r.Host)
		}
		if s := strings.Join(got, " "); s != c.receipts {
			t.Errorf("%+v: receipts %q, want %q", c.f, s, c.receipts)
		}
	}
}

func TestProgress(t *testing.T) {
	l := fresh(t)
	a := address(t, "192.0.2.1")
	for i := range 6 {
		host := fmt.Sprintf("%03d", i+1)
		rs := []riposte.Receipt{receipt("o1", riposte.Applied, a, 1), receipt("o2", riposte.Refused, a, 2)}
		if i >= 2 {
			rs = append(rs, receipt("o1", riposte.Verified, a, 2))
		}
		if i >= 5 {
			undone := receipt("o1", riposte.Undone, a, 3)
			undone.By = "uid 0 (root)" // of another cause
			rs = append(rs, undone)
		}
		take(t, l, host, uint64(i+1), rs...)
	}
	for id, want := range map[string]map[riposte.Outcome]int{
		"o1": {riposte.Applied: 2, riposte.Verified: 3, riposte.Undone: 1},
		"o2": {riposte.Refused: 6},
		"o3": {},
	} {
		got, err := l.Progress(t.Context(), id)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", id, err, d)
		}
	}
}

func TestOrders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	l := open(t, path)
	o := riposte.Order{
		ID: "o1", Command: riposte.Command{Name: "drop", Executable: "firewall-drop"}, Target: riposte.Target{Kind: riposte.User, Value: "\xffe"},
		Place: riposte.Place{All: true}, Timeout: time.Minute, Ladder: []time.Duration{time.Hour}, Issued: start, By: "rule 1",
		Alert: &riposte.Alert{ID: "1.1", FullLog: "a\xfflog", Raw: []byte{0, 255}},
	}
	changed := o
	changed.By = "somebody else"
	for _, step := range []struct {
		orders []riposte.Order
		seq    uint64
	}{{[]riposte.Order{o}, 3}, {[]riposte.Order{changed}, 2}, {nil, 7}} {
		if err := l.Issued(t.Context(), step.orders, Place{Seq: step.seq}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	got, err := l.Order(t.Context(), "o1")
	if d := cmp.Diff(&o, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if l.Ordered().Seq != 7 || l.Position().Seq != 0 {
		t.Errorf("ordered %d, position %d; want 7 and 0", l.Ordered().Seq, l.Position().Seq)
	}
	if _, err := l.Order(t.Context(), "o2"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an order that never was: %v", err)
	}
}

func count(t *testing.T, l *Ledger, table string) (n int) {
	t.Helper()
	if err := l.db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPrune(t *testing.T) {
	l := fresh(t)
	old := start.Add(-48 * time.Hour)
	var orders []riposte.Order
	var rs []riposte.Receipt
	for i := range lot + 10 {
		id := fmt.Sprintf("o%05d", i)
		r := receipt(id, riposte.Refused, address(t, fmt.Sprintf("10.0.%d.%d", i/250, i%250)), 0)
		r.Time = old.Add(time.Duration(i))
		orders = append(orders, riposte.Order{ID: id, Issued: old})
		rs = append(rs, r)
	}
	take(t, l, "001", 1, rs...)
	orders = append(orders, riposte.Order{ID: "kept", Issued: old}, riposte.Order{ID: "held", Issued: old}, riposte.Order{ID: "new", Issued: start})
	if err := l.Issued(t.Context(), orders, Place{Seq: 1}); err != nil {
		t.Fatal(err)
	}
	held := receipt("held", riposte.Applied, address(t, "192.0.2.1"), 0) // in force for ever
	held.Time, held.Until = old, time.Time{}
	silent := receipt("silent", riposte.Applied, address(t, "192.0.2.2"), 0) // its host never told the end
	silent.Time, silent.Until = old, old.Add(time.Minute)
	take(t, l, "002", 1<<20, held, silent, receipt("kept", riposte.Refused, address(t, "192.0.2.3"), 0))
	before := l.Position().Seq

	n, err := l.Prune(t.Context(), start.Add(-time.Hour))
	if err != nil || n != lot+12 {
		t.Errorf("pruned %d receipts, %v; want %d", n, err, lot+12)
	}
	if got := inForce(t, l, Filter{}); got != "192.0.2.1@002:held:applied" {
		t.Errorf("in force %q", got)
	}
	for table, want := range map[string]int{"receipts": 1, "causes": 2, "orders": 3, "in_force": 1} {
		if got := count(t, l, table); got != want {
			t.Errorf("%d %s are left, want %d", got, table, want)
		}
	}
	if l.Position().Seq != before {
		t.Error("the position moved")
	}
	if n, err := l.Prune(t.Context(), start.Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("pruned %d more, %v", n, err)
	}
	// What was removed is made anew.
	take(t, l, "001", 1<<21, receipt("o00001", riposte.Applied, address(t, "10.0.0.1"), 5))
	if got := inForce(t, l, Filter{Host: "001"}); got != "10.0.0.1@001:o00001:applied" {
		t.Errorf("in force %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Prune(ctx, start); !errors.Is(err, context.Canceled) {
		t.Errorf("pruned in spite of the end: %v", err)
	}
}

func TestForget(t *testing.T) {
	l := fresh(t)
	a := address(t, "192.0.2.1")
	take(t, l, "001", 1, receipt("o1", riposte.Applied, a, 1))
	take(t, l, "002", 2, receipt("o1", riposte.Applied, a, 1))
	if err := l.Forget(t.Context(), "001"); err != nil {
		t.Fatal(err)
	}
	if got := inForce(t, l, Filter{}); got != "192.0.2.1@002:o1:applied" {
		t.Errorf("in force %q", got)
	}
	if rs, err := l.ByOrder(t.Context(), "o1"); len(rs) != 2 || err != nil {
		t.Errorf("%d receipts, %v", len(rs), err)
	}

	// What comes late is on record, and no more.
	take(t, l, "001", 3, receipt("o2", riposte.Applied, a, 2), receipt("o2", riposte.Extended, a, 3))
	if got := inForce(t, l, Filter{}); got != "192.0.2.1@002:o1:applied" {
		t.Errorf("in force %q", got)
	}
	if rs, err := l.ByOrder(t.Context(), "o2"); len(rs) != 2 || err != nil {
		t.Errorf("%d receipts, %v", len(rs), err)
	}

	// More than a lot, on several hosts.
	for i, host := range []string{"003", "004", "005"} {
		var rs []riposte.Receipt
		for n := range lot/2 + 10 {
			rs = append(rs, receipt(fmt.Sprint("m", n), riposte.Applied, address(t, fmt.Sprintf("10.0.%d.%d", n/250, n%250)), 5))
		}
		take(t, l, host, uint64(4+i), rs...)
	}
	if err := l.Forget(t.Context(), "001", "003", "004", "005"); err != nil {
		t.Fatal(err)
	}
	if got := inForce(t, l, Filter{}); got != "192.0.2.1@002:o1:applied" {
		t.Errorf("in force %q", got)
	}
	if n := count(t, l, "receipts"); n != 4+3*(lot/2+10) {
		t.Errorf("%d receipts", n)
	}
	if err := l.Forget(t.Context()); err != nil { // nobody is removed
		t.Error(err)
	}
}

func TestADamagedLedgerIsPutAside(t *testing.T) {
	for _, c := range []struct {
		name string
		hurt func(b []byte) []byte
	}{
		{"something else", func([]byte) []byte { return []byte(strings.Repeat("not a database ", 1000)) }},
		{"a page", func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] ^= 0x55
			}
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fleet.db")
			l := open(t, path)
			take(t, l, "001", 5, receipt("o1", riposte.Applied, address(t, "192.0.2.1"), 1))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.hurt(b), 0o600); err != nil {
				t.Fatal(err)
			}
			l = open(t, path)
			if l.Position().Seq != 0 || l.Aside() == "" {
				t.Errorf("position %d, aside %q", l.Position().Seq, l.Aside())
			}
			if _, err := os.Stat(l.Aside()); err != nil {
				t.Error(err)
			}
			take(t, l, "001", 5, receipt("o1", riposte.Applied, address(t, "192.0.2.1"), 1))
			if got := inForce(t, l, Filter{}); got != "192.0.2.1@001:o1:applied" {
				t.Errorf("in force %q", got)
			}
		})
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	l := open(t, path)
	if _, err := l.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "newer riposte") {
		t.Errorf("opened: %v", err)
	}
}

// fanOut is what ten thousand hosts tell of one order.
func fanOut(b *testing.B, order string, what riposte.Outcome) []riposte.Receipt {
	rs := make([]riposte.Receipt, 10_000)
	for i := range rs {
		rs[i] = receipt(order, what, address(b, fmt.Sprintf("10.%d.%d.1", i/250, i%250)), i)
	}
	return rs
}

func BenchmarkTakeOneHost(b *testing.B) {
	l := fresh(b)
	seq := uint64(0)
	for b.Loop() {
		seq++
		take(b, l, "001", seq, fanOut(b, fmt.Sprint("o", seq), riposte.Applied)...)
	}
	b.ReportMetric(float64(seq)*10_000/b.Elapsed().Seconds(), "receipts/s")
}

// One order, ten thousand hosts, a message each, as they queue up.
func BenchmarkTakeFanOut(b *testing.B) {
	l := fresh(b)
	a := address(b, "192.0.2.1")
	seq := uint64(0)
	for b.Loop() {
		order := fmt.Sprint("o", seq)
		for i := 0; i < 10_000; {
			var some []Batch
			for range 250 {
				seq++
				some = append(some, Batch{fmt.Sprintf("%05d", i), Place{Seq: seq}, []riposte.Receipt{receipt(order, riposte.Verified, a, i)}})
				i++
			}
			if err := l.TakeAll(b.Context(), some); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "receipts/s")
}

func BenchmarkProgress(b *testing.B) {
	l := fresh(b)
	a := address(b, "192.0.2.1")
	var all []Batch
	for i := range 10_000 {
		all = append(all, Batch{fmt.Sprintf("%05d", i), Place{Seq: uint64(i + 1)}, []riposte.Receipt{receipt("o1", riposte.Verified, a, i)}})
	}
	if err := l.TakeAll(b.Context(), all); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if m, err := l.Progress(b.Context(), "o1"); err != nil || m[riposte.Verified] != 10_000 {
			b.Fatal(m, err)
		}
	}
}
