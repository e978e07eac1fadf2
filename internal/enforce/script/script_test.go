package script

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
)

// TestMain lets the test program be a script too: under the name go-block it
// is one of Wazuh 4's kind that also writes down its arguments.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "go-block" {
		os.Exit(goBlock())
	}
	os.Exit(m.Run())
}

func goBlock() int {
	in := bufio.NewReader(os.Stdin)
	var order message4
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &order) != nil || order.Version != 1 {
		fmt.Fprintln(os.Stderr, "no order:", err)
		return 255
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(os.Args[0])))
	mark := filepath.Join(root, "arguments-"+order.Command)
	os.WriteFile(mark, []byte(strings.Join(os.Args[1:], "\n")), 0o600)
	if order.Command == "delete" {
		return 0
	}
	fmt.Println(`{"version":1,"origin":{"name":"go","module":"x"},"command":"check_keys","parameters":{"keys":["one","two"]}}`)
	if line, err = in.ReadBytes('\n'); err != nil || json.Unmarshal(line, &order) != nil || order.Command != "continue" {
		fmt.Fprintln(os.Stderr, "no answer:", err)
		return 255
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		fmt.Fprintln(os.Stderr, "more than an answer:", string(rest))
		return 255
	}
	fmt.Println("done")
	return 0
}

// home is an installation with nothing but a folder for scripts.
type home struct {
	t    *testing.T
	root string
}

func newHome(t *testing.T) home {
	t.Helper()
	h := home{t, t.TempDir()}
	if err := os.MkdirAll(h.bin(), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h home) bin() string { return filepath.Join(h.root, "active-response", "bin") }

// write puts a script of the given text in place.
func (h home) write(name, text string) home {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.bin(), name), []byte(text), 0o755); err != nil {
		h.t.Fatal(err)
	}
	return h
}

// sample puts a script of testdata in place.
func (h home) sample(name string) home {
	h.t.Helper()
	if strings.HasSuffix(name, ".py") && enforce.Find("python3") == "" {
		h.t.Skip("python3 is missing: apt-get install python3")
	}
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		h.t.Fatal(err)
	}
	return h.write(name, string(text))
}

