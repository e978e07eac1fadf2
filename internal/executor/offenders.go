package executor

import (
	"riposte"
	"riposte/internal/journal"
)

// offenders is what is known of the offenders that were asked about lately, as
// the journal has it: whoever is answered is asked about when the order is
// taken and again when the answer is there. Nobody but the executor writes
// offenders, so it is never out of date.
type offenders struct {
	young, old map[riposte.Key]*journal.Offender // nil: not on record
}

// manyOffenders are as many as are asked about between taking an order and
// settling it. Up to twice as many are known.
const manyOffenders = 8192

// get returns what is known of an offender: nil when he is not on record, and
// not ok when that is not known.
func (o *offenders) get(k riposte.Key) (rec *journal.Offender, ok bool) {
	if rec, ok = o.young[k]; ok {
		return rec, true
	}
	rec, ok = o.old[k]
	return rec, ok
}

func (o *offenders) put(k riposte.Key, rec *journal.Offender) {
	if o.young == nil || len(o.young) >= manyOffenders {
		o.old, o.young = o.young, map[riposte.Key]*journal.Offender{}
	}
	o.young[k] = rec
}

// written takes in what was just written to the journal.
func (o *offenders) written(b *book) {
	for k, rec := range b.offenders {
		o.put(k, &rec)
	}
	for k, until := range b.ended {
		if rec, _ := o.get(k); rec != nil {
			rec.Until = until
		}
	}
	for _, k := range b.forgive {
		o.put(k, nil)
	}
}

// askOffender adds an offender to those to ask about, unless he is known.
func (x *Executor) askOffender(keys []riposte.Key, k riposte.Key) []riposte.Key {
	if _, ok := x.known.get(k); ok {
		return keys
	}
	return append(keys, k)
}
