//go:build linux

// Command fleet measures a real riposte server with ten thousand agents: how
// long they take to connect, an order to all of them and their receipts, very
// many events, a storm of reconnections, and an attack on one real host until it
// is blocked on another. Agents are simulated but for the two of the last one;
// their connections are real.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"riposte/bench/rig"
	"riposte/internal/api"
)

// options are the sizes of a run.
type options struct {
	bin            string
	agents, runs   int
	events, rate   int
	senders, store int
	idle           time.Duration
	keep           bool
	where          string
	only           []string // steps
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", rig.Built, "the binary to measure")
	flag.IntVar(&o.agents, "agents", 10000, "simulated agents")
	flag.IntVar(&o.runs, "runs", 200, "attacks from one host to another")
	flag.IntVar(&o.events, "events", 1000000, "events of a flood")
	flag.IntVar(&o.rate, "rate", 50000, "events a second of the measured flood")
	flag.IntVar(&o.senders, "senders", 300, "agents that send the events")
	flag.IntVar(&o.store, "store", 16, "megabytes of events that the server stores in the flood that overruns it")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "how long to look at idle agents")
	flag.StringVar(&o.where, "dir", "", "where the server's files are made (default: where temporary files are)")
	flag.BoolVar(&o.keep, "keep", false, "keep the files")
	flag.Func("only", "steps besides enrol and connect, with commas: latency, idle, order, hand, flood, storm, overrun", func(s string) error {
		o.only = strings.Split(s, ",")
		return nil
	})
	asJSON := flag.Bool("json", false, "print JSON")
	role := flag.String("role", "", "what this process is within the benchmark")
	flag.Parse()
	switch *role {
	case "swarm":
		finish(runSwarm(os.Stdin, os.Stdout))
		return
	case "host":
		finish(runHost(os.Stdin, os.Stdout))
		return
	}
	rig.Main("bench/fleet", func() error {
		if err := rig.Build(o.bin); err != nil {
			return err
		}
		r, err := measure(&o)
		if r == nil {
			return err
		}
		if *asJSON {
			return errors.Join(err, json.NewEncoder(os.Stdout).Encode(r))
		}
		r.table(os.Stdout)
		return err
	})
}

func finish(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench/fleet: helper: %v\n", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	*options
	ctx       context.Context
	r         *result
	dir       string
	memory    string // a folder without a disk below it: simulated agents share one disk, real ones do not
	names     []string
	server    *server
	crowd     *crowd
	hosts     []*host
	attackers *attackers
	serial    int // of the next event
}

func measure(o *options) (*result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	b := &bench{options: o, ctx: ctx, r: &result{Agents: o.agents}, attackers: newAttackers(),
		names: []string{"127.0.0.1", "10.99.1.1", "10.99.2.1"}}
	defer b.close()
	if err := b.open(); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"enrol", b.tokens}, {"latency", b.latency}, {"connect", b.connect}, {"idle", b.quiet}, {"order", b.order}, {"order", b.order}, {"order", b.order},
		{"hand", b.byHand}, {"latency", b.latencyFull}, {"storm", b.storm}, {"flood", b.floods}, {"overrun", b.overrun},
	} {
		must := step.name == "enrol" || step.name == "connect"
		if len(o.only) > 0 && !must && !slices.Contains(o.only, step.name) {
			continue
		}
		if err := step.do(); err != nil {
			return b.r, err
		}
	}
	b.r.Machine.LoadTo = load()
	return b.r, nil
}

// say tells how it goes.
func say(format string, v ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, v...)...)
}

func load() (l float64) {
	text, _ := os.ReadFile("/proc/loadavg") // 0 where there is none
	_, _ = fmt.Sscan(string(text), &l)
	return l
}

func (b *bench) open() (err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = max(limit.Max, uint64(2*b.agents))
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // where it may not be raised, what there is must do
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("10000 65000"), 0) // of this namespace; the usual one has room for 28,000
	ports, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")                    // only told
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return err
	}
	b.r.Machine = machine{Cores: runtime.NumCPU(), Memory: int64(info.Totalram) * int64(info.Unit), Files: limit.Max,
		Ports: strings.Join(strings.Fields(string(ports)), "-"), LoadFrom: load()}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(b.where, "riposte-bench"); err != nil {
		return err
	}
	if b.memory, err = os.MkdirTemp("/dev/shm", "riposte-bench"); err != nil {
		b.memory = filepath.Join(b.dir, "agents")
	}
	for i, name := range []string{"one", "two"} {
		h, err := newHost(b.bin, filepath.Join(b.dir, name), name, i+1)
		if h != nil {
			b.hosts = append(b.hosts, h)
		}
		if err != nil {
			return err
		}
	}
	dir := filepath.Join(b.dir, "server")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if b.server, err = newServer(b.bin, dir, b.names); err != nil {
		return err
	}
	_, err = b.server.start(b.ctx)
	return err
}

