package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"riposte/internal/ossec"
)

const full = `# every key
dialect: ossec
root: /opt/ossec
ossec_conf: /etc/ossec.conf
rules: builtin
own_decoders: /d
own_rules: /r
state_dir: /s
log_dir: /l
socket: /run/x.sock
host: web-01
mode: observe
on_stop: undo
repair_every: 5m
workers: 3
builtin: prefer
active_response_bin: /opt/bin
firewall: iptables
hosts_deny: /tmp/hosts.deny
allow: [192.0.2.0/24, "2001:db8::1", office.example]
guard:
  own: no
  gateway: false
  resolvers: off
  sessions: false
  widest_ipv4: 32
  widest_ipv6: 64
  limit: {per_minute: 10}
  limits:
    firewall-drop: {in_force: 5}
  breaker:
    targets: 500
    within: 20s
    cooldown: 0
aggregate:
  ipv4: {24: 40}
  ipv6:
    64: 5
    56: 6
    48: 0
ladder:
  forget_after: 7d
script:
  timeout: 1m30s
  output_limit: 1000
  user: nobody
  generation: wazuh4
  parallel: 2
  pins:
    firewall-drop.sh: ` + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" + `
mail:
  host: mail.example
  port: 465
  from: riposte@example.org
  to: admin@example.org
  tls: always
  user: u
  password_file: /etc/riposte/secret
webhook:
  url: https://hooks.example/riposte
geoip:
  database: /var/lib/GeoIP/GeoLite2-Country.mmdb
isolate:
  keep: [198.51.100.0/24]
fleet:
  listen: 192.0.2.1:4333
  names: [riposte.example]
  brokers: [n1:4222]
  replicas: 3
  store_mb: 100
  spool_mb: 10
  analyse: true
  beat: 20s
  silent: 1m
  agents:
    "050": group:web
  canary:
    firewall-drop: 5
observe: [route-null]
sources:
  alerts:
    - path: /var/ossec/logs/alerts/alerts.json
    - path: /other.json
      dialect: ossec
  journald:
    enabled: true
    units: [ssh.service]
audit: {syslog: 'udp://192.0.2.5:514'}
log:
  level: debug
  format: json
`

func TestParse(t *testing.T) {
	s, findings := Parse("riposte.yaml", []byte(full))
	if s == nil || len(findings) > 0 {
		t.Fatal(findings)
	}
	want := &Settings{
		Dialect: ossec.OSSEC, Root: "/opt/ossec", OssecConf: "/etc/ossec.conf", StateDir: "/s", LogDir: "/l", Socket: "/run/x.sock",
		Host: "web-01", Mode: Observe, OnStop: Undo, RepairEvery: 5 * time.Minute, Workers: 3, Builtin: Prefer, Bin: "/opt/bin", Firewall: Iptables,
		HostsDeny: "/tmp/hosts.deny", Allow: []string{"192.0.2.0/24", "2001:db8::1", "office.example"},
		Rules: RulesBuiltin, OwnDecoders: "/d", OwnRules: "/r",
		Guard: Guard{WidestIPv4: 32, WidestIPv6: 64, Limit: Limit{PerMinute: 10},
			Limits: map[string]Limit{"firewall-drop": {InForce: 5}}, Breaker: Breaker{Targets: 500, Within: 20 * time.Second}},
		Aggregate: Aggregate{IPv4: AggregateIPv4{P24: 40}, IPv6: AggregateIPv6{P64: 5, P56: 6}}, Audit: Audit{Syslog: `udp://192.0.2.5:514`},
		Ladder:  Ladder{7 * 24 * time.Hour},
		Script:  Script{90 * time.Second, 1000, "nobody", 3, 2, map[string]string{"firewall-drop.sh": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},
		Mail:    Mail{"mail.example", 465, "riposte@example.org", []string{"admin@example.org"}, Always, "u", "/etc/riposte/secret"},
		Webhook: Webhook{URL: "https://hooks.example/riposte"}, Isolate: Isolate{Keep: []string{"198.51.100.0/24"}},
		Sources: Sources{Alerts: []AlertFile{{"/var/ossec/logs/alerts/alerts.json", ossec.Wazuh}, {"/other.json", ossec.OSSEC}},
			Journald: Journald{true, []string{"ssh.service"}}},
		Log: Log{1, 1},
		Fleet: Fleet{"192.0.2.1:4333", []string{"riposte.example"}, []string{"n1:4222"}, 3, 100, 10, true, 20 * time.Second, time.Minute,
			map[string]string{"050": "group:web"}, map[string]int{"firewall-drop": 5}},
		GeoIP:   GeoIP{"/var/lib/GeoIP/GeoLite2-Country.mmdb"},
		Observe: []string{"route-null"},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("\n got %+v\nwant %+v", s, want)
	}
	if s.ConfPath() != "/etc/ossec.conf" || s.BinDir() != "/opt/bin" || s.Threads() != 3 || s.HostName() != "web-01" {
		t.Error("given paths are not used")
	}
	// The sample holds every key.
	for _, key := range Keys() {
		name := key[strings.LastIndexByte(key, '.')+1:]
		if !strings.Contains(full, name+":") {
			t.Errorf("the sample has no %s", key)
		}
	}
}

