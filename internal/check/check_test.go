package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/ossec/xml"
	"riposte/internal/response"
	"riposte/internal/settings"
)

var update = flag.Bool("update", false, "write the golden files anew")

// rules are a few as both systems have them; none has id 10005.
func rules(*settings.Settings, *conf.Config) ([]response.Rule, []ossec.Finding) {
	return []response.Rule{
		{ID: 1002, Level: 2, Groups: "syslog,errors,"}, {ID: 5710, Level: 5, Groups: "syslog,sshd,authentication_failed,"},
		{ID: 5712, Level: 10, Groups: "syslog,sshd,authentication_failures,"}, {ID: 5715, Level: 3, Groups: "syslog,sshd,authentication_success,"},
		{ID: 31151, Level: 10, Groups: "web,accesslog,web_scan,recon,"},
	}, nil
}

// options checks a file without the settings of the machine that tests.
func options(t *testing.T, path string) Options {
	t.Helper()
	empty := filepath.Join(t.TempDir(), "riposte.yaml")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{Settings: empty, Conf: path, Rules: rules}
}

// brief writes findings as "severity code at line:col".
func brief(findings []ossec.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s %s at %d:%d", f.Severity, f.Code, f.Pos.Line, f.Pos.Col))
	}
	return strings.Join(out, "\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, Diff("want", "got", want, []byte(got)))
	}
}

// TestSeed holds the law of the six examples: exactly these slips are found,
// and the mended text loads.
func TestSeed(t *testing.T) {
	o := options(t, "testdata/seed.conf")
	r := Run(o)
	want := strings.Join([]string{
		// Example 1: no stock rule has this id.
		"note no-such-rule at 15:13",
		// Example 2: U+2010 in the tag and in the name.
		"error look-alike at 23:10",
		"error look-alike at 24:21",
		// Example 3: the comma.
		"note comma-alternative at 38:37",
		// Example 4: the name closed by another's tag, the command that is not
		// defined, the comma, the timeout without timeout_allowed.
		"error xml-mismatch at 41:22",
		"error unknown-command at 46:12",
		"note comma-alternative at 48:37",
		"warning timeout-unsaid at 49:12",
	}, "\n")
	if got := brief(r.Findings); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if r.Config != nil || !r.Failed() || len(r.Responses) != 6 {
		t.Errorf("%d responses explained, failed %v", len(r.Responses), r.Failed())
	}
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "seed.txt", text.String())

	before, after, n, left := Fix(o)
	if n != 7 || left.Failed() || left.Config == nil || brief(left.Findings) != "note no-such-rule at 15:13" {
		t.Errorf("%d mended, left %s", n, brief(left.Findings))
	}
	golden(t, "seed.diff", Diff("seed.conf", "seed.conf (mended)", before, after))
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		cfg, findings := conf.Parse("mended", after, d)
		if cfg == nil || len(findings) > 0 || len(cfg.Responses) != 6 {
			t.Errorf("%s: the mended file has findings: %v", d, findings)
		}
	}
	text.Reset()
	if err := left.Text(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "seed-mended.txt", text.String())
}

// TestPage checks the page itself, prose and all: the text around elements is
// ignored, as in the real systems.
func TestPage(t *testing.T) {
	_, after, _, left := Fix(options(t, "testdata/page.txt"))
	cfg := left.Config
	if cfg == nil || len(cfg.Commands) != 6 || len(cfg.Responses) != 6 {
		t.Fatalf("%s\n%s", brief(left.Findings), after)
	}
	if !strings.Contains(string(after), "Windows automatic remediation") {
		t.Error("the mended page lost its prose")
	}
}

// TestProse types the slips of the page's prose into a configuration.
func TestProse(t *testing.T) {
	page, err := os.ReadFile("testdata/seed.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, with, code, message, hint string }{
		{"win_route‐null", "win_rout-null", "unknown-command", `no command "win_rout-null"`, "did you mean win_route-null?"},
		{"authentication_failed,", "authentificaiton_failed,", "no-such-group", "no loaded rule has the group authentificaiton_failed", "did you mean authentication_failed?"},
		{"<expect>srcip", "<expect>scrip", "unknown-expect", `no word "scrip"`, "did you mean srcip?"},
	} {
		o := options(t, "seed.conf")
		o.Source = []byte(strings.Replace(string(page), tt.old, tt.with, 1))
		found := false
		for _, f := range Run(o).Findings {
			found = found || f.Code == tt.code && strings.Contains(f.Message, tt.message) && f.Hint == tt.hint && f.Fix != nil
		}
		if !found {
			t.Errorf("%s is not found", tt.with)
		}
		if _, _, _, left := Fix(o); left.Failed() || brief(left.Findings) != "note no-such-rule at 15:13" {
			t.Errorf("%s is not mended: %s", tt.with, brief(left.Findings))
		}
	}
}

