package analysis

// Adopt takes over what another engine remembers, so that a reload of the rules
// forgets nothing: counters and earlier events of the rules that both have,
// what was seen, what is ignored, what records were last. The other engine must
// not be used any more.
func (e *Engine) Adopt(old *Engine) {
	e.now, e.hour, e.last, e.lastAt, e.serial = old.now, old.hour, old.last, old.lastAt, old.serial
	e.gather = old.gather
	e.memory.seen, e.memory.ignored, e.memory.diffs, e.memory.ids = old.memory.seen, old.memory.ignored, old.memory.diffs, old.memory.ids
	for i, x := range old.plan.rules {
		if y, ok := e.plan.byID[x.ID]; ok {
			e.state[y.Index] = old.state[i]
		}
	}
	fields := e.plan.fieldsFrom(old.plan)
	for old.history.events.len() > 0 {
		p := old.history.events.pop()
		x, ok := e.plan.byID[p.rule]
		if !ok {
			continue
		}
		values := make([]value, len(fields))
		for i, k := range fields {
			if k >= 0 && k < len(p.values) {
				values[i] = p.values[k]
			}
		}
		p.values, p.feeds = values, nil
		e.history.add(p, x, p.time)
	}
}

// fieldsFrom says for each field that this plan compares where another plan has
// it, -1: nowhere.
func (p *plan) fieldsFrom(old *plan) []int {
	where := map[string]int{}
	for i, id := range old.compared {
		where[old.set.Fields[id]] = i
	}
	out := make([]int, len(p.compared))
	for i, id := range p.compared {
		out[i] = -1
		if k, ok := where[p.set.Fields[id]]; ok {
			out[i] = k
		}
	}
	return out
}