func (b *bench) close() {
	if b.crowd != nil {
		b.crowd.end()
	}
	for _, h := range b.hosts {
		h.end()
	}
	if b.server != nil && b.server.cmd != nil {
		b.server.stop(syscall.SIGTERM)
	}
	if b.keep {
		say("the files are in %s and %s", b.dir, b.memory)
		return
	}
	_ = os.RemoveAll(b.dir) // of this run alone
	_ = os.RemoveAll(b.memory)
}

// tokens enrols a few agents, and the two real hosts, as an operator would.
func (b *bench) tokens() (err error) {
	say("enrolment by token")
	if b.r.ByToken, err = joinByToken(b.ctx, b.server, b.dir, 20); err != nil {
		return err
	}
	for _, h := range b.hosts {
		t, err := b.server.client.Enrol(b.ctx, api.EnrolRequest{Name: h.name + "-host"})
		if err != nil {
			return err
		}
		if err := h.tell(task{Op: "join", Bin: b.bin, Dir: h.dir, Token: t.Token}); err != nil {
			return err
		}
		if err := h.tell(task{Op: "run", Bin: b.bin, Dir: h.dir}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	return connected(ctx, b.server, "one-host", "two-host")
}

// latency attacks one host and waits for the block on the other.
func (b *bench) latency() error {
	say("attacks on one host, blocks on another")
	s, err := b.attacks(b.runs, func() error { time.Sleep(20 * time.Millisecond); return nil })
	b.r.Latency = s
	return err
}

// latencyFull does so with everybody connected: each attack is an order to all.
func (b *bench) latencyFull() error {
	say("the same with all agents connected")
	s, err := b.attacks(max(b.runs/10, 5), func() error { return b.settled() })
	b.r.LatencyAll = s
	return err
}

func (b *bench) attacks(n int, between func() error) (*spread, error) {
	var took []time.Duration
	for i := range n + 3 { // the first ones make sets and rules and do not count
		a := b.attackers.take()
		start, err := b.hosts[0].attack(rig.Line(a))
		if err != nil {
			return nil, err
		}
		at, err := b.hosts[1].blocked(a, 30*time.Second)
		if err != nil {
			return nil, err
		}
		if i >= 3 {
			took = append(took, at.Sub(start))
		}
		if err := between(); err != nil {
			return nil, err
		}
	}
	s := spreadOf(took)
	say("%d attacks: %v", n, s)
	return &s, nil
}

// settled waits until no receipts come any more.
func (b *bench) settled() error {
	for last := -1; ; {
		n, err := b.server.receipts(b.ctx)
		if err != nil {
			return err
		}
		if n == last {
			return nil
		}
		last = n
		select {
		case <-time.After(700 * time.Millisecond):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
}

// connect enrols the simulated agents and lets them all connect at once.
func (b *bench) connect() error {
	a, err := b.server.authority()
	if err != nil {
		return err
	}
	say("enrolment of %d agents in the roster", b.agents)
	list, each, err := enrol(b.ctx, a, b.agents)
	if err != nil {
		return err
	}
	b.r.ByRoster = each
	time.Sleep(3 * time.Second) // memory of the enrolment is given back, or not
	before, err := b.server.usage()
	if err != nil {
		return err
	}
	say("connection of %d agents", b.agents)
	start := time.Now()
	if b.crowd, err = newCrowd(b.memory, list, 1<<20); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Minute)
	defer cancel()
	if err := b.crowd.await(ctx, "connected", connectedOf); err != nil {
		return err
	}
	b.r.Connected = time.Since(start)
	if err := b.crowd.await(ctx, "in step with the server", syncedOf); err != nil {
		return err
	}
	b.r.Synced = time.Since(start)
	after, err := b.server.usage()
	if err != nil {
		return err
	}
	b.r.Empty, b.r.ConnectCPU = before.Resident, after.CPU-before.CPU
	say("connected after %v, in step after %v", ms(b.r.Connected), ms(b.r.Synced))
	return nil
}

// quiet looks at the server while nothing happens but beats and pings.
func (b *bench) quiet() error {
	say("idle for %v", b.idle)
	time.Sleep(15 * time.Second)
	from, err := b.server.usage()
	if err != nil {
		return err
	}
	theirs, err := b.crowd.usage()
	if err != nil {
		return err
	}
	start := time.Now()
	time.Sleep(b.idle)
	to, err := b.server.usage()
	if err != nil {
		return err
	}
	now, err := b.crowd.usage()
	if err != nil {
		return err
	}
	took := time.Since(start).Seconds()
	b.r.Idle, b.r.IdleSim = (to.CPU-from.CPU).Seconds()/took, (now.CPU-theirs.CPU).Seconds()/took
	b.r.Full = to.Resident
	b.r.PerAgent = (b.r.Full - b.r.Empty) / int64(b.agents)
	b.r.Simulated = now.Resident / int64(b.agents)
	say("server: %d MB, %.3f cores", b.r.Full>>20, b.r.Idle)
	return nil
}

// order attacks the server itself: all agents get an order. Their receipts are
// awaited in the ledger.
func (b *bench) order() error {
	if err := b.settled(); err != nil {
		return err
	}
	say("an order to all")
	had, err := b.server.receipts(b.ctx)
	if err != nil {
		return err
	}
	before, err := b.server.usage()
	if err != nil {
		return err
	}
	a := b.attackers.take()
	start, err := appendTo(b.server.log(), rig.Line(a))
	if err != nil {
		return err
	}
	o, err := b.follow(a, had, start)
	if err != nil {
		return err
	}
	after, err := b.server.usage()
	o.CPU = after.CPU - before.CPU
	b.r.Orders = append(b.r.Orders, o)
	say("agents: %v; receipts: %v; server CPU %v", o.Heard, o.Ledger, ms(o.CPU))
	return err
}

// follow watches the receipts of an order come in. Every simulated agent makes
// exactly one; the real hosts make one each, too.
func (b *bench) follow(a netip.Addr, had int, start time.Time) (o order, err error) {
	var took []time.Duration
	deadline := time.Now().Add(2 * time.Minute)
	want := b.agents + len(b.hosts)
	for len(took) < want {
		n, err := b.server.receipts(b.ctx)
		if err != nil {
			return o, err
		}
		for now := time.Since(start); len(took) < min(n-had, want); {
			took = append(took, now)
		}
		if time.Now().After(deadline) {
			return o, fmt.Errorf("%d of %d receipts in the ledger after %v\n%s", len(took), want, time.Since(start), b.server.output())
		}
		time.Sleep(10 * time.Millisecond)
	}
	o.Ledger = spreadOf(took)
	hosts, most, err := b.server.answered(b.ctx, a.String())
	if err != nil {
		return o, err
	}
	if hosts != want || most != 1 {
		return o, fmt.Errorf("%d of %d hosts answered, one of them %d times", hosts, want, most)
	}
	heard, err := b.crowd.all(func(int) *ask { return &ask{Op: "heard", Target: a.String()} })
	if err != nil {
		return o, err
	}
	took = took[:0]
	for _, at := range heard.Heard {
		took = append(took, time.Duration(at-start.UnixNano()))
	}
	o.Heard = spreadOf(took)
	return o, nil
}

// byHand gives the order as a person does.
func (b *bench) byHand() error {
	if err := b.settled(); err != nil {
		return err
	}
	say("an order to all by hand")
	start := time.Now()
	rs, err := b.server.client.Block(b.ctx, api.BlockRequest{Target: b.attackers.take().String(), Where: "all", For: time.Hour})
	if err != nil {
		return err
	}
	b.r.ByHand = time.Since(start)
	say("%d hosts answered within %v", len(rs), ms(b.r.ByHand))
	return nil
}

// storm kills the server and starts it again: all come back at once.
func (b *bench) storm() error {
	say("kill -9 of the server")
	b.server.stop(syscall.SIGKILL)
	start := time.Now()
	led, err := b.server.start(b.ctx)
	if err != nil {
		return err
	}
	b.r.Restarted = led
	say("leads again after %v", ms(led))
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Minute)
	defer cancel()
	if err := b.crowd.await(ctx, "connected", connectedOf); err != nil {
		return err
	}
	b.r.Stormed = time.Since(start)
	if err := b.crowd.await(ctx, "in step with the server", syncedOf); err != nil {
		return err
	}
	b.r.StormSync = time.Since(start)
	u, err := b.server.usage()
	b.r.StormCPU = u.CPU
	say("connected after %v, in step after %v", ms(b.r.Stormed), ms(b.r.StormSync))
	return err
}
