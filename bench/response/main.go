//go:build linux

// Command response measures riposte from the outside: from the moment a line
// is written to a log file to the moment the kernel reports the set element
// that blocks its source, and how long a burst of distinct attackers takes.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"

	"riposte/bench/rig"
)

type result struct {
	Runs   int           `json:"runs"`
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
	Burst  int           `json:"burst"`
	Time   time.Duration `json:"burst_ns"`
}

func main() {
	bin := flag.String("bin", rig.Built, "the binary to measure")
	runs := flag.Int("runs", 200, "single lines to measure")
	burst := flag.Int("burst", 10000, "distinct attackers in the burst")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	rig.Main("bench/response", func() error {
		if err := rig.Build(*bin); err != nil {
			return err
		}
		r, err := measure(*bin, *runs, *burst)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(os.Stdout).Encode(r)
		}
		fmt.Printf("log line → kernel element, %d runs on %d cores: median %v, p99 %v, max %v\n", r.Runs, runtime.NumCPU(),
			r.Median.Round(time.Microsecond), r.P99.Round(time.Microsecond), r.Max.Round(time.Microsecond))
		fmt.Printf("burst of %d distinct attackers: all in the kernel after %v, none missing\n", r.Burst, r.Time.Round(time.Millisecond))
		return nil
	})
}

func measure(bin string, runs, burst int) (r result, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	g, err := rig.New(bin, "firewall-drop", time.Hour)
	if err != nil {
		return r, err
	}
	defer g.Remove()
	if _, err := g.Start(ctx); err != nil {
		return r, err
	}
	defer g.Stop(syscall.SIGTERM)
	log, err := g.Log()
	if err != nil {
		return r, err
	}
	defer log.Close()

	samples, err := singles(ctx, log, runs)
	if err != nil {
		return r, err
	}
	r.Runs, r.Median, r.P99, r.Max = runs, samples[runs/2], samples[runs*99/100], samples[runs-1]
	r.Burst = burst
	as := rig.Attackers(runs + 1 + burst)[runs+1:]
	text := rig.Lines(as)
	start := time.Now()
	if _, err := log.WriteString(text); err != nil {
		return r, err
	}
	r.Time, err = rig.Await(start, runs+1+burst, time.Minute)
	return r, err
}

// singles measures lines that come one by one. The first one, which may make
// sets and rules, does not count.
func singles(ctx context.Context, log *os.File, runs int) ([]time.Duration, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	monitor := nftables.NewMonitor(nftables.WithMonitorEventBuffer(1<<16),
		nftables.WithMonitorAction(nftables.MonitorActionNew), nftables.WithMonitorObject(nftables.MonitorObjectElements))
	events, err := conn.AddMonitor(monitor)
	if err != nil {
		return nil, err
	}
	defer monitor.Close()
	var samples []time.Duration
	for i, a := range rig.Attackers(runs + 1) {
		t, err := one(ctx, log, events, a)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			samples = append(samples, t)
		}
		time.Sleep(10 * time.Millisecond)
	}
	slices.Sort(samples)
	return samples, nil
}

// one writes a line and waits for its element.
func one(ctx context.Context, log *os.File, events <-chan *nftables.MonitorEvent, a netip.Addr) (time.Duration, error) {
	text := rig.Line(a)
	start := time.Now()
	if _, err := log.WriteString(text); err != nil {
		return 0, err
	}
	for {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("no element for %s", a)
		case ev := <-events:
			if holds(ev, a) {
				return time.Since(start), nil
			}
		}
	}
}

// holds reports whether an event is about the address.
func holds(ev *nftables.MonitorEvent, a netip.Addr) bool {
	if ev == nil || ev.Error != nil {
		return false
	}
	es, _ := ev.Data.([]nftables.SetElement)
	return slices.ContainsFunc(es, func(e nftables.SetElement) bool {
		x, ok := netip.AddrFromSlice(e.Key)
		return ok && x == a
	})
}
