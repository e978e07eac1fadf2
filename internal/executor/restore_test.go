package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/guard"
	"riposte/internal/journal"
)

// reboot empties what a kernel forgets.
func (h *host) reboot() {
	h.fw.table, h.sh.table = map[riposte.Target]time.Time{}, map[riposte.Target]time.Time{}
	h.sh.boot++
}

func TestARestartKeepsWhatIsInForce(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 600*sec), h.order("sh", addr(1), 600*sec), h.order("file", addr(1), 100*sec))
		h.stop()
		for _, f := range []*fake{h.fw.fake, h.sh.fake, h.file.fake} {
			if len(f.table) != 1 {
				h.Errorf("the stop was an amnesty: %s", f.name)
			}
			f.asked()
		}
		h.sleep(50 * sec)
		h.start()
		h.agree()
		h.want("the filter was asked", h.fw.asked()+h.file.asked(), "")
		h.want("the script was asked", h.sh.asked(), "")
		h.sleep(50 * sec)
		h.agree()
		if h.file.has(addr(1)) || !h.fw.has(addr(1)) {
			h.Error("the clock did not go on where it was")
		}
		h.stop()
		h.reboot()
		h.sleep(100 * sec)
		h.start()
		<-h.x.Ready()
		h.agree()
		if got := time.Until(h.fw.table[addr(1)]); got != 400*sec {
			h.Errorf("restored for %s, want the 400 s that were left", got)
		}
		if told := h.history(); !strings.Contains(told, "repaired fw 203.0.0.1") || !strings.Contains(told, "repaired sh 203.0.0.1") {
			h.Errorf("nothing told of the restoration: %s", told)
		}
		h.noBoot = true // nobody knows about the machine: the script is asked
		h.stop()
		h.start()
		<-h.x.Ready()
		h.want("the script was asked, with its state", h.sh.asked(), "apply 203.0.0.1, apply 203.0.0.1")
		h.noBoot = false
		h.agree()
		h.stop()
		h.sleep(1000 * sec)
		h.start()
		<-h.x.Ready()
		h.agree()
		if len(h.fw.table)+len(h.sh.table) != 0 {
			h.Error("what was over meanwhile was not undone")
		}
	})
}

func TestStrangersAreRemovedAtTheStart(t *testing.T) {
	in(t, func(h *host) { h.fw.table[addr(7)] = time.Time{} }, func(h *host) {
		<-h.x.Ready()
		h.want("told", h.history(), "undone  203.0.0.7")
	})
}

func TestAMechanismThatCannotListAtTheStart(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 6000*sec))
		h.stop()
		h.reboot()
		h.fw.broken = errHost
		h.start()
		<-h.x.Ready()
		if !h.fw.has(addr(1)) {
			h.Error("not put back on suspicion")
		}
		if s, err := h.x.Status(context.Background()); err != nil || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], errHost.Error()) {
			h.Errorf("status: %+v %v", s, err)
		}
		h.fw.table[addr(9)] = time.Time{}
		h.fw.broken = nil
		h.sleep(2 * mins)
		h.agree()
		h.sleep(2 * mins)
		if s, err := h.x.Status(context.Background()); err != nil || len(s.Problems) != 0 {
			h.Errorf("status once it is well: %+v %v", s, err)
		}
	})
}

func TestPutBackIsTriedAgain(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 6000*sec))
		h.stop()
		h.reboot()
		h.fw.fail = func(string, riposte.Target) error { return errHost }
		h.start()
		<-h.x.Ready()
		h.sleep(5 * mins)
		h.fw.fail = nil
		h.sleep(mins)
		h.agree()
		if !h.fw.has(addr(1)) {
			h.Error("never put back")
		}
	})
}

