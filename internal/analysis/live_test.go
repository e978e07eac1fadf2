package analysis

import (
	"context"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
)

const rootRules = `<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>root</description></rule>
<rule id="2" level="0" noalert="1"><category>firewall</category><description>root</description></rule></group>`

// testSet loads a small ruleset.
func testSet(t testing.TB, d ossec.Dialect, decoders, rules string) *ruleset.Set {
	t.Helper()
	set, findings := ruleset.Load(ruleset.Options{
		Dialect:  d,
		Decoders: []ruleset.Source{{Name: "d.xml", Data: []byte(decoders)}},
		Rules:    []ruleset.Source{{Name: "root.xml", Data: []byte(rootRules)}, {Name: "r.xml", Data: []byte(rules)}},
	})
	if set == nil {
		t.Fatal(findings)
	}
	return set
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func event(text string) *riposte.Event {
	return &riposte.Event{Text: text, Location: "/var/log/x", Time: noon}
}

// run judges lines a second apart and returns the rules of the alerts, "-"
// for a line without one.
func run(e *Engine, lines ...string) string {
	var out []string
	for i, l := range lines {
		ev := event(l)
		ev.Time = noon.Add(time.Duration(i) * time.Second)
		if a := e.Analyse(ev); a == nil {
			out = append(out, "-")
		} else {
			out = append(out, ruleID(a))
		}
	}
	return strings.Join(out, " ")
}

func ruleID(a *riposte.Alert) string {
	s := show(a)
	_, s, _ = strings.Cut(s, "Rule:{ID:")
	s, _, _ = strings.Cut(s, " ")
	return s
}

func TestLive(t *testing.T) {
	f := func(what string, d ossec.Dialect, live bool, decoders, rules string, lines []string, want string) {
		t.Helper()
		e := New(testSet(t, d, decoders, rules), Options{Host: "h", Live: live})
		if got := run(e, lines...); got != want {
			t.Errorf("%s (%s, live %v): %s, want %s", what, d, live, got, want)
		}
	}
	any := `<decoder name="z"><prematch>zzz</prematch></decoder>`
	one := `<group name="x,"><rule id="10" level="5"><match>bad</match><description>d</description></rule></group>`
	twice := []string{"bad 1", "bad 1", "bad 2", "bad 3", "bad 4", "bad 1"}
	f("repeats", ossec.OSSEC, true, any, one, twice, "10 - 10 10 10 10")
	f("repeats", ossec.OSSEC, false, any, one, twice, "10 10 10 10 10 10")
	f("repeats", ossec.Wazuh, true, any, one, twice, "10 10 10 10 10 10")

	ignore := `<group name="x,"><rule id="9" level="4"><match>b</match><description>p</description></rule>
<rule id="10" level="5" ignore="3"><if_sid>9</if_sid><match>bad</match><description>d</description></rule></group>`
	lines := []string{"bad a", "bad b", "bad c", "bad d", "bad e", "bad f", "bad g"}
	f("ignore", ossec.Wazuh, true, any, strings.ReplaceAll(strings.ReplaceAll(ignore, `"9"`, `"99"`), ">9<", ">99<"), lines, "10 99 99 10 99 99 10")
	f("ignore", ossec.OSSEC, true, any, strings.ReplaceAll(strings.ReplaceAll(ignore, `"9"`, `"99"`), ">9<", ">99<"), lines, "10 - - 10 - - 10")
	f("ignore", ossec.Wazuh, false, any, strings.ReplaceAll(strings.ReplaceAll(ignore, `"9"`, `"99"`), ">9<", ">99<"), lines, "10 - - 10 10 - -")

	fw := `<decoder name="f"><type>firewall</type><prematch>^fw </prematch><regex>^fw (\S+) (\S+) (\S+) (\S+) </regex><order>action,srcip,dstip,protocol</order></decoder>`
	drop := `<group name="x,"><rule id="10" level="5"><category>firewall</category><action>DROP</action><description>d</description></rule>
<rule id="11" level="4"><category>firewall</category><action>deny</action><description>d</description></rule></group>`
	lines = []string{"fw deny 1.1.1.1 2.2.2.2 tcp ", "fw deny 1.1.1.1"}
	f("firewall", ossec.OSSEC, true, fw, drop, lines, "10 -")
	f("firewall", ossec.OSSEC, false, fw, drop, lines, "11 -")
	f("firewall", ossec.Wazuh, true, fw, drop, lines, "- -")
	f("firewall", ossec.Wazuh, false, fw, drop, lines, "11 -")
}

// TestReload: what was counted before a reload counts after it.
func TestReload(t *testing.T) {
	rules := func(extra string) string {
		return `<group name="x,"><rule id="10" level="5"><match>bad</match><description>d</description></rule>
<rule id="11" level="10" frequency="4" timeframe="100"><if_matched_sid>10</if_matched_sid><description>many</description></rule>` + extra + `</group>`
	}
	dec := `<decoder name="z"><prematch>zzz</prematch></decoder>`
	old := New(testSet(t, ossec.Wazuh, dec, rules("")), Options{Host: "h"})
	if got := run(old, "bad", "bad", "bad"); got != "10 10 10" {
		t.Fatalf("before: %s", got)
	}
	fresh := New(testSet(t, ossec.Wazuh, dec, rules(`<rule id="12" level="3"><match>new</match><description>n</description></rule>`)), Options{Host: "h"})
	fresh.Adopt(old)
	ev := event("bad")
	ev.Time = noon.Add(5 * time.Second)
	a := fresh.Analyse(ev)
	if a == nil || a.Rule.ID != 11 || len(a.Previous) != 3 {
		t.Fatalf("after: %s, want rule 11 quoting three events", show(a))
	}
	if v := fresh.Test(event("bad"), false); v.Fired != 4 {
		t.Errorf("rule 10 has fired %d times, want 4", v.Fired)
	}

	// Through a pipeline: no event is lost or judged twice.
	for _, workers := range []int{1, 3} {
		old = New(testSet(t, ossec.Wazuh, dec, rules("")), Options{Host: "h"})
		var got []string
		p := NewPipeline(old, workers, func(alerts []*riposte.Alert, _ *riposte.Batch) error {
			for _, a := range alerts {
				got = append(got, ruleID(a))
			}
			return nil
		})
		in := make(chan riposte.Batch)
		done := make(chan error, 1)
		go func() { done <- p.Run(context.Background(), in) }()
		for i := range 8 {
			if i == 3 {
				p.Swap(New(testSet(t, ossec.Wazuh, dec, rules("<!-- -->")), Options{Host: "h"}))
			}
			in <- riposte.Batch{Events: []riposte.Event{*event("bad")}}
		}
		close(in)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, " "); s != "10 10 10 11 10 10 10 11" {
			t.Errorf("%d workers: %s", workers, s)
		}
	}
}

