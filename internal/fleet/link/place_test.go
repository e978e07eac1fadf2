package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// TestOrdersRewound: an agent is told what is issued in the places of orders that
// the broker has lost, though it has dealt with those, and of nothing twice,
// wherever the server and the agent were when they were lost; and what is issued
// then is on record.
func TestOrdersRewound(t *testing.T) {
	for _, c := range []struct {
		name     string
		server   bool // is at work meanwhile
		agent    bool // is
		recorded bool // the server has a record of what was lost
		more     int  // orders are issued before the agent is told
	}{
		{"the server goes on", true, true, true, 1},
		{"the server goes on, the agent is away", true, false, true, 1},
		{"a new disk of the broker's", false, true, true, 2},
		{"all disks are new", false, true, false, 2},
		{"all disks are new, the agent is away", false, false, false, 2},
		{"all disks are new, the agent is away for as many orders", false, false, false, 20},
		{"all disks are new, the agent is away for more orders", false, false, false, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			l, err := ledger.Open(t.TempDir() + "/fleet.db")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var m *member
			begin := func() {
				m = b.server("one", func(o *ServerOptions) {
					o.Alone = true
					if c.recorded || o.Ledger == nil {
						o.Ledger = l
					}
				})
				m.candidate(nil)
				until(t, "it leads", m.Leads)
			}
			var want []string
			issue := func(n int) {
				t.Helper()
				ms := orderIDs(len(want), len(want)+n)
				for _, o := range ms {
					want = append(want, o.ID)
				}
				if err := m.Issue(t.Context(), ms); err != nil {
					t.Fatal(err)
				}
			}
			begin()
			agent := b.enrolled(m, "001")
			var at fleet.Place
			var done []string
			var h *hand
			arrives := func() {
				h = newHand(t, agent, func(o *AgentOptions) {
					o.At, o.SetAt = at, func(now fleet.Place, _ bool) error { at = now; return nil }
				})
				until(t, "the agent is in step", h.Synced)
			}
			told := func() {
				t.Helper()
				until(t, "the agent is told everything", func() bool { return h.done() == strings.Join(want[len(done):], " ") })
			}
			arrives()
			issue(20)
			told()
			if !c.agent {
				h.leave()
				done = want
			}
			m.anew(fleet.OrderStream)
			if c.server {
				if err := m.nc.ForceReconnect(); err != nil {
					t.Fatal(err)
				}
			} else {
				m.end()
				begin()
			}
			issue(c.more)
			if !c.agent {
				arrives()
			}
			told()
			issue(3)
			told()
			if head := m.Head(); head != uint64(c.more+3) || h.Cursor() != head {
				t.Errorf("the log ends at %d, the agent is at %d", head, h.Cursor())
			}
			ledger := m.o.Ledger
			until(t, "the last is on record", func() bool { _, err := ledger.Order(t.Context(), want[len(want)-1]); return err == nil })
			m.end()
		})
	}
}

// TestBundleRewound: an agent uses the bundle of a server that has lost the ones
// before, though it bears a lower version, and not an older one that it is told of
// once more.
func TestBundleRewound(t *testing.T) {
	b, m, h := pair(t)
	set := func(responses int) {
		t.Helper()
		if _, err := m.SetBundle(t.Context(), fleet.Bundle{Limits: map[string]fleet.Limit{"": {InForce: responses}}}); err != nil {
			t.Fatal(err)
		}
	}
	set(1)
	old := *m.bundle.Load()
	set(2)
	until(t, "the agent uses it", func() bool { return h.done() == "bundle:1 bundle:2" })

	if err := m.state.Delete(t.Context(), bundleKey); err != nil {
		t.Fatal(err)
	}
	m.end()
	m = b.server("one")
	m.candidate(nil)
	until(t, "it leads", m.Leads)
	if err := m.nc.PublishMsg(message(fleet.LiveSubject(fleet.All), old)); err != nil {
		t.Fatal(err)
	}
	set(3)
	until(t, "the agent uses the new one alone", func() bool { return h.done() == "bundle:1 bundle:2 bundle:1" })
}

// TestStreamsVanish: a server whose streams are deleted while it is at work makes
// them again, and the fleet goes on.
func TestStreamsVanish(t *testing.T) {
	_, m, h := pair(t)
	if err := m.Issue(t.Context(), orderIDs(0, 3)); err != nil {
		t.Fatal(err)
	}
	until(t, "they are done", func() bool { return h.done() == "order-000 order-001 order-002" })
	for _, name := range []string{fleet.EventStream, fleet.OrderStream, fleet.ReceiptStream} {
		if err := m.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Issue(t.Context(), orderIDs(3, 5)); err != nil {
		t.Fatal(err)
	}
	until(t, "they are done", func() bool { return h.done() == "order-000 order-001 order-002 order-003 order-004" })
	until(t, "events are stored", func() bool {
		_, err := m.js.Publish(t.Context(), fleet.EventSubject("001"), m.pack(1, 1, "x"))
		return err == nil
	})
	until(t, "receipts are taken", func() bool {
		_, err := m.js.Stream(t.Context(), fleet.ReceiptStream)
		return err == nil
	})
	m.tells("001", applied("order-003", time.Now()))
	until(t, "they are on record", func() bool { return m.onRecord() == "order-003@001" })
}
