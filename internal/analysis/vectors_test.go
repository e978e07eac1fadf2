package analysis

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
)

// shared finds a directory of the shared data.
func shared(t testing.TB, env, name string) string {
	dir := os.Getenv(env)
	if dir == "" {
		dir = filepath.Join("../../../shared", name)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no %s data: set %s", name, env)
	}
	return dir
}

func vectors(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared(t, "RIPOSTE_SPEC", "spec"), "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// bytesOf turns text whose characters are bytes into those bytes.
func bytesOf(s string) string {
	b := make([]byte, 0, len(s))
	for _, c := range s {
		b = append(b, byte(c))
	}
	return string(b)
}

func TestPredecodeVectors(t *testing.T) {
	type want struct {
		TS, Host, Prog *string
		Log            string
	}
	var vs []struct {
		Line         string
		Ossec, Wazuh want
	}
	vectors(t, "predecode.json", &vs)
	for _, v := range vs {
		for d, w := range map[ossec.Dialect]want{ossec.OSSEC: v.Ossec, ossec.Wazuh: v.Wazuh} {
			p := newPredecoder(d, "thishost.example.org")
			var r record
			r.reset(&riposte.Event{Text: bytesOf(v.Line), Location: "stdin"})
			p.run(&r)
			if r.log != bytesOf(w.Log) {
				t.Errorf("%s %q: log %q, want %q", d, v.Line, r.log, w.Log)
			}
			if w.Prog == nil && r.hasProg || w.Prog != nil && (!r.hasProg || r.program != bytesOf(*w.Prog)) {
				t.Errorf("%s %q: program %q", d, v.Line, r.program)
			}
			if w.Host == nil && r.host != "thishost" || w.Host != nil && r.host != bytesOf(*w.Host) {
				t.Errorf("%s %q: host %q", d, v.Line, r.host)
			}
			if d == ossec.Wazuh && (w.TS == nil && r.stamp != "" || w.TS != nil && r.stamp != bytesOf(*w.TS)) {
				t.Errorf("%s %q: stamp %q", d, v.Line, r.stamp)
			}
		}
	}
	t.Logf("%d vectors, both dialects", len(vs))
}

type engineVector struct {
	ID, Dec, Rules, FL string
	Lines              []string
	Lists              map[string]string
	Wazuh, Ossec       []map[string]any
}

const vectorBase = `<group name="base,">
<rule id="1" level="0" noalert="1"><category>syslog</category><description>r1</description></rule>
<rule id="2" level="0" noalert="1"><category>firewall</category><description>r2</description></rule>
<rule id="3" level="0" noalert="1"><category>ids</category><description>r3</description></rule>
</group>`

func vectorSet(t *testing.T, v *engineVector, d ossec.Dialect) *ruleset.Set {
	o := ruleset.Options{
		Dialect: d,
		Decoders: []ruleset.Source{
			{Name: "zz.xml", Data: []byte(`<decoder name="zzpn"><program_name>^zzpn$</program_name></decoder>
<decoder name="zznp"><prematch>^zznpzznp</prematch></decoder>`)},
			{Name: "dec.xml", Data: []byte(bytesOf(v.Dec))},
		},
		Rules: []ruleset.Source{{Name: "base.xml", Data: []byte(vectorBase)}, {Name: "rules.xml", Data: []byte(bytesOf(v.Rules))}},
	}
	for name, data := range v.Lists {
		o.Lists = append(o.Lists, ruleset.List{Name: "etc/lists/" + name, Data: []byte(data)})
	}
	set, findings := ruleset.Load(o)
	for _, f := range findings {
		t.Logf("%s %s: %s", d, v.ID, f)
	}
	return set
}

func TestEngineVectors(t *testing.T) {
	var vs []engineVector
	vectors(t, "engine.json", &vs)
	steps, passed := 0, 0
	for i := range vs {
		v := &vs[i]
		for d, want := range map[ossec.Dialect][]map[string]any{ossec.OSSEC: v.Ossec, ossec.Wazuh: v.Wazuh} {
			if want == nil {
				continue
			}
			set := vectorSet(t, v, d)
			if set == nil {
				t.Errorf("%s %s: not loaded", d, v.ID)
				continue
			}
			for _, trace := range []bool{false, true} {
				e := New(set, Options{Host: "thishost"})
				for k, line := range v.Lines {
					got := e.Test(&riposte.Event{Text: bytesOf(line), Location: "stdin", Time: time.Unix(1795413627+int64(k/1000), 0)}, trace)
					if trace {
						if !checkStep(t, d, v, k, &got, want[k]) {
							t.Logf("(traced)")
						}
						continue
					}
					steps++
					if checkStep(t, d, v, k, &got, want[k]) {
						passed++
					}
				}
			}
		}
	}
	t.Logf("%d scenarios, %d of %d steps as the real systems", len(vs), passed, steps)
}

func checkStep(t *testing.T, d ossec.Dialect, v *engineVector, k int, got *Verdict, want map[string]any) bool {
	t.Helper()
	ok := true
	bad := func(what string, got, want any) {
		t.Helper()
		ok = false
		t.Errorf("%s %s line %d %q: %s is %v, want %v", d, v.ID, k+1, v.Lines[k], what, got, want)
	}
	text := func(key string) string {
		switch x := want[key].(type) {
		case nil:
			return ""
		case string:
			return bytesOf(x)
		case float64:
			return strconv.Itoa(int(x))
		}
		return "?"
	}
	if got.Record.Decoder.Name != text("decoder") {
		bad("decoder", got.Record.Decoder.Name, text("decoder"))
	}
	rule, level := "", ""
	if got.Rule != nil {
		rule, level = strconv.Itoa(got.Rule.ID), strconv.Itoa(got.Rule.Level)
	}
	if rule != text("rule") || level != text("level") {
		bad("rule", rule+" level "+level, text("rule")+" level "+text("level"))
	}
	if a, has := want["alert"].(bool); has && a != got.Alert {
		bad("alert", got.Alert, a)
	}
	if n, has := want["firedtimes"].(float64); has && int(n) != got.Fired {
		bad("firedtimes", got.Fired, n)
	}
	if kept, has := want["full_log"].(bool); has && kept == got.Record.Rule.NoFullLog {
		bad("full_log kept", !kept, kept)
	}
	if obj, _ := want["rule_obj"].(map[string]any); len(obj) > 0 {
		r := &got.Record.Rule
		if r.Description != obj["description"] || r.Mail != obj["mail"] || (r.Fired == 0) == (obj["firedtimes"] != nil) {
			bad("rule", fmt.Sprintf("%+v", *r), obj)
		}
		var groups []string
		for _, list := range []string{"groups", "pci_dss"} {
			names, _ := obj[list].([]any)
			for _, n := range names {
				if list != "groups" {
					n = list + "_" + n.(string)
				}
				groups = append(groups, n.(string))
			}
		}
		got := r.GroupList()
		slices.Sort(got)
		slices.Sort(groups)
		if !slices.Equal(got, groups) {
			bad("groups", got, groups)
		}
	}
	if data, has := want["data"].(map[string]any); has {
		flat := map[string]string{}
		flatten("", data, flat)
		have := map[string]string{}
		for _, f := range got.Record.Fields {
			if _, dup := have[f.Name]; !dup && (f.Value != "" || !f.Dynamic) {
				have[f.Name] = f.Value
			}
		}
		for k, x := range flat {
			x = bytesOf(x)
			alias := map[string]string{"proto": "protocol"}[k]
			if alias == "" {
				alias = k
			}
			h, ok := have[alias]
			if !ok && alias == "extra_data" {
				h, ok = have["data"]
				alias = "data"
			}
			if !ok || h != x && !sameJSON(h, x) {
				bad("data "+k, h, x)
			}
			delete(have, alias)
		}
		for k, x := range have {
			bad("extra data "+k, x, nil)
		}
	} else if len(got.Record.Fields) > 0 {
		bad("data", got.Record.Fields, nil)
	}
	return ok
}

// sameJSON compares arrays, which the real system prints before it shows them.
func sameJSON(a, b string) bool {
	var x, y []any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

func flatten(prefix string, m map[string]any, out map[string]string) {
	for k, x := range m {
		switch x := x.(type) {
		case map[string]any:
			flatten(prefix+k+".", x, out)
		case string:
			out[prefix+k] = x
		default:
			b, _ := json.Marshal(x)
			out[prefix+k] = string(b)
		}
	}
}