// TestRestart: an engine that begins anew counts nothing from before, also when
// a reload comes at once; after it a reload forgets nothing again.
func TestRestart(t *testing.T) {
	engine := func() *Engine {
		return New(testSet(t, ossec.Wazuh, `<decoder name="z"><prematch>zzz</prematch></decoder>`, `<group name="x,">
<rule id="10" level="5"><match>bad</match><description>d</description></rule>
<rule id="11" level="10" frequency="4" timeframe="100"><if_matched_sid>10</if_matched_sid><description>many</description></rule></group>`), Options{Host: "h"})
	}
	for _, workers := range []int{1, 3} {
		var got []string
		emitted := make(chan struct{})
		p := NewPipeline(engine(), workers, func(alerts []*riposte.Alert, _ *riposte.Batch) error {
			for _, a := range alerts {
				got = append(got, ruleID(a))
			}
			emitted <- struct{}{}
			return nil
		})
		in := make(chan riposte.Batch)
		done := make(chan error, 1)
		go func() { done <- p.Run(context.Background(), in) }()
		for i := range 8 {
			switch i {
			case 3:
				p.Restart(engine())
				p.Swap(engine())
			case 5:
				p.Swap(engine())
			}
			in <- riposte.Batch{Events: []riposte.Event{*event("bad")}}
			<-emitted // or the next engine might judge it
		}
		close(in)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, " "); s != "10 10 10 10 10 10 11 10" {
			t.Errorf("%d workers: %s", workers, s)
		}
	}
}

