package ledger

import (
	"path/filepath"
	"testing"

	"riposte"
)

// TestRewind: a stream is taken again from its beginning, and what comes again
// changes nothing; also after a restart.
func TestRewind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.db")
	l := open(t, path)
	a := address(t, "192.0.2.1")
	all := []Batch{
		{"001", Place{Seq: 7, Time: start}, []riposte.Receipt{receipt("o1", riposte.Applied, a, 1)}},
		{"002", Place{Seq: 9, Time: start.Add(1)}, []riposte.Receipt{receipt("o1", riposte.Applied, a, 1)}},
	}
	if err := l.TakeAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if err := l.Issued(t.Context(), nil, Place{Seq: 5, Time: start}); err != nil {
		t.Fatal(err)
	}
	reopen := func() {
		t.Helper()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, path)
	}
	reopen()
	if l.Position() != all[1].At || l.Ordered() != (Place{Seq: 5, Time: start}) {
		t.Errorf("at %+v and %+v", l.Position(), l.Ordered())
	}
	if err := l.Rewind(t.Context(), Receipts); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if l.Position() != (Place{}) || l.Ordered().Seq != 5 {
			t.Errorf("at %+v and %+v", l.Position(), l.Ordered())
		}
		reopen()
	}
	all[0].At, all[1].At = Place{Seq: 1, Time: start.Add(5)}, Place{Seq: 2, Time: start.Add(6)}
	all = append(all, Batch{"003", Place{Seq: 3, Time: start.Add(7)}, []riposte.Receipt{receipt("o1", riposte.Applied, a, 1)}})
	if err := l.TakeAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	reopen()
	if rs, err := l.ByOrder(t.Context(), "o1"); err != nil || len(rs) != 3 || l.Position() != all[2].At {
		t.Errorf("%d receipts up to %+v, %v", len(rs), l.Position(), err)
	}
}
