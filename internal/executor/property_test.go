package executor

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"riposte"
	"riposte/internal/journal"
)

// breakCommits makes the journal refuse every commit, or accept them again.
func breakCommits(path string, on bool) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	for _, table := range []string{"orders", "records"} {
		q := "DROP TRIGGER IF EXISTS broken_" + table
		if on {
			q = "CREATE TRIGGER IF NOT EXISTS broken_" + table + " BEFORE INSERT ON " + table + " BEGIN SELECT RAISE(ABORT, 'no room'); END"
		}
		if _, err := db.Exec(q); err != nil {
			return err
		}
	}
	return nil
}

// action is one thing that happens to a host.
type action struct {
	Do      string
	Command string
	Target  int
	Time    time.Duration
	Count   int
	On      bool
}

func (a action) String() string {
	return fmt.Sprintf("%s %s %d %s %d %v", a.Do, a.Command, a.Target, a.Time, a.Count, a.On)
}

// soak asks for lives that are long and hard, and for many of them: see
// `make soak`.
var soak = os.Getenv("RIPOSTE_SOAK") != ""

// actions draws a life of a host.
func actions() *rapid.Generator[[]action] {
	things := []string{
		"order", "order", "order", "order", "order", "order", "sleep", "sleep", "sleep", "undo", "undo all", "restart", "crash", "reboot",
		"clock", "fail apply", "fail undo", "slow", "slow after", "vanish", "appear", "reconcile", "break",
	}
	least, most := 1, 60
	if soak {
		things = append(things, "order", "order", "order", "order", "crash", "crash", "crash", "crash", "crash", "reboot")
		least, most = 40, 100
	}
	one := rapid.Custom(func(t *rapid.T) action {
		return action{
			Do:      rapid.SampledFrom(things).Draw(t, "do"),
			Command: rapid.SampledFrom([]string{"fw", "fw2", "sh", "sh2", "file", "once"}).Draw(t, "command"),
			Target:  rapid.IntRange(1, 4).Draw(t, "target"),
			Time:    rapid.SampledFrom([]time.Duration{0, time.Millisecond, 900 * time.Millisecond, sec, 5 * sec, 59 * sec, 61 * sec, 4 * mins, 8 * mins}).Draw(t, "time"),
			Count:   rapid.SampledFrom([]int{1, 1, 1, 2, 5}).Draw(t, "count"),
			On:      rapid.Bool().Draw(t, "on"),
		}
	})
	return rapid.SliceOfN(one, least, most)
}

// life is a host that lives through actions, and remembers what it was asked.
type life struct {
	*host
	accepted map[string]bool // orders whose intent was written
	broken   bool
	failing  bool
	dirty    bool // something was broken or changed behind riposte's back
	crashes  int
}

