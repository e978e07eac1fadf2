package analysis

import (
	"time"

	"riposte"
	"riposte/internal/ossec/ruleset"
)

// Options say how an engine works. The zero value is a log test on a host
// without a name.
type Options struct {
	Host   string // name of the analysing host
	Live   bool   // do what the real systems do only outside their log tests (spec 5.13)
	Memory int    // <global><memory_size>: events that correlations remember, 8192
	// Serial is what the numbers in the ids of alerts begin after: the higher, the
	// later the start, so that none is given twice.
	Serial uint64
	// FTSSize and FTSLength are analysisd.fts_list_size (32) and
	// analysisd.fts_min_size_for_str (14).
	FTSSize   int
	FTSLength int
	// Geo names the place of an address, "" when it is not known. Nil: no rule
	// about places matches. It is called by workers, at the same time.
	Geo func(address string) string
	// Remember is told each fact that should survive a restart; Recall takes
	// them back. It is called by stage two.
	Remember func(Fact)
	// Wanted says whether an alert that is not to be logged is wanted anyway,
	// because a response may answer it. Nil: always. It is asked once a rule.
	Wanted func(*ruleset.Rule) bool
}

// Engine does stage two: what depends on earlier events. One goroutine at a
// time may use it, and it must be given the events in their order.
type Engine struct {
	plan    *plan
	opt     *Options
	worker  *Worker // for what stage one left open
	rec     record  // for Analyse
	history *history
	memory  *memory
	gather  *accumulator
	state   []ruleState // by Rule.Index
	life    uint64      // engines of one life take over what the others remember
	wanted  []bool      // by Rule.Index

	now       int64 // seconds; never goes back
	hour      int64
	last      [3][]byte // the last records, for the live OSSEC
	lastAt    int
	serial    uint64
	id        []byte // of an alert
	described []byte // its description
	cur       past
	curSet    bool
	quoted    []*past
}

// ruleState is what changes about a rule.
type ruleState struct {
	fired   int
	silence int64 // since when it is ignored, 0: it is not
}

// New returns an engine for a ruleset.
func New(set *ruleset.Set, o Options) *Engine {
	if o.Memory == 0 {
		o.Memory = 8192
	}
	if o.FTSSize == 0 {
		o.FTSSize = 32
	}
	if o.FTSLength == 0 {
		o.FTSLength = 14
	}
	return newEngine(newPlan(set), &o)
}

func newEngine(p *plan, o *Options) *Engine {
	e := &Engine{
		plan: p, opt: o, worker: newWorker(p, o), history: newHistory(p, o.Memory), memory: newMemory(p.wazuh, o),
		serial: o.Serial, gather: newAccumulator(), state: make([]ruleState, len(p.rules)), wanted: make([]bool, len(p.rules)),
	}
	for i, x := range p.rules {
		e.wanted[i] = x.Log || o.Wanted == nil || o.Wanted(x.Rule)
	}
	return e
}

// Fresh returns an engine for the same ruleset that has seen no event yet.
func (e *Engine) Fresh() *Engine { return newEngine(e.plan, e.opt) }

// Set is the ruleset of the engine.
func (e *Engine) Set() *ruleset.Set { return e.plan.set }

// Worker returns a new worker for the engine's ruleset.
func (e *Engine) Worker() *Worker { return newWorker(e.plan, e.opt) }

// Recall takes back a fact that Remember was told.
func (e *Engine) Recall(f Fact) { e.memory.learn(f) }

// Analyse judges one event in the calling goroutine; nil: no alert.
func (e *Engine) Analyse(ev *riposte.Event) *riposte.Alert {
	e.worker.prepare(&e.rec, ev)
	return e.judge(&e.rec)
}

// judge does stage two for a record.
func (e *Engine) judge(r *record) *riposte.Alert {
	e.begin(r)
	if e.repeated(r) || r.dropped {
		return nil
	}
	final, from := e.verdict(r)
	if final == nil || final.Level == 0 {
		return nil
	}
	x, ok := e.answer(r, final, from)
	if !ok {
		return nil
	}
	return e.conclude(r, x)
}

// begin sets the clock and does what stage one had to leave.
func (e *Engine) begin(r *record) {
	e.now = max(e.now, r.time.Unix())
	e.curSet = false
	e.quoted = e.quoted[:0]
	if e.opt.Live {
		if h := e.now / 3600; h != e.hour {
			e.hour = h
			for i := range e.state {
				e.state[i].fired = 0
			}
		}
	}
	if r.later {
		e.gather.run(r, e.now)
		e.worker.resume(r)
	}
}