func (h home) runner(change ...func(*Options)) *Runner {
	h.t.Helper()
	o := Options{
		Dir: h.bin(), Host: "web-01", Limit: 10 * time.Second, Grace: 500 * time.Millisecond,
		EncodeAlert: encodeAlert,
	}
	for _, c := range change {
		c(&o)
	}
	r, err := New(o)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// read returns the text of a file under the root, "" when there is none.
func (h home) read(path ...string) string {
	b, _ := os.ReadFile(filepath.Join(append([]string{h.root}, path...)...))
	return string(b)
}

func (h home) blocked() []string {
	var names []string
	entries, _ := os.ReadDir(filepath.Join(h.root, "blocked"))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// encodeAlert stands in for alertlog: the members that the tests look at.
func encodeAlert(a *riposte.Alert) []byte {
	if a.Raw != nil {
		return a.Raw
	}
	data := map[string]any{}
	for _, f := range a.Fields {
		if f.Name == "win.eventdata.ipAddress" {
			data["win"] = map[string]any{"eventdata": map[string]any{"ipAddress": f.Value}}
			continue
		}
		data[f.Name] = f.Value
	}
	b, _ := json.Marshal(map[string]any{
		"id": a.ID, "rule": map[string]any{"id": fmt.Sprint(a.Rule.ID), "level": a.Rule.Level},
		"full_log": a.FullLog, "location": a.Location, "data": data,
	})
	return b
}

func address(t testing.TB, text string) riposte.Target {
	t.Helper()
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// effect is a timed block of an address by the named script, after an alert of
// an agent.
func effect(t testing.TB, script, ip string) enforce.Effect {
	t.Helper()
	return enforce.Effect{
		Order:   "1",
		Command: riposte.Command{Name: "block", Executable: script, Expect: []riposte.Kind{riposte.Address}},
		Target:  address(t, ip),
		Until:   time.Now().Add(time.Hour),
		Alert: &riposte.Alert{
			ID: "1795408700.7", Time: time.Now(), Rule: riposte.Rule{ID: 5712, Level: 10},
			Location: "(web 01) 10.0.0.9->/var/log/auth.log", FullLog: "Failed password for bob from " + ip,
			Fields: []riposte.Field{{Name: "srcip", Value: ip}, {Name: "dstuser", Value: "bob"}},
		},
	}
}

func apply(t *testing.T, r *Runner, e enforce.Effect) enforce.Result {
	t.Helper()
	got := r.Mechanism(e.Command).Apply(t.Context(), []enforce.Effect{e})
	if len(got) != 1 {
		t.Fatalf("%d results for one effect", len(got))
	}
	return got[0]
}

func undo(t *testing.T, r *Runner, e enforce.Effect, state string) enforce.Result {
	t.Helper()
	e.State = state
	return r.Mechanism(e.Command).Undo(t.Context(), []enforce.Effect{e})[0]
}

func must(t *testing.T, r enforce.Result) enforce.Result {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("%v\noutput: %s", r.Err, r.Output)
	}
	return r
}

// want fails unless the error names all the words.
func want(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, expected one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// TestGenerations runs a script of every generation unchanged, called by
// riposte's own choice and by its own contract, and takes it back again with a
// new runner, as after a restart.
func TestGenerations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		script string
		as     []Generation
		extra  []string
		holds  []string // what the script kept of the order
	}{
		{"ossec-block.sh", []Generation{Auto, OSSEC, Wazuh3}, nil,
			[]string{"-\n1795408700.7\n5712\n(web 01) 10.0.0.9->/var/log/auth.log\n-\n"}},
		{"wazuh3-zone.sh", []Generation{Auto, Wazuh3}, []string{"--zone", "dmz"}, []string{"--zone dmz\n"}},
		{"wazuh4-block.sh", []Generation{Auto, Wazuh4}, nil, []string{`"command":"add"`, `"level":10`}},
		{"wazuh4-block.py", []Generation{Auto, Wazuh4}, []string{"--zone"}, []string{`"extra_args": ["--zone"]`,
			`"program": "active-response/bin/wazuh4-block.py"`, `"name": "web-01"`, `"module": "wazuh-execd"`}},
		{"wazuh5-block.py", []Generation{Auto, Wazuh5}, []string{"a", "b"}, []string{`"extra_arguments": "a b"`, `"type": "stateful"`,
			`"executable": "wazuh5-block.py"`, `"original": "Failed password`}},
	}
	for _, tt := range tests {
		for _, g := range tt.as {
			for _, ip := range []string{"192.0.2.7", "2001:db8::7"} {
				t.Run(fmt.Sprintf("%s as %s %s", tt.script, g, ip), func(t *testing.T) {
					t.Parallel()
					h := newHome(t).sample(tt.script)
					r := h.runner(func(o *Options) { o.Generation = g })
					e := effect(t, tt.script, ip)
					e.Command.ExtraArgs = tt.extra
					res := must(t, apply(t, r, e))
					if got := h.blocked(); !slices.Equal(got, []string{ip}) {
						t.Fatalf("blocked: %q", got)
					}
					kept := h.read("blocked", ip)
					for _, w := range tt.holds {
						if !strings.Contains(kept, w) {
							t.Errorf("the script was told %q, expected %q in it", kept, w)
						}
					}
					if res.NoUndo {
						t.Error("the effect has no undo")
					}
					if strings.Contains(tt.script, "wazuh4") || strings.Contains(tt.script, "wazuh5") {
						if keys := readState(res.State).Keys; !slices.Equal(keys, []string{ip}) {
							t.Errorf("keys %q", keys)
						}
						if strings.Contains(res.Output, "check_keys") {
							t.Errorf("the handshake is in the output: %q", res.Output)
						}
					}
					e.Alert = nil // the journal keeps the state, not the alert
					must(t, undo(t, h.runner(func(o *Options) { o.Generation = g }), e, res.State))
					if got := h.blocked(); len(got) > 0 {
						t.Errorf("still blocked: %q", got)
					}
				})
			}
		}
	}
}

// TestGoProgram is a compiled program of Wazuh 4's kind: arguments do not
// disturb it, it gets one answer, and its input then ends.
func TestGoProgram(t *testing.T) {
	h := newHome(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, filepath.Join(h.bin(), "go-block"))
	e := effect(t, "go-block", "192.0.2.7")
	res := must(t, apply(t, h.runner(), e))
	if !strings.Contains(res.Output, "done") {
		t.Errorf("output %q", res.Output)
	}
	if st := readState(res.State); !slices.Equal(st.Keys, []string{"one", "two"}) {
		t.Errorf("keys %q", st.Keys)
	}
	told := "add\n-\n192.0.2.7\n1795408700.7\n5712\n(web 01) 10.0.0.9->/var/log/auth.log\n-"
	if got := h.read("arguments-add"); got != told {
		t.Errorf("arguments %q, expected %q", got, told)
	}
	must(t, undo(t, h.runner(), e, res.State))
	if got := h.read("arguments-delete"); got != strings.Replace(told, "add", "delete", 1) {
		t.Errorf("arguments of the undo %q", got)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestByHand is an order without an alert: OSSEC's words for it in the
// arguments, Wazuh's smallest alert in the message.
func TestByHand(t *testing.T) {
	h := newHome(t).write("s", "#!/bin/sh\nprintf '<%s>' \"$@\"; read -r l; echo \"$l\"\n")
	e := effect(t, "s", "192.0.2.7")
	e.Alert = nil
	out := must(t, apply(t, h.runner(), e)).Output
	if w := "<add><-><192.0.2.7><(from_the_server)><(no_rule_id)><-><->"; !strings.HasPrefix(out, w) {
		t.Errorf("output %q, expected it to begin with %q", out, w)
	}
	if w := `"alert":{"data":{"srcip":"192.0.2.7"}}`; !strings.Contains(out, w) {
		t.Errorf("output %q, expected %q in it", out, w)
	}
}

// TestWhatScriptsActOn: a message never names another address than the one the
// guard has looked at, whatever the alert says.
func TestWhatScriptsActOn(t *testing.T) {
	h := newHome(t).write("s", "#!/bin/sh\nread -r l; echo \"$l\"\n")
	r := h.runner(func(o *Options) { o.Generation = Wazuh4 })
	told := func(e enforce.Effect) map[string]any {
		t.Helper()
		var m struct {
			Parameters struct {
				Alert map[string]any `json:"alert"`
			} `json:"parameters"`
		}
		res := must(t, apply(t, r, e))
		if err := json.Unmarshal([]byte(res.Output), &m); err != nil {
			t.Fatalf("%v in %q", err, res.Output)
		}
		return m.Parameters.Alert
	}
	e := effect(t, "s", "192.0.2.7")
	e.Alert.Fields = []riposte.Field{
		{Name: "srcip", Value: "::ffff:192.0.2.7"},
		{Name: "win.eventdata.ipAddress", Value: "192.0.2.1"},
		{Name: "url", Value: "/<script>&\u2028"},
	}
	data := told(e)["data"].(map[string]any)
	if data["srcip"] != "192.0.2.7" {
		t.Errorf("srcip %v", data["srcip"])
	}
	if ip := data["win"].(map[string]any)["eventdata"].(map[string]any)["ipAddress"]; ip != "192.0.2.7" {
		t.Errorf("win.eventdata.ipAddress %v", ip)
	}
	if data["url"] != "/<script>&\u2028" {
		t.Errorf("url %q", data["url"])
	}

	for name, raw := range map[string]string{"no JSON": "{{", "null": "null", "array": "[]", "data is text": `{"data":"x"}`} {
		e := effect(t, "s", "192.0.2.7")
		e.Alert.Raw = []byte(raw)
		if data, _ := told(e)["data"].(map[string]any); data["srcip"] != "192.0.2.7" {
			t.Errorf("%s: data is %v", name, data)
		}
	}

	long := effect(t, "s", "192.0.2.7")
	long.Alert.FullLog = strings.Repeat("é", 40<<10)
	log, _ := told(long)["full_log"].(string)
	if n := len(log); n < 1000 || n > maxMessage/2 {
		t.Errorf("a log of 80 KiB is told as one of %d bytes", n)
	}
}

func TestUser(t *testing.T) {
	h := newHome(t).write("s", "#!/bin/sh\nprintf '<%s>' \"$@\"\n")
	r := h.runner()
	e := effect(t, "s", "192.0.2.7")
	e.Command.Expect = []riposte.Kind{riposte.User, riposte.Address}
	e.Target = riposte.Target{Kind: riposte.User, Value: "bob"}
	if out := must(t, apply(t, r, e)).Output; !strings.HasPrefix(out, "<add><bob><192.0.2.7>") {
		t.Errorf("arguments %q", out)
	}
	for _, name := range []string{"-rf", "--help", "a b", "$(id)", "x;y", "*", "bo\u202eb"} {
		e.Target.Value = name
		want(t, apply(t, r, e).Err, "is not run", "user")
	}
	e.Target = address(t, "192.0.2.7")
	e.Alert.Fields[1].Value = "-f"
	want(t, apply(t, r, e).Err, "option")
	e.Command.Expect = []riposte.Kind{riposte.Address} // the user is none of the command's business
	if out := must(t, apply(t, r, e)).Output; !strings.HasPrefix(out, "<add><-><192.0.2.7>") {
		t.Errorf("arguments %q", out)
	}
	e.Alert.Location = "-oProxyCommand\x00"
	if out := must(t, apply(t, r, e)).Output; !strings.HasSuffix(out, "<5712><-><->") {
		t.Errorf("arguments %q", out)
	}
	e.Target = riposte.Target{Kind: riposte.File, Value: "/etc/my file;rm"}
	if out := must(t, apply(t, r, e)).Output; !strings.HasSuffix(out, "<-></etc/my file;rm>") {
		t.Errorf("arguments %q", out)
	}
}

// TestInput: whatever a script does with its input, it comes to an end.
func TestInput(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		output     string
		err        string
	}{
		{"never reads", "echo hello", "hello", ""},
		{"closes it", "exec <&-; sleep 0.05; echo hello", "hello", ""},
		{"reads to the end", "n=$(wc -l); echo $n", "1", ""},
		{"reads to the end after printing", "echo first; n=$(wc -l); echo $n", "first\n1", ""},
		{"reads late", "sleep 0.7; read -r l; echo '{\"version\":1,\"origin\":{},\"command\":\"check_keys\",\"parameters\":{\"keys\":[]}}'; read -r a && echo yes", "yes", ""},
		{"prints, then asks", "echo first; read -r l; echo '{\"version\":1,\"origin\":{},\"command\":\"check_keys\",\"parameters\":{\"keys\":[]}}'; read -r a && echo yes", "first\nyes", ""},
		{"asks badly", "read -r l; echo '{\"command\":\"check_keys\"}'; read -r a && echo yes", "{\"command\":\"check_keys\"}\nyes", ""},
		{"asks without reading", "echo '{\"version\":1,\"origin\":{},\"command\":\"check_keys\",\"parameters\":{\"keys\":[]}}'; echo yes", "yes", ""},
		{"waits for an answer it did not ask for", "read -r l; echo hm; read -r a || exit 255", "", "status 255; its input was ended"},
		{"prints a line without end", "read -r l; printf 'no line feed'", "no line feed", ""},
		{"prints a huge line", "head -c 200000 /dev/zero | tr '\\0' x; echo; read -r l; echo '{\"version\":1,\"origin\":{},\"command\":\"check_keys\",\"parameters\":{\"keys\":[]}}'; read -r a && echo yes", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t).write("s", "#!/bin/sh\n"+tt.text+"\n")
			res := apply(t, h.runner(), effect(t, "s", "192.0.2.7"))
			if tt.err != "" {
				want(t, res.Err, tt.err)
				return
			}
			must(t, res)
			if tt.output != "" && res.Output != tt.output {
				t.Errorf("output %q, expected %q", res.Output, tt.output)
			}
			if len(res.Output) > 64<<10+100 {
				t.Errorf("output of %d bytes", len(res.Output))
			}
		})
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	h := newHome(t).
		write("hangs", "#!/bin/sh\n[ $1 = delete ] && { echo gone > \"$0.deleted\"; exit; }\nsleep 60 & echo $! > \"$0.child\"; wait\n").
		write("stubborn", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.05; done\n").
		write("dies", "#!/bin/sh\n[ $1 = delete ] && exit 3\nkill -9 $$\n")
	r := h.runner(func(o *Options) { o.Limit = 200 * time.Millisecond })
	t.Run("children too", func(t *testing.T) {
		t.Parallel()
		want(t, apply(t, r, effect(t, "hangs", "192.0.2.7")).Err, "did not end within 200ms", "its delete was run")
		if h.read("active-response", "bin", "hangs.deleted") == "" {
			t.Error("the delete was not run")
		}
		pid := strings.TrimSpace(h.read("active-response", "bin", "hangs.child"))
		if pid == "" {
			t.Fatal("the child was not started")
		}
		if alive(pid) {
			t.Errorf("child %q is still alive", pid)
		}
	})
	t.Run("SIGKILL", func(t *testing.T) {
		t.Parallel()
		e := effect(t, "stubborn", "192.0.2.7")
		e.Until = time.Time{} // one-time: no delete
		began := time.Now()
		want(t, apply(t, r, e).Err, "did not end")
		if took := time.Since(began); took < mercy || took > mercy+10*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("signal", func(t *testing.T) {
		t.Parallel()
		want(t, apply(t, r, effect(t, "dies", "192.0.2.7")).Err, "signal", "its delete failed too", "status 3")
	})
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r := h.runner()
		e := effect(t, "hangs", "192.0.2.8")
		got := r.Mechanism(e.Command).Apply(ctx, []enforce.Effect{e, e})
		for _, res := range got {
			if !errors.Is(res.Err, context.DeadlineExceeded) {
				t.Errorf("error %v", res.Err)
			}
		}
	})
}

func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestChildren: what a script leaves running on purpose lives on, and does not
// keep riposte waiting.
func TestChildren(t *testing.T) {
	t.Parallel()
	h := newHome(t).write("s", "#!/bin/sh\n(sleep 2; echo late > \"$0.late\") &\necho started\n")
	began := time.Now()
	res := must(t, apply(t, h.runner(), effect(t, "s", "192.0.2.7")))
	if took := time.Since(began); took > 1800*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if res.Output != "started" {
		t.Errorf("output %q", res.Output)
	}
	for range 500 {
		if h.read("active-response", "bin", "s.late") != "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the child was killed")
}

func TestStatus(t *testing.T) {
	const fails = "#!/bin/sh\necho trying >&2\necho cannot >&2\nexit 7\n"
	h := newHome(t).write("s", fails).write("disable-account.sh", fails).write("restart-ossec.sh", "#!/bin/sh\necho $1 >> \"$0.log\"\n")
	r := h.runner()
	res := apply(t, r, effect(t, "s", "192.0.2.7"))
	want(t, res.Err, "script s ended with status 7: cannot")
	if res.Output != "trying\ncannot" || res.State != "" {
		t.Errorf("output %q, state %q", res.Output, res.State)
	}
	want(t, undo(t, r, effect(t, "s", "192.0.2.7"), "").Err, "status 7")
	must(t, apply(t, r, effect(t, "disable-account.sh", "192.0.2.7")))

	e := effect(t, "restart-ossec.sh", "192.0.2.7")
	res = must(t, apply(t, r, e))
	if !res.NoUndo {
		t.Error("a restart has an undo")
	}
	must(t, undo(t, r, e, res.State))
	if got := h.read("active-response", "bin", "restart-ossec.sh.log"); got != "add\n" {
		t.Errorf("the script was called with %q", got)
	}
}

// TestEnvironment: nothing of riposte's own surroundings reaches a script.
func TestEnvironment(t *testing.T) {
	t.Setenv("RIPOSTE_SECRET", "hunter2")
	f, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := newHome(t).write("s", "#!/bin/sh\nenv | sort; pwd; ls -l /proc/$$/fd | grep -c secret; ps -o pgid= -p $$ | tr -d ' '; echo $$\n")
	out := must(t, apply(t, h.runner(), effect(t, "s", "192.0.2.7"))).Output
	lines := strings.Split(out, "\n")
	slices.Sort(lines)
	for _, l := range lines {
		name, _, ok := strings.Cut(l, "=")
		if ok && !slices.Contains([]string{"PATH", "LANG", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}, name) {
			t.Errorf("environment has %q", l)
		}
	}
	all := strings.Split(out, "\n")
	n := len(all)
	if n < 4 || all[n-4] != h.root || all[n-3] != "0" || all[n-2] != all[n-1] {
		t.Errorf("folder, secrets, process group and process: %q", all[max(0, n-4):])
	}
}

func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to run as somebody else")
	}
	h := newHome(t).write("s", "#!/bin/sh\nid -u; id -G; echo $HOME\n")
	r := h.runner(func(o *Options) { o.User = "nobody" })
	for p := h.bin(); p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		os.Chmod(p, 0o755)
	}
	out := must(t, apply(t, r, effect(t, "s", "192.0.2.7"))).Output
	if out != "65534\n65534\n/nonexistent" {
		t.Errorf("ran as %q", out)
	}
	if _, err := New(Options{User: "no-such-account-here"}); err == nil {
		t.Error("an unknown account was taken")
	}
}