func TestDefault(t *testing.T) {
	for _, src := range []string{"", "\n# nothing\n", "---\n", "guard:\nallow:\n", "mode: enforce\n", "\ufeff"} {
		s, findings := Parse("f", []byte(src))
		if !reflect.DeepEqual(s, Default()) {
			t.Errorf("%q: %+v %v", src, s, findings)
		}
	}
	s := Default()
	if s.ConfPath() != "/var/ossec/etc/ossec.conf" || s.BinDir() != "/var/ossec/active-response/bin" || s.Threads() < 1 || s.HostName() == "" {
		t.Errorf("%+v", s)
	}
	if s.Mode.String() != "enforce" || s.Builtin.String() != "fallback" || s.Firewall.String() != "auto" || Mode(9).String() != "word(9)" {
		t.Error("names of words")
	}
}

// TestPlaces says where things are on every system that riposte is built for.
func TestPlaces(t *testing.T) {
	bare := func(string) string { return "" }
	other := func(name string) string {
		return map[string]string{"ProgramFiles": `D:\P`, "ProgramFiles(x86)": `D:\P86`, "ProgramData": `D:\Data`}[name]
	}
	unix := places{"/etc/riposte", "/var/db/riposte", "/var/log/riposte", "/var/run/riposte/riposte.sock", "/var/ossec", "etc/ossec.conf"}
	for _, tt := range []struct {
		goos string
		env  func(string) string
		want places
	}{
		{"linux", other, places{"/etc/riposte", "/var/lib/riposte", "/var/log/riposte", "/run/riposte/riposte.sock", "/var/ossec", "etc/ossec.conf"}},
		{"openbsd", other, unix},
		{"netbsd", other, unix},
		{"freebsd", other, places{"/usr/local/etc/riposte", unix.state, unix.log, unix.socket, unix.root, unix.conf}},
		{"darwin", other, places{unix.config, unix.state, unix.log, unix.socket, "/Library/Ossec", unix.conf}},
		{"windows", bare, places{`C:\Program Files\riposte`, `C:\ProgramData\riposte`, `C:\ProgramData\riposte\log`, `\\.\pipe\riposte`,
			`C:\Program Files (x86)\ossec-agent`, "ossec.conf"}},
		{"windows", other, places{`D:\P\riposte`, `D:\Data\riposte`, `D:\Data\riposte\log`, `\\.\pipe\riposte`, `D:\P86\ossec-agent`, "ossec.conf"}},
	} {
		if got := placesOn(tt.goos, tt.env); got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.goos, got, tt.want)
		}
	}

	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "### Where things are")
	for i, goos := range []string{"linux", "freebsd", "openbsd", "darwin", "windows"} {
		p := placesOn(goos, bare)
		for row, want := range map[string]string{"riposte.yaml, `decoders`, `rules`": p.config, "state_dir": p.state, "log_dir": p.log,
			"socket": p.socket, "root": p.root, "ossec.conf below root": p.conf} {
			_, cells, _ := strings.Cut(table, "\n| "+row+" |")
			cells, _, _ = strings.Cut(cells, "\n")
			if got := strings.Split(cells, "|"); len(got) < 5 || strings.TrimSpace(got[i]) != "`"+want+"`" {
				t.Errorf("docs/configuration.md: %s of %s is not %s: %q", row, goos, want, got)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		src, pos, message, hint string
		fixed                   string // "" no fix
	}{
		{"mod: observe\n", "1:1", "no key mod", "did you mean mode?", "mode: observe\n"},
		{"guard:\n  gatway: true\n", "2:3", "no key guard.gatway", "did you mean gateway?", "guard:\n  gateway: true\n"},
		{"on-stop: undo\n", "1:1", "no key on-stop", "did you mean on_stop?", "on_stop: undo\n"},
		{"zzz: 1\n", "1:1", "no key zzz", "the keys here are dialect", ""},
		{"host: é\n\nmod: observe", "3:1", "no key mod", "", "host: é\n\nmode: observe"},
		{"allow: [é, ü, 1.2.3]\n", "1:15", `allow[2] cannot be "1.2.3"`, "write an address", ""},
		{"audit: {syslog: 192.0.2.5}\n", "1:17", `audit.syslog cannot be "192.0.2.5"`, "write udp://host:port", ""},
		{"mode: observ\n", "1:7", `mode is "observ"`, "did you mean observe?", "mode: observe\n"},
		{"dialect: Wazuh\n", "1:10", `dialect is "Wazuh"`, "did you mean wazuh?", "dialect: wazuh\n"},
		{"workers: many\n", "1:10", "a number from 0 to 1024", "", ""},
		{"workers: -1\n", "1:10", "a number from 0 to 1024", "", ""},
		{"guard: {own: maybe}\n", "1:14", "true or false", "", ""},
		{"script: {timeout: 10}\n", "1:19", "not a time", "write 10s for seconds, 10m for minutes", ""},
		{"script: {timeout: 10ms}\n", "1:19", "from 1s to 24h", "", ""},
		{"ladder: {forget_after: -1h}\n", "1:24", "not a time", "", ""},
		{"guard: {limits: {x: {per_minit: 5}}}\n", "1:22", "no key guard.limits.x.per_minit", "did you mean per_minute?", "guard: {limits: {x: {per_minute: 5}}}\n"},
		{"ladder: 5\n", "1:9", "ladder must hold keys", "", ""},
		{"mode: [a]\n", "1:7", "must be a single value", "", ""},
		{"- a\n", "1:1", "the file must hold keys", "", ""},
		{"state_dir: var\n", "1:12", `state_dir cannot be "var"`, "from / on", ""},
		{"state_dir: ''\n", "1:12", `state_dir cannot be ""`, "", ""},
		{"mail: {from: root}\n", "1:14", "mail.from cannot be", "name@host", ""},
		{"script: {pins: {a.sh: 12}}\n", "1:23", "script.pins.a.sh cannot be", "sha256sum", ""},
		{"sources: {alerts: [{dialect: ossec}]}\n", "1:20", "sources.alerts[0] has no path", "add path", ""},
		{"\ufeffmod: observe\n", "1:1", "no key mod", "did you mean mode?", "\ufeffmode: observe\n"},
		{"mode: observe\n---\nmode: enforce\n", "3:1", "more than one document", "", ""},
		{"a: &x 1\nb: *x\n", "1:1", "no key a", "", ""},
		{"mode: &x observe\n", "1:7", "anchors", "", ""},
		{"mode: observe\nmode: enforce\n", "2:1", "", "", ""},
		{"mode: [\n", "1:7", "this is not YAML", "", ""},
		{"\tmode: x\n", "1:5", "this is not YAML", "", ""},
	} {
		s, findings := Parse("f", []byte(tt.src))
		if s != nil || len(findings) == 0 {
			t.Errorf("%q: %+v %v", tt.src, s, findings)
			continue
		}
		f := findings[0]
		if f.Pos.String() != "f:"+tt.pos || !strings.Contains(f.Message, tt.message) || !strings.Contains(f.Hint, tt.hint) || f.Severity != ossec.Error || f.Code == "" {
			t.Errorf("%q: %+v, want %s %s (%s)", tt.src, f, tt.pos, tt.message, tt.hint)
		}
		fixed, n := ossec.Mend("f", []byte(tt.src), findings)
		if tt.fixed == "" && n > 0 || tt.fixed != "" && string(fixed) != tt.fixed {
			t.Errorf("%q: mended to %q", tt.src, fixed)
		}
	}
	if _, findings := Parse("f", make([]byte, maxFile+1)); len(findings) != 1 || findings[0].Code != "yaml-limit" {
		t.Error(findings)
	}
	if _, findings := Parse("f", []byte(strings.Repeat("x: 1\n", 1000))); len(findings) > maxFindings+1 {
		t.Errorf("%d findings", len(findings))
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "riposte.yaml")
	if s, findings := Load(path); s != nil || len(findings) != 1 || findings[0].Code != "unreadable" {
		t.Error(s, findings)
	}
	if err := os.WriteFile(path, []byte("mode: observe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, findings := Load(path); s == nil || s.Mode != Observe {
		t.Error(findings)
	}
}

// TestReference keeps the list of keys in docs/configuration.md complete.
func TestReference(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		if !strings.Contains(string(doc), fmt.Sprintf("| `%s` |", key)) {
			t.Errorf("docs/configuration.md has no row for %s", key)
		}
	}
	_, reference, _ := strings.Cut(string(doc), "## riposte.yaml")
	var sample strings.Builder
	for line := range strings.SplitSeq(reference, "\n") {
		if key, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ = strings.Cut(key, "`")
			if !strings.Contains(strings.Join(Keys(), "\n")+"\n", key+"\n") {
				t.Errorf("docs/configuration.md has a row for %s, which is no key", key)
			}
		}
		if code, ok := strings.CutPrefix(line, "    "); ok {
			sample.WriteString(code + "\n")
		}
	}
	if s, findings := Parse("sample", []byte(sample.String())); s == nil || s.Guard.Breaker.Targets != 500 {
		t.Errorf("the sample in docs/configuration.md is wrong: %v", findings)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	for _, s := range []string{"a: &x [*x]", "? a\n: b", "mode: |\n observe\n", "{}", "<<: {mode: x}", "!!str a: b", "\"mode\": 'observe'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, findings := Parse("f", src)
		if (s == nil) != ossec.Failed(findings) {
			t.Fatal("settings and findings disagree")
		}
		for _, x := range findings {
			if x.Pos.Offset < 0 || x.Pos.Offset > len(src) {
				t.Fatalf("impossible place %+v", x)
			}
		}
		ossec.Mend("f", src, findings)
	})
}