// repeated is the live OSSEC's defence against floods: a record that equals
// one of the last three is not judged.
func (e *Engine) repeated(r *record) bool {
	if !e.opt.Live || e.plan.wazuh || r.category != ruleset.Syslog {
		return false
	}
	for _, s := range e.last {
		if string(s) == r.full && len(s) > 0 {
			return true
		}
	}
	e.last[e.lastAt] = append(e.last[e.lastAt][:0], r.full...)
	e.lastAt = (e.lastAt + 1) % len(e.last)
	return false
}

// verdict returns the final rule and the rule above it.
func (e *Engine) verdict(r *record) (final, above *rule) {
	if r.category == ruleset.OSSECAlert {
		return r.ref, nil
	}
	n := e.resolve(r, 0, int32(len(r.picks)))
	if n == nil {
		return nil, nil
	}
	s := &e.state[n.Index]
	s.fired++
	r.fired = s.fired
	if n.parent != nil {
		above = n.parent.rule
	}
	return n.rule, above
}

// resolve walks the picks as the real systems walk the tree.
func (e *Engine) resolve(r *record, i, end int32) *node {
	for i < end {
		p := r.picks[i]
		if !p.node.waits || e.holds(r, p.node.rule) {
			if n := e.resolve(r, i+1, p.end); n != nil {
				return n
			}
			if !p.node.NoAlert {
				return p.node
			}
			e.quoted = e.quoted[:0]
		}
		i = p.end
	}
	return nil
}

// holds tests the conditions of a rule that depend on earlier events.
func (e *Engine) holds(r *record, x *rule) bool {
	for i := range x.stateful {
		if !e.condition(r, x, &x.stateful[i]) {
			return false
		}
	}
	if x.Correlate == nil {
		return true
	}
	if x.search == nil {
		return false
	}
	if !e.curSet {
		e.history.view(&e.cur, r, e.now)
		e.curSet = true
	}
	var room [maxQuoted]*past
	quoted, ok := e.history.find(x, &e.cur, room[:0])
	if ok {
		r.matched = x.Level
		e.quoted = append(e.quoted[:0], quoted...)
	}
	return ok
}

func (e *Engine) condition(r *record, x *rule, c *condition) bool {
	switch c.kind {
	case ruleset.Diff:
		return e.memory.changed(r, x)
	case ruleset.FTS:
		return e.memory.firstTime(r)
	}
	e.worker.enterPlaces(r)
	ok := e.worker.holds(r, c)
	e.worker.leavePlaces(r)
	return ok
}

// answer applies ignore and check_if_ignored and returns the rule that the
// alert is for; false when there is none.
func (e *Engine) answer(r *record, x, above *rule) (*rule, bool) {
	if x.Ignore > 0 && e.silent(x) {
		// Inside the time of ignore the live Wazuh alerts with the rule above.
		if !e.opt.Live || !e.plan.wazuh || above == nil {
			return x, false
		}
		x = above
	}
	return x, !e.memory.isIgnored(r, x)
}

// silent is the ignore attribute.
func (e *Engine) silent(x *rule) bool {
	s := &e.state[x.Index]
	switch {
	case s.silence == 0:
		s.silence = e.now
	case e.now-s.silence < int64(x.Ignore):
		return true
	case e.opt.Live:
		s.silence = e.now
	default:
		s.silence = 0
	}
	return false
}

// conclude makes the alert and remembers the event.
func (e *Engine) conclude(r *record, x *rule) *riposte.Alert {
	e.memory.ignore(r, x)
	var c cloner
	var alert *riposte.Alert
	if e.wanted[x.Index] {
		c.take(r, e.nextID(r))
		alert = e.alert(r, x, &c)
	}
	if x.Level > 0 {
		e.retain(r, x, &c)
	}
	return alert
}

// retain remembers the event for correlations; one that no list is interested
// in only counts.
func (e *Engine) retain(r *record, x *rule, c *cloner) {
	p := e.history.fresh()
	if len(x.Feeds) > 0 || e.history.any >= 0 {
		e.history.view(p, r, e.now)
		c.take(r, nil)
		p.own(c)
		p.kept, p.bytes = true, len(r.event.Text)+len(r.buf)
	} else {
		p.time = e.now
	}
	p.rule = x.ID
	e.history.add(p, x, e.now)
}

// Clock returns the engine's time: that of the latest event.
func (e *Engine) Clock() time.Time { return time.Unix(e.now, 0) }
