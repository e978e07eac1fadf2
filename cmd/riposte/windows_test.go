//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"riposte/internal/api"
	"riposte/internal/lab"
)

// Where riposte and its configuration are on Windows, when nothing says
// otherwise.
const (
	windowsRiposte = `C:\Program Files\riposte\riposte.exe`
	windowsConf    = `C:\Program Files (x86)\ossec-agent\ossec.conf`
	windowsScript  = `C:\Program Files (x86)\ossec-agent\active-response\bin\note.cmd`
	windowsPolicy  = `HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy`
)

// windowsHost is riposte.exe under Wine, with route.exe and netsh.exe that
// write down their calls.
type windowsHost struct {
	*lab.Wine
	t   *testing.T
	cmd *exec.Cmd
	out lab.Log
}

func newWindowsHost(t *testing.T) *windowsHost {
	t.Helper()
	h := &windowsHost{Wine: lab.NewWine(t, "netsh.exe"), t: t}
	h.build(".", windowsRiposte)
	h.build("./testdata/windows", `C:\windows\system32\route.exe`)
	h.build("./testdata/windows", `C:\windows\system32\netsh.exe`)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("riposte.exe:\n%s\ncalls:\n%s", h.out.String(), h.read(`C:\windows\temp\calls`))
		}
	})
	return h
}

// build puts a program of this module on the disk.
func (h *windowsHost) build(pkg, to string) {
	h.t.Helper()
	path := h.Path(to)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil { // Wine's own netsh.exe
		h.t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("go build %s for Windows: %v\n%s", pkg, err, out)
	}
}

