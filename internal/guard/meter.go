package guard

import (
	"fmt"
	"sync"
	"time"

	"riposte"
)

// Limit bounds one response. Zero is no bound.
type Limit struct {
	PerMinute int // new ones in any minute
	InForce   int // in force at once
}

// Breaker stops new responses when too many targets are acted on at once, which
// is a rule gone wild or an attack by way of forged addresses more often than
// it is many attackers. The zero value never opens.
type Breaker struct {
	Targets  int           // this many distinct ones …
	Within   time.Duration // … within this time open it
	Cooldown time.Duration // after which it closes by itself; 0: by hand only
}

// meter counts what is admitted.
type meter struct {
	breaker Breaker
	limit   Limit
	limits  map[string]Limit

	mu     sync.Mutex
	recent map[string]*minute
	queue  []sighting // of the breaker, oldest first
	seen   map[riposte.Target]time.Time
	opened time.Time // zero when closed
}

type sighting struct {
	target riposte.Target
	at     time.Time
}

func newMeter(o Options) meter {
	return meter{breaker: o.Breaker, limit: o.Limit, limits: o.Limits, recent: map[string]*minute{}, seen: map[riposte.Target]time.Time{}}
}

// minute counts events of the last minute, second by second.
type minute struct {
	counts [60]int
	last   int64 // second of the newest
	sum    int
}

func (m *minute) advance(sec int64) {
	if sec-m.last >= int64(len(m.counts)) {
		*m = minute{last: sec}
		return
	}
	for m.last < sec {
		m.last++
		i := m.last % int64(len(m.counts))
		m.sum -= m.counts[i]
		m.counts[i] = 0
	}
}

func (m *minute) add() {
	m.counts[m.last%int64(len(m.counts))]++
	m.sum++
}

// Admit counts a new response, one that does not merely extend what is in
// force, and says whether caps and breaker let it pass: nil, or a *Refusal.
// held is how many responses of the command are in force. A forced order always
// passes. Time is measured on the monotonic clock: a clock step opens nothing.
func (g *Guard) Admit(o *riposte.Order, held int) error {
	if r := g.meter.admit(o, held, time.Now()); r != nil {
		return r
	}
	return nil
}

func (m *meter) admit(o *riposte.Order, held int, now time.Time) *Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit, ok := m.limits[o.Command.Name]
	if !ok {
		limit = m.limit
	}
	if m.breaker.Targets == 0 && limit == (Limit{}) || o.Force {
		return nil
	}
	if r := m.trip(o.Target, now); r != nil {
		return r
	}
	if limit.InForce > 0 && held >= limit.InForce {
		return refuse("cap-in-force", "%d responses of %s are in force, which is as many as may be", held, o.Command.Name)
	}
	if limit.PerMinute > 0 {
		c := m.recent[o.Command.Name]
		if c == nil {
			c = &minute{}
			m.recent[o.Command.Name] = c
		}
		c.advance(now.Unix())
		if c.sum >= limit.PerMinute {
			return refuse("cap-per-minute", "%s acted %d times within a minute, which is as often as it may", o.Command.Name, c.sum)
		}
		c.add()
	}
	return nil
}

// trip lets the breaker see a target.
func (m *meter) trip(t riposte.Target, now time.Time) *Refusal {
	b := m.breaker
	if b.Targets == 0 || t.Kind == riposte.None {
		return nil
	}
	if m.open(now) {
		return refuse("breaker", "%s", m.words())
	}
	for len(m.queue) > 0 && now.Sub(m.queue[0].at) > b.Within {
		if old := m.queue[0]; m.seen[old.target].Equal(old.at) {
			delete(m.seen, old.target)
		}
		m.queue = m.queue[1:]
	}
	if _, known := m.seen[t]; known {
		return nil
	}
	if len(m.seen) >= b.Targets {
		m.opened = now
		m.queue = nil
		clear(m.seen)
		r := refuse("breaker", "%s", m.words())
		r.Tripped = true
		return r
	}
	m.seen[t] = now
	m.queue = append(m.queue, sighting{t, now})
	return nil
}

// open reports whether the breaker is open, and closes it when its time is up.
func (m *meter) open(now time.Time) bool {
	if m.opened.IsZero() {
		return false
	}
	if m.breaker.Cooldown > 0 && now.Sub(m.opened) >= m.breaker.Cooldown {
		m.opened = time.Time{}
	}
	return !m.opened.IsZero()
}

func (m *meter) words() string {
	s := fmt.Sprintf("the breaker opened at %s: more than %d targets within %s; new responses are refused until ",
		m.opened.UTC().Format(time.TimeOnly), m.breaker.Targets, m.breaker.Within)
	if m.breaker.Cooldown == 0 {
		return s + "it is closed by hand"
	}
	return s + m.opened.Add(m.breaker.Cooldown).UTC().Format(time.TimeOnly)
}

// BreakerOpen says in words why new responses are refused, "" when they are not.
func (g *Guard) BreakerOpen() string {
	m := &g.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.open(time.Now()) {
		return ""
	}
	return m.words()
}

// CloseBreaker closes the breaker by hand and reports whether it was open.
func (g *Guard) CloseBreaker() bool {
	m := &g.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.open(time.Now())
	m.opened = time.Time{}
	return was
}
