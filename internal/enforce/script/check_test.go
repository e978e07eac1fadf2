package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
)

// TestCheck tries out good scripts and scripts with one fault each.
func TestCheck(t *testing.T) {
	t.Parallel()
	const asks = `
read -r line
case $line in *'"command":"delete"'*) rm -f /etc/riposte-trial-192.0.2.1; exit;; *'"command":"add"'*) ;; *) exit 255;; esac
printf '%s\n' "KEYS"
read -r answer
case $answer in *'"command":"continue"'*) touch /etc/riposte-trial-192.0.2.1;; *) ABORT;; esac
`
	good := `{"version":1,"origin":{"name":"x","module":"y"},"command":"check_keys","parameters":{"keys":["192.0.2.1"]}}`
	w4 := func(keys, abort string) string {
		return strings.NewReplacer("KEYS", strings.ReplaceAll(keys, `"`, `\"`), "ABORT", abort).Replace(asks)
	}
	tests := []struct {
		name, text string // text "": a sample of testdata
		speaks     []Generation
		problems   []string
		notes      []string
		root       bool // needs the sandbox
	}{
		{"ossec-block.sh", "", []Generation{OSSEC}, nil, []string{"never reads its input"}, true},
		{"wazuh4-block.sh", "", []Generation{Wazuh4}, nil, nil, true},
		{"wazuh4-block.py", "", []Generation{Wazuh4}, nil, nil, true},
		{"wazuh5-block.py", "", []Generation{Wazuh5}, nil, nil, true},
		{"good", w4(good, "exit 0"), []Generation{Wazuh4}, nil, nil, true},
		{"wrong keys", w4(strings.ReplaceAll(good, "192.0.2.1", "always"), "exit 0"), []Generation{Wazuh4}, []string{"do not hold the target"}, nil, true},
		{"wrong shape", w4(`{"version":"1","command":"check_keys"}`, "exit 0"), []Generation{Wazuh4}, []string{"wrong check_keys", "version"}, nil, true},
		{"deaf to abort", w4(good, "touch /etc/riposte-trial-192.0.2.1"), []Generation{Wazuh4}, []string{"told abort", "/etc/riposte-trial-192.0.2.1"}, nil, true},
		{"no undo", "[ $1 = add ] && touch /etc/riposte-trial-$3\nexit 0", []Generation{OSSEC}, []string{"no undo", "/etc/riposte-trial-192.0.2.1"}, nil, true},
		{"firewall", "case $1 in add) iptables -I INPUT -s $3 -j DROP;; delete) iptables -D INPUT -s $3 -j DROP;; *) exit 1;; esac", []Generation{OSSEC}, nil, nil, true},
		{"firewall without undo", "case $1 in add) iptables -I INPUT -s $3 -j DROP;; delete) :;; *) exit 1;; esac", []Generation{OSSEC}, []string{"no undo", "nft list ruleset"}, nil, true},
		{"hangs", "case $1 in add) sleep 60;; esac", nil, []string{"add hangs"}, nil, false},
		{"fails", "echo no; exit 1", nil, []string{"add fails", "status 1: no", "delete fails"}, nil, false},
		{"refuses delete", "[ $1 = add ]", nil, []string{"no undo: delete fails"}, nil, false},
		{"reads all", "cat >/dev/null; echo ok", []Generation{OSSEC}, nil, []string{"reads its input to the end"}, false},
		{"waits", "read -r l; case $l in *delete*) exit;; esac; read -r a || exit 255", []Generation{}, []string{"status 255"}, nil, false},
		{"leaves children", "[ $1 = add ] && (setsid sleep 60 >/dev/null 2>&1 &) ; echo ok", []Generation{OSSEC}, nil, []string{"leaves 1 process(es)"}, true},
		{"silent", "exit 0", []Generation{OSSEC}, nil, []string{"nobody can tell"}, false},
		{"dos", "\r\n", nil, []string{"add fails"}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.root && os.Geteuid() != 0 {
				t.Skip("needs root: for a sandbox")
			}
			h := newHome(t)
			name := strings.ReplaceAll(tt.name, " ", "-")
			if tt.text == "" {
				h.sample(name)
			} else {
				h.write(name, "#!/bin/sh\n"+tt.text+"\n")
			}
			limit := 20 * time.Second
			switch tt.name { // which are waited for
			case "hangs":
				limit = 300 * time.Millisecond
			case "reads all", "waits":
				limit = time.Second
			}
			rep, err := Check(t.Context(), filepath.Join(h.bin(), name), CheckOptions{Limit: limit, EncodeAlert: encodeAlert})
			if err != nil {
				t.Fatal(err)
			}
			var problems, notes []string
			for _, m := range rep.Remarks {
				if m.Problem {
					problems = append(problems, m.Text)
				} else {
					notes = append(notes, m.Text)
				}
			}
			if tt.speaks != nil && !slices.Equal(rep.Speaks, tt.speaks) {
				t.Errorf("speaks %v, expected %v", rep.Speaks, tt.speaks)
			}
			if (len(problems) > 0) != (len(tt.problems) > 0) || rep.Problems() != (len(problems) > 0) {
				t.Errorf("problems: %q", problems)
			}
			for _, w := range tt.problems {
				if !strings.Contains(strings.Join(problems, "\n"), w) {
					t.Errorf("problems %q do not say %q", problems, w)
				}
			}
			for _, w := range tt.notes {
				if !strings.Contains(strings.Join(notes, "\n"), w) {
					t.Errorf("notes %q do not say %q", notes, w)
				}
			}
			if t.Failed() {
				for _, c := range rep.Calls {
					t.Logf("%+v", c)
				}
			}
			if os.Geteuid() == 0 && !strings.Contains(rep.Sandbox, "copy") {
				t.Errorf("sandbox: %s", rep.Sandbox)
			}
			if _, err := os.Stat("/etc/riposte-trial-192.0.2.1"); err == nil {
				t.Error("the host was changed")
			}
			if len(h.blocked()) > 0 {
				t.Errorf("the installation was changed: %q", h.blocked())
			}
		})
	}
}

func TestCheckRefused(t *testing.T) {
	h := newHome(t).write("open", "#!/bin/sh\necho ok\n").write("plain", "#!/bin/sh\n")
	os.Chmod(filepath.Join(h.bin(), "open"), 0o777)
	os.Chmod(filepath.Join(h.bin(), "plain"), 0o644)
	for name, says := range map[string]string{"open": "written by everybody", "plain": "not executable"} {
		rep, err := Check(t.Context(), filepath.Join(h.bin(), name), CheckOptions{Limit: 20 * time.Second})
		if err != nil || !rep.Problems() || !strings.Contains(rep.Remarks[0].Text, says) {
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
	}
	if _, err := Check(t.Context(), filepath.Join(h.bin(), "none"), CheckOptions{}); err == nil {
		t.Error("a file that is not there was tried")
	}
}

func TestCheckUser(t *testing.T) {
	h := newHome(t).write("s", "#!/bin/sh\necho \"$1 $2 $3 $7 $8\"\n")
	rep, err := Check(t.Context(), filepath.Join(h.bin(), "s"), CheckOptions{
		Expect: []riposte.Kind{riposte.User}, ExtraArgs: []string{"--x"}, Limit: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := rep.find(OSSEC, "add").Output; got != "add riposte-test - - " {
		t.Errorf("told %q", got)
	}
	if got := rep.find(Wazuh3, "delete").Output; got != "delete riposte-test - - --x" {
		t.Errorf("told %q", got)
	}
}
