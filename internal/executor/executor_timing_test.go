package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/guard"
	"riposte/internal/journal"
)

// null is a packet filter that costs nothing, so that what is measured is the
// executor and the journal.
type null struct {
	mu     sync.Mutex
	table  map[riposte.Target]int64
	undone map[riposte.Target]time.Time // when, if it is recorded
}

func newNull() *null { return &null{table: map[riposte.Target]int64{}} }

func (n *null) Name() string       { return "null" }
func (n *null) Kind() riposte.Kind { return riposte.Address }
func (n *null) Durable() bool      { return false }

func (n *null) Apply(_ context.Context, es []enforce.Effect) []enforce.Result {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]enforce.Result, len(es))
	for i := range es {
		n.table[es[i].Target] = stamp(es[i].Until)
		out[i].Verified = true
	}
	return out
}

func (n *null) Undo(_ context.Context, es []enforce.Effect) []enforce.Result {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for i := range es {
		delete(n.table, es[i].Target)
		if n.undone != nil {
			n.undone[es[i].Target] = now
		}
	}
	return make([]enforce.Result, len(es))
}

func (n *null) List(context.Context) ([]enforce.Effect, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]enforce.Effect, 0, len(n.table))
	for t, until := range n.table {
		out = append(out, enforce.Effect{Target: t, Until: instant(until)})
	}
	return out, nil
}

func (n *null) size() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.table)
}

// bench is an executor in real time.
type bench struct {
	*testing.B
	path string
	mech *null
	j    *journal.Journal
	x    *Executor
	stop func()
}

func newBench(b *testing.B) *bench {
	return &bench{B: b, path: filepath.Join(b.TempDir(), "journal.db"), mech: newNull()}
}