// TestStockRules explains the examples with all rules of both real systems.
func TestStockRules(t *testing.T) {
	root := os.Getenv("RIPOSTE_CONFORMANCE")
	if root == "" {
		root = "../../../shared/conformance"
	}
	for _, d := range []ossec.Dialect{ossec.OSSEC, ossec.Wazuh} {
		files, err := filepath.Glob(filepath.Join(root, d.String(), "rules", "*.xml"))
		if err != nil || len(files) == 0 {
			t.Skipf("no conformance data in %s (set RIPOSTE_CONFORMANCE)", root)
		}
		stock := stockRules(t, d, files)
		o := options(t, "testdata/seed.conf")
		o.Dialect = &d
		o.Rules = func(*settings.Settings, *conf.Config) ([]response.Rule, []ossec.Finding) { return stock, nil }
		r := Run(o)
		if len(r.Findings) != 8 || r.Findings[0].Message != "no loaded rule has id 10005; this response can never fire" {
			t.Errorf("%s: %s", d, brief(r.Findings))
		}
		for i, e := range r.Responses {
			if (len(e.Rules) > 0) != (i > 0) {
				t.Errorf("%s: %s", d, e)
			}
		}
		t.Logf("%s, %d rules: %s", d, len(stock), r.Responses[3])
	}
}

// stockRules reads id, level and groups of the rules in files.
func stockRules(t *testing.T, d ossec.Dialect, files []string) []response.Rule {
	var out []response.Rule
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := xml.Parse(path, src, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range nodes {
			name, _ := group.Attr("name")
			for _, n := range group.Children {
				rule := response.Rule{Groups: name}
				for _, a := range n.Attrs {
					switch a.Name {
					case "id":
						rule.ID, _ = strconv.Atoi(a.Value)
					case "level":
						rule.Level, _ = strconv.Atoi(a.Value)
					}
				}
				for _, c := range n.Children {
					if c.Name == "group" {
						rule.Groups += c.Text
					}
				}
				if n.Name == "rule" {
					out = append(out, rule)
				}
			}
		}
	}
	return out
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const ok = "<ossec_config><syscheck/></ossec_config>"
	standard := func() (string, []byte) { return "ruleset/ossec.conf", []byte(ok) }

	named := write("named.conf", ok)
	r := Run(Options{Settings: write("a.yaml", "ossec_conf: "+named+"\ndialect: ossec\n")})
	if r.Failed() || r.File != named || r.Dialect != ossec.OSSEC || r.Config == nil || r.Settings == nil {
		t.Errorf("%+v", r)
	}
	wazuh := ossec.Wazuh
	if r := Run(Options{Settings: write("a.yaml", "ossec_conf: "+named+"\ndialect: ossec\n"), Dialect: &wazuh}); r.Dialect != ossec.Wazuh {
		t.Error("the dialect is not overridden")
	}
	// A configuration that is named must be there; the usual one need not.
	r = Run(Options{Settings: write("b.yaml", "ossec_conf: /nonexistent\n"), Default: standard})
	if !r.Failed() || r.Findings[0].Code != "unreadable" {
		t.Errorf("%v", r.Findings)
	}
	r = Run(Options{Settings: write("c.yaml", "root: "+dir+"\n"), Default: standard})
	if r.Failed() || r.File != "ruleset/ossec.conf" || len(r.Unused) != 1 {
		t.Errorf("%+v", r)
	}
	// Findings of the settings come first, and the configuration is still
	// checked.
	r = Run(Options{Settings: write("d.yaml", "mod: observe\n"), Conf: write("e.conf", "<ossec_config><comand><name>a</name><executable>b</executable></comand></ossec_config>")})
	if len(r.Findings) != 2 || r.Findings[0].Code != "unknown-key" || r.Findings[1].Code != "unknown-element" || r.Settings != nil || r.Config != nil {
		t.Errorf("%v", r.Findings)
	}
}

