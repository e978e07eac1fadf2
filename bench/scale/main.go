//go:build linux

// Command scale measures riposte with very many blocks: how long it takes to
// apply them, to restore them after a kill -9 and a lost table, to undo them,
// what memory they take, how late undos are, and how many orders a second a
// script takes. `nft -f` on the same machine stands beside it as the limit.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"riposte"
	"riposte/bench/rig"
	"riposte/internal/api"
	"riposte/internal/journal"
)

func main() {
	bin := flag.String("bin", rig.Built, "the binary to measure")
	n := flag.Int("blocks", 100000, "blocks")
	known := flag.Int("offenders", 1000000, "offenders on record")
	scripts := flag.Int("scripts", 1000, "orders for a script")
	only := flag.String("only", "", "one part: limit, blocks, lateness, offenders or orders")
	flag.Parse()
	rig.Main("bench/scale", func() error {
		if err := rig.Build(*bin); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
		defer cancel()
		for _, part := range []struct {
			name string
			run  func() error
		}{
			{"limit", func() error { return limit(*n) }},
			{"blocks", func() error { return blocks(ctx, *bin, *n) }},
			{"lateness", func() error { return lateness(ctx, *bin, *n) }},
			{"offenders", func() error { return offenders(ctx, *bin, *known) }},
			{"orders", func() error { return orders(ctx, *bin, *scripts) }},
		} {
			if *only != "" && *only != part.name {
				continue
			}
			if err := part.run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// limit loads as many elements with nft itself.
func limit(n int) error {
	var b strings.Builder
	b.WriteString("table inet bench {\nset s { type ipv4_addr; flags timeout; }\n}\n")
	for part := range slices.Chunk(rig.Attackers(n), 1000) {
		b.WriteString("add element inet bench s { ")
		for _, a := range part {
			b.WriteString(a.String() + " timeout 1h,")
		}
		b.WriteString("}\n")
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(b.String())
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %.300s", err, out)
	}
	fmt.Printf("nft -f of %d elements: %v\n", n, time.Since(start).Round(time.Millisecond))
	return exec.Command("nft", "delete", "table", "inet", "bench").Run()
}

// blocks applies, loses, restores and undoes.
func blocks(ctx context.Context, bin string, n int) error {
	g, err := rig.New(bin, "firewall-drop", time.Hour)
	if err != nil {
		return err
	}
	defer g.Remove()
	if _, err := g.Start(ctx); err != nil {
		return err
	}
	idle, err := g.Resident()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := attack(g, rig.Attackers(n)); err != nil {
		return err
	}
	took, err := rig.Await(start, n, 5*time.Minute)
	if err != nil {
		return err
	}
	fmt.Printf("%d blocks applied, log line to kernel: %v (the daemon's CPU: %v)\n", n, took.Round(time.Millisecond), g.CPU())
	if err := quiet(g); err != nil {
		return err
	}
	fmt.Printf("all written down: %v (CPU %v, %d MB)\n", time.Since(start).Round(time.Millisecond), g.CPU(), g.Wrote()>>20)
	time.Sleep(3 * time.Second)
	held, err := g.Resident()
	if err != nil {
		return err
	}
	fmt.Printf("resident memory: %d MB idle, %d MB after %d blocks\n", idle>>20, held>>20, n)

	g.Stop(syscall.SIGKILL)
	if err := exec.Command("nft", "delete", "table", "inet", "riposte").Run(); err != nil {
		return err
	}
	start = time.Now()
	ready, err := g.Start(ctx)
	if err != nil {
		return err
	}
	// It is ready when it has read all of them back from the kernel, by key. To count
	// them takes as long again, and comes short while the kernel moves a set to a
	// larger hash.
	cpu := g.CPU()
	if took, err = rig.Await(start, n, time.Minute); err != nil {
		return err
	}
	fmt.Printf("restored after kill -9 and loss of the table: %v from process start (CPU %v), counted after %v\n",
		ready.Round(time.Millisecond), cpu, took.Round(time.Millisecond))
	if err := quiet(g); err != nil {
		return err
	}
	fmt.Printf("all of that written down: %v (CPU %v)\n", time.Since(start).Round(time.Millisecond), g.CPU())
	time.Sleep(3 * time.Second)
	if held, err = g.Resident(); err != nil {
		return err
	}
	if _, err := g.Client.Doctor(ctx, api.DoctorRequest{}); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	compared, err := g.Resident()
	if err != nil {
		return err
	}
	fmt.Printf("resident memory with %d blocks after a restart: %d MB, and %d MB when all were compared with the kernel\n", n, held>>20, compared>>20)

	cpu = g.CPU()
	start = time.Now()
	gone := make(chan time.Duration, 1)
	go func() {
		took, err := rig.Await(start, 0, 5*time.Minute)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		gone <- took
	}()
	rs, err := g.Client.Unblock(ctx, api.UnblockRequest{All: true})
	if err != nil {
		return err
	}
	took = time.Since(start)
	lifted := <-gone
	if left, err := rig.Blocked(); err != nil || left > 0 {
		return fmt.Errorf("after the undo %d elements are left (%v)", left, err)
	}
	fmt.Printf("%d undone in bulk: lifted after %v, all receipts after %v (CPU %v)\n",
		len(rs), lifted.Round(time.Millisecond), took.Round(time.Millisecond), g.CPU()-cpu)
	g.Stop(syscall.SIGTERM)
	return nil
}

// quiet waits until the daemon has written down all that it did: it has taken
// next to no processor time for half a second.
func quiet(g *rig.Rig) error {
	const step = 500 * time.Millisecond
	last := g.CPU()
	for range 600 {
		time.Sleep(step)
		now := g.CPU()
		if now-last < step/20 {
			return nil
		}
		last = now
	}
	return fmt.Errorf("the daemon is still at work after %v", 600*step)
}

func attack(g *rig.Rig, as []netip.Addr) error {
	log, err := g.Log()
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = log.WriteString(rig.Lines(as))
	return err
}

// lateness lets all blocks end by themselves and reads how late each undo was.
func lateness(ctx context.Context, bin string, n int) error {
	const seconds = 30
	g, err := rig.New(bin, "firewall-drop", seconds*time.Second)
	if err != nil {
		return err
	}
	defer g.Remove()
	if _, err := g.Start(ctx); err != nil {
		return err
	}
	defer g.Stop(syscall.SIGTERM)
	if err := attack(g, rig.Attackers(n)); err != nil {
		return err
	}
	// Nothing is asked that takes long to answer while the undos are under way.
	if err := quiet(g); err != nil {
		return err
	}
	if _, err := rig.Await(time.Now(), 0, 5*time.Minute); err != nil {
		return err
	}
	if err := quiet(g); err != nil {
		return err
	}
	rs, err := g.Client.History(ctx, api.Filter{Limit: 3 * n})
	if err != nil {
		return err
	}
	ends := map[string]time.Time{}
	for _, r := range rs {
		if r.Outcome == riposte.Applied || r.Outcome == riposte.Verified {
			ends[r.Order] = r.Until
		}
	}
	var late []time.Duration
	for _, r := range rs {
		if r.Outcome == riposte.Undone {
			late = append(late, r.Time.Sub(ends[r.Order]))
		}
	}
	if len(late) != n {
		return fmt.Errorf("%d of %d undone", len(late), n)
	}
	slices.Sort(late)
	fmt.Printf("undo lateness of %d timers: median %v, p99 %v, max %v\n", n, late[n/2].Round(time.Millisecond),
		late[n*99/100].Round(time.Millisecond), late[n-1].Round(time.Millisecond))
	return nil
}

// offenders starts on a record of n of them, and looks some up.
func offenders(ctx context.Context, bin string, n int) error {
	g, err := rig.New(bin, "firewall-drop", time.Hour)
	if err != nil {
		return err
	}
	defer g.Remove()
	path := filepath.Join(g.Dir, "state", "journal.db")
	j, _, err := journal.Open(path, journal.Options{})
	if err != nil {
		return err
	}
	key := func(i int) riposte.Key {
		const network, step = 1 << 24, 48271 // 11.0.0.0/8, in no order
		a := i * step % network
		t := riposte.Target{Kind: riposte.Address, Value: netip.AddrFrom4([4]byte{11, byte(a >> 16), byte(a >> 8), byte(a)}).String()}
		return riposte.Key{Command: "answer", Target: t}
	}
	now := time.Now()
	for i := 0; i < n; {
		b := &journal.Batch{}
		for ; len(b.Offenders) < 50_000 && i < n; i++ {
			b.Offenders = append(b.Offenders, journal.Offender{Key: key(i), Count: 1, Last: now, Until: now})
		}
		if err := j.Commit(b); err != nil {
			return err
		}
	}
	const looks = 1000
	var took []time.Duration
	for i := range looks {
		k := key(i * 7919 % n)
		start := time.Now()
		f, err := j.Ask(journal.Question{Offenders: []riposte.Key{k}})
		took = append(took, time.Since(start))
		if err != nil || f.Offenders[k].Count != 1 {
			return fmt.Errorf("looking up %v: %w", k, err)
		}
	}
	slices.Sort(took)
	if err := j.Close(); err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	ready, err := g.Start(ctx)
	if err != nil {
		return err
	}
	defer g.Stop(syscall.SIGTERM)
	if err := quiet(g); err != nil {
		return err
	}
	held, err := g.Resident()
	if err != nil {
		return err
	}
	fmt.Printf("%d offenders on record: looked up in %v (median) and %v (p99), started in %v, resident %d MB, file %d MB\n",
		n, took[looks/2].Round(time.Microsecond), took[looks*99/100].Round(time.Microsecond), ready.Round(time.Millisecond), held>>20, st.Size()>>20)
	return nil
}

// orders runs a script for each of n attackers.
func orders(ctx context.Context, bin string, n int) error {
	g, err := rig.New(bin, "note.sh", time.Hour)
	if err != nil {
		return err
	}
	defer g.Remove()
	list := filepath.Join(g.Dir, "noted")
	script := "#!/bin/sh\necho \"$1 $3\" >>" + list + "\n"
	if err := os.WriteFile(filepath.Join(g.Dir, "bin", "note.sh"), []byte(script), 0o755); err != nil {
		return err
	}
	if _, err := g.Start(ctx); err != nil {
		return err
	}
	defer g.Stop(syscall.SIGTERM)
	start := time.Now()
	if err := attack(g, rig.Attackers(n)); err != nil {
		return err
	}
	for {
		b, _ := os.ReadFile(list) // not there before the first
		if got := strings.Count(string(b), "\n"); got == n {
			break
		} else if time.Since(start) > time.Minute {
			return fmt.Errorf("%d of %d scripts ran", got, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Printf("%d orders of a shell script: %v, none lost\n", n, time.Since(start).Round(time.Millisecond))
	return nil
}
