package script

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"riposte"
	"riposte/internal/enforce"
)

func TestReadHandshake(t *testing.T) {
	f := func(line string, ok bool, flaw string, keys ...string) {
		t.Helper()
		h, got := readHandshake([]byte(line))
		if got != ok || !slices.Equal(h.keys, keys) {
			t.Errorf("%s: handshake %v with keys %q", line, got, h.keys)
		}
		if flaw == "" && h.flaw != nil || flaw != "" && (h.flaw == nil || !strings.Contains(h.flaw.Error(), flaw)) {
			t.Errorf("%s: flaw %v, expected %q", line, h.flaw, flaw)
		}
	}
	f(`{"version":1,"origin":{"name":"x"},"command":"check_keys","parameters":{"keys":["a","b"]}}`, true, "", "a", "b")
	f("  {\"version\":1.0,\"origin\":{},\"command\":\"check_keys\",\"parameters\":{\"keys\":[]}}\r", true, "")
	f(`{"version":"1","origin":{},"command":"check_keys","parameters":{"keys":["a"]}}`, true, `"version" is "1"`)
	f(`{"origin":{},"command":"check_keys","parameters":{"keys":["a"]}}`, true, `"version" is missing`)
	f(`{"version":1,"origin":"x","command":"check_keys","parameters":{"keys":["a"]}}`, true, `"origin"`)
	f(`{"version":1,"origin":{},"command":"checkkeys","parameters":{"keys":["a"]}}`, true, `"command" is "checkkeys"`)
	f(`{"version":1,"origin":{},"command":7,"parameters":{"keys":["a"]}}`, true, `"command" is 7`)
	f(`{"version":1,"origin":{},"command":"check_keys"}`, true, `"parameters" is missing`)
	f(`{"version":1,"origin":{},"command":"check_keys","parameters":["a"]}`, true, `"parameters"`)
	f(`{"version":1,"origin":{},"command":"check_keys","parameters":{"keys":"a"}}`, true, `"parameters"`)
	f(`{"version":1,"origin":{},"command":"check_keys","parameters":{"keys":["a",7,null,"b"]}}`, true, "no string", "a", "b")
	f(`{}`, true, `"command" is missing`)
	f(`{"version":1`, false, "")
	f(`["check_keys"]`, false, "")
	f(`blocked 192.0.2.7`, false, "")
	f(``, false, "")
	f(`{"a":1} trailing`, false, "")
}

func TestOutput(t *testing.T) {
	const keep, keepHead, keepTail = 8 << 10, 6 << 10, 2 << 10
	f := func(want string, parts ...string) {
		t.Helper()
		c := capture{limit: keep}
		for _, p := range parts {
			c.Write([]byte(p))
		}
		if got := c.String(); got != want {
			t.Errorf("%q is shown as %q, expected %q", parts, got, want)
		}
	}
	f("")
	f("a\nb\tc", "a\r\nb\t", "c\n\n")
	f(`\x1b[31mred\x07\x00\x9b`, "\x1b[31mred\x07\x00\x9b")
	f(`é\u{202e}\u{feff}\u{2028}�`, "é\u202e\ufeff\u2028\ufffd")
	f(strings.Repeat("h", keepHead)+"\n… 2952 bytes left out …\n"+strings.Repeat("t", keepTail),
		strings.Repeat("h", keepHead), strings.Repeat("m", 2952), strings.Repeat("t", keepTail))
	var one []string
	for range keepHead + keepTail + 5 {
		one = append(one, "x")
	}
	f(strings.Repeat("x", keepHead)+"\n… 5 bytes left out …\n"+strings.Repeat("x", keepTail), one...)
}

func TestDetect(t *testing.T) {
	f := func(name string, want Generation) {
		t.Helper()
		if got := detect(filepath.Join("testdata", name)); got != want {
			t.Errorf("%s is taken for %v, expected %v", name, got, want)
		}
	}
	f("ossec-block.sh", Auto)
	f("wazuh3-zone.sh", Auto)
	f("wazuh4-block.py", Auto)
	f("wazuh4-block.sh", Auto)
	f("wazuh5-block.py", Wazuh5)
	f("none", Auto)
	f("block-ip", Wazuh5)
}

func TestGenerationNames(t *testing.T) {
	for g := Auto; g <= Wazuh5; g++ {
		b, _ := json.Marshal(g)
		var back Generation
		if err := json.Unmarshal(b, &back); err != nil || back != g {
			t.Errorf("%v became %s became %v, %v", g, b, back, err)
		}
	}
	if _, err := ParseGeneration("wazuh6"); err == nil {
		t.Error("wazuh6 was taken")
	}
}