// TestPipelineStops: an error of emit and the end of the context end the
// pipeline, whatever is on its way.
func TestPipelineStops(t *testing.T) {
	set := testSet(t, ossec.Wazuh, `<decoder name="z"><prematch>zzz</prematch></decoder>`, `<group name="x,"><rule id="10" level="5"><match>bad</match><description>d</description></rule></group>`)
	for _, workers := range []int{1, 4} {
		ctx, cancel := context.WithCancel(context.Background())
		in := make(chan riposte.Batch, 100)
		for range 100 {
			in <- riposte.Batch{Events: make([]riposte.Event, 700)}
		}
		p := NewPipeline(New(set, Options{}), workers, func([]*riposte.Alert, *riposte.Batch) error { return context.DeadlineExceeded })
		if err := p.Run(ctx, in); err != context.DeadlineExceeded {
			t.Errorf("%d workers: %v, want emit's error", workers, err)
		}
		p = NewPipeline(New(set, Options{}), workers, func([]*riposte.Alert, *riposte.Batch) error { cancel(); return nil })
		if err := p.Run(ctx, in); err != context.Canceled {
			t.Errorf("%d workers: %v, want canceled", workers, err)
		}
		cancel()
	}
}

// TestMemory: facts go out when they are learned and come back by Recall.
func TestMemory(t *testing.T) {
	dec := `<decoder name="p"><program_name>^p$</program_name></decoder><decoder name="c"><parent>p</parent><regex>^(\w+) (\S+) end</regex><order>user,id</order><fts>name,user,location</fts></decoder>`
	rules := `<group name="x,"><rule id="10" level="5"><decoded_as>p</decoded_as><match>end</match><if_fts /><description>first</description></rule>
<rule id="11" level="3"><decoded_as>p</decoded_as><match>diff</match><check_diff /><description>changed</description></rule></group>`
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		// In Wazuh the child without a prematch does not own the event, so
		// its fts is not used: the decoder needs a prematch there.
		dec := dec
		if d == ossec.Wazuh {
			dec = strings.Replace(dec, "<regex>", `<prematch>^\w+ </prematch><regex>`, 1)
		}
		set := testSet(t, d, dec, rules)
		var facts []Fact
		e := New(set, Options{Host: "h", Remember: func(f Fact) { facts = append(facts, f) }})
		head := "Dec 29 10:00:01 h p: "
		lines := []string{head + "bob 1 end", head + "bob 2 end", head + "al 1 end", head + "diff 1", head + "diff 1", head + "diff 2"}
		want := "10 - 10 - - 11"
		if got := run(e, lines...); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
		if len(facts) != 4 {
			t.Errorf("%s: facts %q", d, facts)
		}
		e = New(set, Options{Host: "h"})
		for _, f := range facts {
			e.Recall(f)
		}
		if got := run(e, lines...); got != "- - - 11 - 11" {
			t.Errorf("%s: %s after a restart", d, got)
		}
	}
}

func TestBounded(t *testing.T) {
	b := newBounded(10 * (entryOverhead + 4))
	for i := range 5000 {
		b.put(string(rune('a'+i%26))+string(rune('0'+i%10))+string(rune('A'+i/26%26)), "v")
	}
	if len(b.m) != 10 || b.bytes > b.limit {
		t.Errorf("%d entries of %d bytes", len(b.m), b.bytes)
	}
	b.put("x", strings.Repeat("y", 10000))
	if len(b.m) != 1 {
		t.Errorf("%d entries beside one that is too large", len(b.m))
	}
	if len(b.order)-b.head != len(b.m) {
		t.Errorf("%d keys in order for %d entries", len(b.order)-b.head, len(b.m))
	}
}
