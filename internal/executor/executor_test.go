package executor

import (
	"context"
	"errors"
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

const (
	sec  = time.Second
	mins = time.Minute
)

func TestABlockComesAndGoes(t *testing.T) {
	in(t, nil, func(h *host) {
		h.want("block", h.do(h.order("fw", addr(1), 700*sec)), "verified 11m40s")
		if !h.fw.has(addr(1)) {
			h.Error("not on the host")
		}
		h.agree()
		h.sleep(700*sec - time.Millisecond)
		if !h.fw.has(addr(1)) {
			h.Error("undone too soon")
		}
		h.sleep(2 * time.Millisecond)
		synctest.Wait()
		if h.fw.has(addr(1)) {
			h.Error("not undone in time")
		}
		h.want("history", h.history(), "verified fw 203.0.0.1, undone fw 203.0.0.1")
		stories, err := h.j.Why(context.Background(), "203.0.0.1", 0)
		if err != nil || len(stories) != 1 || stories[0].Order.Alert.ID != "1.1" || len(stories[0].Receipts) != 2 {
			h.Errorf("why: %+v %v", stories, err)
		} else if r := stories[0].Receipts[1]; r.Reason != "its time is up" || r.By != "rule 5712" || r.Rule != 5712 || r.Alert != "1.1" || r.Mechanism != "fw" {
			h.Errorf("the receipt of the undo: %+v", r)
		}
	})
}

// The page's ladder: 700 s, then 30, 60 and 120 minutes, the last for ever.
func TestTheLadder(t *testing.T) {
	in(t, nil, func(h *host) {
		hit := func() string { return h.do(h.order("fw", addr(1), 700*sec, 30*mins, 60*mins, 120*mins)) }
		h.want("first", hit(), "verified 11m40s")
		h.sleep(100 * sec)
		h.want("during the block", hit(), "extended 11m40s")
		h.sleep(699 * sec)
		h.want("still", hit(), "extended 11m40s")
		h.sleep(701 * sec)
		h.want("second", hit(), "verified 30m0s rung 1")
		h.sleep(10 * mins)
		h.want("during the second", hit(), "extended 30m0s rung 1")
		h.sleep(31 * mins)
		h.want("third", hit(), "verified 1h0m0s rung 2")
		h.want("another address", h.do(h.order("fw", addr(2), 700*sec, 30*mins)), "verified 11m40s")
		h.want("another response", h.do(h.order("sh", addr(1), 700*sec, 30*mins)), "applied 11m40s")
		h.sleep(61 * mins)
		h.want("fourth", hit(), "verified 2h0m0s rung 3")
		h.stop()
		h.start() // offenders survive
		h.sleep(121 * mins)
		h.want("fifth", hit(), "verified 2h0m0s rung 3")
		list, err := h.j.Offenders(context.Background(), journal.Filter{Target: addr(1).Value, Command: "fw"})
		if err != nil || len(list) != 1 || list[0].Count != 5 || list[0].Rung != 3 {
			h.Errorf("offender: %+v %v", list, err)
		}
		if n, err := h.x.Forgive(context.Background(), journal.Filter{Target: addr(1).Value, Command: "fw"}, "uid 0"); err != nil || n != 1 {
			h.Errorf("forgave %d, %v", n, err)
		}
		h.sleep(121 * mins)
		h.want("forgiven", hit(), "verified 11m40s")
		h.sleep(30 * 24 * time.Hour)
		h.want("not forgotten yet", hit(), "verified 30m0s rung 1")
		h.sleep(31 * 24 * time.Hour)
		h.want("forgotten", hit(), "verified 11m40s")
	})
}

func TestAnIPv6NetworkIsOneOffender(t *testing.T) {
	v6 := func(s string) riposte.Target { return riposte.Target{Kind: riposte.Address, Value: s} }
	in(t, nil, func(h *host) {
		hit := func(s string) string { return h.do(h.order("fw", v6(s), 60*sec, 30*mins, 60*mins)) }
		h.want("first", hit("2001:db8::1"), "verified 1m0s")
		h.want("a neighbour, meanwhile", hit("2001:db8::2"), "verified 1m0s")
		h.sleep(61 * sec)
		h.want("another neighbour, after", hit("2001:db8::3"), "verified 30m0s rung 1")
		h.want("another network", hit("2001:db8:0:1::3"), "verified 1m0s")
		h.sleep(31 * mins)
		h.want("the network itself", hit("2001:db8::/64"), "verified 1h0m0s rung 2")
	})
}

func TestOrdersWithoutTimeout(t *testing.T) {
	in(t, nil, func(h *host) {
		none := riposte.Target{}
		h.want("a script", h.do(h.order("sh", addr(9), 0), h.order("sh", addr(9), 0)), "applied, applied")
		h.want("asked", h.sh.asked(), "apply 203.0.0.9, apply 203.0.0.9")
		h.sh.table = map[riposte.Target]time.Time{} // which nobody undoes, as everybody knows
		h.want("a mail", h.do(h.order("once", none, 0), h.order("once", none, 0)), "verified, verified")
		h.want("asked", h.once.asked(), "apply -, apply -")
		h.want("a packet filter", h.do(h.order("fw", addr(9), 0)), "verified")
		h.want("again", h.do(h.order("fw", addr(9), 0)), "extended")
		h.want("with a time", h.do(h.order("fw", addr(9), 60*sec)), "extended")
		h.sleep(1000 * time.Hour)
		h.agree()
		if !h.fw.has(addr(9)) {
			h.Error("a block without end ended")
		}
		h.want("timed", h.do(h.order("fw", addr(8), 60*sec, 30*mins)), "verified 1m0s")
		h.want("then for good", h.do(h.order("fw", addr(8), 0)), "extended")
		if n, err := h.j.Offenders(context.Background(), journal.Filter{Target: addr(9).Value}); err != nil || len(n) != 0 {
			h.Errorf("an order without timeout made an offender: %v %v", n, err)
		}
		h.stop()
		delete(h.fw.table, addr(9)) // as a reboot does
		h.start()
		<-h.x.Ready()
		h.agree()
		if !h.fw.has(addr(9)) {
			h.Error("a block without end did not survive")
		}
		rs, err := h.x.Undo(context.Background(), Selection{Target: addr(9).Value}, "uid 0", nil)
		if err != nil || len(rs) != 1 || rs[0].By != "uid 0" || h.fw.has(addr(9)) {
			h.Errorf("undo by hand: %+v %v", rs, err)
		}
	})
}

func TestWhatIsNotCarriedOut(t *testing.T) {
	g, err := guard.New(guard.Options{Limits: map[string]guard.Limit{"fw2": {InForce: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	in(t, func(h *host) {
		h.o.Guard = g
		h.o.Observe = func(c riposte.Command) bool { return c.Name == "file" }
	}, func(h *host) {
		local := riposte.Target{Kind: riposte.Address, Value: "127.0.0.1"}
		late := h.order("fw", addr(3), 60*sec)
		late.Issued = late.Issued.Add(-61 * sec)
		almost := h.order("fw", addr(4), 60*sec)
		almost.Issued = almost.Issued.Add(-50 * sec)
		h.want("outcomes", h.do(
			h.order("fw", local, 60*sec), h.order("nothing", addr(1), 60*sec), h.order("fw", riposte.Target{}, 60*sec), late, almost,
			h.order("file", addr(1), 60*sec), h.order("fw2", addr(5), 60*sec), h.order("fw2", addr(6), 60*sec), h.order("fw2", addr(5), 90*sec),
		), "refused, refused, refused, expired -1s, verified 10s, observed 1m0s, verified 1m30s, refused, extended 1m30s")
		rs, err := h.j.History(context.Background(), journal.Filter{})
		if err != nil || len(rs) != 9 {
			h.Fatalf("%d receipts on record, %v", len(rs), err)
		}
		reasons := map[string]string{}
		for _, r := range rs {
			reasons[r.Order] = r.Reason
		}
		for id, words := range map[string]string{
			"o0001": "", "o0003": "127.0.0.1 is a loopback address", "o0004": "this host cannot carry out nothing: no such executable",
			"o0005": "fw acts on a target of kind address, and the order has one of kind none", "o0008": "1 responses of fw2 are in force",
		} {
			if words != "" && !strings.Contains(reasons[id], words) {
				h.Errorf("%s: %q, want %q", id, reasons[id], words)
			}
		}
	})
}

func TestTwoCommandsShareAnEffect(t *testing.T) {
	in(t, nil, func(h *host) {
		h.want("first", h.do(h.order("fw", addr(1), 60*sec)), "verified 1m0s")
		h.want("second", h.do(h.order("fw2", addr(1), 600*sec)), "verified 10m0s")
		if got := time.Until(h.fw.table[addr(1)]).Round(sec); got != 600*sec {
			h.Errorf("the host keeps an end in %s", got)
		}
		h.want("a script", h.do(h.order("sh", addr(1), 60*sec)), "applied 1m0s")
		h.want("its second command", h.do(h.order("sh2", addr(1), 600*sec)), "applied 10m0s")
		h.want("asked", h.sh.asked(), "apply 203.0.0.1")
		h.fw.asked()
		h.sleep(61 * sec)
		h.agree()
		h.want("asked after the first end", h.fw.asked()+h.sh.asked(), "apply 203.0.0.1")
		h.want("history", h.history(), "verified fw 203.0.0.1, verified fw2 203.0.0.1, applied sh 203.0.0.1, applied sh2 203.0.0.1, undone fw 203.0.0.1, undone sh 203.0.0.1")
		h.want("third", h.do(h.order("fw", addr(1), 60*sec)), "verified 1m0s")
		if rs, err := h.x.Undo(context.Background(), Selection{Target: addr(1).Value, Command: "fw2"}, "uid 0", nil); err != nil || len(rs) != 1 {
			h.Errorf("undo of one: %v %v", rs, err)
		}
		synctest.Wait()
		if got := time.Until(h.fw.table[addr(1)]).Round(sec); got != 60*sec {
			h.Errorf("the host keeps an end in %s after the later one was undone", got)
		}
		h.sleep(600 * sec)
		h.agree()
		if h.fw.has(addr(1)) || h.sh.has(addr(1)) {
			h.Error("not undone with the last")
		}
	})
}

func TestUndoThatFailsIsTriedForEver(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("sh", addr(1), 60*sec))
		h.sh.fail = func(verb string, _ riposte.Target) error {
			if verb == "undo" {
				return errHost
			}
			return nil
		}
		h.sh.asked()
		h.sleep(60*sec + 24*time.Hour)
		synctest.Wait()
		if n := strings.Count(h.sh.asked(), "undo"); n < 24*12-10 || n > 24*12+20 {
			h.Errorf("%d attempts in a day, want about one in five minutes", n)
		}
		if !h.sh.has(addr(1)) {
			h.Error("it is gone")
		}
		ls, err := h.j.InForce(context.Background(), journal.Filter{})
		if err != nil || len(ls) != 1 || ls[0].Phase != journal.Ending || ls[0].Trouble != errHost.Error() {
			h.Errorf("in the list: %+v %v", ls, err)
		}
		if s, err := h.x.Status(context.Background()); err != nil || s.Stuck != 1 {
			h.Errorf("status: %+v %v", s, err)
		}
		h.stop()
		h.start()
		h.sleep(mins)
		if _, err := h.x.Undo(context.Background(), Selection{All: true}, "uid 0", nil); !errors.Is(err, errHost) {
			h.Errorf("by hand: %v", err)
		}
		h.sh.fail = nil
		h.sleep(6 * mins)
		h.agree()
		if h.sh.has(addr(1)) {
			h.Error("not undone once it could be")
		}
		h.want("history", h.history(), "applied sh 203.0.0.1, failed sh 203.0.0.1, undone sh 203.0.0.1")
	})
}

func TestAnOffenceWhileTheUndoFails(t *testing.T) {
	in(t, nil, func(h *host) {
		h.do(h.order("sh", addr(1), 60*sec, 30*mins))
		h.sh.fail = func(verb string, _ riposte.Target) error {
			if verb == "undo" {
				return errHost
			}
			return nil
		}
		h.sleep(100 * sec)
		h.history()
		h.want("again", h.do(h.order("sh", addr(1), 60*sec, 30*mins)), "applied 30m0s rung 1")
		h.agree()
		h.want("history", h.history(), "failed sh 203.0.0.1, applied sh 203.0.0.1")
		h.sh.fail = nil
		h.sleep(31 * mins)
		h.agree()
	})
}

func TestApplyThatFailsLeavesNothing(t *testing.T) {
	in(t, nil, func(h *host) {
		fail := func(verb string, _ riposte.Target) error {
			if verb == "apply" {
				return errHost
			}
			return nil
		}
		h.fw.fail, h.sh.fail = fail, fail
		h.want("outcomes", h.do(h.order("fw", addr(1), 60*sec, 30*mins), h.order("fw", addr(1), 60*sec), h.order("sh", addr(1), 60*sec), h.order("once", riposte.Target{}, 0)),
			"failed, failed, failed, verified")
		synctest.Wait()
		h.want("the filter was asked", h.fw.asked(), "apply 203.0.0.1, undo 203.0.0.1")
		h.want("the script was asked", h.sh.asked(), "apply 203.0.0.1")
		h.agree()
		h.fw.fail = nil
		h.want("no offence was answered", h.do(h.order("fw", addr(1), 60*sec, 30*mins)), "verified 1m0s")
	})
}

func TestAScriptThatDeclinesTheHandshake(t *testing.T) {
	in(t, nil, func(h *host) {
		h.sh.result = func(*enforce.Effect) enforce.Result { return enforce.Result{NoUndo: true, Output: "hello"} }
		h.want("outcome", h.do(h.order("sh", addr(1), 60*sec, 30*mins)), "applied")
		h.want("again", h.do(h.order("sh", addr(1), 60*sec, 30*mins)), "applied")
		h.sleep(100 * sec)
		h.want("asked", h.sh.asked(), "apply 203.0.0.1, apply 203.0.0.1")
		h.sh.table = map[riposte.Target]time.Time{}
	})
}

func TestSlowScriptsDelayNobody(t *testing.T) {
	in(t, nil, func(h *host) {
		h.sh.delay = func(string, riposte.Target) time.Duration { return 10 * sec }
		var orders []riposte.Order
		for n := range 8 {
			orders = append(orders, h.order("sh", addr(n), 600*sec))
		}
		start := time.Now()
		if err := h.x.Submit(context.Background(), orders); err != nil {
			h.Error(err)
		}
		h.want("a block behind eight slow scripts", h.do(h.order("fw", addr(100), 600*sec)), "verified 10m0s")
		if d := time.Since(start); d != 0 {
			h.Errorf("the block waited %s for the scripts", d)
		}
		h.sleep(20 * sec)
		synctest.Wait()
		if n := len(h.sh.table); n != 8 {
			h.Errorf("%d of 8 scripts ran in two rounds of four", n)
		}
		h.want("orders of one target", h.do(h.order("sh", addr(50), 0), h.order("sh", addr(50), 0), h.order("sh", addr(50), 0)), "applied, applied, applied")
		if d := time.Since(start); d != 50*sec {
			h.Errorf("three runs for one target took until %s", d)
		}
		delete(h.sh.table, addr(50))
	})
}

func TestABurstIsBatched(t *testing.T) {
	in(t, nil, func(h *host) {
		var orders []riposte.Order
		for n := range 5000 {
			orders = append(orders, h.order("fw", addr(n), 600*sec))
		}
		if err := h.x.Submit(context.Background(), orders); err != nil {
			h.Error(err)
		}
		synctest.Wait()
		if len(h.fw.table) != 5000 || h.fw.largest != maxBatch || len(h.fw.calls) != 5000 {
			h.Errorf("%d in force, by %d calls for one, batches of up to %d", len(h.fw.table), len(h.fw.calls), h.fw.largest)
		}
		h.agree()
		done := 0
		rs, err := h.x.Undo(context.Background(), Selection{All: true}, "uid 0", func(n, total int) { done = n })
		if err != nil || len(rs) != 5000 || done != 5000 {
			h.Errorf("flush: %d receipts, progress %d, %v", len(rs), done, err)
		}
	})
}

// The same attacker over and over costs one call, not one each.
func TestHammeringIsCheap(t *testing.T) {
	in(t, nil, func(h *host) {
		var orders []riposte.Order
		for range 500 {
			orders = append(orders, h.order("fw", addr(1), 600*sec))
		}
		h.want("outcomes", strings.Replace(h.do(orders...), ", extended 10m0s", "", -1), "verified 10m0s")
		h.want("asked", h.fw.asked(), "apply 203.0.0.1")
		for range 10 {
			h.sleep(300 * time.Millisecond)
			h.do(h.order("fw", addr(1), 600*sec))
		}
		if n := strings.Count(h.fw.asked(), "apply"); n > 3 {
			h.Errorf("%d renewals in three seconds", n)
		}
	})
}

func TestAnOrderIsNotCarriedOutTwice(t *testing.T) {
	in(t, nil, func(h *host) {
		o := h.order("once", riposte.Target{}, 0)
		h.want("first", h.do(o), "verified")
		h.want("delivered again", h.do(o), "verified")
		h.want("asked", h.once.asked(), "apply -")
		h.want("told", h.history(), "verified once -")
	})
}

func TestUndoBySelection(t *testing.T) {
	in(t, nil, func(h *host) {
		user := riposte.Target{Kind: riposte.User, Value: "bob"}
		h.sh.kind = riposte.None
		orders := []riposte.Order{h.order("fw", addr(1), 60*sec), h.order("fw2", addr(1), 60*sec), h.order("fw", addr(2), 60*sec), h.order("sh", user, 60*sec), h.order("fw", addr(3), 60*sec)}
		orders[4].Alert.Rule.ID = 100
		h.do(orders...)
		undo := func(s Selection) string {
			rs, err := h.x.Undo(context.Background(), s, "uid 0", nil)
			var out []string
			for _, r := range rs {
				out = append(out, r.Order)
			}
			slices.Sort(out)
			if err != nil {
				out = append(out, err.Error())
			}
			return strings.Join(out, " ")
		}
		h.want("nothing", undo(Selection{}), ErrNothing.Error())
		h.want("a stranger", undo(Selection{Target: "192.0.2.1"}), ErrNothing.Error())
		h.want("a user", undo(Selection{Target: "bob"}), "o0004")
		h.want("a command on a target", undo(Selection{Target: "::ffff:203.0.0.1", Command: "fw2"}), "o0002")
		h.want("an order", undo(Selection{Filter: journal.Filter{Order: "o0003"}}), "o0003")
		h.want("a rule", undo(Selection{Filter: journal.Filter{Rule: 100}}), "o0005")
		h.want("all", undo(Selection{All: true}), "o0001")
		h.want("all of nothing", undo(Selection{All: true}), ErrNothing.Error())
	})
}

func TestStopThatUndoes(t *testing.T) {
	in(t, func(h *host) { h.o.OnStop = Undo }, func(h *host) {
		h.do(h.order("fw", addr(1), 0), h.order("sh", addr(1), 600*sec), h.order("fw", addr(2), 60*sec))
		h.stop()
		if len(h.fw.table)+len(h.sh.table) != 0 {
			h.Errorf("left: %v %v", h.fw.table, h.sh.table)
		}
		h.start()
	})
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	in(t, nil, func(h *host) {
		h.sh.delay = func(string, riposte.Target) time.Duration { return time.Hour }
		if err := h.x.Submit(context.Background(), []riposte.Order{h.order("sh", addr(1), 24*time.Hour)}); err != nil {
			h.Error(err)
		}
		synctest.Wait()
		start := time.Now()
		h.stop()
		if d := time.Since(start); d != defaultStopTime {
			h.Errorf("the stop took %s", d)
		}
		h.sh.delay = nil
		h.start() // takes it up again
		<-h.x.Ready()
		if !h.sh.has(addr(1)) {
			h.Error("what the stop cut short was not taken up")
		}
		if err := h.x.Submit(context.Background(), nil); err != nil {
			h.Errorf("no orders: %v", err)
		}
	})
}

func TestAStoppedExecutorSaysSo(t *testing.T) {
	in(t, nil, func(h *host) {
		h.stop()
		ctx := context.Background()
		_, err := h.x.Do(ctx, []riposte.Order{h.order("fw", addr(1), sec)})
		_, err2 := h.x.Undo(ctx, Selection{All: true}, "", nil)
		if !errors.Is(err, ErrStopped) || !errors.Is(err2, ErrStopped) || !errors.Is(h.x.Submit(ctx, make([]riposte.Order, 1)), ErrStopped) || h.x.Run(ctx) == nil {
			h.Errorf("%v, %v", err, err2)
		}
		h.start()
	})
}
