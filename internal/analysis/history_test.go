package analysis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
)

// The oracle: histories as lists that are walked from end to end, word by word
// as the specification (5.9) has them.
type naive struct {
	plan  *plan
	size  int
	all   []*naiveEvent
	lists map[int][]*naiveEvent
}

type naiveEvent struct {
	*past
	rule    *rule
	matched int
}

func (h *naive) add(p *past, x *rule, now int64) *naiveEvent {
	e := &naiveEvent{past: p, rule: x, matched: p.matched}
	h.all = append(h.all, e)
	for w := range h.plan.set.Watches {
		if h.plan.set.Watches[w].Kind == ruleset.ByAny {
			h.lists[w] = append(h.lists[w], e)
		}
	}
	for _, w := range x.Feeds {
		h.lists[w] = append(h.lists[w], e)
		if !h.plan.wazuh && h.plan.set.Watches[w].Kind == ruleset.BySID && len(h.lists[w]) > 128 {
			h.lists[w] = h.lists[w][1:]
		}
	}
	if len(h.all) > h.size {
		for n := 0; len(h.all) > 0 && (n < 10 || now-h.all[0].time > int64(h.plan.set.Longest)); n++ {
			old := h.all[0]
			h.all = h.all[1:]
			for w := range h.lists {
				h.lists[w] = slices.DeleteFunc(h.lists[w], func(o *naiveEvent) bool { return o == old })
			}
		}
	}
	return e
}

func (h *naive) find(x *rule, cur *past) ([]*naiveEvent, bool) {
	c := x.Correlate
	list := h.lists[c.Watch]
	count := 0
	var first *naiveEvent
	var seen []*naiveEvent
	for i := len(list) - 1; i >= 0; i-- {
		p := list[i]
		if cur.time-p.time > int64(x.Timeframe) {
			return nil, false
		}
		if !h.plan.wazuh && p.matched >= x.Level {
			return nil, false
		}
		if !h.filters(c, p.past, cur) {
			continue
		}
		if h.plan.wazuh && p.matched >= x.Level {
			return nil, false
		}
		if count < x.Frequency {
			count++
			if first == nil {
				first = p
			}
			if len(seen) < maxQuoted {
				seen = append(seen, p)
			}
			continue
		}
		if (h.plan.wazuh || c.Kind == ruleset.BySID) && len(seen) < maxQuoted {
			seen = append(seen, p)
		}
		if h.plan.wazuh {
			if first != nil {
				first.matched = x.Level
			}
		} else {
			p.matched = x.Level
			list[len(list)-1].matched = x.Level
		}
		return seen, true
	}
	return nil, false
}

func (h *naive) filters(c *ruleset.Correlate, p, cur *past) bool {
	if h.plan.wazuh && !c.Global && p.agent != cur.agent {
		return false
	}
	if c.Kind == ruleset.ByAny && (p.category != cur.category || !c.Regex.Match(p.log)) {
		return false
	}
	get := func(e *past, id int) (string, bool) {
		for i, f := range h.plan.compared {
			if f == id {
				return e.values[i].text, e.values[i].ok
			}
		}
		return "", false
	}
	for _, op := range c.Same {
		a, ok := p.operand(op)
		b, ok2 := cur.operand(op)
		if !ok || !ok2 || a != b {
			return false
		}
	}
	if len(c.Fields) > 0 && (!p.dynamic || !cur.dynamic) {
		return false
	}
	for _, f := range c.Fields {
		a, ok := get(p, f)
		b, ok2 := get(cur, f)
		if !ok || !ok2 || a != b {
			return false
		}
	}
	if len(c.NotFields) > 0 && !p.dynamic && !cur.dynamic {
		return false
	}
	for _, f := range c.NotFields {
		a, ok := get(p, f)
		b, ok2 := get(cur, f)
		if ok && ok2 && a == b {
			return false
		}
	}
	for _, op := range c.Different {
		a, ok := p.operand(op)
		b, ok2 := cur.operand(op)
		if c.Strict && (!ok || !ok2) || ok && ok2 && a == b {
			return false
		}
	}
	return true
}

// correlationRules is a ruleset of nothing but correlations.
func correlationRules(t testing.TB, d ossec.Dialect) *plan {
	t.Helper()
	var b strings.Builder
	b.WriteString(`<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>root</description></rule>`)
	for id := 10; id < 16; id++ {
		fmt.Fprintf(&b, `<rule id="%d" level="%d"><if_sid>1</if_sid><match>x</match><group>g%d,all,</group><description>base</description></rule>`, id, id-8, id%2)
	}
	contexts := []string{"", "<same_source_ip />", "<same_user />", "<same_source_ip /><same_user />", "<different_url />", "<same_id /><different_url />", "<same_location />"}
	if d == ossec.Wazuh {
		contexts = append(contexts, "<global_frequency />", "<same_field>k1</same_field>", "<same_source_ip /><not_same_field>k2</not_same_field>", "<different_srcip />")
	}
	id := 100
	for i, c := range contexts {
		for k, what := range []string{"<if_matched_sid>10</if_matched_sid>", "<if_matched_sid>11</if_matched_sid>", "<if_matched_group>g1</if_matched_group>", "<if_matched_group>all</if_matched_group>", `<if_matched_regex>bad\s\d</if_matched_regex>`} {
			fmt.Fprintf(&b, `<rule id="%d" level="%d" frequency="%d" timeframe="%d">%s%s<if_sid>1</if_sid><description>c</description></rule>`, id, 3+(i+k)%8, 2+(i+2*k)%6, 20+40*(k%3), what, c)
			id++
		}
	}
	b.WriteString("</group>")
	set, findings := ruleset.Load(ruleset.Options{Dialect: d, Rules: []ruleset.Source{{Name: "c.xml", Data: []byte(b.String())}}})
	if set == nil {
		t.Fatal(findings)
	}
	return newPlan(set)
}