// TestOrder: the effects of one target run one after the other, those of
// different targets at the same time, and no more than allowed.
func TestOrder(t *testing.T) {
	h := newHome(t).write("s", "#!/bin/sh\nmkdir \"$0.busy.$3\" || exit 1\nls -d \"$0\".busy.* | wc -l\nsleep 0.05\nrmdir \"$0.busy.$3\"\n")
	r := h.runner(func(o *Options) { o.Parallel = 4 })
	var effects []enforce.Effect
	for i := range 24 {
		effects = append(effects, effect(t, "s", fmt.Sprintf("192.0.2.%d", i%8)))
	}
	most := 0
	for i, res := range r.Mechanism(effects[0].Command).Apply(t.Context(), effects) {
		if res.Err != nil {
			t.Errorf("effect %d: %v", i, res.Err)
		}
		var n int
		fmt.Sscan(res.Output, &n)
		most = max(most, n)
	}
	if most < 2 || most > 4 {
		t.Errorf("%d scripts ran at once, expected 2 to 4", most)
	}
}

func TestMechanism(t *testing.T) {
	r := newHome(t).runner()
	a := riposte.Command{Name: "a", Executable: "fw.sh", Expect: []riposte.Kind{riposte.Address}}
	b := a
	b.Name = "b"
	zone := a
	zone.ExtraArgs = []string{"--zone", "dmz"}
	none := riposte.Command{Name: "c", Executable: "fw.sh"}
	if r.Mechanism(a) != r.Mechanism(b) {
		t.Error("two commands with one executable have two mechanisms")
	}
	if r.Mechanism(a) == r.Mechanism(zone) || r.Mechanism(a) == r.Mechanism(none) {
		t.Error("commands that do different things share a mechanism")
	}
	if got := r.Mechanism(zone).Name(); got != "script fw.sh --zone dmz" {
		t.Errorf("name %q", got)
	}
	if r.Mechanism(a).Kind() != riposte.Address || r.Mechanism(none).Kind() != riposte.None || !r.Mechanism(a).Durable() {
		t.Error("kind or durability is wrong")
	}
	if got := len(r.Mechanisms()); got != 3 {
		t.Errorf("%d mechanisms", got)
	}
}