func TestReconcile(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 600*sec), h.order("fw", addr(2), 600*sec), h.order("fw", addr(3), 600*sec), h.order("fw", addr(4), 0), h.order("sh", addr(1), 600*sec))
		h.history()
		delete(h.fw.table, addr(1))
		h.fw.table[addr(2)] = time.Now().Add(20 * sec)
		h.fw.table[addr(3)] = h.fw.table[addr(3)].Add(2 * sec) // rounded by the host
		h.fw.table[addr(4)] = time.Now().Add(20 * sec)
		h.fw.table[addr(5)] = time.Now().Add(20 * sec)
		words := func(r Report) string {
			var out []string
			for _, d := range r.Drift {
				out = append(out, d.What+" "+d.Target.Value)
			}
			return strings.Join(append(out, r.Skipped...), ", ")
		}
		const all = "end 203.0.0.2, end 203.0.0.4, missing 203.0.0.1, unknown 203.0.0.5, sh"
		for range 2 {
			r, err := h.x.Reconcile(context.Background(), false)
			if err != nil || len(r.Errors) > 0 {
				h.Errorf("inspect: %+v %v", r, err)
			}
			h.want("drift", words(r), all)
		}
		h.want("an inspection touches nothing", h.fw.asked(), "apply 203.0.0.1, apply 203.0.0.2, apply 203.0.0.3, apply 203.0.0.4")
		if r, err := h.x.Reconcile(context.Background(), false, "file"); err != nil || words(r) != "" {
			h.Errorf("narrowed: %+v %v", r, err)
		}
		h.fw.fail = func(verb string, t riposte.Target) error {
			if t == addr(1) {
				return errHost
			}
			return nil
		}
		r, err := h.x.Reconcile(context.Background(), true)
		if err != nil || len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "203.0.0.1 could not be put back") {
			h.Errorf("repair: %+v %v", r, err)
		}
		h.want("mended", words(r), all)
		h.fw.fail = nil
		if r, err = h.x.Reconcile(context.Background(), true); err != nil || len(r.Errors) != 0 || words(r) != "missing 203.0.0.1, sh" {
			h.Errorf("repair of the rest: %+v %v", r, err)
		}
		h.agree()
		told := h.history()
		for _, s := range []string{"repaired fw 203.0.0.1", "repaired fw 203.0.0.2", "repaired fw 203.0.0.4", "undone  203.0.0.5"} {
			if !strings.Contains(told, s) {
				h.Errorf("%q was not told in %q", s, told)
			}
		}
	})
}

// What changes while a mechanism says what it holds is not drift.
func TestAStaleListIsNotBelieved(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 20*sec), h.order("fw", addr(2), 600*sec))
		x := h.x
		stale, _ := h.fw.List(context.Background())
		l := x.lanes[laneKey{"fw", riposte.Address}]
		r := &report{repair: true}
		if err := x.call(context.Background(), func() { l.touched = map[riposte.Target]bool{}; x.lists++ }); err != nil {
			h.Fatal(err)
		}
		h.sleep(30 * sec) // 1 ends
		h.do(h.order("fw", addr(3), 600*sec))
		if err := x.call(context.Background(), func() { x.compare(&listing{lane: l, effects: stale, report: r}) }); err != nil {
			h.Fatal(err)
		}
		if len(r.Drift) != 0 {
			h.Errorf("drift seen in a stale list: %+v", r.Drift)
		}
	})
}

func TestAMechanismThatIsGone(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 600*sec), h.order("sh", addr(1), 600*sec))
		h.stop()
		old := h.fw.fake
		h.fw = &lister{fake: newFake("nft")} // another packet filter took over
		h.sh.name = "script of another name"
		h.start()
		<-h.x.Ready()
		if !h.fw.has(addr(1)) {
			h.Error("the new packet filter does not block")
		}
		h.agree()
		old.table = nil
	})
}

func TestAMechanismThatIsGoneForGood(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 60*sec))
		h.stop()
		fw := h.fw
		h.fw = &lister{fake: newFake("other")}
		h.o.Resolve = func(riposte.Command) (enforce.Mechanism, error) { return nil, errHost }
		h.start()
		<-h.x.Ready()
		h.sleep(2 * mins)
		ls, err := h.j.InForce(context.Background(), journal.Filter{})
		if err != nil || len(ls) != 1 || !strings.Contains(ls[0].Trouble, "fw is not available on this host") {
			h.Errorf("in the list: %+v %v", ls, err)
		}
		h.stop()
		h.fw, h.o.Resolve = fw, nil
		h.start()
		h.sleep(6 * mins)
		h.agree()
	})
}