func TestWiring(t *testing.T) {
	elsewhere := "macos"
	if runtime.GOOS == "darwin" {
		elsewhere = "eventlog"
	}
	o := options(t, "ossec.conf")
	o.Source = []byte(`<ossec_config>
<command><name>drop</name><executable>firewall-drop</executable><expect>srcip</expect></command>
<command><name>mail</name><executable>mail-test.sh</executable><expect/></command>
<active-response><command>drop</command><location>local</location><level>10</level></active-response>
<active-response><command>mail</command><location>server</location><level>3</level></active-response>
<active-response><command>mail</command><location>server</location><level>12</level></active-response>
<remote><connection>secure</connection></remote>
<localfile><location>x</location><log_format>` + elsewhere + `</log_format></localfile>
</ossec_config>`)
	o.Rules = func(s *settings.Settings, cfg *conf.Config) ([]response.Rule, []ossec.Finding) {
		if s == nil || len(cfg.Responses) != 3 {
			t.Error("rules are loaded without the configuration")
		}
		list, _ := rules(s, cfg)
		return list, []ossec.Finding{{Severity: ossec.Warning, Pos: ossec.Pos{File: "ruleset/x.xml", Line: 2, Col: 3}, Len: 2, Code: "x", Message: "odd"}}
	}
	o.Mechanism = func(_ *settings.Settings, c riposte.Command) (string, error) {
		if c.Name == "drop" {
			return "nftables", nil
		}
		return "", errors.New("no mail here")
	}
	o.Text = func(name string) []byte { return []byte("<a>\n  <b/>\n</a>\n") }
	r := Run(o)
	want := "warning no-recipient at 3:1\nwarning no-mechanism at 3:1\nwarning never-fires at 6:1\nnote remote-secure at 7:1\nnote not-here at 8:1\nwarning x at 2:3"
	if got := brief(r.Findings); got != want || r.Config == nil {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"  2 |   <b/>\n    |   ^~\n", "qualify: 5712, 31151; here by nftables\n", "5 rules loaded\n"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("no %q in\n%s", part, text.String())
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	if err := Run(options(t, "testdata/seed.conf")).JSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		File, Dialect string
		OK            bool
		Rules         int
		Findings      []struct {
			Severity, Code, Message, Hint string
			Pos                           struct{ Line, Col, Offset int }
			Fix, Also                     *struct{ Text string }
		}
		Responses []struct {
			Command, Where, Time, When, Text, Never string
			Rules                                   []int
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.OK || got.Dialect != "wazuh" || got.Rules != 5 || len(got.Findings) != 8 || len(got.Responses) != 6 {
		t.Errorf("%+v", got)
	}
	if f := got.Findings[1]; f.Severity != "error" || f.Pos.Line != 23 || f.Fix == nil || f.Also == nil || f.Also.Text != "</active-response>" {
		t.Errorf("%+v", f)
	}
	if e := got.Responses[3]; e.Command != "firewall-drop" || e.Where != "every host" || fmt.Sprint(e.Rules) != "[5710 5712]" || !strings.HasPrefix(e.Text, "firewall-drop on every host, for 700 s (then 30, 60, 120 min)") {
		t.Errorf("%+v", e)
	}
}

func TestUnderline(t *testing.T) {
	long := strings.Repeat("x", 200)
	for _, tt := range []struct {
		line        string
		col, size   int
		text, caret string
	}{
		{"<a>b</a>", 4, 1, "<a>b</a>", "   ^"},
		{"<a>bcd</a>", 4, 3, "<a>bcd</a>", "   ^~~"},
		{"\t<a>b</a>", 5, 1, "\t<a>b</a>", "\t   ^"},
		{"日本<b>", 3, 3, "日本<b>", "    ^~~"},
		{"<日本>", 2, 6, "<日本>", " ^~~~"},
		{"e\u0301<b>", 3, 3, "e\u0301<b>", " ^~~"}, // a combining accent takes no column
		{"a\u200bb", 2, 3, "a·b", " ^"},
		{"\x1b[31m\xff<", 7, 1, "·[31m\ufffd<", "      ^"},
		{"ab", 3, 0, "ab", "  ^"}, // behind the end
		{"", 1, 0, "", "^"},
		{long, 100, 2, "…" + long[:120] + "…", strings.Repeat(" ", 60) + "^~"},
	} {
		text, caret := underline(tt.line, tt.col, tt.size)
		if text != tt.text || caret != tt.caret {
			t.Errorf("%q %d %d:\n%q\n%q\nwant\n%q\n%q", tt.line, tt.col, tt.size, text, caret, tt.text, tt.caret)
		}
	}
}

func TestDiff(t *testing.T) {
	if Diff("a", "b", []byte("x\n"), []byte("x\n")) != "" {
		t.Error("equal texts differ")
	}
	before := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n"
	after := "0\n1\n2\n3\n4\n5\n6\nseven\n8\n9\n10\n11\n12\n14\n15"
	want := `--- a
+++ b
@@ -1,15 +1,15 @@
+0
 1
 2
 3
 4
 5
 6
-7
+seven
 8
 9
 10
 11
 12
-13
 14
-15
+15
\ No newline at end of file
`
	if got := Diff("a", "b", []byte(before), []byte(after)); got != want {
		t.Errorf("got\n%s", got)
	}
	got := Diff("a", "b", []byte(strings.Repeat("x\n", 20)+"y\n"+strings.Repeat("z\n", 20)), []byte(strings.Repeat("x\n", 20)+strings.Repeat("z\n", 20)))
	if !strings.Contains(got, "@@ -18,7 +18,6 @@\n x\n x\n x\n-y\n z\n z\n z\n") {
		t.Errorf("got\n%s", got)
	}
}