// TestAgain: an effect in force is not put in force twice, unless the machine
// was started anew.
func TestAgain(t *testing.T) {
	h := newHome(t).write("s", "#!/bin/sh\n[ -e \"$0.there\" ] && { echo already there; exit 1; }\ntouch \"$0.there\"; echo x >> \"$0.log\"\n")
	r := h.runner()
	e := effect(t, "s", "192.0.2.7")
	e.State = must(t, apply(t, r, e)).State
	again := must(t, apply(t, r, e))
	if again.State != e.State || again.Output != "" {
		t.Errorf("applied again: %+v", again)
	}
	st := readState(e.State)
	st.Boot = "another"
	e.State = st.String()
	if res := must(t, apply(t, r, e)); res.Output != "already there" || readState(res.State).Boot != bootID() {
		t.Errorf("after a restart of the machine: %+v", res)
	}
	os.Remove(filepath.Join(h.bin(), "s.there"))
	must(t, apply(t, r, e))
	if got := h.read("active-response", "bin", "s.log"); got != "x\nx\n" {
		t.Errorf("acted %q", got)
	}
}

func TestExecFailures(t *testing.T) {
	h := newHome(t).write("no-interpreter", "#!/no/such/shell\n").write("no-first-line", "echo hello\n").write("dos", "#!/bin/sh\r\necho\r\n")
	r := h.runner()
	want(t, apply(t, r, effect(t, "no-interpreter", "192.0.2.7")).Err, "could not be started", "interpreter")
	want(t, apply(t, r, effect(t, "no-first-line", "192.0.2.7")).Err, "could not be started", "#!")
	want(t, apply(t, r, effect(t, "dos", "192.0.2.7")).Err, "could not be started", "carriage return")
	if _, err := exec.LookPath("true"); err != nil {
		t.Skip("true is missing")
	}
}