func TestWhatIsAllowedNowIsReleased(t *testing.T) {
	in(t, func(h *host) {
		g, err := guard.New(guard.Options{})
		if err != nil {
			h.Fatal(err)
		}
		h.o.Guard = g
	}, func(h *host) {
		forced := h.order("fw", addr(2), 600*sec)
		forced.Force = true
		h.do(h.order("fw", addr(1), 600*sec), forced, h.order("fw", addr(300), 600*sec))
		e, err := guard.ParseEntry("203.0.0.0/24")
		if err != nil {
			h.Fatal(err)
		}
		h.o.Guard.SetByHand([]guard.Entry{e})
		if n, err := h.x.Recheck(context.Background()); err != nil || n != 1 {
			h.Errorf("recheck: %d %v", n, err)
		}
		h.agree()
		if h.fw.has(addr(1)) || !h.fw.has(addr(2)) || !h.fw.has(addr(300)) {
			h.Errorf("in force: %v", h.fw.table)
		}
		rs, err := h.j.History(context.Background(), journal.Filter{Limit: 1})
		if err != nil || !strings.Contains(rs[0].Reason, "it is protected now: 203.0.0.1 is on the allow list") {
			h.Errorf("receipt: %+v %v", rs, err)
		}
		h.stop()
		e, _ = guard.ParseEntry("203.0.1.0/24")
		h.o.Guard.SetByHand([]guard.Entry{e})
		h.start()
		<-h.x.Ready()
		h.agree()
		if h.fw.has(addr(300)) || !h.fw.has(addr(2)) {
			h.Errorf("after a restart, in force: %v", h.fw.table)
		}
	})
}

func TestClockSteps(t *testing.T) {
	for _, tt := range []struct {
		name string
		by   time.Duration
	}{{"back", -time.Hour}, {"far back", -1000 * time.Hour}, {"forward", time.Hour}, {"a little", 600 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, nil, func(h *host) {
				h.do(h.order("fw", addr(1), 600*sec), h.order("sh", addr(1), 0), h.order("fw", addr(2), 0))
				delete(h.sh.table, addr(1))
				h.sleep(300 * sec)
				h.clock.Add(int64(tt.by))
				h.sleep(299 * sec)
				synctest.Wait()
				if !h.fw.has(addr(1)) {
					h.Error("it ended before its time")
				}
				h.sleep(2 * sec)
				h.agree()
				if h.fw.has(addr(1)) {
					h.Error("it did not end on time")
				}
				notes, err := h.j.Notes(context.Background(), 1)
				if err != nil || len(notes) != 1 || notes[0].Note.Action != "clock" {
					h.Errorf("on record: %+v %v", notes, err)
				}
			})
		})
	}
}

// Across a restart only the wall clock counts, and nothing is left more time
// than it was given.
func TestAClockThatWasSetWhileStopped(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("fw", addr(1), 600*sec))
		h.stop()
		h.clock.Store(int64(-1000 * time.Hour))
		h.start()
		<-h.x.Ready()
		h.sleep(601 * sec)
		h.agree()
		if h.fw.has(addr(1)) {
			h.Error("a block of ten minutes outlives the clock that was set back")
		}
	})
}

// A machine that sleeps goes on counting, when there is a clock to tell.
func TestSleep(t *testing.T) {
	in(t, func(h *host) {
		start := time.Now()
		h.o.Elapsed = func() time.Duration { return time.Since(start) + h.ahead() } // h.ahead() is the sleep
	}, func(h *host) {
		h.do(h.order("fw", addr(1), 600*sec))
		h.clock.Store(int64(599 * sec))
		h.sleep(500 * time.Millisecond)
		if !h.fw.has(addr(1)) {
			h.Error("ended too soon")
		}
		h.clock.Store(int64(700 * sec))
		h.sleep(sec)
		h.agree()
		if h.fw.has(addr(1)) {
			h.Error("not undone when the machine woke")
		}
	})
}

