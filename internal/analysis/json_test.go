package analysis

import (
	"encoding/json"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/ruleset"
)

const jsonDecoder = `<decoder name="json"><prematch>^{</prematch><plugin_decoder>JSON_Decoder</plugin_decoder></decoder>`

func TestJSON(t *testing.T) {
	plain := testSet(t, ossec.Wazuh, jsonDecoder, "")
	other := testSet(t, ossec.Wazuh, strings.Replace(jsonDecoder, "</decoder>", "<json_null_field>discard</json_null_field><json_array_structure>csv</json_array_structure></decoder>", 1), "")
	f := func(line, want string) {
		t.Helper()
		v := New(plain, Options{}).Test(event(line), false)
		if got := fieldsOf(v.Record); got != want {
			t.Errorf("%s:\n got %s\nwant %s", line, got, want)
		}
	}
	csv := func(line, want string) {
		t.Helper()
		v := New(other, Options{}).Test(event(line), false)
		if got := fieldsOf(v.Record); got != want {
			t.Errorf("csv %s:\n got %s\nwant %s", line, got, want)
		}
	}
	f(`{}`, ``)
	f(`{"a":{"b":{"c":"d"}},"e.f":1}`, `$a.b.c="d" $e.f="1"`)
	f(`{"srcip":"1.2.3.4","user":"u","systemname":"s","system_name":"t","A":"x"}`, `srcip="1.2.3.4" system_name="s" $user="u" $system_name="t" $A="x"`)
	f(`{"a":"\"\\\/\b\f\n\r\tä€😀","b":"x\u0000y"}`, `$a="\"\\/\b\f\n\r\tä€😀" $b="x"`)
	f(`{"a":0,"b":-0,"c":-1,"d":2147483647,"e":2147483648,"f":1e3,"g":007,"h":1.50,"i":-2147483648}`,
		`$a="0" $b="0" $c="-1" $d="2147483647" $e="2147483648.000000" $f="1000" $g="7" $h="1.500000" $i="-2147483648"`)
	f(`{"a":[],"b":[1,"x",null,true,[2]],"c":{},"d":[{"k":"v\n"},{}]}`, `$a="[]" $b="[1, \"x\", null, true, [2]]" $d="[{\n\t\t\"k\":\t\"v\\n\"\n\t}, {\n\t}]"`)
	f(`{"a":[1.5,5000000000,1e300,0.1,-2.25]}`, `$a="[1.5, 5000000000, 1e+300, 0.1, -2.25]"`)
	f(` {"a":1} trailing`, ``) // the prematch wants the brace first
	f(`{"a":1} trailing`, `$a="1"`)
	f(`{"a":tru}`, ``)
	f(`{"a":1,}`, ``)
	f(`{"a":1 "b":2}`, ``)
	f(`{"a":"\ud83d"}`, ``)
	f(`{"a":"\x"}`, ``)
	f(`{"a":"x`, ``)
	f(`{"a":-}`, ``)
	f(`{a:1}`, ``)
	f(strings.Repeat(`{"a":`, 999)+"1"+strings.Repeat("}", 999), `$`+strings.Repeat("a.", 998)+`a="1"`)
	f(strings.Repeat(`{"a":`, 1001)+"1"+strings.Repeat("}", 1001), ``)
	csv(`{"n":null,"l":[1,"a",null,true,{"q":1},2.5],"e":[],"x":[[1],2,{}]}`, `$l="1,a,null,true,2.500000" $x="2,"`)
	csv(`{"l":["a\tb","c"]}`, `$l="a\tb,c"`)
}

// FuzzJSON: what encoding/json reads as an object is read, and its strings and
// keys come out the same.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"b":[1,"x",{"c":null}]},"d":"é\n"}`, `{"a":1e999,"b":-0.5}`, `{`, `[]`, `{"a":"\ud83d\ude00"}`} {
		f.Add(s)
	}
	set := testSet(f, ossec.Wazuh, jsonDecoder, "")
	dec := &ruleset.Decoder{}
	f.Fuzz(func(t *testing.T, s string) {
		if i := strings.IndexByte(s, 0); i >= 0 {
			s = s[:i]
		}
		var r record
		r.reset(&riposte.Event{Text: s})
		j := newJSONReader(set)
		ok := j.read(&r, s, dec)
		var m map[string]any
		if json.Unmarshal([]byte(s), &m) != nil || m == nil {
			return
		}
		if !ok {
			if !strings.Contains(s, `\u`) && !strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "\xef") && !strings.Contains(s, strings.Repeat("[", 999)) {
				t.Fatalf("%q is not read", s)
			}
			return
		}
		got := map[string][]string{}
		for _, x := range r.fields {
			got[x.name] = append(got[x.name], x.value)
		}
		for k, v := range m {
			want, isText := v.(string)
			if !isText || strings.ContainsRune(want, 0) || strings.ContainsRune(k, 0) || strings.ContainsRune(want, '�') || strings.ContainsRune(k, '�') {
				continue
			}
			if _, isSlot := j.slots[k]; isSlot || len(r.fields) >= set.MaxFields {
				continue
			}
			if vs := got[k]; len(vs) == 0 || vs[len(vs)-1] != want && !strings.Contains(k, ".") {
				found := false
				for _, x := range got[k] {
					found = found || x == want
				}
				if !found {
					t.Fatalf("%q: %q is %q, want %q", s, k, vs, want)
				}
			}
		}
	})
}

