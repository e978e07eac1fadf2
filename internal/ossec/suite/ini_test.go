package suite

import (
	"fmt"
	"strings"
	"testing"

	"riposte/internal/ossec"
)

func TestParseINI(t *testing.T) {
	f := func(d ossec.Dialect, src, want string) {
		t.Helper()
		cases, findings := ParseINI("t.ini", []byte(src), d)
		var out []string
		for _, c := range cases {
			out = append(out, fmt.Sprintf("%d %s/%s %q %s/%s/%s %v", c.Line, c.Section, c.Name, c.Lines, c.Want.Decoder, c.Want.Rule, c.Want.Level, c.Negate))
		}
		for _, x := range findings {
			out = append(out, x.String())
		}
		if got := strings.Join(out, "\n"); got != want {
			t.Errorf("%s %q:\n got %s\nwant %s", d, src, got, want)
		}
	}
	both := func(src, want string) {
		t.Helper()
		f(ossec.Wazuh, src, want)
		f(ossec.OSSEC, src, want)
	}
	tail := "\nrule = 1\nalert: 2\ndecoder = d\n"
	both("[s]\nlog 1 pass = a b "+tail, `2 s/log 1 pass ["a b"] d/1/2 false`)
	both("[s]\nLOG 1 FAIL = a"+tail, `2 s/log 1 fail ["a"] d/1/2 true`)
	both("[s]\nlog 1 pass = a ; b"+tail, `2 s/log 1 pass ["a"] d/1/2 false`)
	both("[s]\nlog 1 pass = a; b"+tail, `2 s/log 1 pass ["a; b"] d/1/2 false`)
	both("[s]\nlog 1 pass = \"\""+tail, `2 s/log 1 pass [""] d/1/2 false`)
	both("# c\n; c\nrem c\n\n[s]\nlog 1 pass: a=b"+tail, `6 s/log 1 pass ["a=b"] d/1/2 false`)
	both("[s]\nlog 1 pass = a\n  b"+tail, `2 s/log 1 pass ["a" "b"] d/1/2 false`)
	both("[s]\nlog 1 pass = a"+tail+"[t]\nx = y\n[s]\nlog 2 pass = b", "2 s/log 1 pass [\"a\"] d/1/2 false\n9 s/log 2 pass [\"b\"] d/1/2 false")
	both("[s]\nlog 1 pass = a\r\nrule = 1\r\n", `2 s/log 1 pass ["a"] /1/ false`)
	both("log 1 pass = a", `t.ini:1:1: error: "log 1 pass = a" stands before the first [section]`)
	both("[s]\nnonsense", `t.ini:2:1: error: "nonsense" is neither a [section] nor an option: expected name = value`)
	f(ossec.Wazuh, "[s]\nlog 1 pass = a\nlog 1 pass = b"+tail, `2 s/log 1 pass ["a" "b"] d/1/2 false`)
	f(ossec.OSSEC, "[s]\nlog 1 pass = a\nlog 1 pass = b"+tail, `2 s/log 1 pass ["b"] d/1/2 false`)
	f(ossec.OSSEC, "[s]\nlog 1 pass = %%PIX"+tail, `2 s/log 1 pass ["%PIX"] d/1/2 false`)
	f(ossec.Wazuh, "[s]\nlog 1 pass = %%PIX"+tail, `2 s/log 1 pass ["%%PIX"] d/1/2 false`)
}

func TestParseJSONL(t *testing.T) {
	cases, findings := ParseJSONL("c.jsonl", []byte(`{"lines":["a"],"want":{"rule":"1","level":"2","decoder":"d"},"real_system_passes":false}
{"lines":["b"],"want":{"rule":"1"},"negate":true,"real_verdict":{"rule":"","level":"","decoder":"x"}}
`))
	if len(findings) > 0 || len(cases) != 2 {
		t.Fatal(cases, findings)
	}
	if c := cases[0]; !c.Negate || c.Exact || c.File != "c.jsonl" || c.Line != 1 {
		t.Errorf("%+v", c)
	}
	if c := cases[1]; c.Negate || !c.Exact || c.Want.Decoder != "x" {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"x", `{"lines":["a"]}`, `{"want":{"rule":"1"}}`, `[]`} {
		if _, findings := ParseJSONL("c.jsonl", []byte("\n"+bad)); len(findings) != 1 || findings[0].Pos.Line != 2 {
			t.Errorf("%s: %v", bad, findings)
		}
	}
}

func FuzzParseINI(f *testing.F) {
	f.Add("[s]\nlog 1 pass = a ; b\n c\nrule: 1\n")
	f.Add("log = x\n[\n[]\n[a\n=b")
	f.Fuzz(func(t *testing.T, s string) {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			cases, findings := ParseINI("t.ini", []byte(s), d)
			if len(findings) > 0 && len(cases) > 0 {
				t.Fatal("cases of a file that was refused")
			}
			for _, c := range cases {
				if len(c.Lines) == 0 || c.Line == 0 {
					t.Fatalf("an empty case: %+v", c)
				}
			}
		}
		ParseJSONL("t.jsonl", []byte(s))
		ParseText("t.test", []byte(s))
	})
}
