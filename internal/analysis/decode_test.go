package analysis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

// fieldsOf shows the fields of a record, static ones before dynamic ones.
func fieldsOf(a *riposte.Alert) string {
	var out []string
	for _, f := range a.Fields {
		name := f.Name
		if f.Dynamic {
			name = "$" + name
		}
		out = append(out, fmt.Sprintf("%s=%q", name, f.Value))
	}
	return strings.Join(out, " ")
}

func TestPlugins(t *testing.T) {
	f := func(d ossec.Dialect, plugin, line, want string) {
		t.Helper()
		dec := `<decoder name="x"><program_name>^x$</program_name><plugin_decoder>` + plugin + `</plugin_decoder></decoder>`
		e := New(testSet(t, d, dec, ""), Options{Host: "h"})
		v := e.Test(event("Dec 29 10:00:01 host x: "+line), false)
		if got := fieldsOf(v.Record); got != want {
			t.Errorf("%s %s %q:\n got %s\nwant %s", d, plugin, line, got, want)
		}
	}
	f(ossec.OSSEC, "PF_Decoder", "rule 2/0(match) pass in on em0: 10.0.0.1.1024 > 10.0.0.2.80: tcp", `action="pass" srcip="10.0.0.1" srcport="1024" dstip="10.0.0.2" dstport="80" protocol="TCP"`)
	f(ossec.Wazuh, "PF_Decoder", "rule 2/0(match) block in on em0: 10.0.0.1 > 10.0.0.2: icmp", `action="block" srcip="10.0.0.1" dstip="10.0.0.2" protocol="ICMP"`)
	f(ossec.Wazuh, "PF_Decoder", "rule 2/0(match) xlock in", ``)
	f(ossec.Wazuh, "PF_Decoder", "rule (match) pass in on em0: 10.0.0.1.1024 > 10.0.0.2", `action="pass" srcip="10.0.0.1" srcport="1024"`)
	f(ossec.OSSEC, "SymantecWS_Decoder", "a,10=bob,11=1.2.3.4,60=http://x/,3=a,b,c,d,e,2=z,11=9.9.9.9", `dstuser="bob" srcip="1.2.3.4" url="http://x/" id="3=a,b,c,d"`)
	f(ossec.OSSEC, "SonicWall_Decoder", "pri=5 c=64 m=36 msg src=67.101.200.27:4507:WAN dst=67.32.44.2:445:LAN proto=tcp/445", `status="5" id="36" srcip="67.101.200.27" srcport="4507" dstip="67.32.44.2" dstport="445" protocol="tcp" action="drop"`)
	f(ossec.OSSEC, "SonicWall_Decoder", "nothing of the kind", ``)
	f(ossec.Wazuh, "SonicWall_Decoder", "pri=5 c=64 m=36 msg src=67.101.200.27:4507:WAN dst=67.32.44.2:445:LAN", ``)
}

// TestForwardedAlert: an alert that another OSSEC sent over syslog is taken as
// that rule's.
func TestForwardedAlert(t *testing.T) {
	dec := `<decoder name="x"><program_name>^ossec$</program_name><plugin_decoder>OSSECAlert_Decoder</plugin_decoder></decoder>`
	rules := `<group name="x,"><rule id="5712" level="10"><match>never</match><description>brute force</description></rule></group>`
	line := "Dec 29 10:00:01 host ossec: Alert Level: 10; Rule: 5712 - SSHD brute force; Location: (web) 10.0.0.9->/var/log/auth.log; srcip: 1.2.3.4; user: root;  Failed password for root"
	e := New(testSet(t, ossec.OSSEC, dec, rules), Options{Host: "h", Live: true})
	a := e.Analyse(event(line))
	if a == nil || a.Rule.ID != 5712 || a.FullLog != "Failed password for root" || a.Location != "/var/log/x|(web) 10.0.0.9->/var/log/auth.log" || fieldsOf(a) != `srcip="1.2.3.4" dstuser="root"` {
		t.Errorf("alert %s", show(a))
	}
	if a := e.Analyse(event(strings.Replace(line, "5712", "9999", 1))); a != nil {
		t.Errorf("an unknown rule gives %s", show(a))
	}
	v := New(testSet(t, ossec.Wazuh, dec, rules), Options{Host: "h"}).Test(event(line), false)
	if v.Rule == nil || v.Rule.ID != 5712 || v.Alert {
		t.Errorf("the log test of Wazuh shows rule %v, alert %v", v.Rule, v.Alert)
	}
}