func (b *bench) start() {
	g, err := guard.New(guard.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if b.j, _, err = journal.Open(b.path, journal.Options{Reserve: -1}); err != nil {
		b.Fatal(err)
	}
	b.x = New(Options{Journal: b.j, Guard: g, Mechanisms: []enforce.Mechanism{b.mech}, Resolve: func(riposte.Command) (enforce.Mechanism, error) { return b.mech, nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.x.Run(ctx) }()
	<-b.x.Ready()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := b.j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) order(n int, timeout time.Duration) riposte.Order {
	a := netip.AddrFrom4([4]byte{byte(11 + n>>24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
	now := time.Now()
	return riposte.Order{
		ID:      fmt.Sprintf("%d-%06d", now.UnixNano(), n),
		Command: riposte.Command{Name: "firewall-drop", Executable: "firewall-drop.sh", Expect: []riposte.Kind{riposte.Address}},
		Target:  riposte.Target{Kind: riposte.Address, Value: a}, Timeout: timeout,
		Ladder: []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour}, Issued: now, Received: now, By: "rule 5712",
		Alert: &riposte.Alert{
			ID: fmt.Sprintf("1763.%d", n), Rule: riposte.Rule{ID: 5712, Level: 10, Groups: "syslog,sshd,authentication_failures,", Description: "sshd: brute force trying to get access to the system."},
			Location: "/var/log/auth.log", FullLog: "Nov 20 10:00:00 web-01 sshd[4242]: Failed password for root from " + a + " port 51234 ssh2",
			Fields: []riposte.Field{{Name: "srcip", Value: a}, {Name: "dstuser", Value: "root"}},
		},
	}
}

func (b *bench) orders(from, n int, timeout time.Duration) []riposte.Order {
	out := make([]riposte.Order, n)
	for i := range out {
		out[i] = b.order(from+i, timeout)
	}
	return out
}

func (b *bench) wait(what string, ok func() bool) {
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatal("never came: " + what)
		}
	}
}

func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[int(float64(len(ds)-1)*q)]
}

// BenchmarkOrder is one order at a time: from Submit until the mechanism is
// called, and until the receipt is in the journal.
func BenchmarkOrder(bb *testing.B) {
	b := newBench(bb)
	b.start()
	defer b.stop()
	var receipt []time.Duration
	n := 0
	for b.Loop() {
		n++
		o := b.orders(n, 1, time.Hour)
		start := time.Now()
		rs, err := b.x.Do(context.Background(), o)
		if err != nil || rs[0].Outcome != riposte.Verified {
			b.Fatal(rs, err)
		}
		receipt = append(receipt, time.Since(start))
	}
	b.ReportMetric(float64(quantile(receipt, 0.5).Microseconds()), "µs/receipt-p50")
	b.ReportMetric(float64(quantile(receipt, 0.99).Microseconds()), "µs/receipt-p99")
}

// BenchmarkOrderToEffect is the part before the mechanism: guard, ladder,
// journal.
func BenchmarkOrderToEffect(bb *testing.B) {
	b := newBench(bb)
	b.start()
	defer b.stop()
	var effect []time.Duration
	n := 0
	for b.Loop() {
		n++
		o := b.orders(n, 1, time.Hour)
		start := time.Now()
		if err := b.x.Submit(context.Background(), o); err != nil {
			b.Fatal(err)
		}
		for b.mech.size() < n {
			runtime.Gosched()
		}
		effect = append(effect, time.Since(start))
	}
	b.ReportMetric(float64(quantile(effect, 0.5).Microseconds()), "µs/effect-p50")
	b.ReportMetric(float64(quantile(effect, 0.99).Microseconds()), "µs/effect-p99")
}

// BenchmarkBurst is 10,000 orders at once.
func BenchmarkBurst(bb *testing.B) {
	const burst = 10_000
	var effects, receipts time.Duration
	for bb.Loop() {
		b := newBench(bb)
		b.start()
		os := b.orders(0, burst, time.Hour)
		start := time.Now()
		go func() { _ = b.x.Submit(context.Background(), os) }()
		b.wait("all effects", func() bool { return b.mech.size() == burst })
		effects += time.Since(start)
		b.wait("all receipts", func() bool {
			s, err := b.x.Status(context.Background())
			return err == nil && s.Waiting == 0
		})
		receipts += time.Since(start)
		b.stop()
	}
	bb.ReportMetric(float64(effects.Milliseconds())/float64(bb.N), "ms/10k-effects")
	bb.ReportMetric(float64(receipts.Milliseconds())/float64(bb.N), "ms/10k-receipts")
}

// BenchmarkHundredThousand is a life with 100,000 blocks: put in force, kept
// through a restart of the machine and of riposte, and undone at once.
func BenchmarkHundredThousand(bb *testing.B) {
	const many = 100_000
	for bb.Loop() {
		b := newBench(bb)
		b.start()
		start := time.Now()
		for n := 0; n < many; n += 10_000 {
			if err := b.x.Submit(context.Background(), b.orders(n, 10_000, time.Hour)); err != nil {
				b.Fatal(err)
			}
		}
		b.wait("all effects", func() bool { return b.mech.size() == many })
		bb.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/apply")
		b.stop()

		b.mech.table = make(map[riposte.Target]int64, many) // the machine was restarted
		start = time.Now()
		g, err := guard.New(guard.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if b.j, _, err = journal.Open(b.path, journal.Options{Reserve: -1}); err != nil {
			b.Fatal(err)
		}
		x := New(Options{Journal: b.j, Guard: g, Mechanisms: []enforce.Mechanism{b.mech}, Resolve: func(riposte.Command) (enforce.Mechanism, error) { return b.mech, nil }})
		b.x = x
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		b.wait("all effects", func() bool { return b.mech.size() == many })
		bb.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/restore")
		<-x.Ready()
		b.wait("all told", func() bool {
			var left int
			_ = x.call(context.Background(), func() { left = len(x.restored) })
			return left == 0
		})
		bb.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/restored-and-told")
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		mine := int64(m.HeapAlloc) - heapOf(b.mech)
		bb.ReportMetric(float64(mine)/many, "B/block")
		bb.ReportMetric(float64(rss()>>20), "MB/rss-with-100k")

		start = time.Now()
		r, err := x.Reconcile(ctx, true)
		if err != nil || len(r.Drift) > 0 {
			b.Fatal(len(r.Drift), err)
		}
		bb.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/reconcile")

		start = time.Now()
		undone := make(chan error, 1)
		go func() {
			_, err := x.Undo(ctx, Selection{All: true}, "uid 0", nil)
			undone <- err
		}()
		b.wait("an empty table", func() bool { return b.mech.size() == 0 })
		bb.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/undo-effects")
		if err := <-undone; err != nil {
			b.Fatal(err)
		}
		bb.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/undo-receipts")
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := b.j.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// childRSS names the journal that a child process takes up, to say how long that
// took and how much memory it holds then.
const childRSS = "EXECUTOR_CHILD_RSS"

func restoreAndWeigh(path string) error {
	start := time.Now()
	j, _, err := journal.Open(path, journal.Options{Reserve: -1})
	if err != nil {
		return err
	}
	mech := &sink{}
	x := New(Options{Journal: j, Mechanisms: []enforce.Mechanism{mech}, Resolve: func(riposte.Command) (enforce.Mechanism, error) { return mech, nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	<-x.Ready()
	took := time.Since(start)
	for left := 1; left > 0 && err == nil; time.Sleep(10 * time.Millisecond) {
		err = x.call(ctx, func() { left = len(x.restored) })
	}
	peak := rss()
	fmt.Println(mech.n.Load(), took.Milliseconds(), peak>>20)
	cancel()
	return errors.Join(err, <-done, j.Close())
}

// sink is a packet filter that forgets at once.
type sink struct{ n atomic.Int64 }

func (s *sink) Name() string       { return "null" }
func (s *sink) Kind() riposte.Kind { return riposte.Address }
func (s *sink) Durable() bool      { return false }
func (s *sink) Apply(_ context.Context, es []enforce.Effect) []enforce.Result {
	s.n.Add(int64(len(es)))
	return make([]enforce.Result, len(es))
}
func (s *sink) Undo(_ context.Context, es []enforce.Effect) []enforce.Result {
	return make([]enforce.Result, len(es))
}
func (s *sink) List(context.Context) ([]enforce.Effect, error) { return nil, nil }

// BenchmarkFreshProcess is a new process that takes up 100,000 blocks on a host
// that has lost them: until the last is put back, and its memory then.
func BenchmarkFreshProcess(bb *testing.B) {
	const many = 100_000
	b := newBench(bb)
	b.start()
	for n := 0; n < many; n += 10_000 {
		if err := b.x.Submit(context.Background(), b.orders(n, 10_000, time.Hour)); err != nil {
			b.Fatal(err)
		}
	}
	b.wait("all receipts", func() bool {
		s, err := b.x.Status(context.Background())
		return err == nil && s.Waiting == 0
	})
	b.stop()
	for bb.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childRSS+"="+b.path)
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatal(err, string(out))
		}
		var n, ms, mb int
		if _, err := fmt.Sscan(string(out), &n, &ms, &mb); err != nil || n != many {
			b.Fatal(err, string(out))
		}
		b.ReportMetric(float64(ms), "ms/restore")
		b.ReportMetric(float64(mb), "MB/rss")
	}
}

// heapOf is about what the null mechanism's own table costs.
func heapOf(n *null) int64 { return int64(n.size()) * 48 }

func rss() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Fscan(strings.NewReader(string(data)), &size, &resident); err != nil && err != io.EOF {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// BenchmarkLateness is how late the undos of 100,000 blocks are that end within
// ten seconds, one after the other.
func BenchmarkLateness(bb *testing.B) {
	const many, span = 100_000, 10 * time.Second
	for bb.Loop() {
		b := newBench(bb)
		b.mech.undone = map[riposte.Target]time.Time{}
		b.start()
		begin := time.Now().Add(15 * time.Second)
		for n := 0; n < many; n += 10_000 {
			os := b.orders(n, 10_000, 0)
			for i := range os {
				os[i].Issued = time.Now()
				os[i].Timeout = time.Until(begin.Add(span * time.Duration(n+i) / many))
			}
			if err := b.x.Submit(context.Background(), os); err != nil {
				b.Fatal(err)
			}
		}
		b.wait("an empty table", func() bool { return time.Since(begin) > 0 && b.mech.size() == 0 })
		var late []time.Duration
		b.mech.mu.Lock()
		for n := range many {
			o := b.order(n, 0)
			late = append(late, b.mech.undone[o.Target].Sub(begin.Add(span*time.Duration(n)/many)))
		}
		b.mech.mu.Unlock()
		bb.ReportMetric(float64(quantile(late, 0.5).Milliseconds()), "ms/late-p50")
		bb.ReportMetric(float64(quantile(late, 0.99).Milliseconds()), "ms/late-p99")
		bb.ReportMetric(float64(quantile(late, 1).Milliseconds()), "ms/late-max")
		b.stop()
	}
}
