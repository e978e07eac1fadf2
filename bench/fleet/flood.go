//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// floods sends events as fast as they go, and then at the wanted rate.
func (b *bench) floods() error {
	for _, rate := range []int{0, b.rate} {
		if err := b.flood(b.senders, b.events, rate, usualStore); err != nil {
			return err
		}
	}
	return nil
}

// overrun sends, with a broker that stores little, more than the server can
// judge: agents keep the events, read no further when their spools are full, and
// nothing is lost.
func (b *bench) overrun() error {
	say("a server that stores %d MB of events", b.store)
	b.server.stop(syscall.SIGTERM)
	if err := b.server.configure(b.names, b.store); err != nil {
		return err
	}
	if _, err := b.server.start(b.ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Minute)
	defer cancel()
	if err := b.crowd.await(ctx, "in step with the server", syncedOf); err != nil {
		return err
	}
	return b.flood(max(b.senders/15, 1), 3*b.events, 0, b.store)
}

func (b *bench) flood(agents, events, rate, store int) error {
	agents = min(agents, b.agents)
	f := flood{Agents: agents, Events: events, Rate: rate, Store: store}
	say("%d events from %d agents, %d a second (0: as many as go)", events, agents, rate)
	st, err := b.server.client.Status(b.ctx)
	if err != nil {
		return err
	}
	from, alerts := st.Events, st.Alerts
	log, err := os.Stat(b.alerts())
	if err != nil {
		return err
	}
	ours, err := b.server.usage()
	if err != nil {
		return err
	}
	theirs, err := b.crowd.usage()
	if err != nil {
		return err
	}
	n := len(b.crowd.swarms)
	start := time.Now()
	first := b.serial
	b.serial += events
	if _, err := b.crowd.all(func(i int) *ask {
		part := ask{Op: "flood", Agents: share(agents, n, i), First: first + events/n*i, Events: events / n, Rate: rate / n}
		if i == n-1 {
			part.Events = events - events/n*i
		}
		return &part
	}); err != nil {
		return err
	}
	// An agent that tells of its reconnection adds an event of the server's own:
	// what was sent is counted by serial numbers below.
	idle := time.Now()
	var seen uint64
	for {
		a, err := b.crowd.status()
		if err != nil {
			return err
		}
		if f.Waiting = max(f.Waiting, a.Waiting); !a.Flooding && f.Sent == 0 {
			f.Sent, f.Blocked = time.Since(start), time.Duration(a.Blocked)
		}
		if st, err = b.server.client.Status(b.ctx); err != nil {
			return err
		}
		if now := st.Events - from; now != seen {
			seen, idle = now, time.Now()
		}
		if seen >= uint64(events) && f.Sent != 0 {
			f.Judged = time.Since(start)
			break
		}
		if time.Since(idle) > time.Minute {
			say("%d of %d events judged, and no more come (last problem of %d: %s)\n%s", seen, events, a.Problems, a.Last, b.server.output())
			return fmt.Errorf("%d of %d events were not judged", uint64(events)-seen, events)
		}
		time.Sleep(200 * time.Millisecond) // looking at ten thousand agents takes time, too
	}
	after, err := b.server.usage()
	if err != nil {
		return err
	}
	now, err := b.crowd.usage()
	if err != nil {
		return err
	}
	f.CPU, f.Senders, f.Alerts = after.CPU-ours.CPU, now.CPU-theirs.CPU, int(st.Alerts-alerts)
	time.Sleep(time.Second) // alerts reach the file
	if err := b.count(&f, log.Size(), first); err != nil {
		return err
	}
	say("%.0f events/s, %d lost, %d doubled", f.perSecond(), f.Lost, f.Doubled)
	b.r.Floods = append(b.r.Floods, f)
	return nil
}

// share is how many of n things part i of parts gets.
func share(n, parts, i int) int { return max(n*(i+1)/parts-n*i/parts, 1) }

func (b *bench) alerts() string { return filepath.Join(b.server.dir, "log", "alerts.json") }

// count looks for the alert of every event that must have one.
func (b *bench) count(f *flood, offset int64, first int) error {
	file, err := os.Open(b.alerts())
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(offset, 0); err != nil {
		return err
	}
	seen := make([]uint8, f.Events)
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, 1<<22)
	mark := []byte("Invalid user u")
	for sc.Scan() {
		i := bytes.Index(sc.Bytes(), mark)
		if i < 0 || !bytes.Contains(sc.Bytes(), []byte(`"id":"5710"`)) && !bytes.Contains(sc.Bytes(), []byte(`"sidid":5710`)) {
			continue // a rule that looks at several
		}
		rest := sc.Bytes()[i+len(mark):]
		n, err := strconv.Atoi(string(rest[:max(bytes.IndexByte(rest, ' '), 0)]))
		if err != nil || n < first || n >= first+f.Events {
			return fmt.Errorf("an alert about %q, which nobody sent", rest[:min(len(rest), 40)])
		}
		seen[n-first]++
	}
	for i, n := range seen {
		if marked(first+i) && n == 0 {
			f.Lost++
		}
		f.Doubled += max(int(n)-1, 0)
	}
	return sc.Err()
}
