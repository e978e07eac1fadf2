package analysis

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"riposte/internal/ossec"
)

// TestManySources: events of ever new addresses, hosts, users and transactions
// take a bounded memory, and what is old is forgotten. RIPOSTE_SOURCES=10000000
// says how many there are; the resident memory is in the log (-v).
func TestManySources(t *testing.T) {
	sources := 100_000
	if s := os.Getenv("RIPOSTE_SOURCES"); s != "" {
		var err error
		if sources, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dec := `<decoder name="p"><program_name>^p$</program_name></decoder>
<decoder name="c"><parent>p</parent><prematch>^login </prematch><regex>^login (\w+) (\S+) (\S+)</regex><order>id,user,srcip</order><fts>name,user,srcip</fts><accumulate /></decoder>`
	rules := `<group name="x,"><rule id="10" level="5"><decoded_as>p</decoded_as><match>login</match><description>d</description></rule>
<rule id="11" level="10" frequency="4" timeframe="100" ignore="1"><if_matched_sid>10</if_matched_sid><same_source_ip /><description>many</description></rule>
<rule id="12" level="6"><if_sid>10</if_sid><match>first</match><if_fts /><description>new</description></rule>
<rule id="13" level="7"><if_sid>10</if_sid><match>diff</match><check_diff /><description>changed</description></rule></group>`
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		e := New(testSet(t, d, dec, rules), Options{Host: "h", Live: true})
		now := noon
		serial := 0
		send := func(host, user, ip, more string) string {
			serial++
			ev := event("Nov 23 12:00:00 " + host + " p: login " + strconv.Itoa(serial) + " " + user + " " + ip + " " + more)
			ev.Time = now
			if a := e.Analyse(ev); a != nil {
				return strconv.Itoa(a.Rule.ID)
			}
			return "-"
		}
		attack := func(ip string, times int) (out string) {
			for range times {
				out = send("web", "root", ip, "")
			}
			return out
		}
		many := 0
		for attack("192.0.2.1", 1) != "11" { // how many attempts make the composite rule
			many++
		}
		if got := attack("192.0.2.2", many); got != "10" {
			t.Fatalf("%s: %s one attempt before the alert", d, got)
		}
		alerts := 0
		for i := range sources {
			if i%100 == 0 {
				now = now.Add(time.Second)
			}
			ip := fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
			if i >= 1<<24 {
				ip = fmt.Sprintf("11.%d.%d.%d", i>>16&255, i>>8&255, i&255)
			}
			id := strconv.Itoa(i)
			what := [...]string{"", "first", "diff", "diff"}[i%4]
			if send("host"+id, "user"+id, ip, what) == "11" {
				alerts++
			}
			if i&0xffff == 0 {
				bounds(t, e)
			}
		}
		bounds(t, e)
		if alerts > 0 {
			t.Errorf("%s: %d alerts about sources that were seen once", d, alerts)
		}
		now = now.Add(time.Second)
		if got := attack("192.0.2.2", 1); got != "10" {
			t.Errorf("%s: %s for one attempt of a source whose others are forgotten", d, got)
		}
		if got := attack("192.0.2.3", many+1); got != "11" {
			t.Errorf("%s: %s for the attempts of a new source", d, got)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%s: %d sources: heap in use %d MB, first seen %d, last records %d, transactions %d; %s", d, sources, m.HeapAlloc>>20,
			len(e.memory.seen.m), len(e.memory.diffs.m), len(e.gather.entries), resident())
		if m.HeapAlloc > 100<<20 {
			t.Errorf("%s: %d MB in use", d, m.HeapAlloc>>20)
		}
		runtime.KeepAlive(e)
	}
}

// bounds checks the bounds of all that an engine remembers.
func bounds(t *testing.T, e *Engine) {
	t.Helper()
	h := e.history
	if n := h.events.len(); n > h.size || h.bytes > maxKept {
		t.Errorf("%d events of %d bytes are remembered", n, h.bytes)
	}
	if n := len(h.free); n > h.size {
		t.Errorf("%d events lie in store", n)
	}
	for _, l := range h.lists {
		for _, x := range l.indexes {
			if len(x.heads) > h.events.len() || x.links.len() != l.entries.len() {
				t.Errorf("an index has %d keys and %d links for %d events", len(x.heads), x.links.len(), l.entries.len())
			}
			if len(x.links.buf) > 2*h.size {
				t.Errorf("an index has room for %d links", len(x.links.buf))
			}
		}
	}
	for _, b := range []*bounded{&e.memory.seen, &e.memory.ignored, &e.memory.diffs} {
		if b.bytes > b.limit || len(b.order) > 2*len(b.m)+2048 {
			t.Errorf("%d bytes of facts, %d places for %d", b.bytes, len(b.order), len(b.m))
		}
	}
	if n := len(e.gather.entries); n > gatherEntries {
		t.Errorf("%d transactions", n)
	}
	if n := len(e.worker.programs.byName); n > knownPrograms {
		t.Errorf("%d programs", n)
	}
}

// resident is the memory that the process has, and the most it had, in words.
func resident() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "resident memory not known here"
	}
	var out []string
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "VmRSS:") || strings.HasPrefix(l, "VmHWM:") {
			out = append(out, strings.Join(strings.Fields(l), " "))
		}
	}
	return strings.Join(out, ", ")
}
