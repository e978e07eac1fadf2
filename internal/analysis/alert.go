package analysis

import (
	"strconv"
	"unsafe"

	"riposte"
	"riposte/internal/ossec/ruleset"
)

// cloner gives strings of a record a life of their own. Most of them are parts
// of the event's text or of the record's buffer, which are each copied once.
type cloner struct {
	texts [2]struct{ from, to string }
	taken bool
}

// take copies the texts of a record.
func (c *cloner) take(r *record) {
	if c.taken {
		return
	}
	c.taken = true
	c.texts[0].from = r.event.Text
	c.texts[1].from = r.text(0)
	for i := range c.texts {
		t := &c.texts[i]
		t.to = string([]byte(t.from))
	}
}

// own returns s as a part of a copied text; what is not part of one belongs to
// the ruleset, to a source's constants or to an earlier buffer, which nobody
// writes to any more.
func (c *cloner) own(s string) string {
	if s == "" {
		return ""
	}
	at := uintptr(unsafe.Pointer(unsafe.StringData(s)))
	for i := range c.texts {
		t := &c.texts[i]
		base := uintptr(unsafe.Pointer(unsafe.StringData(t.from)))
		if t.from != "" && at >= base && at+uintptr(len(s)) <= base+uintptr(len(t.from)) {
			return t.to[at-base : at-base+uintptr(len(s))]
		}
	}
	return s
}

// describe resolves the $(field) references of a description. A result of 1024
// bytes or more is not used.
func describe(r *record, x *ruleset.Rule) string {
	if x.Parts == nil {
		return x.Description
	}
	var b []byte
	for _, p := range x.Parts {
		if p.Field {
			b = append(b, reference(r, p.Text)...)
		} else {
			b = append(b, p.Text...)
		}
	}
	if len(b) >= 1024 {
		return x.Description
	}
	return string(b)
}

// reference returns what $(name) stands for.
func reference(r *record, name string) string {
	switch name {
	case "program_name":
		return r.program
	case "hostname":
		return r.host
	}
	for s := ruleset.DstUser; s <= ruleset.SystemName; s++ {
		if s.String() == name {
			v, _ := r.slot(s)
			return v
		}
	}
	v, _ := r.named(name)
	return v
}

// alert makes the alert of a record; x is nil when no rule matched.
func (e *Engine) alert(r *record, x *rule, c *cloner) *riposte.Alert {
	a := &riposte.Alert{
		Time: r.time, Number: r.event.Number, Agent: r.event.Agent, Manager: e.opt.Host, Location: c.own(r.location),
		Hostname: c.own(r.host), Program: c.own(r.program), Stamp: c.own(r.stamp), FullLog: c.own(r.full), Diff: r.diff,
	}
	if x != nil {
		e.serial++
		a.ID = e.alertID(r)
		a.Rule = x.alertRule
		a.Rule.Description = describe(r, x.Rule)
		a.Log = x.Log
		if !x.NoCounter {
			a.Rule.Fired = r.fired
		}
	}
	if d := r.decoder; d != nil {
		a.Decoder = riposte.Decoder{Name: d.Name, Parent: d.Parent, FTSComment: d.FTSComment, Accumulate: d.Accumulate}
	}
	if n := r.norder + len(r.fields); n > 0 {
		a.Fields = make([]riposte.Field, 0, n)
		for _, s := range r.order[:r.norder] {
			a.Fields = append(a.Fields, riposte.Field{Name: ruleset.Slot(s).String(), Value: c.own(r.slots[s])})
		}
		for i := range r.fields {
			f := &r.fields[i]
			a.Fields = append(a.Fields, riposte.Field{Name: c.own(f.name), Value: c.own(f.value), Dynamic: true})
		}
	}
	if len(e.quoted) > 0 {
		a.Previous = make([]string, len(e.quoted))
		for i, p := range e.quoted {
			a.Previous[i] = p.full
		}
	}
	return a
}

// alertID is "seconds.n".
func (e *Engine) alertID(r *record) string {
	var room [40]byte
	b := strconv.AppendInt(room[:0], r.time.Unix(), 10)
	b = append(b, '.')
	n := e.serial
	if r.event.Number != 0 {
		n = r.event.Number // the same when the event is judged again after a crash
	}
	return string(strconv.AppendUint(b, n, 10))
}

// newAlertRule is the part of a rule's alerts that is always the same.
func newAlertRule(x *ruleset.Rule) riposte.Rule {
	r := riposte.Rule{
		ID: x.ID, Level: x.Level, Description: x.Description, Groups: x.Groups,
		Mail: x.Mail, NoAR: x.NoAR, NoFullLog: x.NoFullLog,
	}
	if x.Correlate != nil {
		r.Frequency = x.Written
	}
	for _, t := range x.MITRE {
		r.MITRE = append(r.MITRE, riposte.Technique{ID: t.ID, Tactic: t.Tactic})
	}
	for _, i := range x.Info {
		r.Info = append(r.Info, riposte.Info{Kind: i.Kind, Text: i.Text})
	}
	return r
}