// TestAccumulate: records of one transaction lend each other what they lack.
func TestAccumulate(t *testing.T) {
	dec := `<decoder name="ldap"><program_name>^slapd$</program_name><accumulate /></decoder>
<decoder name="ldap-ip"><parent>ldap</parent><regex>^conn=(\d+) ACCEPT from IP=(\S+):</regex><order>id,srcip</order></decoder>
<decoder name="ldap-ip"><parent>ldap</parent><regex>^conn=(\d+) op=0 BIND dn="(\S+)"</regex><order>id,dstuser</order></decoder>
<decoder name="ldap-ip"><parent>ldap</parent><regex>^conn=(\d+) op=0 RESULT err=(\d+)</regex><order>id,status</order></decoder>`
	rules := `<group name="x,"><rule id="10" level="5"><decoded_as>ldap</decoded_as><status>49</status><srcip>10.0.0.0/8</srcip><description>failed</description></rule></group>`
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		dec := dec
		if d == ossec.OSSEC {
			dec = strings.ReplaceAll(dec, `<regex>^conn`, `<accumulate /><regex>^conn`)
		}
		e := New(testSet(t, d, dec, rules), Options{Host: "h"})
		head := "Dec 29 10:00:01 h slapd[1]: "
		lines := []string{head + "conn=7 ACCEPT from IP=10.1.1.1:5", head + `conn=7 op=0 BIND dn="bob"`, head + "conn=8 op=0 RESULT err=49", head + "conn=7 op=0 RESULT err=49"}
		if got := run(e, lines...); got != "- - - 10" {
			t.Errorf("%s: %s", d, got)
		}
		late := event(lines[3])
		late.Time = noon.Add(124 * time.Second)
		if a := e.Analyse(late); a != nil {
			t.Errorf("%s: after two minutes %s", d, show(a))
		}
	}
}

func TestEventChannel(t *testing.T) {
	const line = `{"Message":"An account failed to log on.\r\n","Event":"<Event xmlns='http://x'><System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{5}'/><EventID>4625</EventID><Level>0</Level><Keywords>0x8010000000000000</Keywords><TimeCreated SystemTime='2026-11-23T08:00:00Z'/><Correlation ActivityID='{1}'/><Execution ProcessID='4' ThreadID='8'/><Channel>Security</Channel><Computer>WIN1</Computer><Security/></System><EventData><Data Name='TargetUserName'>bob </Data><Data Name='IpAddress'>10.0.0.5</Data><Data Name='Empty'>-</Data><Data Name='ProcessName'>C:\\Windows\\x.exe</Data><Data Name='CategoryId'>%%8273</Data><Data Name='SubcategoryId'>%%12544</Data></EventData></Event>"}`
	set := testSet(t, ossec.Wazuh, `<decoder name="z"><prematch>zzz</prematch></decoder>`, `<group name="win,"><rule id="3" level="0" noalert="1"><category>ossec</category><description>root</description></rule>
<rule id="60000" level="0"><category>ossec</category><decoded_as>windows_eventchannel</decoded_as><field name="win.system.providerName">\.+</field><description>w</description></rule>
<rule id="60122" level="5"><if_sid>60000</if_sid><field name="win.system.eventID">^4625$</field><description>Logon failure of $(win.eventdata.targetUserName)</description></rule></group>`)
	e := New(set, Options{Host: "h"})
	ev := event(line)
	ev.Format = riposte.FormatEventChannel
	a := e.Analyse(ev)
	if a == nil || a.Rule.ID != 60122 || a.Rule.Description != "Logon failure of bob" || a.Decoder.Name != "windows_eventchannel" {
		t.Fatalf("alert %s", show(a))
	}
	got := map[string]string{}
	for _, f := range a.Fields {
		got[f.Name] = f.Value
	}
	want := map[string]string{
		"win.system.providerName": "Microsoft-Windows-Security-Auditing", "win.system.providerGuid": "{5}", "win.system.eventID": "4625",
		"win.system.level": "0", "win.system.keywords": "0x8010000000000000", "win.system.systemTime": "2026-11-23T08:00:00Z",
		"win.system.processID": "4", "win.system.threadID": "8", "win.system.channel": "Security", "win.system.computer": "WIN1",
		"win.system.severityValue": "AUDIT_FAILURE", "win.system.message": `An account failed to log on.\r\n`,
		"win.eventdata.targetUserName": "bob", "win.eventdata.ipAddress": "10.0.0.5", "win.eventdata.processName": `C:\\Windows\\x.exe`,
		"win.eventdata.categoryId": "%%8273", "win.eventdata.subcategoryId": "%%12544", "win.eventdata.category": "Logon/Logoff", "win.eventdata.subcategory": "Logon",
	}
	if !maps.Equal(got, want) {
		for _, k := range slices.Sorted(maps.Keys(got)) {
			if got[k] != want[k] {
				t.Errorf("%s is %q, want %q", k, got[k], want[k])
			}
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if _, ok := got[k]; !ok {
				t.Errorf("%s is missing", k)
			}
		}
	}
	for _, bad := range []string{"", "{", `{"Event":1}`, `{"Event":"<Event"}`, "null", `{"Event":"<Event><System><Level>0</Level></System></Event>"}`} {
		ev := event(bad)
		ev.Format = riposte.FormatEventChannel
		e.Analyse(ev) // must not panic
	}
}