// FuzzConversation feeds what a script prints in two pieces: never a panic, the
// output bounded and clean, the state readable.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("{\"version\":1,\"origin\":{},\"command\":\"check_keys\",\"parameters\":{\"keys\":[\"a\"]}}\nhello\n"), 10, true)
	f.Add([]byte("a\x1b[2J\nb"), 1, false)
	f.Add([]byte("{\"command\":\"check_keys\",\"parameters\":{\"keys\":[null,{}]}}\n\n"), 0, false)
	const keep = 1 << 10
	f.Fuzz(func(t *testing.T, text []byte, at int, any bool) {
		out := capture{limit: keep}
		c := conversation{out: &out, anyLine: any, asked: make(chan struct{})}
		at = min(max(at, 0), len(text))
		c.Write(text[:at])
		c.Write(text[at:])
		c.flush()
		s := out.String()
		if len(s) > 6*keep+100 {
			t.Errorf("output of %d bytes", len(s))
		}
		for _, r := range s {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Fatalf("output holds %U", r)
			}
		}
		st := state{Keys: c.found.keys, Message: json.RawMessage(`{}`)}
		if back := readState(st.String()); back == nil || len(back.Keys) != len(st.Keys) {
			t.Errorf("state %q cannot be read back", st.String())
		}
	})
}

// FuzzMessage tells a script about hostile alerts: always one line of JSON,
// never too long, always with the target's own address.
func FuzzMessage(f *testing.F) {
	f.Add("Failed password", "bob", []byte(`{"data":{"srcip":"1.1.1.1","win":{"eventdata":{"ipAddress":7}}}}`))
	f.Add("\n\r\x00\u2028", "x", []byte(`{"data":[]}`))
	f.Fuzz(func(t *testing.T, log, user string, raw []byte) {
		r, err := New(Options{EncodeAlert: encodeAlert})
		if err != nil {
			t.Fatal(err)
		}
		e := effect(t, "s", "192.0.2.7")
		e.Alert.FullLog = log
		e.Alert.Fields = append(e.Alert.Fields, riposte.Field{Name: user, Value: log})
		for range 2 {
			for _, g := range []Generation{Wazuh4, Wazuh5} {
				st, err := r.compose(&e, g)
				if err != nil {
					t.Fatal(err)
				}
				line := readState(st.String()).line("add")
				if len(line) > maxMessage || strings.Count(string(line), "\n") != 1 || !json.Valid(line) {
					t.Fatalf("line of %d bytes: %q", len(line), line)
				}
				var m struct {
					Parameters struct {
						Alert struct {
							Data struct {
								IP string `json:"srcip"`
							} `json:"data"`
						} `json:"alert"`
					} `json:"parameters"`
					Source struct {
						IP string `json:"ip"`
					} `json:"source"`
				}
				if err := json.Unmarshal(line, &m); err != nil || m.Parameters.Alert.Data.IP+m.Source.IP != "192.0.2.7" {
					t.Fatalf("%v in %q", err, line)
				}
			}
			e.Alert.Raw = raw
		}
	})
}

