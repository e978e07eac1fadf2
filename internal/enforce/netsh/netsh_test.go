package netsh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
)

// windows plays the Windows firewall: netsh takes as many rules of one name as
// it is told, deletes all of a name, and fails when there is none.
type windows struct {
	rules  []string // values of the registry
	states [3]string
	calls  []string
}

func newWindows() *windows {
	return &windows{
		rules:  []string{"v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|Name=@FirewallAPI.dll,-28775|"},
		states: [3]string{"0x0", "0x1", "0x1"},
	}
}

func (f *windows) run(ctx context.Context, argv []string, _ []byte) (stdout, stderr []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	call := strings.Join(argv, " ")
	f.calls = append(f.calls, call)
	const key = `reg.exe query HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\`
	for i, profile := range []string{"DomainProfile", "StandardProfile", "PublicProfile"} {
		if call == key+profile+" /v EnableFirewall" {
			return []byte("\r\nHKEY_LOCAL_MACHINE\\…\r\n    EnableFirewall    REG_DWORD    " + f.states[i] + "\r\n\r\n"), nil, nil
		}
	}
	if call == key+"FirewallRules" {
		var b strings.Builder
		for i, r := range f.rules {
			fmt.Fprintf(&b, "    {%08d-1111}    REG_SZ    %s\r\n", i, r)
		}
		return []byte(b.String()), nil, nil
	}
	name := strings.TrimPrefix(argv[5], "name=")
	switch strings.Join(argv[:5], " ") {
	case "netsh.exe advfirewall firewall add rule":
		f.rules = append(f.rules, "v2.31|Action=Block|Active=TRUE|Dir=In|RA4="+strings.TrimPrefix(argv[8], "remoteip=")+"|Name="+name+"|")
		return []byte("Ok.\r\n"), nil, nil
	case "netsh.exe advfirewall firewall delete rule":
		before := len(f.rules)
		f.rules = slices.DeleteFunc(f.rules, func(r string) bool { return strings.Contains(r, "|Name="+name+"|") })
		if len(f.rules) == before {
			return []byte("Keine Regeln stimmen mit den angegebenen Kriterien überein.\r\n"), nil, errors.New("exit status 1")
		}
		return []byte("OK.\r\n"), nil, nil
	}
	return nil, nil, fmt.Errorf("unexpected command %q", call)
}

func (f *windows) count(name string) (n int) {
	for _, r := range f.rules {
		if strings.Contains(r, "|Name="+name+"|") {
			n++
		}
	}
	return n
}

func TestContract(t *testing.T) {
	f := newWindows()
	enforcetest.Suite{
		New:     func(testing.TB) enforce.Mechanism { return New(f.run) },
		Bulk:    200,
		Marked:  true,
		InForce: func(_ testing.TB, target riposte.Target) bool { return f.count("riposte-"+target.Value) == 1 },
		Foreign: func(t testing.TB, near riposte.Target) func(testing.TB) {
			before := f.rules
			foreign := append(slices.Clone(before),
				"v2.31|Action=Block|Active=TRUE|Dir=In|RA4="+near.Value+"|Name=WAZUH ACTIVE RESPONSE BLOCKED IP|",
				"v2.31|Action=Block|Active=TRUE|Dir=In|RA4="+near.Value+"|Name=OSSEC-"+near.Value+"|",
				"v2.31|Action=Allow|Active=TRUE|Dir=In|Name=riposte console|")
			f.rules = slices.Clone(foreign)
			t.Cleanup(func() { f.rules = before })
			return func(t testing.TB) {
				t.Helper()
				left := slices.DeleteFunc(slices.Clone(f.rules), func(r string) bool { return strings.Contains(r, "|Name=riposte-") })
				if !slices.Equal(left, foreign) {
					t.Errorf("somebody else's rules are now\n%s", strings.Join(left, "\n"))
				}
			}
		},
	}.Run(t)
}

func TestCommands(t *testing.T) {
	f := newWindows()
	m := New(f.run)
	for _, text := range []string{"203.0.113.9", "2001:db8::/64"} {
		f.calls = nil
		one := []enforce.Effect{{Target: enforce.AddressTarget(enforcetest.Prefix(text))}}
		for range 2 {
			if r := m.Apply(t.Context(), one); r[0].Err != nil || !r[0].Verified {
				t.Errorf("%+v", r)
			}
		}
		if n := f.count("riposte-" + text); n != 1 {
			t.Errorf("%d rules of the name", n)
		}
		m.Undo(t.Context(), one)
		changes := slices.DeleteFunc(f.calls, func(c string) bool { return strings.HasPrefix(c, "reg.exe query ") })
		want := []string{
			"netsh.exe advfirewall firewall add rule name=riposte-" + text + " dir=in action=block remoteip=" + text,
			"netsh.exe advfirewall firewall delete rule name=riposte-" + text,
		}
		if !slices.Equal(changes, want) {
			t.Errorf("ran\n%s\nwant\n%s", strings.Join(changes, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestSwitchedOff(t *testing.T) {
	f := newWindows()
	f.states = [3]string{"0x0", "0x0", "0x0"}
	r := New(f.run).Apply(t.Context(), []enforce.Effect{{Target: enforce.AddressTarget(enforcetest.Prefix("203.0.113.9"))}})
	if r[0].Err == nil || !strings.Contains(r[0].Err.Error(), "switched off") || len(f.rules) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestParse(t *testing.T) {
	out := `
HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules
    {1}    REG_SZ    v2.31|Action=Block|Active=TRUE|Dir=In|RA4=203.0.113.9|Name=riposte-203.0.113.9|
    {2}    REG_SZ    v2.31|Action=Block|Active=FALSE|Dir=In|RA4=203.0.113.10|Name=riposte-203.0.113.10|
    {3}    REG_SZ    v2.31|Action=Allow|Active=TRUE|Dir=In|RA4=203.0.113.11|Name=riposte-203.0.113.11|
    {4}    REG_SZ    v2.31|Action=Block|Active=TRUE|Dir=In|RA6=2001:db8::/64|Name=riposte-2001:db8::/64|Desc=x|
    {5}    REG_SZ    v2.31|Action=Block|Active=TRUE|Dir=In|Name=riposte-everything|
    RemoteDesktop-In    REG_SZ    v2.31|Action=Allow|Active=TRUE|Dir=In|Name=@FirewallAPI.dll,-28775|
`
	want := []netip.Prefix{enforcetest.Prefix("203.0.113.9"), enforcetest.Prefix("2001:db8::/64")}
	if got := parse([]byte(out)); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("{1} REG_SZ v2|Action=Block|Active=TRUE|Name=riposte-203.0.113.9|"))
	f.Add([]byte("|Name=riposte-|\n||=\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range parse(b) {
			if !p.IsValid() {
				t.Error("an invalid prefix")
			}
		}
	})
}