func randomPast(rng *rand.Rand, p *plan, now int64) *past {
	e := &past{time: now, kept: true, agent: fmt.Sprint(rng.IntN(2)), category: ruleset.Syslog, host: fmt.Sprint("h", rng.IntN(2)), location: fmt.Sprint("l", rng.IntN(2))}
	e.log = []string{"bad 1", "bad", "x bad 7"}[rng.IntN(3)]
	e.full = e.log
	if rng.IntN(10) == 0 {
		e.category = ruleset.Firewall
	}
	for _, s := range []ruleset.Slot{ruleset.DstUser, ruleset.SrcIP, ruleset.ID, ruleset.URL} {
		if rng.IntN(6) > 0 {
			e.has |= 1 << s
			e.slots = append(e.slots, fmt.Sprint(rng.IntN(3)))
		}
	}
	e.dynamic = rng.IntN(4) > 0
	for range p.compared {
		ok := e.dynamic && rng.IntN(4) > 0
		v := value{ok: ok}
		if ok {
			v.text = fmt.Sprint(rng.IntN(2))
		}
		e.values = append(e.values, v)
	}
	return e
}

// TestHistory: the indexed histories come to what walking the lists comes to,
// matches, marks and quotes included, also when events are forgotten.
func TestHistory(t *testing.T) {
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		p := correlationRules(t, d)
		var searching, plain []*rule
		for _, x := range p.rules {
			if x.search != nil {
				searching = append(searching, x)
			}
			if x.Level > 0 {
				plain = append(plain, x)
			}
		}
		hits := 0
		for seed := range uint64(6) {
			rng := rand.New(rand.NewPCG(seed, 5))
			h := newHistory(p, 2048)
			h.size = 150 // so that events are forgotten
			o := &naive{plan: p, size: h.size, lists: map[int][]*naiveEvent{}}
			now := int64(1000)
			for step := range 1500 {
				now += int64(rng.IntN(4))
				cur := randomPast(rng, p, now)
				for range 4 {
					x := searching[rng.IntN(len(searching))]
					got, ok := h.find(x, cur, nil)
					want, wantOK := o.find(x, cur)
					if ok != wantOK {
						t.Fatalf("%s seed %d step %d: rule %d is %v, want %v", d, seed, step, x.ID, ok, wantOK)
					}
					if !ok {
						continue
					}
					hits++
					cur.matched = x.Level
					if !slices.EqualFunc(got, want, func(a *past, b *naiveEvent) bool { return a.full == b.full && a.time == b.time }) {
						t.Fatalf("%s seed %d step %d: rule %d quotes other events", d, seed, step, x.ID)
					}
				}
				final := plain[rng.IntN(len(plain))]
				if rng.IntN(3) > 0 {
					final = plain[rng.IntN(4)]
				}
				twin := *cur
				o.add(&twin, final, now)
				h.add(cur, final, now)
			}
			if n := h.events.len(); n != len(o.all) {
				t.Fatalf("%s: %d events kept, want %d", d, n, len(o.all))
			}
			for w, l := range h.lists {
				if l.entries.len() != len(o.lists[w]) {
					t.Fatalf("%s: list %d has %d entries, want %d", d, w, l.entries.len(), len(o.lists[w]))
				}
				for _, x := range l.indexes {
					if len(x.heads) > l.entries.len() {
						t.Fatalf("%s: list %d has %d heads for %d entries", d, w, len(x.heads), l.entries.len())
					}
				}
			}
		}
		if hits < 500 {
			t.Errorf("%s: only %d searches were successful", d, hits)
		}
		t.Logf("%s: %d rules, %d successful searches", d, len(searching), hits)
	}
}

// TestLongRecords: long records make the history forget earlier, not grow.
func TestLongRecords(t *testing.T) {
	set := testSet(t, ossec.Wazuh, `<decoder name="z"><prematch>zzz</prematch></decoder>`, `<group name="x,"><rule id="10" level="5"><match>bad</match><description>d</description></rule>
<rule id="11" level="10" frequency="9000" timeframe="100"><if_matched_sid>10</if_matched_sid><description>many</description></rule></group>`)
	e := New(set, Options{Host: "h"})
	long := strings.Repeat("bad ", 16<<10)
	for range 2000 {
		e.Analyse(event(long))
	}
	if n := e.history.events.len(); e.history.bytes > maxKept || n > 1024 || n < 1000 {
		t.Errorf("%d events keep %d bytes", n, e.history.bytes)
	}
}
