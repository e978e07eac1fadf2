//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"riposte"
)

// load are agents that log attacks without a pause, each from an address of its
// own, until it is stopped.
type load struct {
	mu        sync.Mutex
	texts     []string // that are in no other line
	short     []string // addresses that are blocked for a short time
	lasting   []string // and for a long one
	stopAsked chan struct{}
	done      sync.WaitGroup
}

// startLoad begins with one line on each agent every so often, and slows down as
// they add up: a busy machine is not to be buried.
func (r *region) startLoad(every time.Duration) *load {
	l := &load{stopAsked: make(chan struct{})}
	for i, st := range r.agents {
		l.done.Go(func() {
			for n := i; ; n += len(r.agents) {
				line := failedFrom
				l.mu.Lock()
				if n/len(r.agents)%2 == 0 {
					line, l.short = unknownFrom, append(l.short, addr(n).String())
				} else {
					l.lasting = append(l.lasting, addr(n).String())
				}
				l.texts = append(l.texts, fmt.Sprintf("sshd[%d]", 10000+n))
				l.mu.Unlock()
				st.sees(line(addr(n), 10000+n))
				select {
				case <-time.After(every * time.Duration(1+n/50)):
				case <-l.stopAsked:
					return
				}
			}
		})
	}
	return l
}

// stop ends the load; what it did may be read then.
func (l *load) stop() {
	close(l.stopAsked)
	l.done.Wait()
}

// count is how many lines there are.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.texts)
}

// outage is when a station was dead.
type outage struct {
	st         *station
	start, end time.Time
}

// during returns an outage of one of the stations that touches a time.
func during(outages []outage, from, to time.Time, sts ...*station) *outage {
	for i := range outages {
		if o := &outages[i]; slices.Contains(sts, o.st) && !o.end.Before(from) && !o.start.After(to) {
			return o
		}
	}
	return nil
}

// alive is how long a station ran between two times. A kill may come between the
// end of a response and the note of it, which the next start makes up for: what
// is late is late by this time.
func alive(outages []outage, st *station, from, to time.Time) time.Duration {
	d := to.Sub(from)
	for _, o := range outages {
		begin, end := o.start, o.end
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if o.st == st && end.After(begin) {
			d -= end.Sub(begin)
		}
	}
	return d
}

// TestFleetKills kills the server, with the broker in it, and agents, in turn,
// while lines come in. Every line is one alert and one order; what is in force
// is so everywhere, and ends on time.
func TestFleetKills(t *testing.T) {
	const seconds = 3
	rounds := 1
	if soak() {
		rounds = 20
	}
	r := newRegion(t, 2, twoTimes(seconds), "guard: {breaker: {targets: 0}}\n")
	for _, st := range r.agents {
		st.stop(syscall.SIGTERM)
		st.write("riposte.yaml", st.read("riposte.yaml")+"guard: {breaker: {targets: 0}}\n")
		st.start()
	}
	l := r.startLoad(20 * time.Millisecond)
	var outages []outage
	progress := func() {
		t.Helper()
		// Something that was logged now gets through: the fleet is at work again.
		from := l.count()
		eventually(t, long, "lines come in", func() bool { return l.count() > from })
		l.mu.Lock()
		last := l.texts[from]
		l.mu.Unlock()
		eventually(t, long, "lines are judged", func() bool { return strings.Contains(r.server.read("log/alerts.json"), last) })
	}
	progress()
	for round := range rounds {
		for _, st := range []*station{r.server, r.agents[round%2], r.server} {
			o := outage{st: st, start: time.Now()}
			st.kill()
			if st == r.server {
				r.serve()
			} else {
				st.start()
			}
			o.end = time.Now()
			outages = append(outages, o)
			progress()
		}
	}
	l.stop()
	r.counted(l.texts)
	settled := func() (waiting int) {
		for _, st := range r.all() {
			over := map[string]bool{}
			for _, x := range st.history() {
				over[x.Target.Value] = over[x.Target.Value] || x.Outcome == riposte.Undone || x.Outcome == riposte.Expired
			}
			for _, a := range l.short {
				if !over[a] {
					waiting++
				}
			}
		}
		return waiting
	}
	eventually(t, long, "everything that is short is over", func() bool { return settled() == 0 })
	if targets := r.same(10 * time.Second); len(targets) != len(l.lasting) {
		t.Errorf("%d addresses are in force, want %d", len(targets), len(l.lasting))
	}

	// One order an address, on all hosts the same; one undo, on time.
	orders := map[string]string{}
	for _, st := range r.all() {
		ends := map[string]int{}
		for _, x := range st.history() {
			a := x.Target.Value
			if known, ok := orders[a]; ok && known != x.Order {
				t.Errorf("%s: %s was ordered twice: %s, %s", st.host, a, known, x.Order)
			}
			orders[a] = x.Order
			switch x.Outcome {
			case riposte.Undone:
				ends[a]++
				if late := alive(outages, st, x.Until, x.Time); x.Time.Before(x.Until) || late > 2*time.Second {
					t.Errorf("%s: %s was undone %v after its time", st.host, a, late)
				}
			case riposte.Expired:
				ends[a]++
				if during(outages, x.Until.Add(-seconds*time.Second), x.Time, st, r.server) == nil {
					t.Errorf("%s: was there, and had the order for %s too late", st.host, a)
				}
			case riposte.Failed, riposte.Refused:
				t.Errorf("%s: %+v", st.host, x)
			}
		}
		for _, a := range l.short {
			if ends[a] != 1 {
				t.Errorf("%s: %s ended %d times", st.host, a, ends[a])
			}
		}
		if len(orders) != len(l.texts) {
			t.Errorf("%s: %d orders for %d lines", st.host, len(orders), len(l.texts))
		}
	}
	t.Logf("%d lines, %d outages", len(l.texts), len(outages))
	for _, st := range r.all() {
		st.stop(syscall.SIGTERM)
	}
}
