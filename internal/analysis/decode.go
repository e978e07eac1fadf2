package analysis

import "riposte/internal/ossec/ruleset"

// decode finds the decoder that owns the record and takes it apart. Once a root
// has matched no other root is tried.
func (w *Worker) decode(r *record) {
	roots := w.plan.plain
	switch {
	case r.hasProg:
		roots = w.program.roots
	case r.log != "":
		roots = w.plan.plainBy[r.log[0]]
	}
	for _, d := range roots {
		after := 0
		if d.prematch != nil {
			if d.prematch.fails(r.log, 0) || !w.may(r, d.prematch) {
				continue
			}
			end, ok := w.find(r, d.prematch, 0, false)
			if !ok {
				continue
			}
			after = end
		}
		w.owned(r, d, after)
		break
	}
	if !w.plan.wazuh {
		w.collectIndexed(r)
	}
}

// position of the decoder offsets in the record's log, -1: not known.
type offsets struct {
	root   int // after the root's prematch (after_parent of the chain)
	parent int // after_parent as the plug-ins see it
	pre    int // after_prematch
	regex  int // after_regex
}

// owned runs the children of the root that matched, or the root itself.
func (w *Worker) owned(r *record, root *decoder, after int) {
	r.decoder, r.category = root.Decoder, root.Type
	at := offsets{root: after, parent: -1, pre: after, regex: -1}
	list := root.children
	i := 0
	if len(list) == 0 {
		list = root.self
	} else {
		var ok bool
		if i, ok = w.child(r, list, &at); !ok {
			return
		}
	}
	if !w.plan.wazuh && list[i].Plugin != ruleset.NoPlugin {
		w.plugin(r, list[i], &at)
		return
	}
	for ; i < len(list); i++ {
		d := list[i]
		switch {
		case d.Plugin != ruleset.NoPlugin && w.plan.wazuh:
			w.plugin(r, d, &at)
		case d.regex != nil:
			w.extract(r, d, &at)
		default:
			return
		}
		if !d.Next {
			return
		}
	}
}

// child finds the child that takes the record: the first whose prematch
// matches, or that has none. A chain whose head does not match is skipped.
func (w *Worker) child(r *record, list []*decoder, at *offsets) (int, bool) {
	for i := 0; i < len(list); i++ {
		d := list[i]
		if d.prematch == nil {
			return i, true
		}
		start := 0
		if d.PrematchOffset == ruleset.AfterParent {
			start = at.root
		}
		if !d.prematch.fails(r.log, start) && w.may(r, d.prematch) {
			if end, ok := w.find(r, d.prematch, start, false); ok {
				r.decoder, r.category = d.Decoder, d.Type
				at.parent, at.pre = at.root, end
				return i, true
			}
		}
		if d.Next {
			for i < len(list) && list[i].Next {
				i++
			}
		}
	}
	return 0, false
}

// extract matches a decoder's regex and stores the captures. A failing link of
// a chain is passed over.
func (w *Worker) extract(r *record, d *decoder, at *offsets) {
	start := 0
	switch d.RegexOffset {
	case ruleset.AfterParent:
		start = at.root
	case ruleset.AfterPrematch:
		start = at.pre
	case ruleset.AfterRegex:
		if start = at.regex; start < 0 {
			start = at.pre
		}
	}
	ok := !d.regex.fails(r.log, start) && w.may(r, d.regex)
	end := 0
	if ok {
		end, ok = w.find(r, d.regex, start, true)
	}
	if !ok {
		if !w.plan.wazuh {
			at.regex = -1
		}
		return
	}
	at.regex = end
	if !w.plan.wazuh {
		r.decoder, r.category = d.Decoder, d.Type
	}
	log := r.log[min(start, len(r.log)):]
	for i, c := range w.caps {
		if i >= len(d.Order) {
			break
		}
		value := ""
		if c.Start >= 0 {
			value = log[c.Start:c.End]
		}
		t := &d.Order[i]
		switch {
		case !t.Dynamic:
			r.set(t.Slot, value)
		case w.plan.wazuh:
			r.fields = append(r.fields, field{t.Name, value, int32(t.Field)})
		default:
			r.byIndex = append(r.byIndex, indexed{i, value})
		}
	}
}

// find matches an expression from start on; w.caps has its captures. end is
// where a following expression starts.
func (w *Worker) find(r *record, p *expression, start int, captures bool) (end int, ok bool) {
	start = min(start, len(r.log))
	s, prev := r.log[start:], r.prev
	if start > 0 {
		prev = r.log[start-1]
	}
	e, caps, ok := p.Find(s, w.caps[:0])
	if captures {
		w.caps = caps
	}
	if !ok {
		return 0, false
	}
	return start + p.Continue(s, e, prev), true
}

// collectIndexed makes OSSEC's dynamic captures fields: the names are those of
// the decoder that the event ended with, whichever decoder made the capture.
func (w *Worker) collectIndexed(r *record) {
	if len(r.byIndex) == 0 || r.decoder == nil {
		return
	}
	for i := range r.decoder.Order {
		t := &r.decoder.Order[i]
		if !t.Dynamic {
			continue
		}
		for k := len(r.byIndex) - 1; k >= 0; k-- {
			if r.byIndex[k].place == i {
				r.fields = append(r.fields, field{t.Name, r.byIndex[k].value, int32(t.Field)})
				break
			}
		}
	}
}
