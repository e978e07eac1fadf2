package ruleset

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"riposte/internal/ossec"
)

const root = `<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>root</description></rule></group>`

func loadRules(d ossec.Dialect, rules string) (*Set, []ossec.Finding) {
	return Load(Options{
		Dialect:  d,
		Decoders: []Source{{Name: "d.xml", Data: []byte(`<decoder name="sshd"><program_name>^sshd$</program_name></decoder>`)}},
		Rules:    []Source{{Name: "root.xml", Data: []byte(root)}, {Name: "r.xml", Data: []byte(rules)}},
		Lists:    []List{{Name: "etc/lists/known", Data: []byte("a:1\n")}},
	})
}

// first is the first finding of a severity, as "line:col code".
func first(fs []ossec.Finding, s ossec.Severity) string {
	for _, f := range fs {
		if f.Severity == s {
			return strings.TrimPrefix(f.Pos.String(), "r.xml:") + " " + f.Code
		}
	}
	return ""
}

// TestRuleErrors: what cannot be is an error where it stands.
func TestRuleErrors(t *testing.T) {
	f := func(d ossec.Dialect, rule, want string) {
		t.Helper()
		_, findings := loadRules(d, "<group name=\"x,\">\n"+rule+"\n</group>")
		if got := first(findings, ossec.Error); got != want {
			t.Errorf("%s %s:\n got %q %v\nwant %q", d, rule, got, findings, want)
		}
	}
	ok := func(s string) string { return `<rule id="100" level="3">` + s + `<description>d</description></rule>` }
	both := func(rule, want string) {
		t.Helper()
		f(ossec.Wazuh, rule, want)
		f(ossec.OSSEC, rule, want)
	}
	both(ok(``), "")
	both(ok(`<mach>x</mach>`), "2:26 unknown-element")
	both(ok(`<options>no_lg</options>`), "2:35 unknown-option")
	both(ok(`<decoded_as>sshdd</decoded_as>`), "2:38 unknown-decoder")
	both(ok(`<category>sylog</category>`), "2:36 unknown-category")
	both(ok(`<srcip>10.0.0.0/33</srcip>`), "2:33 bad-address")
	both(ok(`<srcip>evil</srcip>`), "2:33 bad-address")
	both(ok(`<regex>a(b</regex>`), "2:34 bad-pattern")
	both(ok(`<time>25:00 - 3</time>`), "2:32 bad-time")
	both(ok(`<weekday>moonday</weekday>`), "2:35 bad-weekday")
	both(ok(`<same_source_ip />`), "2:26 context-without-match")
	both(ok(`<list field="srcip" lookup="match">etc/lists/known</list>`), "2:54 unknown-lookup")
	both(ok(`<list>etc/lists/known</list>`), "2:26 no-field")
	both(ok(`<info type="x">y</info>`), "2:38 bad-type")
	both(ok(`<compiled_rule>nothing</compiled_rule>`), "2:41 unknown-compiled-rule")
	both(`<rule id="100" level="3" frobnicate="1"><description>d</description></rule>`, "2:26 unknown-attribute")
	both(`<rule id="100"><description>d</description></rule>`, "2:1 no-level")
	both(`<rule level="3"><description>d</description></rule>`, "2:1 no-id")
	both(`<rule id="100" level="17"><description>d</description></rule>`, "2:23 bad-number")
	both(`<rule id="1x" level="3"><description>d</description></rule>`, "2:12 bad-number")
	both(`<rule id="100" level="3" overwrite="maybe"><description>d</description></rule>`, "2:37 bad-value")
	both(`<rule id="100" level="3"></rule>`, "2:1 empty-rule")
	both(`<rulee id="100" level="3"><description>d</description></rulee>`, "2:1 unknown-element")
	both(ok(`<match>`+strings.Repeat("x", 2048)+`</match>`), "2:26 too-long")
	both(`<rule id="100" level="3">`+"\n<match>a</match>", "4:1 xml-mismatch")

	f(ossec.Wazuh, `<rule id="100" level="3"><match>a</match></rule>`, "2:1 no-description")
	f(ossec.OSSEC, `<rule id="100" level="3"><match>a</match></rule>`, "")
	f(ossec.Wazuh, `<rule id="1234567" level="3"><description>d</description></rule>`, "2:11 bad-number")
	f(ossec.Wazuh, `<rule id="100" level="3" frequency="1"><if_matched_sid>1</if_matched_sid><description>d</description></rule>`, "2:37 bad-number")
	f(ossec.Wazuh, ok(`<field name="srcip">x</field>`), "2:39 static-field")
	f(ossec.Wazuh, ok(`<match_pcre2>x</match_pcre2>`), "2:26 unknown-element")
	f(ossec.OSSEC, ok(`<location>x</location>`), "2:26 unknown-element")
	f(ossec.OSSEC, ok(`<mitre><id>T1</id></mitre>`), "2:26 unknown-element")
	f(ossec.OSSEC, ok(`<match type="pcre2">x</match>`), "2:33 unknown-attribute")
	f(ossec.OSSEC, ok(`<if_sid>999</if_sid>`), "2:34 unknown-rule")
	f(ossec.OSSEC, ok(``)+ok(``), "2:61 duplicate-rule")
	f(ossec.OSSEC, `<rule id="100" level="3" overwrite="yes"><description>d</description></rule>`, "2:26 overwrite-nothing")
}