// recorder keeps what a host complains about.
type recorder struct {
	testing.TB
	errs []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errs = append(r.errs, fmt.Sprintf(format, args...))
}
func (r *recorder) Error(args ...any) { r.errs = append(r.errs, fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func newLife(t testing.TB, dir string) *life {
	l := &life{host: newHost(t), accepted: map[string]bool{}}
	l.path = filepath.Join(dir, "journal.db")
	return l
}

func (l *life) act(a action) {
	ctx := context.Background()
	fakes := map[string]*fake{"fw": l.fw.fake, "sh": l.sh.fake, "file": l.file.fake, "once": l.once}
	f := fakes[strings.TrimRight(a.Command, "2")]
	target := addr(a.Target)
	if a.Command == "once" {
		target = riposte.Target{}
	}
	switch a.Do {
	case "order":
		var orders []riposte.Order
		for n := range a.Count {
			t := target
			if n%2 == 1 && a.Command != "once" {
				t = addr(a.Target + n)
			}
			d := a.Time
			if d == 0 && strings.HasPrefix(a.Command, "sh") {
				d = 7 * sec // a script without end leaves what nobody can tell
			}
			orders = append(orders, l.order(a.Command, t, d, 3*mins, 7*mins))
		}
		if err := l.x.Submit(ctx, orders); err == nil {
			for _, o := range orders {
				l.accepted[o.ID] = true
			}
		} else if !l.broken {
			l.Errorf("submit: %v", err)
		}
	case "sleep":
		time.Sleep(a.Time)
	case "undo", "undo all":
		if l.broken {
			return // a script that is undone now is in force for the journal after a crash, until its time is up
		}
		s := Selection{Target: target.Value, Command: a.Command}
		if a.Do == "undo all" {
			s = Selection{All: true}
		}
		c, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := l.x.Undo(c, s, "uid 0", nil); err != nil && !errors.Is(err, ErrNothing) && !l.failing && !errors.Is(err, context.DeadlineExceeded) {
			l.Errorf("undo: %v", err)
		}
	case "restart":
		l.dirty = l.dirty || l.broken
		l.mendJournal()
		l.stop()
		l.start()
	case "crash":
		l.crash()
		l.start()
	case "reboot":
		l.crash()
		for _, f := range []*fake{l.fw.fake, l.sh.fake} {
			f.table = map[riposte.Target]time.Time{}
			f.boot++
		}
		l.start()
	case "clock":
		if l.clock.Add(int64(a.Time)); a.On {
			l.clock.Add(-int64(2 * a.Time))
		}
		time.Sleep(tick) // until it is noticed
	case "fail apply", "fail undo":
		verb := strings.TrimPrefix(a.Do, "fail ")
		f.mu.Lock()
		f.fail = nil
		if a.On {
			l.failing, l.dirty = true, true
			f.fail = func(v string, t riposte.Target) error {
				if v == verb && t.Value != addr(2).Value {
					return errHost
				}
				return nil
			}
		}
		f.mu.Unlock()
	case "slow", "slow after":
		f.mu.Lock()
		d := func(string, riposte.Target) time.Duration { return min(a.Time, 5*sec) }
		if !a.On {
			d = nil
		}
		if a.Do == "slow" {
			f.delay = d
		} else {
			f.after = d
		}
		l.dirty = true
		f.mu.Unlock()
	case "vanish", "appear":
		f := l.fw.fake // behind the back of a lister only: nobody can see into a script
		if a.On {
			f = l.file.fake
		}
		f.mu.Lock()
		if l.dirty = true; a.Do == "vanish" {
			delete(f.table, addr(a.Target))
		} else {
			f.table[addr(a.Target)] = time.Now().Add(a.Time)
		}
		f.mu.Unlock()
	case "reconcile":
		c, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := l.x.Reconcile(c, a.On); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			l.Errorf("reconcile: %v", err)
		}
	case "break":
		if a.On {
			l.broken, l.dirty = true, true
			if err := breakCommits(l.path, true); err != nil {
				l.Fatal(err)
			}
		} else {
			l.mendJournal()
		}
	}
}

func (l *life) mendJournal() {
	if !l.broken {
		return
	}
	l.broken = false
	if err := breakCommits(l.path, false); err != nil {
		l.Fatal(err)
	}
	time.Sleep(2 * sec)
	synctest.Wait()
}

// crash leaves what a SIGKILL would at this instant: the files of the journal
// and the host as they are. The old executor goes on in a world of its own.
func (l *life) crash() {
	synctest.Wait()
	l.crashes++
	if l.broken {
		l.accepted = map[string]bool{} // nothing of late is written, and nobody said it was
	}
	was := l.path
	l.path = filepath.Join(filepath.Dir(was), fmt.Sprintf("journal%d.db", l.crashes))
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(was + end)
		if err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(l.path+end, data, 0o600); err != nil {
			l.Fatal(err)
		}
	}
	l.fw = &lister{fake: l.fw.twin()}
	l.file = &lister{fake: l.file.twin()}
	l.sh = &parallel{l.sh.twin()}
	l.once = l.once.twin()
	cancel, done, j := l.cancel, l.done, l.j
	cancel()
	<-done
	_ = j.Close() // of the world that is no more
	if l.broken {
		l.broken = false
		if err := breakCommits(l.path, false); err != nil {
			l.Fatal(err)
		}
	}
}

// twin is the same host with a life of its own.
func (f *fake) twin() *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &fake{
		name: f.name, kind: f.kind, durable: f.durable, parallel: f.parallel, table: maps.Clone(f.table), fail: f.fail, delay: f.delay,
		result: f.result, doubled: f.doubled, script: f.script, sheds: f.sheds, boot: f.boot, after: f.after, same: map[riposte.Target]bool{}, overlap: f.overlap,
	}
}

// calm ends all that is wrong and gives riposte time to mend it.
func (l *life) calm() {
	l.mendJournal()
	for _, f := range []*fake{l.fw.fake, l.sh.fake, l.file.fake, l.once} {
		f.mu.Lock()
		f.fail, f.delay, f.after = nil, nil, nil
		f.mu.Unlock()
	}
	time.Sleep(6 * mins)
	synctest.Wait()
	if _, err := l.x.Reconcile(context.Background(), true); err != nil {
		l.Errorf("reconcile: %v", err)
	}
	l.failing, l.dirty = false, false
}

