//go:build linux

package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"riposte"
)

// child is set in the environment of this test binary when it is run again as
// another process, to the name of what it is to do.
const child = "JOURNAL_CHILD"

func TestMain(m *testing.M) {
	if todo := os.Getenv(child); todo != "" {
		children[todo](os.Getenv("JOURNAL_DIR"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// children are what the binary does in another process.
var children = map[string]func(dir string){
	"commit-and-die": func(dir string) {
		j, _, err := Open(filepath.Join(dir, "journal.db"), Options{Reserve: -1})
		must(err)
		must(j.Commit(&Batch{Put: []Response{sample(1)}}))
		must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
		select {}
	},
	"fill-the-disk": fillTheDisk,
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	j, _ := openAt(t, filepath.Join(t.TempDir(), "journal.db"), o)
	return j
}

func openAt(t testing.TB, path string, o Options) (*Journal, *Report) {
	t.Helper()
	if o.Reserve == 0 {
		o.Reserve = -1
	}
	j, rep, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, rep
}

var epoch = time.Date(2026, 11, 20, 10, 0, 0, 123456789, time.UTC)

func target(n int) riposte.Target {
	return riposte.Target{Kind: riposte.Address, Value: fmt.Sprintf("198.51.%d.%d", n>>8&255, n&255)}
}

func order(n int) *riposte.Order {
	return &riposte.Order{
		ID:      fmt.Sprintf("o%06d", n),
		Command: riposte.Command{Name: "firewall-drop", Executable: "firewall-drop.sh", Expect: []riposte.Kind{riposte.Address}},
		Target:  target(n), Timeout: 600 * time.Second, Issued: epoch, By: "rule 5712",
		Alert: &riposte.Alert{ID: fmt.Sprintf("1763.%d", n), Rule: riposte.Rule{ID: 5712, Level: 10}, FullLog: "Failed password for root"},
	}
}

func sample(n int) Response {
	o := order(n)
	return Response{
		Target: o.Target, Command: o.Command, Mechanism: "nftables", Order: o.ID, Phase: Held,
		Since: epoch, Until: epoch.Add(time.Duration(n) * time.Second), Duration: o.Timeout, State: "s",
		By: "rule 5712", Rule: 5712, Alert: o.Alert.ID,
	}
}

func receipt(n int, what riposte.Outcome) Record {
	o := order(n)
	return Record{Time: epoch, Receipt: &riposte.Receipt{
		Order: o.ID, Host: "000", Time: epoch, Outcome: what, Command: o.Command.Name, Target: o.Target, By: o.By, Rule: 5712, Alert: o.Alert.ID,
	}}
}

func batch(t testing.TB, ns ...int) *Batch {
	b := &Batch{}
	for _, n := range ns {
		e, err := NewEntry(order(n), epoch)
		if err != nil {
			t.Fatal(err)
		}
		r := receipt(n, riposte.Applied)
		r.Digest = e.Digest
		b.Orders = append(b.Orders, e)
		b.Put = append(b.Put, sample(n))
		b.Records = append(b.Records, r)
	}
	return b
}

func commit(t testing.TB, j *Journal, b *Batch) {
	t.Helper()
	if err := j.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, j *Journal) map[riposte.Key]Response {
	t.Helper()
	out := map[riposte.Key]Response{}
	if err := j.Load(t.Context(), func(r *Response) error { out[r.Key()] = *r; return nil }); err != nil {
		t.Fatal(err)
	}
	list, err := j.InForce(t.Context(), Filter{})
	if err != nil || len(list) != len(out) {
		t.Fatalf("%d loaded, %d listed, %v", len(out), len(list), err)
	}
	for _, l := range list {
		out[l.Key()] = l.Response // the same and more
	}
	return out
}

func TestWhatIsCommittedIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder", "jour?nal#%41.db")
	j, rep := openAt(t, path, Options{})
	if !rep.Created || len(rep.Words()) != 0 {
		t.Errorf("report of a new journal: %+v", rep)
	}
	whole := sample(1)
	whole.Phase, whole.Rung, whole.Force, whole.Trouble = Ending, 3, true, "no such table"
	forever := sample(2)
	forever.Until, forever.Duration = time.Time{}, 0
	commit(t, j, &Batch{Put: []Response{whole, forever, sample(3)}})
	commit(t, j, &Batch{Drop: []riposte.Key{ptr(sample(3)).Key()}})
	if err := j.SetPositions(map[string]string{"file:/var/log/auth.log": "12 34"}); err != nil {
		t.Fatal(err)
	}
	offender := Offender{Key: whole.Key(), Rung: 2, Count: 4, Last: epoch, Until: epoch.Add(time.Hour)}
	commit(t, j, &Batch{Offenders: []Offender{offender}, Meta: map[string]string{"paused": "by hand"}})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the journal is not where it was asked for: %v", err)
	}
	j, rep = openAt(t, path, Options{})
	if rep.Created || len(rep.Words()) != 0 {
		t.Errorf("report of a sound journal: %+v", rep)
	}
	want := map[riposte.Key]Response{whole.Key(): whole, forever.Key(): forever}
	if d := cmp.Diff(want, load(t, j)); d != "" {
		t.Errorf("responses (-want +got):\n%s", d)
	}
	facts, err := j.Ask(Question{Offenders: []riposte.Key{whole.Key(), forever.Key()}})
	if d := cmp.Diff(map[riposte.Key]Offender{whole.Key(): offender}, facts.Offenders); err != nil || d != "" {
		t.Errorf("offenders: %v (-want +got):\n%s", err, d)
	}
	if pos, err := j.Positions(t.Context()); err != nil || pos["file:/var/log/auth.log"] != "12 34" {
		t.Errorf("positions: %v %v", pos, err)
	}
	if meta, err := j.Meta(t.Context()); err != nil || meta["paused"] != "by hand" {
		t.Errorf("meta: %v %v", meta, err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestLoadIPv6(t *testing.T) {
	j := open(t, Options{})
	b := batch(t, 1, 2)
	for _, target := range []riposte.Target{
		{Kind: riposte.Address, Value: "2001:db8::1"}, {Kind: riposte.Address, Value: "2001:db8:1::/64"}, {Kind: riposte.File, Value: "/tmp/a:b"}, {Kind: riposte.User, Value: "a:b"},
	} {
		r := sample(1)
		r.Target = target
		b.Put = append(b.Put, r)
	}
	commit(t, j, b)
	got := map[string]bool{}
	must(j.LoadIPv6(t.Context(), func(r *Response) error {
		if got[r.Target.Value] = true; r.By != "rule 5712" || r.Rule != 5712 {
			t.Errorf("%s is by %q, rule %d", r.Target, r.By, r.Rule)
		}
		return nil
	}))
	if len(got) != 2 || !got["2001:db8::1"] || !got["2001:db8:1::/64"] {
		t.Errorf("loaded %v", got)
	}
}

func TestNamesOfAnyBytesSurvive(t *testing.T) {
	j := open(t, Options{})
	r := sample(1)
	r.Target = riposte.Target{Kind: riposte.File, Value: "/srv/\xff\xfe with blanks '\"; DROP TABLE responses"}
	rec := receipt(1, riposte.Applied)
	rec.Receipt.Target = r.Target
	commit(t, j, &Batch{Put: []Response{r}, Records: []Record{rec}})
	if got := load(t, j); len(got) != 1 || got[r.Key()].Target != r.Target {
		t.Errorf("read back %+v", got)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil {
		t.Errorf("verdict %+v %v", v, err)
	}
}

func TestACommitOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := rerun("commit-and-die", dir)
	err := cmd.Run()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was to die of SIGKILL: %v", err)
	}
	j, rep := openAt(t, filepath.Join(dir, "journal.db"), Options{})
	if len(rep.Words()) != 0 {
		t.Errorf("a crash is no damage: %v", rep.Words())
	}
	if got := load(t, j); len(got) != 1 {
		t.Errorf("committed and lost: %v", got)
	}
}

func TestOnlyOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := openAt(t, path, Options{})
	if _, _, err := Open(path, Options{Reserve: -1}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second writer: %v", err)
	}
	commit(t, j, batch(t, 1))
	r, err := OpenReading(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := load(t, r); len(got) != 1 {
		t.Errorf("a reader beside the writer sees %v", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, path, Options{})
}

func TestOpenReadingSaysWhatIsWrong(t *testing.T) {
	if _, err := OpenReading(filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	path := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReading(path); err == nil || !strings.Contains(err.Error(), "format 0") {
		t.Errorf("empty journal: %v", err)
	}
}

func TestSyncWaitsForTheDisk(t *testing.T) {
	j := open(t, Options{})
	commit(t, j, batch(t, 1))
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.flush.mu.Lock()
	synced, last := j.flush.synced, j.flush.last
	j.flush.mu.Unlock()
	if synced != last || last == 0 {
		t.Errorf("%d of %d commits are on the disk after Sync", synced, last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	commit(t, j, batch(t, 2))
	if err := j.Sync(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMigrationGoesOneWay(t *testing.T) {
	j := open(t, Options{})
	ctx := t.Context()
	steps := append(migrations(), "CREATE TABLE later (x)", "INSERT INTO later VALUES (7)")
	if made, err := migrate(ctx, j.conn, steps); err != nil || made {
		t.Fatalf("migrate: %v %v", made, err)
	}
	var x int
	if err := j.conn.QueryRowContext(ctx, "SELECT x FROM later").Scan(&x); err != nil || x != 7 {
		t.Errorf("the second step: %d %v", x, err)
	}
	if _, err := migrate(ctx, j.conn, append(steps, "CREATE TABLE broken (")); err == nil {
		t.Error("a broken step passed")
	}
	if _, err := migrate(ctx, j.conn, append(steps, "CREATE TABLE mended (x)")); err != nil {
		t.Errorf("after a broken step: %v", err)
	}
	if _, err := migrate(ctx, j.conn, migrations()); err == nil || !strings.Contains(err.Error(), "newer riposte") {
		t.Errorf("a newer file: %v", err)
	}
}

// The records about an order are found without an index over orders, whatever
// its target, and also in a journal of the first format.
func TestRecordsOfAnOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := openAt(t, path, Options{})
	for n := range 20 {
		b := batch(t, n)
		b.Records = append(b.Records, receipt(n, riposte.Undone))
		commit(t, j, b)
	}
	odd := order(50)
	odd.Target = riposte.Target{Kind: riposte.File, Value: "/tmp/\xff"}
	e, err := NewEntry(odd, epoch)
	must(err)
	r := receipt(50, riposte.Applied)
	r.Receipt.Target = odd.Target
	commit(t, j, &Batch{Orders: []*Entry{e}, Records: []Record{r, receipt(60, riposte.Refused)}})
	for round := range 2 {
		for id, want := range map[string]int{order(7).ID: 2, odd.ID: 1, order(60).ID: 1, "none such": 0} {
			rs, err := j.History(t.Context(), Filter{Order: id})
			if err != nil || len(rs) != want || want > 0 && rs[0].Order != id {
				t.Errorf("round %d: %d records of %q, want %d (%v)", round, len(rs), id, want, err)
			}
		}
		if round == 0 {
			// As the first format left it.
			if _, err := j.conn.ExecContext(t.Context(), "CREATE INDEX records_ord ON records (ord, seq); PRAGMA user_version = 1"); err != nil {
				t.Fatal(err)
			}
			must(j.Close())
			j, _ = openAt(t, path, Options{})
		}
	}
	f, err := j.Ask(Question{Orders: []string{order(3).ID, odd.ID, "zzz", ""}})
	if err != nil || len(f.Known) != 2 || !f.Known[odd.ID] {
		t.Errorf("known: %v %v", f.Known, err)
	}
}

func TestQueries(t *testing.T) {
	j := open(t, Options{})
	commit(t, j, batch(t, 3, 1, 2))
	wide := order(9)
	wide.Target = riposte.Target{Kind: riposte.Address, Value: "198.51.0.0/24"}
	wide.Command.Name = "block-net"
	e, err := NewEntry(wide, epoch)
	if err != nil {
		t.Fatal(err)
	}
	held := sample(9)
	held.Target, held.Command, held.Until, held.Phase = wide.Target, wide.Command, time.Time{}, Pending
	commit(t, j, &Batch{Orders: []*Entry{e}, Put: []Response{held}})
	undone := receipt(2, riposte.Undone)
	commit(t, j, &Batch{Drop: []riposte.Key{order(2).Key()}, Records: []Record{undone, {Time: epoch, Note: &Note{Action: "pause", By: "uid 0"}}}})

	list := func(f Filter) (ids []string) {
		t.Helper()
		ls, err := j.InForce(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range ls {
			ids = append(ids, l.Order)
		}
		return ids
	}
	same := func(what string, got []string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	same("all, soonest end first", list(Filter{}), "o000001", "o000003", "o000009")
	same("limit", list(Filter{Limit: 1}), "o000001")
	same("an address and the prefix around it", list(Filter{Target: "198.51.0.3"}), "o000003", "o000009")
	same("the same address, mapped", list(Filter{Target: "::ffff:198.51.0.3"}), "o000003", "o000009")
	same("by command", list(Filter{Command: "block-net"}), "o000009")
	same("by order", list(Filter{Order: "o000003"}), "o000003")
	same("by rule", list(Filter{Rule: 1}))
	same("a user of that name", list(Filter{Target: "root"}))
	ls, err := j.InForce(t.Context(), Filter{Order: "o000003"})
	if err != nil || len(ls) != 1 || ls[0].Cause != (Cause{Order: "o000003", Since: epoch, By: "rule 5712", Rule: 5712, Alert: "1763.3"}) {
		t.Errorf("cause: %+v %v", ls, err)
	}
	facts, err := j.Ask(Question{Orders: []string{"o000002", "never"}, Causes: []riposte.Key{order(3).Key(), order(2).Key()}})
	if err != nil || len(facts.Causes) != 1 || facts.Causes[order(3).Key()] != ls[0].Cause || len(facts.Known) != 1 || !facts.Known["o000002"] {
		t.Errorf("facts: %+v %v", facts, err)
	}

	hist := func(f Filter) (out []string) {
		t.Helper()
		rs, err := j.History(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			out = append(out, r.Order+" "+r.Outcome.String())
		}
		return out
	}
	same("history, newest first", hist(Filter{}), "o000002 undone", "o000002 applied", "o000001 applied", "o000003 applied")
	same("history of a target", hist(Filter{Target: "198.51.0.2"}), "o000002 undone", "o000002 applied")
	same("history of an order", hist(Filter{Order: "o000001"}), "o000001 applied")
	same("history of a command", hist(Filter{Command: "firewall-drop", Limit: 1}), "o000002 undone")
	same("history of a rule", hist(Filter{Rule: 5712, Limit: 1}), "o000002 undone")
	same("history of a time", hist(Filter{Since: epoch.Add(time.Second)}))

	why, err := j.Why(t.Context(), "198.51.0.2", 0)
	if err != nil || len(why) != 2 || why[0].Order.ID != "o000009" || why[1].Order.ID != "o000002" || len(why[1].Receipts) != 2 ||
		why[1].Order.Alert.FullLog != "Failed password for root" || why[1].Receipts[0].Outcome != riposte.Applied {
		t.Errorf("why: %+v %v", why, err)
	}
	if _, err := j.Order(t.Context(), "never"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown order: %v", err)
	}
	if n, err := j.Count(t.Context()); err != nil || n != (Counts{InForce: 3, Orders: 4}) {
		t.Errorf("counts: %+v %v", n, err)
	}
	if notes, err := j.Notes(t.Context(), 10); err != nil || len(notes) != 1 || notes[0].Note.Action != "pause" {
		t.Errorf("notes: %+v %v", notes, err)
	}
}

func TestChanges(t *testing.T) {
	j := open(t, Options{})
	commit(t, j, batch(t, 1, 2))
	endless := sample(3)
	endless.Until = time.Time{}
	commit(t, j, &Batch{Put: []Response{endless}, Open: []string{"o000001", "gone", "o000002"}})
	c := Change{Key: order(1).Key(), Phase: Ending, Until: epoch.Add(time.Minute), Duration: time.Minute, Rung: 1, Force: true, State: "new", Trouble: "stuck"}
	commit(t, j, &Batch{Change: []Change{c}, Shift: -time.Hour, Settle: []string{"o000002"}, Offenders: []Offender{{Key: c.Key, Count: 3}},
		Ended: map[riposte.Key]time.Time{c.Key: epoch}})
	one, two := sample(1), sample(2)
	one.Phase, one.Until, one.Duration, one.State, one.Trouble = Ending, epoch.Add(-59*time.Minute), time.Minute, "new", "stuck"
	one.Rung, one.Force = 1, true
	two.Until = two.Until.Add(-time.Hour)
	want := map[riposte.Key]Response{one.Key(): one, two.Key(): two, endless.Key(): endless}
	if d := cmp.Diff(want, load(t, j)); d != "" {
		t.Errorf("after the change (-want +got):\n%s", d)
	}
	open, err := j.Unsettled(t.Context())
	if err != nil || len(open) != 2 || open[0].ID != "gone" || open[1].ID != "o000001" || open[1].Alert == nil {
		t.Errorf("unsettled: %+v %v", open, err)
	}
	if f, err := j.Ask(Question{Offenders: []riposte.Key{c.Key}}); err != nil || !f.Offenders[c.Key].Until.Equal(epoch) || f.Offenders[c.Key].Count != 3 {
		t.Errorf("offender: %+v %v", f, err)
	}
}

func TestOffendersAreForgotten(t *testing.T) {
	j := open(t, Options{})
	for n := range 5 {
		commit(t, j, &Batch{Offenders: []Offender{{Key: order(n).Key(), Count: 1, Last: epoch.Add(time.Duration(n) * time.Hour), Until: epoch.Add(time.Duration(n+1) * time.Hour)}}})
	}
	if n, err := j.Forget(epoch.Add(150 * time.Minute)); err != nil || n != 2 {
		t.Errorf("forgot %d, %v", n, err)
	}
	commit(t, j, &Batch{Forgive: []riposte.Key{order(4).Key()}})
	os, err := j.Offenders(t.Context(), Filter{})
	if err != nil || len(os) != 2 || os[0].Key != order(3).Key() || os[1].Key != order(2).Key() {
		t.Errorf("left: %+v %v", os, err)
	}
	if os, err = j.Offenders(t.Context(), Filter{Target: target(2).Value, Command: "firewall-drop"}); err != nil || len(os) != 1 {
		t.Errorf("by target: %+v %v", os, err)
	}
}

func TestAllowedByHand(t *testing.T) {
	j := open(t, Options{})
	a := Allowed{Entry: "192.0.2.0/24", Since: epoch, Until: epoch.Add(time.Hour), By: "uid 0", Why: "office"}
	b := Allowed{Entry: "vpn.example.org", Since: epoch, By: "uid 0"}
	for _, x := range []Allowed{a, b} {
		if err := j.Allow(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Disallow(b.Entry, "uid 1000", epoch); err != nil {
		t.Fatal(err)
	}
	got, err := j.AllowList(t.Context())
	if err != nil || len(got) != 1 || got[0] != a {
		t.Errorf("allow list: %+v %v", got, err)
	}
	notes, err := j.Notes(t.Context(), 0)
	if err != nil || len(notes) != 3 || notes[0].Note.By != "uid 1000" {
		t.Errorf("audit of it: %+v %v", notes, err)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil || v.Records != 3 {
		t.Errorf("verdict %+v %v", v, err)
	}
}

func TestAFailedCommitLeavesNothing(t *testing.T) {
	j := open(t, Options{})
	commit(t, j, batch(t, 1))
	if _, err := j.conn.ExecContext(t.Context(), "CREATE TRIGGER no BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	if err := j.Commit(batch(t, 2)); err == nil {
		t.Fatal("the commit was to fail")
	}
	if _, err := j.conn.ExecContext(t.Context(), "DROP TRIGGER no"); err != nil {
		t.Fatal(err)
	}
	if got := load(t, j); len(got) != 1 {
		t.Errorf("half a commit: %v", got)
	}
	commit(t, j, batch(t, 3))
	if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil || v.Records != 2 {
		t.Errorf("verdict %+v %v", v, err)
	}
}

func TestMechanisms(t *testing.T) {
	j, _, err := Open(filepath.Join(t.TempDir(), "journal.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	fw := riposte.Command{Name: "fw", Executable: "firewall-drop"}
	deny := riposte.Command{Name: "deny", Executable: "host-deny"}
	put := func(c riposte.Command, mechanism, addr string) Response {
		return Response{Target: riposte.Target{Kind: riposte.Address, Value: addr}, Command: c, Mechanism: mechanism, Order: "O" + addr, Phase: Held}
	}
	rs := []Response{put(fw, "nftables", "192.0.2.1"), put(fw, "nftables", "192.0.2.2"), put(deny, "hosts.deny", "192.0.2.1")}
	if err := j.Commit(&Batch{Put: rs}); err != nil {
		t.Fatal(err)
	}
	got, err := j.Mechanisms(t.Context())
	if err != nil || len(got) != 2 || got[0].Mechanism != "nftables" || got[0].Command.Name != "fw" || got[1].Mechanism != "hosts.deny" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := j.Commit(&Batch{Drop: []riposte.Key{rs[2].Key()}}); err != nil {
		t.Fatal(err)
	}
	if got, err := j.Mechanisms(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("after the drop: %+v, %v", got, err)
	}
}

// The first response of a command is listed as soon as it is written, by
// readers that were at it all the while.
func TestInForceWhileWriting(t *testing.T) {
	j, _, err := Open(filepath.Join(t.TempDir(), "journal.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	done := make(chan error)
	go func() {
		for {
			list, err := j.InForce(t.Context(), Filter{})
			if err != nil || len(list) == 200 {
				done <- err
				return
			}
		}
	}()
	for i := range 200 {
		r := Response{Target: riposte.Target{Kind: riposte.User, Value: fmt.Sprint("u", i)}, Order: fmt.Sprint(i), Phase: Held, Mechanism: "m",
			Command: riposte.Command{Name: fmt.Sprint("c", i)}}
		if err := j.Commit(&Batch{Put: []Response{r}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// After a burst the write-ahead log is folded and cut off: the next start need
// not read it again.
func TestTheLogIsCutOffAfterABurst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, _ := openAt(t, path, Options{})
	for from := 0; fileSize(path+"-wal") < foldAt; from += 500 {
		var ns []int
		for n := range 500 {
			ns = append(ns, from+n)
		}
		commit(t, j, batch(t, ns...))
	}
	for deadline := time.Now().Add(time.Minute); fileSize(path+"-wal") > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log still has %d bytes", fileSize(path+"-wal"))
		}
	}
	commit(t, j, batch(t, 1_000_000))
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Fault != nil {
		t.Errorf("audit: %+v %v", v.Fault, err)
	}
}