// TestRuleWarnings: what Wazuh drops or ignores is a warning.
func TestRuleWarnings(t *testing.T) {
	f := func(rule, want string, kept bool) {
		t.Helper()
		set, findings := loadRules(ossec.Wazuh, "<group name=\"x,\">\n"+rule+"\n</group>")
		if got := first(findings, ossec.Warning); got != want {
			t.Errorf("%s:\n got %q %v\nwant %q", rule, got, findings, want)
		}
		if set == nil {
			t.Fatalf("%s: not loaded: %v", rule, findings)
		}
		if _, ok := set.Rule(100); ok != kept {
			t.Errorf("%s: rule kept: %v", rule, ok)
		}
	}
	ok := func(s string) string { return `<rule id="100" level="3">` + s + `<description>d</description></rule>` }
	f(ok(`<if_sid>999</if_sid>`), "2:34 unknown-rule", false)
	f(ok(`<if_sid>1,999</if_sid>`), "2:34 unknown-rule", true)
	f(ok(`<if_sid>1;2</if_sid>`), "2:35 bad-if-sid", false)
	f(ok(`<if_matched_sid>a</if_matched_sid>`), "2:42 bad-number", false)
	f(ok(`<list field="srcip">etc/lists/knwn</list>`), "2:46 unknown-list", false)
	f(ok(`<match type="regexp">x</match>`), "2:39 bad-type", true)
	f(ok(`<match negate="perhaps">x</match>`), "2:41 bad-value", true)
	f(ok(`<same_agent />`), "2:26 no-effect", true)
	f(ok(`<category>ids</category>`), "2:1 no-parent", false)
	f(ok(``)+ok(``), "2:61 duplicate-rule", true)
	f(`<rule id="100" level="3" overwrite="yes"><description>d</description></rule>`, "2:26 overwrite-nothing", true)
}

