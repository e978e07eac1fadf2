package analysis

import (
	"strings"

	"riposte/internal/ossec/ruleset"
)

// accumulator joins what several records of one transaction say: what a record
// lacks is taken from the ones before (spec 3.10).
type accumulator struct {
	entries map[string]*gathered
	lookups int
	key     []byte
}

type gathered struct {
	time  int64
	slots [len(gatheredSlots)]string
}

var gatheredSlots = [...]ruleset.Slot{
	ruleset.DstUser, ruleset.SrcUser, ruleset.DstIP, ruleset.SrcIP, ruleset.DstPort, ruleset.SrcPort, ruleset.Data,
}

const (
	gatherTime    = 120   // seconds an entry lives
	gatherPurge   = 200   // look-ups between two purges
	gatherEntries = 10000 // at most; the map is emptied when it holds more
	gatherKey     = 256   // bytes of a key, exclusive
	gatherValue   = 80    // bytes of a value that is kept
)

func newAccumulator() *accumulator { return &accumulator{entries: map[string]*gathered{}} }

// run fills the missing slots of the record and keeps what it has.
func (a *accumulator) run(r *record, now int64) {
	id, ok := r.slot(ruleset.ID)
	if !ok || r.decoder == nil || r.decoder.Name == "" {
		return
	}
	a.lookups++
	if a.lookups%gatherPurge == 0 {
		for k, e := range a.entries {
			if now-e.time > gatherTime {
				delete(a.entries, k)
			}
		}
	}
	a.key = append(append(append(append(append(a.key[:0], r.host...), ' '), r.decoder.Name...), ' '), id...)
	if len(a.key) >= gatherKey {
		return
	}
	e := a.entries[string(a.key)]
	if e == nil || now-e.time > gatherTime {
		if len(a.entries) >= gatherEntries {
			clear(a.entries)
		}
		e = &gathered{}
		a.entries[string(a.key)] = e
	}
	for i, s := range gatheredSlots {
		v, ok := r.slot(s)
		if (!ok || v == "") && e.slots[i] != "" {
			r.set(s, e.slots[i])
			v = e.slots[i]
		}
		if e.slots[i] == "" && v != "" && len(v) <= gatherValue {
			e.slots[i] = strings.Clone(v)
		}
	}
	e.time = now
}