func TestPause(t *testing.T) {
	in(t, nil, func(h *host) {
		ctx := context.Background()
		h.do(h.order("fw", addr(1), 60*sec))
		if err := h.x.Pause(ctx, "uid 0", "maintenance"); err != nil {
			h.Fatal(err)
		}
		h.stop()
		h.start()
		forced := h.order("fw", addr(3), 60*sec)
		forced.Force = true
		h.want("while paused", h.do(h.order("fw", addr(2), 60*sec), h.order("fw", addr(1), 60*sec), forced), "refused, refused, verified 1m0s")
		if s, err := h.x.Status(ctx); err != nil || !strings.Contains(s.Paused, "by uid 0: maintenance") {
			h.Errorf("status %+v %v", s, err)
		}
		h.sleep(61 * sec)
		h.agree()
		if was, err := h.x.Resume(ctx, "uid 0"); err != nil || !was {
			h.Errorf("resume: %v %v", was, err)
		}
		if was, err := h.x.Resume(ctx, "uid 0"); err != nil || was {
			h.Errorf("resume again: %v %v", was, err)
		}
		h.want("after", h.do(h.order("fw", addr(2), 60*sec)), "verified 1m0s")
	})
}

func TestTrial(t *testing.T) {
	in(t, nil, func(h *host) {
		ctx := context.Background()
		h.do(h.order("fw", addr(1), 6000*sec))
		h.sleep(sec)
		if err := h.x.Arm(ctx, 5*mins, "uid 0"); err != nil {
			h.Fatal(err)
		}
		h.do(h.order("fw", addr(2), 6000*sec), h.order("sh", addr(2), 6000*sec))
		if was, err := h.x.Confirm(ctx, "uid 0"); err != nil || !was {
			h.Errorf("confirm: %v %v", was, err)
		}
		h.sleep(10 * mins)
		if !h.fw.has(addr(2)) {
			h.Error("a confirmed trial was undone")
		}
		if err := h.x.Arm(ctx, 5*mins, "uid 0"); err != nil {
			h.Fatal(err)
		}
		h.do(h.order("fw", addr(3), 6000*sec), h.order("sh", addr(3), 6000*sec))
		h.stop()
		h.sleep(10 * mins)
		h.start() // a crash or restart does not confirm
		<-h.x.Ready()
		h.sleep(sec)
		h.agree()
		if h.fw.has(addr(3)) || h.sh.has(addr(3)) || !h.fw.has(addr(1)) || !h.fw.has(addr(2)) {
			h.Errorf("in force after the trial: %v %v", h.fw.table, h.sh.table)
		}
		h.want("afterwards", h.do(h.order("fw", addr(4), 60*sec)), "refused")
		if err := h.x.Arm(ctx, 0, ""); err == nil {
			h.Error("a trial of no time passes")
		}
	})
}

// The journal cannot be written: what can be listed goes on, since the next
// start mends it; what only the journal could undo does not.
func TestAJournalThatCannotBeWritten(t *testing.T) {
	in(t, nil, func(h *host) {
		ctx := context.Background()
		h.do(h.order("fw", addr(1), 60*sec), h.order("sh", addr(1), 60*sec))
		h.breakJournal(true)
		rs, err := h.x.Do(ctx, []riposte.Order{h.order("fw", addr(2), 600*sec), h.order("sh", addr(2), 600*sec), h.order("once", riposte.Target{}, 0)})
		if err != nil || rs[0].Outcome != riposte.Verified || rs[1].Outcome != riposte.Failed || rs[2].Outcome != riposte.Verified {
			h.Errorf("receipts: %+v %v", rs, err)
		}
		if !strings.Contains(rs[1].Reason, "the journal cannot be written") {
			h.Errorf("reason: %s", rs[1].Reason)
		}
		if err := h.x.Submit(ctx, []riposte.Order{h.order("fw", addr(3), 600*sec)}); err == nil {
			h.Error("Submit says that the intent is written")
		}
		if s, err := h.x.Status(ctx); err != nil || len(s.Problems) == 0 {
			h.Errorf("status: %+v %v", s, err)
		}
		h.sleep(100 * sec)
		synctest.Wait()
		if h.fw.has(addr(1)) || h.sh.has(addr(1)) || !h.fw.has(addr(2)) || h.sh.has(addr(2)) || !h.fw.has(addr(3)) {
			h.Errorf("on the host: %v %v", h.fw.table, h.sh.table)
		}
		h.breakJournal(false)
		h.sleep(2 * sec)
		h.agree()
		ls, err := h.j.InForce(ctx, journal.Filter{Order: "o0006"})
		if err != nil || len(ls) != 1 || ls[0].Cause.By != "rule 5712" {
			h.Errorf("what was done meanwhile is on record: %+v %v", ls, err)
		}
		if s, err := h.x.Status(ctx); err != nil || len(s.Problems) != 0 {
			h.Errorf("status: %+v %v", s, err)
		}
	})
}