func TestDecoderErrors(t *testing.T) {
	f := func(d ossec.Dialect, src, want string) {
		t.Helper()
		_, findings := Load(Options{Dialect: d, Decoders: []Source{{Name: "r.xml", Data: []byte(src)}}, Rules: []Source{{Name: "root.xml", Data: []byte(root)}}})
		if got := first(findings, ossec.Error); got != want {
			t.Errorf("%s %s:\n got %q %v\nwant %q", d, src, got, findings, want)
		}
	}
	both := func(src, want string) {
		t.Helper()
		f(ossec.Wazuh, src, want)
		f(ossec.OSSEC, src, want)
	}
	p := `<decoder name="p"><program_name>^p</program_name></decoder>` + "\n"
	both(p, "")
	both(`<decoder><prematch>x</prematch></decoder>`, "1:1 no-name")
	both(`<decoder name="a" nam="b"><prematch>x</prematch></decoder>`, "1:19 unknown-attribute")
	both(`<decoder name="a"></decoder>`, "1:1 no-condition")
	both(`<decoder name="a"><prematch>a(b</prematch></decoder>`, "1:30 bad-pattern")
	both(`<decoder name="a"><prematc>x</prematc></decoder>`, "1:19 unknown-element")
	both(`<decoder name="a"><prematch>x</prematch><regex>(\d)</regex></decoder>`, "1:1 no-order")
	both(`<decoder name="a"><prematch>x</prematch><order>id</order></decoder>`, "1:1 no-regex")
	both(`<decoder name="a"><prematch>x</prematch><type>sylog</type></decoder>`, "1:47 unknown-type")
	both(`<decoder name="a"><prematch>x</prematch><plugin_decoder>X</plugin_decoder></decoder>`, "1:57 unknown-plugin")
	both(`<decoder name="a"><parent>b</parent></decoder>`, "1:27 unknown-parent")
	both(p+`<decoder name="c"><parent>p</parent></decoder><decoder name="d"><parent>c</parent></decoder>`, "2:73 unknown-parent")
	both(`<decoder name="a"><prematch offset="after_parent">x</prematch></decoder>`, "1:1 bad-offset")
	both(p+`<decoder name="c"><parent>p</parent><regex offset="after_regex">(x)</regex><order>id</order></decoder>`, "2:1 bad-offset")
	both(p+`<decoder name="c"><parent>p</parent><regex>(x)</regex><order>id</order></decoder><decoder name="c"><parent>p</parent><prematch>y</prematch><regex>(x)</regex><order>id</order></decoder>`, "2:82 bad-chain")
	both(`<rule id="1"></rule>`, "1:1 unknown-element")
	f(ossec.OSSEC, `<decoder name="a"><prematch>x</prematch><plugin_decoder>JSON_Decoder</plugin_decoder></decoder>`, "1:57 unknown-plugin")
	f(ossec.Wazuh, `<decoder name="a"><prematch_pcre2>x</prematch_pcre2></decoder>`, "1:19 unknown-element")
	f(ossec.OSSEC, `<decoder name="a"><prematch type="pcre2">x</prematch></decoder>`, "1:29 unknown-attribute")
	f(ossec.Wazuh, `<decoder name="a"><prematch>x</prematch><plugin_decoder>JSON_Decoder</plugin_decoder><regex>(x)</regex><order>id</order></decoder>`, "1:1 plugin-and-regex")
}

// TestTree: where rules go, and in which order.
func TestTree(t *testing.T) {
	rules := `<group name="a,">
<rule id="100" level="5"><if_sid>1</if_sid><description>d</description></rule>
<rule id="101" level="7"><if_sid>1</if_sid><description>d</description><group>auth,</group></rule>
<rule id="102" level="0"><if_sid>1</if_sid><description>d</description></rule>
<rule id="103" level="9" accuracy="0"><if_sid>1</if_sid><description>d</description></rule>
<rule id="104" level="7"><description>by category</description></rule>
<rule id="105" level="3"><if_sid>100, 101</if_sid><description>d</description></rule>
<rule id="106" level="3"><if_group>auth</if_group><description>d</description></rule>
<rule id="107" level="3"><if_level>6</if_level><description>d</description></rule>
<rule id="101" level="2" overwrite="yes"><description>new</description></rule>
</group>`
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		set, findings := loadRules(d, rules)
		if set == nil {
			t.Fatal(findings)
		}
		var show func(list []*Node) string
		show = func(list []*Node) string {
			var out []string
			for _, n := range list {
				s := strconv.Itoa(n.Rule.ID)
				if len(n.Children) > 0 {
					s += "(" + show(n.Children) + ")"
				}
				out = append(out, s)
			}
			return strings.Join(out, " ")
		}
		want := "1(102(107) 101(105 106 107) 104(107) 100(105) 107 103)"
		if got := show(set.Roots); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
		r, _ := set.Rule(101)
		if r.Level != 2 || r.Description != "new" || r.Groups != "a," {
			t.Errorf("%s: rule 101 is %+v", d, r)
		}
		if r, _ = set.Rule(103); r.Level != 9 {
			t.Errorf("%s: rule 103 has level %d", d, r.Level)
		}
	}
}

