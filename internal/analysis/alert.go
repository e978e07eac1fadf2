package analysis

import (
	"slices"
	"strconv"
	"unsafe"

	"riposte"
	"riposte/internal/ossec/ruleset"
)

// cloner gives strings of a record a life of their own. Most of them are parts
// of the event's text or of the record's buffer, which are copied once and
// together.
type cloner struct {
	texts [2]struct{ from, to string }
	id    string // of the alert
	taken bool
}

// take copies the texts of a record, and the id of its alert.
func (c *cloner) take(r *record, id []byte) {
	if c.taken {
		return
	}
	c.taken = true
	text, made := r.event.Text, r.text(0)
	b := make([]byte, 0, len(text)+len(made)+len(id))
	b = append(append(append(b, text...), made...), id...)
	all := unsafe.String(unsafe.SliceData(b), len(b))
	c.texts[0].from, c.texts[0].to = text, all[:len(text)]
	c.texts[1].from, c.texts[1].to = made, all[len(text):len(text)+len(made)]
	c.id = all[len(text)+len(made):]
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
func (e *Engine) describe(r *record, x *ruleset.Rule) string {
	if x.Parts == nil {
		return x.Description
	}
	b := e.described[:0]
	for _, p := range x.Parts {
		if p.Field {
			b = append(b, reference(r, p.Text)...)
		} else {
			b = append(b, p.Text...)
		}
	}
	e.described = b
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

// fewFields is how many fields an alert has room for without another allocation.
const fewFields = 8

// alert makes the alert of a record; x is nil when no rule matched.
func (e *Engine) alert(r *record, x *rule, c *cloner) *riposte.Alert {
	n := r.norder + len(r.fields)
	var a *riposte.Alert
	var fields []riposte.Field
	if n <= fewFields {
		both := &struct {
			alert  riposte.Alert
			fields [fewFields]riposte.Field
		}{}
		a, fields = &both.alert, both.fields[:0]
	} else {
		a, fields = &riposte.Alert{}, make([]riposte.Field, 0, n)
	}
	a.Time, a.Number, a.Agent, a.Manager, a.Diff = r.time, r.event.Number, r.event.Agent, e.opt.Host, r.diff
	a.Location, a.Hostname, a.Program = c.own(r.location), c.own(r.host), c.own(r.program)
	a.Stamp, a.FullLog = c.own(r.stamp), c.own(r.full)
	if x != nil {
		a.ID = c.id
		a.Rule = x.alertRule
		a.Rule.Description = e.describe(r, x.Rule)
		a.Log = x.Log
		if !x.NoCounter {
			a.Rule.Fired = r.fired
		}
	}
	if d := r.decoder; d != nil {
		a.Decoder = riposte.Decoder{Name: d.Name, Parent: d.Parent, FTSComment: d.FTSComment, Accumulate: d.Accumulate}
	}
	for _, s := range r.order[:r.norder] {
		fields = append(fields, riposte.Field{Name: ruleset.Slot(s).String(), Value: c.own(r.slots[s])})
	}
	for i := range r.fields {
		f := &r.fields[i]
		fields = append(fields, riposte.Field{Name: c.own(f.name), Value: c.own(f.value), Dynamic: true})
	}
	if n > 0 {
		a.Fields = slices.Clip(fields)
	}
	if len(e.quoted) > 0 {
		a.Previous = make([]string, len(e.quoted))
		for i, p := range e.quoted {
			a.Previous[i] = p.full
		}
	}
	return a
}

// nextID is the id of a new alert, "seconds.n", until the next call.
func (e *Engine) nextID(r *record) []byte {
	e.serial++
	b := strconv.AppendInt(e.id[:0], r.time.Unix(), 10)
	b = append(b, '.')
	n := e.serial
	if r.event.Number != 0 {
		n = r.event.Number // the same when the event is judged again after a crash
	}
	e.id = strconv.AppendUint(b, n, 10)
	return e.id
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