// TestVectors goes through the vectors of spec/active-response.md 8.5 and 8.6.
// What is an executor's, a daemon's or a stock script's own business names the
// room whose tests hold it; where riposte means to differ, the reason is given.
func TestVectors(t *testing.T) {
	t.Parallel()
	const argv = "#!/bin/sh\necho \"$@\" >> \"$0.log\"\n"
	const ask = `printf '{"version":1,"origin":{"name":"k","module":"m"},"command":"check_keys","parameters":{"keys":["k"]}}\n'`
	const keys = "#!/bin/sh\nread -r line\necho $line >> \"$0.log\"\ncase $line in *'\"command\":\"delete\"'*) exit;; esac\n" +
		ask + "\nread -r answer\necho $answer >> \"$0.log\"\n"
	count := func(h home, script, word string) int {
		return strings.Count(h.read("active-response", "bin", script+".log"), word)
	}
	user := func(t *testing.T, script, name string) enforce.Effect {
		e := effect(t, script, "192.0.2.7")
		e.Command.Expect = []riposte.Kind{riposte.User}
		e.Target = riposte.Target{Kind: riposte.User, Value: name}
		return e
	}
	expect := func(t *testing.T, got, want int, what string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, expected %d", what, got, want)
		}
	}
	tests := []struct {
		vector int
		name   string
		run    func(*testing.T) // nil: only why
		why    string           // where it is tested, or why riposte differs
	}{
		{89, "same script and address again: one add", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv)
			e := effect(t, "a.sh", "1.2.3.4")
			e.State = must(t, apply(t, h.runner(), e)).State
			must(t, apply(t, h.runner(), e))
			expect(t, count(h, "a.sh", "add"), 1, "adds")
		}, ""},
		{90, "another command with the same script: no add", func(t *testing.T) {
			h := newHome(t)
			a, b := effect(t, "a.sh", "1.2.3.4"), effect(t, "a.sh", "1.2.3.4")
			b.Command.Name = "a3"
			r := h.runner()
			if r.Mechanism(a.Command) != r.Mechanism(b.Command) {
				t.Error("the executor cannot see that the two do the same")
			}
		}, "the executor keeps the latest end of a mechanism and target; the real one keeps the first end and restarts its clock"},
		{91, "another script: an add of its own", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv).write("b.sh", argv)
			must(t, apply(t, h.runner(), effect(t, "a.sh", "1.2.3.4")))
			must(t, apply(t, h.runner(), effect(t, "b.sh", "1.2.3.4")))
			expect(t, count(h, "b.sh", "add - 1.2.3.4"), 1, "adds of b.sh")
		}, ""},
		{92, "two users: both", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv)
			must(t, apply(t, h.runner(), user(t, "a.sh", "alice")))
			must(t, apply(t, h.runner(), user(t, "a.sh", "carol")))
			expect(t, count(h, "a.sh", "add alice -")+count(h, "a.sh", "add carol -"), 2, "adds")
		}, "the real executor drops carol, since its key lacks the user (defect 15)"},
		{93, "one-time twice: two adds", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv)
			e := effect(t, "a.sh", "9.9.9.9")
			e.Until = time.Time{}
			must(t, apply(t, h.runner(), e))
			must(t, apply(t, h.runner(), e))
			expect(t, count(h, "a.sh", "add - 9.9.9.9"), 2, "adds")
		}, ""},
		{94, "an agent's location, and the delete's arguments", func(t *testing.T) {
			h := newHome(t).write("a.sh", "#!/bin/sh\nprintf '<%s>' \"$@\" >> \"$0.log\"\n")
			e := effect(t, "a.sh", "1.2.3.4")
			res := must(t, apply(t, h.runner(), e))
			e.Alert = nil
			must(t, undo(t, h.runner(), e, res.State))
			const rest = "<-><1.2.3.4><1795408700.7><5712><(web 01) 10.0.0.9->/var/log/auth.log><->"
			if got := h.read("active-response", "bin", "a.sh.log"); got != "<add>"+rest+"<delete>"+rest {
				t.Errorf("arguments %s", got)
			}
		}, "the location is one argument, where the real one makes two or more of it (defect 28)"},
		{95, "a missing script", func(t *testing.T) {
			want(t, apply(t, newHome(t).runner(), effect(t, "missing.sh", "1.2.3.4")).Err, "no such script")
		}, "reported, where the real one is silent; an unknown command is none of an order's possible faults"},
		{96, "idle for longer than the timeout", nil, "executor: the undo does not wait for the next message"},
		{97, "TERM with an entry in force", nil, "executor: a stop keeps blocks in force or undoes them, as set"},
		{98, "KILL, then the undo by a new process", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv)
			e := effect(t, "a.sh", "1.2.3.4")
			must(t, apply(t, h.runner(), e))
			e.Alert = nil
			must(t, undo(t, h.runner(), e, "")) // not even the state was written
			expect(t, count(h, "a.sh", "delete - 1.2.3.4"), 1, "deletes")
		}, "the real one forgets (defect 1)"},
		{99, "nothing but a name and a user", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv)
			must(t, apply(t, h.runner(), enforce.Effect{Command: riposte.Command{Executable: "a.sh"}}))
			expect(t, count(h, "a.sh", "add - -"), 1, "adds")
		}, "the real one crashes (defect 16)"},
		{100, "ladder 1,2,3", nil, "executor: a hit during a block does not climb (defect 38)"},
		{101, "ladder of seven", nil, "ossec/conf and executor: any length"},
		{102, "ladder in the second block", nil, "ossec/conf"},
		{103, "disabled in the second block", nil, "ossec/conf"},
		{104, "first add: continue, then delete", func(t *testing.T) {
			h := newHome(t).write("k", keys)
			e := effect(t, "k", "1.2.3.4")
			res := must(t, apply(t, h.runner(), e))
			must(t, undo(t, h.runner(), e, res.State))
			for _, w := range []string{"add", "continue", "delete"} {
				expect(t, count(h, "k", `"command":"`+w+`"`), 1, w)
			}
			if st := readState(res.State); !slices.Equal(st.Keys, []string{"k"}) {
				t.Errorf("keys %q", st.Keys)
			}
		}, ""},
		{105, "the same target again", func(t *testing.T) {
			h := newHome(t).write("k", keys)
			e := effect(t, "k", "1.2.3.4")
			e.State = must(t, apply(t, h.runner(), e)).State
			must(t, apply(t, h.runner(), e))
			expect(t, count(h, "k", `"command":"add"`), 1, "adds")
		}, "the script is not started to be told abort"},
		{106, "another target with the same key", func(t *testing.T) {
			h := newHome(t).write("k", keys)
			must(t, apply(t, h.runner(), effect(t, "k", "1.2.3.4")))
			must(t, apply(t, h.runner(), effect(t, "k", "1.2.3.5")))
			expect(t, count(h, "k", `"command":"continue"`), 2, "continues")
		}, "the target decides what is in force, not the script's key, which may leave half of it out"},
		{107, "one-time while in force", func(t *testing.T) {
			h := newHome(t).write("k", keys)
			e := effect(t, "k", "1.2.3.4")
			must(t, apply(t, h.runner(), e))
			e.Until = time.Time{}
			must(t, apply(t, h.runner(), e))
			expect(t, count(h, "k", `"command":"continue"`), 2, "continues")
		}, ""},
		{108, "a script that prints nothing", func(t *testing.T) {
			h := newHome(t).write("a.sh", argv)
			e := effect(t, "a.sh", "1.2.3.4")
			if res := must(t, apply(t, h.runner(), e)); res.NoUndo {
				t.Error("no undo, though it may be an argument script")
			}
			h4 := h.runner(func(o *Options) { o.Generation = Wazuh4 })
			res := must(t, apply(t, h4, e))
			if !res.NoUndo {
				t.Error("an undo, though the script is said to be Wazuh 4's and did not ask")
			}
			must(t, undo(t, h4, e, res.State))
			expect(t, count(h, "a.sh", "delete"), 0, "deletes")
		}, "undone unless declared to be Wazuh 4's, and said when not (defect 20)"},
		{109, "garbage instead of check_keys", func(t *testing.T) {
			h := newHome(t).write("g", "#!/bin/sh\nread -r l\necho hello\nread -r a\necho \"$a\" >> \"$0.log\"\n")
			r := h.runner(func(o *Options) { o.Generation = Wazuh4 })
			for _, ip := range []string{"1.2.3.4", "1.2.3.5"} {
				if res := must(t, apply(t, r, effect(t, "g", ip))); res.NoUndo {
					t.Error("no undo")
				}
			}
			expect(t, count(h, "g", `"command":"continue"`), 2, "continues")
		}, "the second one is not aborted: its target is another"},
		{110, "junk for an order", nil, "fleet: orders are typed and signed"},
		{111, "a script that no command defines", func(t *testing.T) {
			h := newHome(t).write("ar1", argv)
			for _, name := range []string{"!ar1", "!../ar1", "!none"} {
				want(t, apply(t, h.runner(), effect(t, name, "1.2.3.4")).Err, "must be the name of a file")
			}
		}, "only what the configuration names is run"},
		{112, "one-time hits are no offences", nil, "executor"},
		{113, "TERM with an entry in force", nil, "executor"},
		{114, "firewall-drop", nil, "enforce/iptables and enforce/nft; a host name is no target"},
		{115, "two addresses in one alert", func(t *testing.T) {
			h := newHome(t).write("k", keys)
			e := effect(t, "k", "1.2.3.4")
			e.Alert.Fields = append(e.Alert.Fields, riposte.Field{Name: "win.eventdata.ipAddress", Value: "5.6.7.8"})
			must(t, apply(t, h.runner(), e))
			expect(t, count(h, "k", `"ipAddress":"1.2.3.4"`), 2, "addresses")
			expect(t, count(h, "k", "5.6.7.8"), 0, "other addresses in what it acts on")
		}, "both are the target, which the guard has seen"},
		{116, "the shape of a message", func(t *testing.T) {
			h := newHome(t).write("k", keys)
			must(t, apply(t, h.runner(), effect(t, "k", "1.2.3.4")))
			line, _, _ := strings.Cut(h.read("active-response", "bin", "k.log"), "\n")
			if !strings.HasPrefix(line, `{"version":1,"origin":{"name":"web-01","module":"wazuh-execd"},"command":"add","parameters":{"extra_args":[],"alert":{`) ||
				!strings.HasSuffix(line, `,"program":"active-response/bin/k"}}`) {
				t.Errorf("message %s", line)
			}
		}, ""},
		{117, "disable-account root", nil, "enforce/account"},
		{118, "host-deny beside a similar line", nil, "enforce/hostsdeny"},
	}
	next := 89
	for _, tt := range tests {
		if tt.vector != next {
			t.Fatalf("vector %d is missing", next)
		}
		next++
		if tt.run == nil && tt.why == "" {
			t.Errorf("vector %d has neither a test nor a reason", tt.vector)
		}
		if tt.run != nil {
			t.Run(tt.name, func(t *testing.T) { t.Parallel(); tt.run(t) })
		}
	}
	if next != 119 {
		t.Errorf("the last vector is %d", next-1)
	}
}