func TestListLines(t *testing.T) {
	f := func(d ossec.Dialect, line, key, value string, ok bool) {
		t.Helper()
		l := newLoader(Options{Dialect: d})
		k, v, got := l.listLine(line)
		if got != ok || ok && (k != key || v != value) {
			t.Errorf("%s %q: %q %q %v", d, line, k, v, got)
		}
	}
	f(ossec.Wazuh, `a:b`, "a", "b", true)
	f(ossec.Wazuh, `a:`, "a", "", true)
	f(ossec.Wazuh, `a`, "", "", false)
	f(ossec.Wazuh, ` a : b `, " a ", " b ", true)
	f(ossec.Wazuh, `"a:b":c`, "a:b", "c", true)
	f(ossec.Wazuh, `"a:b`, "", "", false)
	f(ossec.Wazuh, `a:"b:c" d`, "a", "b:c", true)
	f(ossec.Wazuh, `a:"b`, "", "", false)
	f(ossec.Wazuh, `a:b###c`, "a", "b###c", true)
	f(ossec.OSSEC, `a:b  ### comment`, "a", "b", true)
	f(ossec.OSSEC, `### a:b`, "", "", false)
	f(ossec.OSSEC, `"a:b":c`, `"a`, `b":c`, true)
}

func TestLookup(t *testing.T) {
	l := &list{values: map[string]string{"10.1.": "net", "10.1.2.3": "host", "bob": "admin"}}
	f := func(m LookupMode, value string, want bool) {
		t.Helper()
		lu := &Lookup{Mode: m, list: l}
		if got := lu.Match(value); got != want {
			t.Errorf("%d %q: %v", m, value, got)
		}
	}
	f(MatchKey, "bob", true)
	f(MatchKey, "Bob", false)
	f(NotMatchKey, "al", true)
	f(AddressMatchKey, "10.1.9.9", true)
	f(AddressMatchKey, "10.1.2.3", true)
	f(AddressMatchKey, "10.2.9.9", false)
	f(AddressMatchKey, "10.1.", true)
	f(NotAddressMatchKey, "10.2.0.1", true)
	f(AddressMatchKeyValue, "10.9.0.1", true) // sic: no hit is a match
	if (&Lookup{}).Match("x") || (&Lookup{Mode: NotMatchKey}).Match("x") {
		t.Error("an unknown list matches")
	}
}

