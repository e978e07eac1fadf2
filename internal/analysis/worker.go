package analysis

import (
	"strings"

	"riposte"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/ruleset"
)

// Worker does stage one: what can be known of an event without knowing what
// came before it. A worker serves one goroutine at a time and reuses its
// memory.
type Worker struct {
	plan     *plan
	opt      *Options
	pre      predecoder
	json     *jsonReader
	channel  *channelReader
	programs *programCache
	caps     []pattern.Span

	program *program     // what is known of the record's program name; nil: it has none
	hits    pattern.Bits // literals that occur in the record
	scanned bool
	alone   int // literals that were looked for alone
	fold    []byte
	places  []int32 // for each of Set.Fields where it stands among the record's, from 1
}

func newWorker(p *plan, o *Options) *Worker {
	return &Worker{
		plan: p, opt: o, pre: newPredecoder(p.set.Dialect, o.Host), json: newJSONReader(p.set),
		channel: &channelReader{}, programs: newProgramCache(), hits: pattern.NewBits(p.literals),
		places: make([]int32, len(p.set.Fields)),
	}
}

// prepare does stage one for an event.
func (w *Worker) prepare(r *record, ev *riposte.Event) {
	r.reset(ev)
	w.scanned, w.alone = false, 0
	w.pre.run(r)
	w.program = nil
	if r.hasProg {
		w.program = w.programs.lookup(w.plan, r.program)
	}
	if ev.Format == riposte.FormatEventChannel && w.plan.wazuh {
		w.channel.run(w, r)
	} else {
		w.decode(r)
	}
	if w.opt.Live && r.category == ruleset.Firewall {
		w.firewall(r)
	}
	if r.decoder != nil && r.decoder.Accumulate {
		r.later = true // the accumulator may fill slots first
		return
	}
	w.conditions(r)
}

// resume does what prepare left for after the accumulator.
func (w *Worker) resume(r *record) {
	w.scanned, w.alone = false, 0
	w.program = nil
	if r.hasProg {
		w.program = w.programs.lookup(w.plan, r.program)
	}
	w.conditions(r)
}

// conditions finds the rules whose stateless conditions hold.
func (w *Worker) conditions(r *record) {
	if w.opt.Geo != nil {
		w.geo(r, ruleset.SrcIP, ruleset.SrcGeo)
		w.geo(r, ruleset.DstIP, ruleset.DstGeo)
	}
	if r.category != ruleset.OSSECAlert && !r.dropped {
		w.enterPlaces(r)
		for _, n := range w.plan.roots {
			if n.Category == r.category && w.static(r, n.rule) && w.walk(r, n) {
				break
			}
		}
		w.leavePlaces(r)
	}
}

func (w *Worker) geo(r *record, ip, geo ruleset.Slot) {
	if v, ok := r.slot(ip); ok {
		if place := w.opt.Geo(v); place != "" {
			r.set(geo, place)
		}
	}
}

// firewall does what the real systems' firewall log does to events of that
// type before the rules see them: incomplete ones are dropped, and OSSEC
// brings the action into one of a few words.
func (w *Worker) firewall(r *record) {
	need := uint32(1<<ruleset.Action | 1<<ruleset.SrcIP | 1<<ruleset.DstIP | 1<<ruleset.Protocol)
	if w.plan.wazuh {
		need |= 1<<ruleset.SrcPort | 1<<ruleset.DstPort
	}
	if r.has&need != need {
		r.dropped = true
		return
	}
	if !w.plan.wazuh {
		r.set(ruleset.Action, firewallAction(r.slots[ruleset.Action]))
	}
}

func firewallAction(s string) string {
	if s != "" {
		switch s[0] {
		case 'd', 'D', 'r', 'R', 'b', 'B':
			return "DROP"
		case 'c', 'C', 't', 'T':
			return "CLOSED"
		case 'a', 'A', 'p', 'P', 'o', 'O':
			return "ALLOW"
		}
	}
	switch {
	case strings.Contains(s, "drop"):
		return "DROP"
	case strings.Contains(s, "accept"):
		return "ALLOW"
	}
	return "UNKNOWN"
}

// enterPlaces notes where the dynamic fields stand; the first of a name counts.
func (w *Worker) enterPlaces(r *record) {
	for i := range r.fields {
		if id := r.fields[i].id; id >= 0 && w.places[id] == 0 {
			w.places[id] = int32(i) + 1
		}
	}
}

func (w *Worker) leavePlaces(r *record) {
	for i := range r.fields {
		if id := r.fields[i].id; id >= 0 {
			w.places[id] = 0
		}
	}
}

// may reports whether an expression can match the record at all: whether one
// of its literals occurs in it. All literals of the ruleset are looked for at
// once, when more than a few are asked for.
func (w *Worker) may(r *record, e *expression) bool {
	if len(e.literals) > 0 {
		return w.any(r, e.literals)
	}
	for _, c := range e.bytes {
		if strings.IndexByte(r.log, c) >= 0 {
			return true
		}
	}
	return len(e.bytes) == 0
}

// fewAlone is how many literals of a JSON record are looked for alone. Most such
// records need no more where a decoder reads JSON, and then a scan would be for
// nothing.
const fewAlone = 1

// any reports whether one of the literals occurs in the record.
func (w *Worker) any(r *record, literals []int32) bool {
	if !w.scanned {
		if len(literals) == 1 && w.alone < fewAlone && w.plan.readsJSON && strings.HasPrefix(r.log, "{") {
			w.alone++
			return w.plan.scanner.Occurs(int(literals[0]), r.log)
		}
		w.hits.Clear()
		w.plan.scanner.Scan(r.log, w.hits)
		w.scanned = true
	}
	for _, id := range literals {
		if w.hits.Has(int(id)) {
			return true
		}
	}
	return false
}

// programCache remembers for each program name which decoders and which
// program_name conditions it satisfies.
type programCache struct {
	byName map[string]*program
	other  program // of the last name that is not worth remembering
}

type program struct {
	roots []*decoder
	match pattern.Bits // plan.programs
}

const (
	knownPrograms = 4096
	longProgram   = 128 // bytes of a name that is not remembered
)

func newProgramCache() *programCache { return &programCache{byName: map[string]*program{}} }

// lookup returns what is known of a name, until the next call.
func (c *programCache) lookup(p *plan, name string) *program {
	if e, ok := c.byName[name]; ok {
		return e
	}
	if len(name) >= longProgram {
		c.other.find(p, name)
		return &c.other
	}
	if len(c.byName) >= knownPrograms {
		clear(c.byName) // names made up by someone: start again
	}
	e := &program{}
	e.find(p, name)
	c.byName[strings.Clone(name)] = e
	return e
}

func (e *program) find(p *plan, name string) {
	e.roots = e.roots[:0]
	for _, d := range p.program {
		if d.Program.Match(name) {
			e.roots = append(e.roots, d)
		}
	}
	if e.match == nil {
		e.match = pattern.NewBits(len(p.programs))
	}
	e.match.Clear()
	for i, x := range p.programs {
		if x.Match(name) {
			e.match.Set(i)
		}
	}
}
