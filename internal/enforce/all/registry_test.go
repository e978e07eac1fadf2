package all

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/enforce/mail"
	"riposte/internal/enforce/script"
	"riposte/internal/enforce/webhook"
)

// none is a runner for tests that run nothing.
func none(context.Context, []string, []byte) ([]byte, []byte, error) {
	return nil, nil, errors.New("this test runs no tools")
}

func options(t *testing.T, change ...func(*Options)) Options {
	t.Helper()
	o := Options{
		Run: none, StateDir: t.TempDir(), HostsDeny: filepath.Join(t.TempDir(), "hosts.deny"),
		Script:  script.Options{Dir: t.TempDir()},
		Mail:    mail.Options{Server: "127.0.0.1", To: []string{"admin@mx.test"}, Host: "web-01"},
		Webhook: webhook.Options{URL: "http://127.0.0.1/x"},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func registry(t *testing.T, o Options) *Registry {
	t.Helper()
	r := New(o)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func command(executable string) riposte.Command {
	return riposte.Command{Name: "c", Executable: executable, Expect: []riposte.Kind{riposte.Address}}
}

// TestStockNames: which mechanisms may stand in for every stock program, by
// system.
func TestStockNames(t *testing.T) {
	const notHere = "is not of this system"
	tests := []struct {
		names string
		want  map[string]string // by system; "" for all others
	}{
		{"firewall-drop.sh FIREWALL-DROP.SH default-firewall-drop.sh nftables-drop.sh", map[string]string{
			"linux": "nftables iptables null_route hosts.deny", "openbsd": "pf null_route hosts.deny", "darwin": "pf null_route hosts.deny",
			"freebsd": "pf ipfw null_route hosts.deny", "netbsd": "npf pf null_route hosts.deny", "windows": "windows_firewall null_route"}},
		{"firewall-drop firewall-drop.exe firewall-drop.cmd block-ip", map[string]string{
			"linux": "nftables iptables null_route hosts.deny", "openbsd": "pf_wazuh_fwtable null_route hosts.deny",
			"darwin": "pf_wazuh_fwtable null_route hosts.deny", "freebsd": "pf_wazuh_fwtable ipfw null_route hosts.deny",
			"netbsd": "npf_wazuh_blacklist pf_wazuh_fwtable null_route hosts.deny", "windows": "windows_firewall null_route"}},
		{"firewalld-drop.sh", map[string]string{
			"linux": "firewalld nftables iptables null_route hosts.deny", "openbsd": "pf null_route hosts.deny", "darwin": "pf null_route hosts.deny",
			"freebsd": "pf ipfw null_route hosts.deny", "netbsd": "npf pf null_route hosts.deny", "windows": "windows_firewall null_route"}},
		{"isolate-host", map[string]string{"": notHere, "linux": "isolation"}},
		{"quarantine", map[string]string{"": notHere, "linux": "quarantine"}},
		{"host-deny.sh host-deny", map[string]string{"": "hosts.deny"}},
		{"route-null route-null.sh route-null.cmd route-null.exe win_route-null route-null-2012.cmd", map[string]string{"": "null_route"}},
		{"pf.sh", map[string]string{"": notHere, "openbsd": "pf", "freebsd": "pf", "darwin": "pf", "netbsd": "pf"}},
		{"pf", map[string]string{"": notHere, "openbsd": "pf_wazuh_fwtable", "freebsd": "pf_wazuh_fwtable", "darwin": "pf_wazuh_fwtable", "netbsd": "pf_wazuh_fwtable"}},
		{"npf.sh", map[string]string{"": notHere, "netbsd": "npf"}},
		{"npf", map[string]string{"": notHere, "netbsd": "npf_wazuh_blacklist"}},
		{"ipfw.sh ipfw ipfw_mac.sh", map[string]string{"": notHere, "freebsd": "ipfw"}},
		{"netsh.cmd netsh.exe netsh-win-2016.cmd", map[string]string{"": notHere, "windows": "windows_firewall"}},
		{"disable-account.sh disable-account", map[string]string{"": "account"}},
		{"restart-ossec.sh restart-ossec.cmd restart-ossec restart-wazuh restart-wazuh.exe restart.sh", map[string]string{"": "restart"}},
		{"restart-service", map[string]string{"": "restart_service"}},
		{"mail-test.sh mail-test", map[string]string{"": "mail"}},
		{"ossec-slack.sh wazuh-slack", map[string]string{"": "slack"}},
		{"webhook", map[string]string{"": "webhook"}},
		{"ip-customblock.sh cloudflare-ban.sh ossec-aws-waf.sh mine.sh firewall-drop.sh.bak", map[string]string{"": "script"}},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		for _, name := range strings.Fields(tt.names) {
			d, known := dutyOf(name)
			for _, system := range []string{"linux", "windows", "darwin", "freebsd", "openbsd", "netbsd"} {
				want, ok := tt.want[system]
				if !ok {
					want = tt.want[""]
				}
				got := "script"
				if known {
					names, err := New(Options{OS: system}).candidates(d, name)
					got = strings.ReplaceAll(strings.Join(names, ","), " ", "_")
					got = strings.ReplaceAll(got, ",", " ")
					if err != nil && strings.Contains(err.Error(), notHere) {
						got = notHere
					}
				}
				if got != want {
					t.Errorf("%s on %s: %q, expected %q", name, system, got, want)
				}
			}
			seen[string(d)] = true
		}
	}
	for name, d := range stock {
		if !seen[string(d)] {
			t.Errorf("%s is in no test", name)
		}
	}
}

// TestEveryMechanismOpens: whatever candidates names, make knows.
func TestEveryMechanismOpens(t *testing.T) {
	for _, system := range []string{"linux", "windows", "darwin", "freebsd", "openbsd", "netbsd"} {
		r := registry(t, options(t, func(o *Options) { o.OS = system }))
		names := r.lasting()
		for executable, d := range stock {
			more, err := r.candidates(d, executable)
			if err == nil {
				names = append(names, more...)
			}
		}
		for _, name := range names {
			m, err := r.open(name)
			if err != nil {
				if strings.Contains(err.Error(), "riposte has no mechanism") {
					t.Errorf("%s: %v", system, err)
				}
				continue // it is another system's, or this one lacks a tool
			}
			if m.Name() != name {
				t.Errorf("%s: %q calls itself %q", system, name, m.Name())
			}
		}
	}
	if _, err := New(Options{}).Named("black magic", riposte.Command{}); err == nil {
		t.Error("a mechanism that is none was opened")
	}
}

// TestBuiltin: which comes first, a file or riposte's own.
func TestBuiltin(t *testing.T) {
	const deny = "host-deny.sh"
	file := func(t *testing.T, o *Options, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(o.Script.Dir, deny)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		builtin Builtin
		mode    os.FileMode // of the file; 0: there is none
		want    string      // name of the mechanism; "" for none
		why     string
	}{
		{"fallback, no file", Fallback, 0, "hosts.deny", "riposte's own"},
		{"fallback, a file", Fallback, 0o755, "script host-deny.sh", "host-deny.sh"},
		{"fallback, a file that is refused", Fallback, 0o757, "hosts.deny", "written by everybody"},
		{"prefer, no file", Prefer, 0, "hosts.deny", "riposte's own"},
		{"prefer, a file", Prefer, 0o755, "hosts.deny", "riposte's own"},
		{"never, no file", Never, 0, "", "no such script"},
		{"never, a file", Never, 0o755, "script host-deny.sh", "host-deny.sh"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t, func(o *Options) { o.Builtin = tt.builtin })
			if tt.mode != 0 {
				file(t, &o, tt.mode)
			}
			r := registry(t, o)
			c := r.Choose(command(deny))
			got := ""
			if c.Err != nil {
				c.Why = c.Err.Error()
			} else {
				got = c.Mechanism.Name()
			}
			if got != tt.want || !strings.Contains(c.Why, tt.why) {
				t.Errorf("chosen %q because %q, expected %q because %q", got, c.Why, tt.want, tt.why)
			}
			m, err := r.Resolve(command(deny))
			if m != c.Mechanism || (err == nil) != (c.Err == nil) {
				t.Errorf("resolved to %v, %v", m, err)
			}
		})
	}

	// A file stands in for a mechanism that this host does not have.
	o := options(t, func(o *Options) { o.Builtin, o.OS = Prefer, "linux" })
	path := filepath.Join(o.Script.Dir, "pf.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if c := registry(t, o).Choose(command("pf.sh")); c.Err != nil || c.Mechanism.Name() != "script pf.sh" || !strings.Contains(c.Why, "not of this system") {
		t.Errorf("chosen %+v", c)
	}
}

func TestOwnScript(t *testing.T) {
	o := options(t)
	r := registry(t, o)
	c := r.Choose(command("mine.sh"))
	if !errors.Is(c.Err, script.ErrNoScript) || !strings.Contains(c.Err.Error(), "no mechanism of its own") {
		t.Errorf("error %v", c.Err)
	}
	if err := os.WriteFile(filepath.Join(o.Script.Dir, "mine.sh"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c = r.Choose(command("mine.sh")) // the file came while riposte ran
	if c.Err != nil || c.Mechanism.Name() != "script mine.sh" {
		t.Errorf("chosen %+v", c)
	}
	if !slices.Contains(r.Mechanisms(), c.Mechanism) {
		t.Errorf("not among %v", r.Mechanisms())
	}
	named, err := r.Named("script mine.sh", command("mine.sh"))
	if err != nil || named != c.Mechanism {
		t.Errorf("by name: %v, %v", named, err)
	}
	broken := registry(t, options(t, func(o *Options) { o.Script.User = "no-such-account-here" }))
	if c := broken.Choose(command("mine.sh")); c.Err == nil || !strings.Contains(c.Err.Error(), "no-such-account-here") {
		t.Errorf("error %v", c.Err)
	}
}

// TestNamed: what an earlier run has put in force by one mechanism is found
// there, whatever the setting says now.
func TestNamed(t *testing.T) {
	r := registry(t, options(t, func(o *Options) { o.Builtin, o.OS = Never, "linux" }))
	m, err := r.Named("hosts.deny", command("host-deny.sh"))
	if err != nil || m.Name() != "hosts.deny" {
		t.Errorf("by name: %v, %v", m, err)
	}
	if again, _ := r.Named("hosts.deny", command("host-deny.sh")); again != m {
		t.Error("opened twice")
	}
	var names []string
	for _, m := range r.Mechanisms() {
		names = append(names, m.Name())
	}
	if !slices.IsSorted(names) || !slices.Contains(names, "hosts.deny") || !slices.Contains(names, "account") || slices.Contains(names, "mail") {
		t.Errorf("mechanisms %q", names)
	}
}

// TestFirewall: what the setting forces, and what comes after what cannot be.
func TestFirewall(t *testing.T) {
	for setting, want := range map[Firewall][]string{Nftables: {"nftables"}, Iptables: {"iptables"}} {
		got, err := New(Options{OS: "linux", Firewall: setting}).candidates(firewall, "firewall-drop")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("setting %d: %q, %v", setting, got, err)
		}
	}
	c := New(options(t, func(o *Options) { o.Firewall = None })).Choose(command("firewall-drop"))
	if c.Err == nil || !strings.Contains(c.Err.Error(), "the setting firewall is none") {
		t.Errorf("error %v", c.Err)
	}

	// pf is there but switched off: the next is taken, and the reason said.
	r := registry(t, options(t, func(o *Options) {
		o.OS = "freebsd"
		o.Run = func(_ context.Context, argv []string, _ []byte) ([]byte, []byte, error) {
			if strings.Join(argv, " ") == "pfctl -s info" {
				return []byte("Status: Disabled\n"), nil, nil
			}
			return nil, nil, nil
		}
	}))
	c = r.Choose(command("firewall-drop.sh"))
	if c.Err != nil || c.Mechanism.Name() != "ipfw" || !strings.Contains(c.Why, "pf is not enabled") {
		t.Errorf("chosen %v because %q, error %v", c.Mechanism, c.Why, c.Err)
	}
	if c := r.Choose(command("pf.sh")); c.Err != nil || c.Mechanism.Name() != "pf" {
		t.Errorf("asked for by name: %+v", c)
	}
}

func TestMissingSettings(t *testing.T) {
	r := registry(t, options(t, func(o *Options) { o.Mail.To = nil; o.Webhook.URL = "x" }))
	for executable, says := range map[string]string{"mail-test.sh": "<email_to>", "wazuh-slack": "http"} {
		if c := r.Choose(command(executable)); c.Err == nil || !strings.Contains(c.Err.Error(), says) {
			t.Errorf("%s: error %v, expected %q", executable, c.Err, says)
		}
	}
}
