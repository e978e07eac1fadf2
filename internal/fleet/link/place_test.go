package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"riposte/internal/fleet"
	"riposte/internal/fleet/ledger"
)

// anew puts an empty stream in the place of one, as a broker with a new disk has.
func (m *member) anew(name string) {
	m.t.Helper()
	info, err := m.js.Stream(m.t.Context(), name)
	if err != nil {
		m.t.Fatal(err)
	}
	config := info.CachedInfo().Config
	config.FirstSeq = 0
	if err := m.js.DeleteStream(m.t.Context(), name); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.js.CreateStream(m.t.Context(), config); err != nil {
		m.t.Fatal(err)
	}
}

// TestReceiptsRewound: a ledger that is ahead of the broker, because that has
// begun anew or lost the end of its stream, reads all that there is, also when the
// stream has grown past the old place meanwhile.
func TestReceiptsRewound(t *testing.T) {
	for _, more := range []int{1, 3, 10} {
		b := newBed(t)
		l, err := ledger.Open(t.TempDir() + "/fleet.db")
		if err != nil {
			t.Fatal(err)
		}
		m := b.server("one", func(o *ServerOptions) { o.Ledger = l })
		want := 0
		tell := func(name string, n int) {
			for i := range n {
				m.tells("001", applied(fmt.Sprint(name, i), time.Now()))
				want++
			}
		}
		tell("before", 3)
		count := func() int {
			rs, err := l.Receipts(t.Context(), ledger.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			return len(rs)
		}
		until(t, "all are on record", func() bool { return count() == want })
		m.end()

		m = b.server("one, away", func(o *ServerOptions) { o.URLs, o.Connect = b.broker.URL(), b.broker.Options() })
		m.anew(fleet.ReceiptStream)
		tell("after", more)
		m.end()
		var said diary
		m = b.server("one", func(o *ServerOptions) { o.Ledger, o.Log = l, said.logger() })
		until(t, fmt.Sprintf("%d receipts are on record (%d of them new)", want, more), func() bool { return count() == want })
		if said.count("lost receipts") != 1 {
			t.Errorf("it is said %d times", said.count("lost receipts"))
		}
		m.end()

		// Nothing is read again that need not be.
		m = b.server("one", func(o *ServerOptions) { o.Ledger, o.Log = l, said.logger() })
		tell("at last", 1)
		until(t, "it goes on", func() bool { return count() == want })
		if said.count("lost receipts") != 1 {
			t.Error("it is said again")
		}
		m.end()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// streamDir finds the folder of a stream in a broker's store.
func (b *bed) streamDir(name string) (dir string) {
	b.t.Helper()
	if err := filepath.WalkDir(b.store, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == name {
			dir = path
		}
		return err
	}); err != nil || dir == "" {
		b.t.Fatalf("no folder of %s in the store: %v", name, err)
	}
	return dir
}

// TestEventsRewound: what is on record as judged, and the broker has lost, does
// not stand for what has come in its place since.
func TestEventsRewound(t *testing.T) {
	for _, c := range []struct {
		name    string
		kept    int  // of three messages that were judged, when the power was cut
		more    int  // new ones
		forgets bool // the broker, how far events are judged
	}{
		{"begun anew, few since", 0, 2, true},
		{"begun anew, many since", 0, 5, true},
		{"the end is lost, few since", 2, 1, false},
		{"the end is lost, many since", 2, 6, false},
		{"all is lost but the record, few since", 0, 2, false},
		{"all is lost but the record, many since", 0, 7, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			var m *member
			begin := func() {
				m = b.server("one", func(o *ServerOptions) { o.Alone = true })
				m.candidate(nil)
				until(t, "it leads", m.Leads)
			}
			again := func(between func()) {
				m.end()
				b.broker.Close()
				between()
				b.start()
				begin()
			}
			begin()
			positions := map[string]string{}
			judge := func(from, to int) {
				t.Helper()
				r := m.reads(positions)
				defer r.stop()
				for n := range from {
					r.wants(t, fmt.Sprint("again:001 old ", n))
				}
				for n := from; n < to; n++ {
					m.sends("001", 1, uint64(n+1), fmt.Sprint("old ", n))
					got := r.wants(t, fmt.Sprint("001 old ", n))
					positions[got.Source] = got.Position
				}
				if err := r.Judged(t.Context(), positions); err != nil {
					t.Fatal(err)
				}
			}
			if c.kept == 0 {
				judge(0, 3)
				m.anew(fleet.EventStream)
			} else {
				judge(0, c.kept)
				saved := filepath.Join(t.TempDir(), "saved")
				copied := func(to, from string) {
					if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
						t.Fatal(err)
					}
				}
				again(func() { copied(saved, b.streamDir(fleet.EventStream)) })
				judge(c.kept, 3)
				again(func() { copied(b.streamDir(fleet.EventStream), saved) })
			}
			if c.forgets {
				if err := m.state.Purge(t.Context(), positionKey); err != nil {
					t.Fatal(err)
				}
			}
			for n := range c.more {
				m.sends("001", 2, uint64(n+1), fmt.Sprint("new ", n))
			}
			r := m.reads(positions)
			for n := range c.kept {
				r.wants(t, fmt.Sprint("again:001 old ", n))
			}
			for n := range c.more {
				r.wants(t, fmt.Sprint("001 new ", n))
			}
		})
	}
}

// TestOrdersRewound: the places of orders that the broker has lost are not given
// again, for agents have dealt with them, whether that happens while the server is
// away or at work; and what is issued then is on record.
func TestOrdersRewound(t *testing.T) {
	b := newBed(t)
	l, err := ledger.Open(t.TempDir() + "/fleet.db")
	if err != nil {
		t.Fatal(err)
	}
	var said diary
	begin := func() *member {
		m := b.server("one", func(o *ServerOptions) { o.Ledger, o.Alone, o.Log = l, true, said.logger() })
		m.candidate(nil)
		until(t, "it leads", m.Leads)
		return m
	}
	m := begin()
	issued := 0
	issue := func(n int) {
		t.Helper()
		if err := m.Issue(t.Context(), orderIDs(issued, issued+n)); err != nil {
			t.Fatal(err)
		}
		issued += n
		id := fmt.Sprintf("order-%03d", issued-1)
		until(t, id+" is on record", func() bool { _, err := l.Order(t.Context(), id); return err == nil })
	}
	issue(300)
	if m.Head() != 300 {
		t.Fatalf("the log ends at %d", m.Head())
	}

	// A new disk, while the server is away: the stream begins behind them.
	if err := m.js.DeleteStream(t.Context(), fleet.OrderStream); err != nil {
		t.Fatal(err)
	}
	m.end()
	m = begin()
	issue(2)
	if m.Head() != 302 {
		t.Errorf("the log ends at %d, want 302", m.Head())
	}

	// The end is lost while it is away.
	m.anew(fleet.OrderStream)
	m.end()
	m = begin()
	issue(1)
	if m.Head() != 303 {
		t.Errorf("the log ends at %d, want 303", m.Head())
	}

	// And while it is at work: the broker cuts it off.
	m.anew(fleet.OrderStream)
	if err := m.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	issue(1)
	if m.Head() != 304 {
		t.Errorf("the log ends at %d, want 304", m.Head())
	}
	if n := said.count("claims to be") + said.count("no server of this fleet signed"); n > 0 {
		t.Errorf("%d lines about what fills the places", n)
	}
	m.end()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