// TestContract runs the contract of all mechanisms with a script that keeps a
// file for each address.
func TestContract(t *testing.T) {
	h := newHome(t).sample("ossec-block.sh")
	enforcetest.Suite{
		New: func(testing.TB) enforce.Mechanism {
			return h.runner().Mechanism(riposte.Command{Executable: "ossec-block.sh", Expect: []riposte.Kind{riposte.Address}})
		},
		Target: func(i int) riposte.Target { return address(t, fmt.Sprintf("192.0.2.%d", i)) },
		Bulk:   30,
		InForce: func(_ testing.TB, target riposte.Target) bool {
			return slices.Contains(h.blocked(), target.Value)
		},
	}.Run(t)
}

// BenchmarkScript is one add by a shell script that does nothing.
func BenchmarkScript(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		b.Fatal(err)
	}
	r, err := New(Options{Dir: dir, EncodeAlert: encodeAlert})
	if err != nil {
		b.Fatal(err)
	}
	e := effect(b, "s", "192.0.2.7")
	m := r.Mechanism(e.Command)
	for b.Loop() {
		if res := m.Apply(b.Context(), []enforce.Effect{e}); res[0].Err != nil {
			b.Fatal(res[0].Err)
		}
	}
}

// BenchmarkThousand is a thousand orders for different targets in one call.
func BenchmarkThousand(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		b.Fatal(err)
	}
	r, err := New(Options{Dir: dir, EncodeAlert: encodeAlert})
	if err != nil {
		b.Fatal(err)
	}
	var effects []enforce.Effect
	for i := range 1000 {
		effects = append(effects, effect(b, "s", fmt.Sprintf("198.18.%d.%d", i/250, i%250)))
	}
	for b.Loop() {
		for _, res := range r.Mechanism(effects[0].Command).Apply(b.Context(), effects) {
			if res.Err != nil {
				b.Fatal(res.Err)
			}
		}
	}
}