// breakJournal makes every commit fail, by a lock from outside, or mends that.
func (h *host) breakJournal(on bool) {
	h.Helper()
	if err := breakCommits(h.path, on); err != nil {
		h.Fatal(err)
	}
}

func TestAReaderOfReceiptsThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.start()
		x := h.x
		hang := make(chan struct{})
		x.tell.mu.Lock()
		x.tell.notify = func(riposte.Receipt) { <-hang }
		x.tell.mu.Unlock()
		for n := range 3 {
			h.do(h.order("fw", addr(n), 60*sec))
		}
		close(hang)
		h.agree()
		h.stop()
	})
}

// What was in force when riposte crashed, and whose time is over before its turn
// comes after the restart, is taken back like all else.
func TestOverBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLife(t, memory(t))
		l.start()
		l.fw.after = func(string, riposte.Target) time.Duration { // all are there, and nobody knows; to crash takes as long
			if l.fw.applied >= maxBatch {
				return 5 * mins
			}
			return 0
		}
		var orders []riposte.Order
		for n := range maxBatch + 1 {
			orders = append(orders, l.order("fw", addr(n), 5*mins+50*sec))
		}
		if err := l.x.Submit(context.Background(), orders); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.crash()
		l.fw.after, l.fw.delay = nil, func(string, riposte.Target) time.Duration { return 100 * time.Millisecond }
		l.start()
		time.Sleep(5 * mins)
		l.agree()
		l.stop()
	})
}

// What was ordered past a mechanism's own doubts stays so: when a second order
// forces it, when the host is set right, and after a restart.
func TestForceLasts(t *testing.T) {
	var calls []string
	note := func(e *enforce.Effect) enforce.Result {
		calls = append(calls, fmt.Sprintf("%s %v", e.Target, e.Force))
		return enforce.Result{Verified: true}
	}
	in(t, func(h *host) { h.fw.result = note }, func(h *host) {
		want := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			h.fw.mu.Lock()
			defer h.fw.mu.Unlock()
			if slices.Sort(calls); !slices.Equal(calls, want) {
				t.Errorf("%s: %q, want %q", what, calls, want)
			}
			calls = nil
		}
		forced := h.order("fw", addr(1), 0)
		forced.Force = true
		h.do(forced, h.order("fw", addr(2), time.Hour))
		want("two orders", "203.0.0.1 true", "203.0.0.2 false")
		second := h.order("fw2", addr(2), 2*time.Hour)
		second.Force = true
		h.do(second)
		want("one more command", "203.0.0.2 true")
		h.fw.mu.Lock()
		clear(h.fw.table)
		h.fw.mu.Unlock()
		if _, err := h.x.Reconcile(context.Background(), true); err != nil {
			t.Error(err)
		}
		want("put back", "203.0.0.1 true", "203.0.0.2 true")
		h.stop()
		clear(h.fw.table)
		h.start()
		want("after a restart", "203.0.0.1 true", "203.0.0.2 true")
	})
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil && !errors.Is(err, context.Canceled) {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(childRSS); path != "" {
		if err := restoreAndWeigh(path); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
