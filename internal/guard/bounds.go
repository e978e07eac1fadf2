package guard

import "cmp"

// Bounds are the parts of Options that bound how much may be done.
type Bounds struct {
	WidestV4, WidestV6 int
	Limit              Limit
	Limits             map[string]Limit
	Breaker            Breaker
}

// Bounds returns the bounds that o sets.
func (o Options) Bounds() Bounds {
	return Bounds{
		WidestV4: cmp.Or(o.WidestV4, defaultWidestV4), WidestV6: cmp.Or(o.WidestV6, defaultWidestV6),
		Limit: o.Limit, Limits: o.Limits, Breaker: o.Breaker,
	}
}

// Stricter returns bounds that hold whatever b or other forbids.
func (b Bounds) Stricter(other Bounds) Bounds {
	out := Bounds{
		WidestV4: max(b.WidestV4, other.WidestV4), WidestV6: max(b.WidestV6, other.WidestV6),
		Limit: b.Limit.stricter(other.Limit), Limits: map[string]Limit{}, Breaker: b.Breaker,
	}
	for name := range b.Limits {
		out.Limits[name] = b.limit(name).stricter(other.limit(name))
	}
	for name := range other.Limits {
		out.Limits[name] = b.limit(name).stricter(other.limit(name))
	}
	if o := other.Breaker; o.Targets > 0 && (out.Breaker.Targets == 0 || o.Targets < out.Breaker.Targets) {
		out.Breaker = o
	}
	return out
}

func (b Bounds) limit(name string) Limit {
	if l, ok := b.Limits[name]; ok {
		return l
	}
	return b.Limit
}

func (l Limit) stricter(o Limit) Limit {
	return Limit{PerMinute: least(l.PerMinute, o.PerMinute), InForce: least(l.InForce, o.InForce)}
}

// least is the lower bound, 0 being none.
func least(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// SetBounds replaces the bounds. What was counted stays.
func (g *Guard) SetBounds(b Bounds) {
	g.widestV4.Store(int32(b.WidestV4))
	g.widestV6.Store(int32(b.WidestV6))
	g.meter.mu.Lock()
	defer g.meter.mu.Unlock()
	g.meter.limit, g.meter.limits, g.meter.breaker = b.Limit, b.Limits, b.Breaker
}