// live lives through the actions and returns what went wrong, and how often the
// host crashed.
func live(t *testing.T, dir string, as []action) (errs []string, crashes int) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{TB: t}
		l := newLife(rec, dir)
		defer func() { errs, crashes = rec.errs, l.crashes }()
		l.start()
		for i, a := range as {
			l.act(a)
			if !l.dirty {
				l.agree()
			}
			if len(rec.errs) > 0 {
				rec.errs = append(rec.errs, fmt.Sprintf("after action %d, %s", i, a))
				break
			}
		}
		l.calm()
		l.agree()
		if l.sh.doubled > 0 {
			l.Errorf("a script was run twice for one effect, %d times", l.sh.doubled)
		}
		for id := range l.accepted {
			rs, err := l.j.History(context.Background(), journal.Filter{Order: id})
			if err != nil || len(rs) == 0 {
				l.Errorf("order %s has no receipt (%v)", id, err)
			}
		}
		time.Sleep(10 * mins)
		l.agree()
		l.stop()
	})
	return errs, crashes
}

// memory is a folder without a disk behind it, where there is one: the journal
// is flushed at every turn.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "riposte")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Whatever happens to a host: what the journal says is in force is what the
// host has, and nothing is left beyond its time.
func TestProperty(t *testing.T) {
	base := memory(t)
	n, crashes := 0, 0
	start := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		as := actions().Draw(rt, "actions")
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		errs, crashed := live(t, dir, as)
		crashes += crashed
		if len(errs) > 0 {
			rt.Fatalf("%s", strings.Join(errs[:min(len(errs), 10)], "\n"))
		}
	})
	t.Logf("%d lives with %d crashes and restarts, seed %s, in %s", n, crashes, flag.Lookup("rapid.seed").Value, time.Since(start).Round(time.Second))
	const enough = 10_000
	if soak && crashes < enough {
		t.Errorf("%d crashes are fewer than %d: give it more -rapid.checks", crashes, enough)
	}
}

// What could not be put back after a restart of the machine, and then was, is in
// force for every command that shares it.
func TestPutBackForAllThatShareIt(t *testing.T) {
	errs, _ := live(t, memory(t), []action{
		{Do: "order", Command: "sh", Target: 3, Time: 8 * mins, Count: 1},
		{Do: "order", Command: "sh2", Target: 3, Time: 8 * mins, Count: 1},
		{Do: "fail apply", Command: "sh", On: true},
		{Do: "reboot"},
	})
	if len(errs) > 0 {
		t.Error(strings.Join(errs, "\n"))
	}
}

// What a crash may have left of a script, and cannot be undone, is not had once
// more: not by the same command when its time is over, nor after one more crash.
func TestWhatMayBeLeftIsNotHadTwice(t *testing.T) {
	begun := []action{
		{Do: "fail undo", Command: "sh", On: true}, // but for the target 2
		{Do: "slow after", Command: "sh", Time: 5 * sec, On: true},
		{Do: "order", Command: "sh2", Target: 3, Time: 59 * sec, Count: 1},
		{Do: "crash"},
		{Do: "sleep", Time: 8 * mins},
	}
	again := action{Do: "order", Command: "sh2", Target: 3, Time: 5 * sec, Count: 1}
	f := func(more ...action) {
		t.Helper()
		if errs, _ := live(t, memory(t), append(begun[:len(begun):len(begun)], more...)); len(errs) > 0 {
			t.Error(strings.Join(errs, "\n"))
		}
	}
	f(again)
	f(action{Do: "crash"}, again)
	f(again, action{Do: "crash"}, again)
	f(action{Do: "undo", Command: "sh2", Target: 3}, again)
	f(action{Do: "order", Command: "sh", Target: 3, Time: 5 * sec, Count: 1})
	f(action{Do: "fail undo", Command: "sh"}, again) // it can be undone after all
}

// The same for what was being put back after a restart of the machine when
// riposte was stopped, and was to be undone while its cleaning was under way.
// Which of them comes first is open, so it is tried several times.
func TestWhatWasBeingPutBackIsNotHadTwice(t *testing.T) {
	base := memory(t)
	for n := range 8 {
		dir := filepath.Join(base, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		errs, _ := live(t, dir, []action{
			{Do: "order", Command: "sh2", Target: 1, Time: 7 * sec, Count: 2},
			{Do: "slow after", Command: "sh2", Time: 59 * sec, On: true},
			{Do: "fail undo", Command: "sh2", On: true},
			{Do: "reboot"},
			{Do: "crash"},
			{Do: "undo all"},
			{Do: "order", Command: "sh2", Target: 1, Time: 8 * mins, Count: 1},
		})
		if len(errs) > 0 {
			t.Fatal(strings.Join(errs, "\n"))
		}
	}
}