// FuzzPredecode: no record makes the pre-decoder panic, and what it finds is in
// the record.
func FuzzPredecode(f *testing.F) {
	for _, s := range []string{
		"Dec 29 10:00:01 web1 sshd[42]: hello", "2015 Dec 29 10:00:01 h p: x", "[Time 2006.12.28 15:53:55 UTC] [Sender a] [Message b",
		"1140804070.368  11623 10.0.0.1 TCP_MISS/200", "M\xc3\xa4r 02 17:30:52 web1 sshd[1]: hallo", "Dec 29 10:00:01 web1 auth|security:info su[77] x",
		"2007-06-14T15:48:55.335-04:00 web1 sshd: hello", "01/28/1979-09:13:16.240702",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			p := newPredecoder(d, "host")
			var r record
			r.reset(&riposte.Event{Text: s, Agent: riposte.Agent{ID: "001", Name: "a"}})
			p.run(&r)
			if !strings.HasSuffix(r.full, r.log) && !strings.Contains(r.full, r.log) {
				t.Fatalf("%s: the log %q is not part of %q", d, r.log, r.full)
			}
			if r.hasProg && !strings.Contains(r.full, r.program) {
				t.Fatalf("%s: the program %q is not part of %q", d, r.program, r.full)
			}
		}
	})
}

// FuzzAnalyse: no record makes the engine panic, and the short way comes to the
// same verdict as the long one.
func FuzzAnalyse(f *testing.F) {
	const decoders = jsonDecoder + `<decoder name="p"><program_name>^p</program_name></decoder>
<decoder name="c"><parent>p</parent><prematch>^Failed </prematch><regex offset="after_prematch">^(\S+) for (\S+) from (\S+) port (\d+)</regex><order>action, user, srcip, srcport</order></decoder>
<decoder name="k"><parent>p</parent><regex>a=(\w+)</regex><order>id</order></decoder>
<decoder name="k"><parent>p</parent><regex offset="after_regex">b=(\d*)</regex><order>status</order></decoder>
<decoder name="pf"><prematch>^rule </prematch><plugin_decoder>PF_Decoder</plugin_decoder></decoder>
<decoder name="sym"><prematch>^\d,</prematch><plugin_decoder>SymantecWS_Decoder</plugin_decoder></decoder>
<decoder name="fwd"><prematch>^Alert Level:</prematch><plugin_decoder>OSSECAlert_Decoder</plugin_decoder></decoder>`
	const rules = `<group name="x,"><rule id="10" level="3"><decoded_as>p</decoded_as><match>Failed|error</match><description>$(srcip) $(user)</description></rule>
<rule id="11" level="5"><if_sid>10</if_sid><srcip>10.0.0.0/8</srcip><description>a</description></rule>
<rule id="12" level="9" frequency="3" timeframe="60"><if_matched_sid>10</if_matched_sid><same_source_ip /><description>b</description></rule>
<rule id="13" level="2"><regex>\d+ \S+</regex><description>c</description></rule>
<rule id="14" level="4"><match>diff</match><check_diff /><description>d</description></rule></group>`
	wazuh, plain := testSet(f, ossec.Wazuh, decoders, rules), testSet(f, ossec.OSSEC, strings.Replace(decoders, jsonDecoder, "", 1), rules)
	for _, s := range []string{"Dec 29 10:00:01 h p: Failed x for bob from 10.1.1.1 port 22", "Dec 29 10:00:01 h p: a=1 b=2", "rule 1/0(match) pass in on em0: 1.1.1.1.1 > 2.2.2.2.2: tcp", "1,10=x", "Alert Level: 3; Rule: 10 - x; Location: y; srcip: 1; z", `{"a":[1,{"b":2}]}`} {
		f.Add(s)
	}
	engines := []*Engine{New(wazuh, Options{Host: "h"}), New(plain, Options{Host: "h"})}
	f.Fuzz(func(t *testing.T, s string) {
		for _, e := range engines {
			fast, slow := e.Fresh(), e.Fresh()
			for range 3 {
				a, b := fast.Test(event(s), false), slow.Test(event(s), true)
				if a.Rule != b.Rule || show(a.Record) != show(b.Record) {
					t.Fatalf("%s %q:\n%s\n%s", e.Set().Dialect, s, show(a.Record), show(b.Record))
				}
			}
		}
	})
}
