//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// machine is where it was measured.
type machine struct {
	Cores    int     `json:"cores"`
	Memory   int64   `json:"memory"`
	Files    uint64  `json:"files"` // that one process may open
	Ports    string  `json:"ports"` // for outgoing connections
	LoadFrom float64 `json:"load_from"`
	LoadTo   float64 `json:"load_to"`
}

// spread is a distribution.
type spread struct {
	N      int           `json:"n"`
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
}

func spreadOf(ds []time.Duration) spread {
	if len(ds) == 0 {
		return spread{}
	}
	slices.Sort(ds)
	n := len(ds)
	return spread{n, ds[n/2], ds[min(n*99/100, n-1)], ds[n-1]}
}

func (s spread) String() string {
	return fmt.Sprintf("median %v, p99 %v, last %v", ms(s.Median), ms(s.P99), ms(s.Max))
}

// order is an order to all agents.
type order struct {
	Heard  spread        `json:"heard"`    // by the agents
	Ledger spread        `json:"receipts"` // in the ledger
	CPU    time.Duration `json:"server_cpu_ns"`
}

// flood is very many events at once.
type flood struct {
	Agents  int           `json:"agents"`
	Events  int           `json:"events"`
	Rate    int           `json:"offered"` // a second; 0: as many as go
	Sent    time.Duration `json:"sent_ns"`
	Judged  time.Duration `json:"judged_ns"`
	Alerts  int           `json:"alerts"`
	Lost    int           `json:"lost"`
	Doubled int           `json:"doubled"`
	CPU     time.Duration `json:"server_cpu_ns"`
	Senders time.Duration `json:"agents_cpu_ns"`
	Blocked time.Duration `json:"blocked_ns"` // all agents together waited for room in their spools
	Waiting int64         `json:"waiting"`    // most bytes in spools
	Store   int           `json:"store_mb"`
}

func (f flood) perSecond() float64 { return float64(f.Events) / f.Judged.Seconds() }

// result is everything.
type result struct {
	Machine    machine       `json:"machine"`
	Agents     int           `json:"agents"`
	ByToken    time.Duration `json:"enrol_by_token_ns"`
	ByRoster   time.Duration `json:"enrol_by_roster_ns"`
	Latency    *spread       `json:"latency"`      // attack line on one host to block on another
	LatencyAll *spread       `json:"latency_full"` // the same with all agents connected
	Connected  time.Duration `json:"connected_ns"`
	Synced     time.Duration `json:"synced_ns"`
	ConnectCPU time.Duration `json:"connect_cpu_ns"` // of the server
	Empty      int64         `json:"resident_empty"`
	Full       int64         `json:"resident_full"`
	PerAgent   int64         `json:"resident_per_agent"`
	Simulated  int64         `json:"resident_simulated"` // one simulated agent
	Idle       float64       `json:"idle_cores"`         // of the server, by beats and pings
	IdleSim    float64       `json:"idle_cores_simulated"`
	Orders     []order       `json:"orders"`
	ByHand     time.Duration `json:"by_hand_ns"` // riposte block --where all, until it answers
	Floods     []flood       `json:"floods"`
	Restarted  time.Duration `json:"restart_ns"` // kill -9 to leading again
	Stormed    time.Duration `json:"storm_ns"`   // to all connected again
	StormSync  time.Duration `json:"storm_synced_ns"`
	StormCPU   time.Duration `json:"storm_cpu_ns"`
}

func ms(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func (r *result) table(w io.Writer) {
	row := func(what, format string, v ...any) { fmt.Fprintf(w, "%-46s %s\n", what, fmt.Sprintf(format, v...)) }
	m := r.Machine
	row("machine", "%d cores, %d GiB, %d files a process, ports %s, load %.1f to %.1f", m.Cores, m.Memory>>30, m.Files, m.Ports, m.LoadFrom, m.LoadTo)
	row("enrolment by token, one by one", "%v", ms(r.ByToken))
	row("enrolment in the roster, one by one", "%v", ms(r.ByRoster))
	if r.Latency != nil {
		row("attack on a host to block on another", "%d runs: %v", r.Latency.N, *r.Latency)
	}
	if r.Agents == 0 {
		return
	}
	row(fmt.Sprintf("%d agents connected", r.Agents), "%v; in step with the server %v; server CPU %v", ms(r.Connected), ms(r.Synced), ms(r.ConnectCPU))
	row("server, resident", "%d MB empty, %d MB full: %.1f KB an agent", r.Empty>>20, r.Full>>20, float64(r.PerAgent)/1024)
	row("server, idle", "%.3f cores, %.1f µs/s an agent", r.Idle, r.Idle*1e6/float64(r.Agents))
	row("(simulated agents)", "%.1f KB and %.1f µs/s each", float64(r.Simulated)/1024, r.IdleSim*1e6/float64(r.Agents))
	for _, o := range r.Orders {
		row("order to all: line to agents", "%v", o.Heard)
		row("              line to receipts in the ledger", "%v; server CPU %v", o.Ledger, ms(o.CPU))
	}
	if r.ByHand > 0 {
		row("the same by hand, until the command answers", "%v", ms(r.ByHand))
	}
	if r.LatencyAll != nil {
		row("attack to block elsewhere, all connected", "%d runs: %v", r.LatencyAll.N, *r.LatencyAll)
	}
	for _, f := range r.Floods {
		offered := "as fast as it goes"
		if f.Rate > 0 {
			offered = fmt.Sprintf("at %d/s", f.Rate)
		}
		row(fmt.Sprintf("%d events from %d agents %s", f.Events, f.Agents, offered),
			"%.0f/s; sent %v, judged %v; %d alerts, %d lost, %d doubled; CPU s a million: server %.1f, agents %.1f; spools: %.1f MB at most, blocked %v (store %d MB)",
			f.perSecond(), ms(f.Sent), ms(f.Judged), f.Alerts, f.Lost, f.Doubled, f.CPU.Seconds()*1e6/float64(f.Events),
			f.Senders.Seconds()*1e6/float64(f.Events), float64(f.Waiting)/(1<<20), f.Blocked.Round(time.Millisecond), f.Store)
	}
	if r.Stormed > 0 {
		row("kill -9 of the server: leading again", "%v", ms(r.Restarted))
		row("    all agents connected, in step", "%v, %v; server CPU %v", ms(r.Stormed), ms(r.StormSync), ms(r.StormCPU))
	}
}