func TestAddresses(t *testing.T) {
	f := func(d ossec.Dialect, list, value string, want bool) {
		t.Helper()
		var a Addresses
		for _, s := range strings.Fields(list) {
			if err := a.add(s, d); err != nil {
				t.Fatal(err)
			}
		}
		if got := a.Match(value); got != want {
			t.Errorf("%s %q %q: %v", d, list, value, got)
		}
	}
	f(ossec.Wazuh, "10.0.0.0/8", "10.2.3.4", true)
	f(ossec.Wazuh, "10.0.0.0/255.255.0.0", "10.0.3.4", true)
	f(ossec.Wazuh, "10.0.0.0/255.255.0.0", "10.1.3.4", false)
	f(ossec.Wazuh, "!10.0.0.0/8", "10.1.3.4", true)
	f(ossec.Wazuh, "any", "::1", true)
	f(ossec.Wazuh, "any", "not an ip", false)
	f(ossec.Wazuh, "::ffff:10.0.0.1", "10.0.0.1", true)
	f(ossec.Wazuh, "2001:db8::/32", "2001:db8:1::1", true)
	f(ossec.Wazuh, "2001:db8::/32", "10.0.0.1", false)
	f(ossec.OSSEC, "!10.0.0.0/8", "10.1.3.4", false)
	f(ossec.OSSEC, "!10.0.0.0/8", "192.168.1.5", true)
	f(ossec.OSSEC, "!10.0.0.0/8 192.168.0.0/16", "172.16.0.1", false)
	var a Addresses
	if a.add("10.0.0.0/255.255.0.0", ossec.OSSEC) == nil || a.add("fe80::1%eth0", ossec.Wazuh) == nil || a.add("10.0.0.0/255.0.255.0", ossec.Wazuh) == nil {
		t.Error("a bad entry is taken")
	}
	if n := testing.AllocsPerRun(10, func() { ParseAddress("not-an-address"); ParseAddress("10.0.0.1"); ParseAddress("a.b.c.d") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHours(t *testing.T) {
	f := func(s string, in, out string) {
		t.Helper()
		h, err := parseHours(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range strings.Fields(in) {
			if at, _ := time.Parse("15:04", w); !h.Match(at) {
				t.Errorf("%q does not include %s", s, w)
			}
		}
		for _, w := range strings.Fields(out) {
			if at, _ := time.Parse("15:04", w); h.Match(at) {
				t.Errorf("%q includes %s", s, w)
			}
		}
	}
	f("9 - 17:30", "09:00 12:00 17:30", "08:59 17:31 00:00")
	f("9 am - 5:30 pm", "09:00 17:30", "08:59 17:31")
	f("12 am - 12 pm", "00:00 12:00", "12:01")
	f("!9-17", "08:59 17:01", "09:00 17:00")
	f("18:00-08:00", "18:01 07:59", "08:00 18:00 12:00")
	for _, s := range []string{"", "9", "9-25", "9:60-10", "nine-ten", "9 xm - 10", "9-"} {
		if _, err := parseHours(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	w, err := parseWeekdays("monday, Tue weekends")
	if err != nil || w != 0b1000111 {
		t.Errorf("weekdays %b, %v", w, err)
	}
}

func TestParts(t *testing.T) {
	f := func(s string, want ...Part) {
		t.Helper()
		if got := parts(s); !slices.Equal(got, want) {
			t.Errorf("%q: %v", s, got)
		}
	}
	f("plain")
	f("a $(b) c", Part{"a ", false}, Part{"b", true}, Part{" c", false})
	f("$(a)$(b)", Part{"a", true}, Part{"b", true})
	f("a $(b", []Part(nil)...)
	f("$(a) $(b", Part{"a", true}, Part{" $(b", false})
}

// FuzzLoad: no file makes the loader panic or run away.
func FuzzLoad(f *testing.F) {
	f.Add(`<decoder name="a"><prematch>x</prematch></decoder>`, `<group name="x,"><rule id="10" level="3"><if_sid>1</if_sid><match>x</match><description>d</description></rule></group>`)
	f.Add(`<decoder name="a"><parent>a</parent><regex offset="after_regex">(x)</regex><order>id</order></decoder>`, `<group name="x,"><rule id="10" level="3" frequency="4"><if_matched_group>x</if_matched_group><same_source_ip/><description>$(x</description></rule></group>`)
	f.Add(`<decoder name="a"><program_name/></decoder>`, `<var name="A">b|c</var><group name="x,"><rule id="10" level="0" overwrite="yes"><if_level>0</if_level><match>$A.x</match><description>d</description></rule></group>`)
	f.Fuzz(func(t *testing.T, decoders, rules string) {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			set, findings := Load(Options{Dialect: d, Decoders: []Source{{Name: "d.xml", Data: []byte(decoders)}}, Rules: []Source{{Name: "root.xml", Data: []byte(root)}, {Name: "r.xml", Data: []byte(rules)}}})
			if set == nil && !ossec.Failed(findings) {
				t.Fatal("no set and no error")
			}
			for _, x := range findings {
				if x.Message == "" || x.Code == "" || x.Pos.File == "" {
					t.Fatalf("a finding says nothing: %+v", x)
				}
			}
		}
	})
}
