package alertlog

import (
	"time"
	"unsafe"

	"riposte"
	"riposte/internal/ossec"
)

// Encoder appends alerts in the layouts of one dialect. It keeps what many alerts
// share: the parts of a rule that are always the same, and the text of a second.
// It allocates nothing but what the output needs to grow. One goroutine at a time
// may use it.
type Encoder struct {
	dialect ossec.Dialect
	rules   map[int]*ruleText // by id; nil: nothing is kept
	second  int64
	zone    *time.Location
	day     []byte         // the second as alerts.log writes it
	iso     []byte         // as Wazuh's alerts.json does, up to the fraction
	offset  []byte         // the zone as alerts.json writes it
	alert   *riposte.Alert // that JSON was last called for
	record  string         // its record
	is      plainness
	plain   uint64 // its fields that are plain, by place
	paths   pathSet
}

// NewEncoder returns an encoder for the layouts of d.
func NewEncoder(d ossec.Dialect) *Encoder { return &Encoder{dialect: d, rules: map[int]*ruleText{}} }

// page is a run of alerts, encoded as far as they fit a page.
type page struct {
	json, text []byte
	alerts     int              // in json and text
	rest       []*riposte.Alert // that came after the page was full
}

// fullPage is the size in bytes of one encoding at which a page is full. Alerts
// that quote many long records would otherwise make it grow without end.
const fullPage = 512 << 10

// fill makes a page of those alerts whose Log is set and that are not written
// yet. The page's memory is used
// again; it refers to the alerts until it is filled anew.
func (e *Encoder) fill(p *page, alerts []*riposte.Alert, written Written) {
	p.json, p.text, p.alerts = p.json[:0], p.text[:0], 0
	for i, a := range alerts {
		if len(p.json) >= fullPage || len(p.text) >= fullPage {
			p.rest = alerts[i:]
			return
		}
		if !a.Log {
			continue
		}
		if !written.JSON.has(a) {
			p.json = append(e.JSON(p.json, a), '\n')
		}
		if !written.Text.has(a) {
			p.text = e.Text(p.text, a)
		}
		p.alerts++
	}
	e.forget()
	p.rest = nil
}

// JSON appends an alert as one line of alerts.json without its line break, as
// AppendJSON does.
func (e *Encoder) JSON(dst []byte, a *riposte.Alert) []byte {
	e.forget()
	e.alert = a
	o := object{dst: append(dst, '{'), enc: e}
	if e.dialect == ossec.OSSEC {
		o.ossec(a)
	} else {
		o.wazuh(a)
	}
	return append(o.dst, '}')
}

// knows reports whether s is a part of the record.
func (e *Encoder) knows(s string) bool {
	from, at := uintptr(unsafe.Pointer(unsafe.StringData(e.record))), uintptr(unsafe.Pointer(unsafe.StringData(s)))
	return at >= from && at+uintptr(len(s)) <= from+uintptr(len(e.record))
}

// forget lets go of the alert.
func (e *Encoder) forget() { e.alert, e.record, e.is, e.plain = nil, "", hiding, 0 }

// isPlain reports whether a field of an alert is known to be plain.
func (e *Encoder) isPlain(a *riposte.Alert, i int) bool { return a == e.alert && e.plain>>i&1 != 0 }

// visible appends s as a part of one line of text, as appendVisible does.
func (e *Encoder) visible(dst []byte, s string) []byte {
	if e.is >= quotes && e.knows(s) {
		return append(dst, s...)
	}
	return appendVisible(dst, s)
}

// at makes day and iso those of a time.
func (e *Encoder) at(t time.Time) {
	if s, zone := t.Unix(), t.Location(); s != e.second || zone != e.zone || len(e.day) == 0 {
		e.second, e.zone = s, zone
		e.day = t.AppendFormat(e.day[:0], "2006 Jan 02 15:04:05")
		e.iso = t.AppendFormat(e.iso[:0], "2006-01-02T15:04:05")
		e.offset = t.AppendFormat(e.offset[:0], "-0700")
	}
}

// ruleText is what a rule's alerts have in common, encoded.
type ruleText struct {
	rule        riposte.Rule
	head        []byte // up to the description
	description []byte
	middle      []byte // up to firedtimes
	tail        []byte // behind it
	groups      []byte // in alerts.log: what stands behind the id
	line        []byte // in alerts.log: the line of the rule
}

// maxRules is how many rules are kept.
const maxRules = 1 << 14

// rule writes the rule of an alert.
func (o *object) rule(r *riposte.Rule) {
	t := o.enc.known(r, o.any)
	if t == nil {
		o.ruleHead(r)
		o.description(r)
		o.ruleMiddle(r)
		o.number("firedtimes", int64(r.Fired))
		o.ruleTail(r)
		return
	}
	o.dst = append(o.dst, t.head...)
	o.any = true
	if r.Description == t.rule.Description {
		o.dst = append(o.dst, t.description...)
	} else {
		o.description(r)
	}
	o.dst = append(o.dst, t.middle...)
	o.number("firedtimes", int64(r.Fired))
	o.dst = append(o.dst, t.tail...)
}

// known returns what is kept of a rule, nil if nothing can be.
func (e *Encoder) known(r *riposte.Rule, behind bool) *ruleText {
	if e.rules == nil || r.Level == 0 || r.Description == "" {
		return nil
	}
	t := e.rules[r.ID]
	if t != nil && t.is(r) {
		return t
	}
	if len(e.rules) >= maxRules {
		clear(e.rules)
	}
	t = &ruleText{rule: *r}
	o := object{enc: e, any: behind}
	cut := func() []byte {
		part := o.dst
		o.dst = nil
		return part
	}
	o.ruleHead(r)
	t.head = cut()
	o.description(r)
	t.description = cut()
	o.ruleMiddle(r)
	t.middle = cut()
	o.ruleTail(r)
	t.tail = cut()
	t.groups = appendGroups(nil, r)
	t.line = appendRule(nil, r)
	e.rules[r.ID] = t
	return t
}

// is reports whether r is the same rule but for its description and its count.
func (t *ruleText) is(r *riposte.Rule) bool {
	k := &t.rule
	return k.Level == r.Level && k.Groups == r.Groups && k.Frequency == r.Frequency && k.Mail == r.Mail &&
		same(k.MITRE, r.MITRE) && same(k.Info, r.Info)
}

// same reports whether two slices are one.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}