func (h *windowsHost) write(to, text string) {
	h.t.Helper()
	path := h.Path(to)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// read returns a file, "" when it is not there.
func (h *windowsHost) read(file string) string {
	b, err := os.ReadFile(h.Path(file))
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	return string(b)
}

// run runs a program to its end.
func (h *windowsHost) run(program string, args ...string) string {
	h.t.Helper()
	out, err := h.Command(program, args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs the daemon and waits until it answers on its pipe.
func (h *windowsHost) start() {
	h.t.Helper()
	h.cmd = h.Command(windowsRiposte, "run")
	h.out = lab.Log{}
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.out
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, 60*time.Second, "riposte.exe answers on its pipe", func() bool {
		return h.Command(windowsRiposte, "status").Run() == nil
	})
}

// list returns what is in force, by target and command.
func (h *windowsHost) list() map[string]api.Block {
	h.t.Helper()
	var blocks []api.Block
	out := h.run(windowsRiposte, "list", "--json")
	if err := json.Unmarshal([]byte(out), &blocks); err != nil {
		h.t.Fatalf("riposte.exe list --json: %v\n%s", err, out)
	}
	by := map[string]api.Block{}
	for _, b := range blocks {
		if b.State == "in force" {
			by[b.Target.Value+" "+b.Command] = b
		}
	}
	return by
}

// changes returns when each change was made on the host: calls of the tools
// that do more than look.
func (h *windowsHost) changes() map[string][]time.Time {
	h.t.Helper()
	at := map[string][]time.Time{}
	for line := range strings.Lines(h.read(`C:\windows\temp\calls`)) {
		stamp, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		ms, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil {
			h.t.Fatalf("call %q", line)
		}
		if !strings.HasPrefix(call, "route.exe PRINT") {
			at[call] = append(at[call], time.UnixMilli(ms))
		}
	}
	return at
}

// windowsExample2 is the page's second example, with a firewall-drop and a
// script of the user's own beside it, on a log that is named the Windows way and others that are named by a
// pattern with slashes.
func windowsExample2(seconds int) string {
	return fmt.Sprintf(`<ossec_config>
  <command>
    <name>win_route-null</name>
    <executable>route-null.cmd</executable>
    <expect>srcip</expect>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop.cmd</executable>
    <expect>srcip</expect>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <command>
    <name>note</name>
    <executable>note.cmd</executable>
    <expect>srcip</expect>
  </command>
  <active-response>
    <command>note</command>
    <location>local</location>
    <level>8</level>
  </active-response>
  <active-response>
    <command>win_route-null</command>
    <location>local</location>
    <level>8</level>
    <timeout>%[1]d</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_group>authentication_failures</rules_group>
    <timeout>%[1]d</timeout>
  </active-response>
  <localfile>
    <log_format>syslog</log_format>
    <location>C:\logs\auth.log</location>
  </localfile>
  <localfile>
    <log_format>syslog</log_format>
    <location>C:/logs/more*.log</location>
  </localfile>
  <localfile>
    <log_format>eventchannel</log_format>
    <location>Security</location>
  </localfile>
</ossec_config>
`, seconds)
}

// TestWindows is the page's second example on Windows: riposte.exe starts,
// follows logs, gives the right commands, keeps what is in force over a kill,
// and takes it back on time.
func TestWindows(t *testing.T) {
	const seconds = 40
	h := newWindowsHost(t)
	h.write(windowsConf, windowsExample2(seconds))
	h.write(`C:\logs\auth.log`, "")
	h.write(`C:\logs\more1.log`, "")
	h.write(windowsScript, "@echo %1 %3>>C:\\logs\\noted\r\n")
	// The firewall is on, and has a rule that is somebody else's.
	const foreign = "v2.31|Action=Block|Active=TRUE|Dir=In|RA4=198.51.100.7|Name=OSSEC 198.51.100.7|"
	h.run("reg.exe", "add", windowsPolicy+`\StandardProfile`, "/v", "EnableFirewall", "/t", "REG_DWORD", "/d", "1", "/f")
	h.run("reg.exe", "add", windowsPolicy+`\FirewallRules`, "/v", "{1}", "/t", "REG_SZ", "/d", foreign, "/f")

	checked := h.run(windowsRiposte, "check")
	for _, want := range []string{"win_route-null", "here by null route", "here by windows firewall", "riposte cannot read logs of format eventchannel", windowsConf + ": 1 warning"} {
		if !strings.Contains(checked, want) {
			t.Errorf("riposte.exe check says nothing of %q:\n%s", want, checked)
		}
	}

	h.start()
	for range 10 {
		appendTo(t, h.Path(`C:\logs\auth.log`), failedLogin("198.51.100.7"))
		appendTo(t, h.Path(`C:\logs\more1.log`), failedLogin("2001:db8::7"))
	}
	appendTo(t, h.Path(`C:\logs\auth.log`), failedLogin("198.51.100.8")) // one failure is of level 5
	adds := []string{
		"netsh.exe advfirewall firewall add rule name=riposte-198.51.100.7 dir=in action=block remoteip=198.51.100.7",
		"netsh.exe advfirewall firewall add rule name=riposte-2001:db8::7 dir=in action=block remoteip=2001:db8::7",
		"route.exe ADD 198.51.100.7 MASK 255.255.255.255 0.0.0.0 IF 1",
		"route.exe ADD 2001:db8::7/128 :: IF 1",
	}
	var before map[string]api.Block
	eventually(t, 35*time.Second, "four responses are in force", func() bool {
		if len(h.changes()) >= len(adds) {
			before = h.list()
		}
		return len(before) == len(adds)
	})
	h.called(adds)
	eventually(t, 10*time.Second, "the batch file was run for both", func() bool {
		noted := h.read(`C:\logs\noted`)
		return strings.Contains(noted, "add 198.51.100.7") && strings.Contains(noted, "add 2001:db8::7")
	})

	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.cmd.Wait()
	h.start()
	after := h.list()
	for key, b := range before {
		if a, ok := after[key]; !ok || !a.Until.Equal(b.Until) {
			t.Errorf("%s ended at %v before riposte.exe was killed, and now at %v (%v)", key, b.Until, a.Until, ok)
		}
	}
	h.called(adds) // and nothing was taken back

	dels := []string{
		"netsh.exe advfirewall firewall delete rule name=riposte-198.51.100.7",
		"netsh.exe advfirewall firewall delete rule name=riposte-2001:db8::7",
		"route.exe DELETE 198.51.100.7 MASK 255.255.255.255 0.0.0.0 IF 1",
		"route.exe DELETE 2001:db8::7/128 :: IF 1",
	}
	eventually(t, 2*seconds*time.Second, "four responses are taken back", func() bool { return len(h.changes()) == len(adds)+len(dels) })
	h.called(append(slices.Clone(adds), dels...))
	ends := map[string]time.Time{}
	for _, b := range before {
		ends[b.Mechanism+" "+b.Target.Value] = b.Until
	}
	changes := h.changes()
	for i, of := range []string{"windows firewall 198.51.100.7", "windows firewall 2001:db8::7", "null route 198.51.100.7", "null route 2001:db8::7"} {
		for _, at := range changes[dels[i]] {
			if late := at.Sub(ends[of].Truncate(time.Millisecond)); late < 0 || late > 3*time.Second {
				t.Errorf("%s came %v after its time", dels[i], late)
			}
		}
	}
	eventually(t, 10*time.Second, "nothing is in force", func() bool { return len(h.list()) == 0 })
	if routes := h.read(`C:\windows\temp\routes`); routes != "" {
		t.Errorf("routes are left: %q", routes)
	}
	rules := h.run("reg.exe", "query", windowsPolicy+`\FirewallRules`)
	if !strings.Contains(rules, foreign) || strings.Contains(rules, "riposte") {
		t.Errorf("the firewall's rules are\n%s", rules)
	}
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// called fails unless exactly these changes were made: each once, a route that
// was made before a restart at most once more after it.
func (h *windowsHost) called(want []string) {
	h.t.Helper()
	changes := h.changes()
	for _, call := range want {
		most := 1
		if strings.HasPrefix(call, "route.exe ADD ") {
			most = 2
		}
		if n := len(changes[call]); n == 0 || n > most {
			h.t.Errorf("%d times %s", n, call)
		}
		delete(changes, call)
	}
	for call := range changes {
		h.t.Errorf("unwanted: %s", call)
	}
}
