package conf

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

// TestFindings checks where findings point, what they say, and that their
// fixes give a file that loads.
func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		src     string
		pos     string // line:col of the first finding
		at      string // what stands there
		message string
		hint    string
		fixed   string // what must stand in the mended text; "" no fix
	}{
		{conf(cmdF, "  "+ar("command fv", "location local", "level 7")), "3:29", "fv", `no command "fv"`, "did you mean fw?", "<command>fw</command>"},
		{conf(cmdA, "<active‐response><command>a</command><location>local</location><level>7</level></active‐response>"), "3:8", "‐response", "U+2010 '‐', which only looks like '-'", "write <active-response>", "<level>7</level></active-response>"},
		{conf(cmdA, ar("command а", "location local", "level 7")), "3:27", "а", "U+0430 'а', which only looks like 'a'", "write a", "<command>a</command>"},
		{conf(cmdA, ar("command a", "location local", "level ７")), "3:71", "７", "U+FF17", "write 7", "<level>7</level>"},
		{conf(cmdA, ar("command a\u200b", "location local", "level 7")), "3:28", "\u200b", "U+200B, which only looks like nothing", "write a", "<command>a</command>"},
		{conf(cmdA, ar("command a", "lokation local", "level 7")), "3:38", "<lokation", "no element <lokation>", "did you mean <location>?", "<location>local</location>"},
		{conf("<actve-response>" + ar("command a")[len("<active-response>"):len(ar("command a"))-len("</active-response>\n")] + "<location>local</location><level>1</level></actve-response>\n" + cmdA), "2:1", "<actve-response", "no element <actve-response>", "did you mean <active-response>?", "</active-response>"},
		{conf(cmdF, ar("command fw", "location servr", "level 7")), "3:49", "servr", `no word "servr"`, "did you mean server?", "<location>server<"},
		{conf(cmdF, ar("command fw", "location last", "level 7")), "3:49", "last", `find "as" in it and take it for server`, "local", ""},
		{conf(cmdF, ar("command fw", "location company", "level 7")), "3:49", "company", `find "any" in it and take it for all`, "", ""},
		{conf(cmdF, ar("command fw", "location local", "level 7", "timeout 10m")), "3:90", "10m", "number of seconds", "write 600", "<timeout>600<"},
		{conf(cmdF, ar("command fw", "location local", "level 7", "timeout 1.5")), "3:90", "1.5", "number of seconds", "such as 600", ""},
		{conf(cmdF, ar("command fw", "location local", "rules_id 100|200")), "3:75", "100|200", "separated by commas", "write 100,200", "<rules_id>100,200<"},
		{conf(cmdF, ar("command fw", "location local", "rules_id 5710-5720")), "3:75", "5710-5720", "read only 5710", "write out each id", ""},
		{conf(cmdF, ar("command fw", "location local", "rules_id 1, 2 x,3")), "3:78", "2 x", "not a rule id", "", ""},
		{conf(cmdF, ar("command fw", "location local", "rules_id 1,,3")), "3:75", "1,,3", "comma", "", ""},
		{conf(cmdF, ar("command fw", "location local", "rules_group a\\")), "3:94", "</active-response>", "", "the backslash before </rules_group> in line 3", ""},
		{conf(cmdF, ar("command fw", "location local", "rules_group x_failed, y_failures")), "3:86", ", y", "reads this as x_failed or y_failures", "write x_failed|y_failures", "<rules_group>x_failed|y_failures<"},
		{conf(cmdF, ar("command fw", "location local", "rules_group sshd,$")), "3:82", ",$", "part of the expression", "", ""},
		{conf(cmdF, ar("command fw", "location local", "level 7", "timeout 5", "repeated_offenders 30;60")), "3:121", "30;60", "separated by commas", "write 30,60", ">30,60<"},
		{conf(cmdF, ar("command fw", "location local", "level 7", "timeout 5", "repeated_offenders 30,0,60")), "3:124", "0,60", "stop reading there", "", ""},
		{conf(cmdF, ar("command fw", "location local", "level 7", "timeout 5", "repeated_offenders 30,x")), "3:124", "x", "not a number of minutes", "", ""},
		{conf(cmdF, ar("command fw", "location local", "level 7", "timeout 5", "repeated_offenders -30")), "3:121", "-30", "not a number of minutes", "", ""},
		{conf(cmdF, ar("command fw", "location local", "level 7", "repeated_offenders 30")), "3:101", "30", "no effect", "add a <timeout>", ""},
		{conf(cmdF, ar("command fw", "location defined-agent", "agent_id 1", "level 7")), "3:83", "1<", "no agent \"1\"", "write 001", ""},
		{conf(cmdF, ar("command fw", "location local", "agent_id 001", "level 7")), "3:75", "001", "no effect", "defined-agent", ""},
		{conf(cmdF, ar("command fw", "location local")), "3:1", "<active-response", "bound to no rule", "", ""},
		{conf(cmdF, ar("location local", "level 7")), "3:1", "<active-response", "no <command>", "", ""},
		{conf(cmdF, ar("command fw", "level 7")), "3:1", "<active-response", "no <location>", "", ""},
		{conf(cmdF, ar("command fw", "location local", "level 18")), "3:72", "18", "levels end at 16", "", ""},
		{conf("<command><name>x</name><executable>x.sh</executable><expect>scrip</expect></command>"), "2:61", "scrip", `no word "scrip"`, "did you mean srcip?", "<expect>srcip<"},
		{conf("<command><name>x</name><executable>x.sh</executable><expect>dstip</expect></command>"), "2:61", "dstip", `no word "dstip"`, "use srcip", ""},
		{conf("<command><name>x</name><executable>x.sh</executable><expect>hostname</expect></command>"), "2:61", "hostname", "no effect", "", ""},
		{conf("<command><name>x</name><executable>../x.sh</executable><expect/></command>"), "2:36", "../x.sh", "leads out of", "write x.sh", ""},
		{conf("<command><name>x</name><executable>/bin/sh</executable><expect/></command>"), "2:36", "/bin/sh", "leads out of", "write sh", ""},
		{conf("<command><name>x</name><executable>..\\x</executable><expect/></command>"), "2:36", "..\\x", "leads out of", "", ""},
		{conf("<command><name>x</name><executable>firewall-drop</executable><expect></expect></command>"), "2:62", "<expect>", "acts on an address", "write srcip", ""},
		{conf("<command><executable>x</executable><expect/></command>"), "2:1", "<command", "no <name>", "", ""},
		{conf("<command><name></name><executable>x</executable><expect/></command>"), "2:10", "<name>", "empty name", "", ""},
		{conf("<command><name><b>x</b></name><executable>x</executable><expect/></command>"), "2:16", "<b>", "must hold a value", "", ""},
		{conf("<comand><name>x</name><executable>x</executable><expect/></comand>"), "2:1", "<comand", "no element <comand>", "did you mean <command>?", "</command>"},
		{conf("<xyzzyplugh>1</xyzzyplugh>"), "2:1", "<xyzzyplugh", "no element <xyzzyplugh>", "", ""},
		{"<osec_config></osec_config>", "1:1", "<osec_config", "the file has no element", "did you mean <ossec_config>?", "<ossec_config></ossec_config>"},
		{"<agent_config></agent_config>", "1:1", "<agent_config", "this is an agent.conf", "", ""},
		{cmdF, "1:1", "<command", "outside of <ossec_config>", "", "</ossec_config>"},
		{conf("<global><white_list>999.1.1.1</white_list></global>"), "2:21", "999.1.1.1", "not an address", "", ""},
		{conf("<global><white_list>10.0.0.0/40</white_list></global>"), "2:21", "10.0.0.0/40", "length of a network must be 0 to 32", "", ""},
		{conf("<global><white_list>10.0.0.0/255.0.255.0</white_list></global>"), "2:21", "10.0.0.0/255", "has holes", "", ""},
		{conf("<global><white_list></white_list></global>"), "2:9", "<white_list>", "allows nobody", "", ""},
		{conf("<global><white_lst>10.0.0.1</white_lst></global>"), "2:9", "<white_lst", "no element", "did you mean <white_list>?", "<white_list>10.0.0.1</white_list>"},
		{conf("<global><email_to>root</email_to></global>"), "2:19", "root", "not a mail address", "", ""},
		{conf("<global><email_notification>true</email_notification></global>"), "2:29", "true", "yes or no", "write yes", ">yes<"},
		{conf("<alerts><log_alert_level>x</log_alert_level></alerts>"), "2:26", "x", "a level from 0 to 16", "", ""},
		{conf("<localfile><location>/x</location><log_format>sylog</log_format></localfile>"), "2:47", "sylog", "must be one of", "write syslog", ">syslog<"},
		{conf("<localfile><location>/x</location><log_format>multi-line</log_format></localfile>"), "2:47", "multi-line", "how many lines", "", ""},
		{conf("<localfile><location>/x</location></localfile>"), "2:1", "<localfile", "no <log_format>", "", ""},
		{conf("<localfile><log_format>syslog</log_format></localfile>"), "2:1", "<localfile", "no <location>", "", ""},
		{conf("<localfile><log_format>journald</log_format><filter field='_systemd_unit'>x</filter></localfile>"), "2:75", "x", "no journal entry has a field", "journalctl -o verbose", ""},
		{conf("<localfile><log_format>command</log_format></localfile>"), "2:1", "<localfile", "no <command>", "", ""},
		{conf("<remote><connection>syslog</connection></remote>"), "2:1", "<remote", "takes syslog from nobody", "", ""},
		{conf("<remote><port>99999</port></remote>"), "2:15", "99999", "a port from 1 to 65535", "", ""},
		{conf("<remote><connection>sylog</connection><allowed-ips>any</allowed-ips></remote>"), "2:21", "sylog", "must be one of", "write syslog", ">syslog<"},
		{conf("<ruleset><rule_dri>etc/rules</rule_dri></ruleset>"), "2:10", "<rule_dri", "no element", "did you mean <rule_dir>?", "<rule_dir>etc/rules</rule_dir>"},
		{"<ossec_config>\n<command>\n<name>fw</command>\n<executable>x</executable>\n<expect/>\n</command>\n</ossec_config>", "3:9", "</command>", "</command> stands where the <name>", "write </name>", "<name>fw</name>"},
		{"<ossec_config>", "1:1", "<ossec_config", "never closed", "", ""},
	} {
		cfg, findings := Inspect("f", []byte(tt.src), ossec.Wazuh)
		if len(findings) == 0 {
			t.Errorf("no finding in\n%s", tt.src)
			continue
		}
		f := findings[0]
		if f.Pos.String() != "f:"+tt.pos || !strings.HasPrefix(tt.src[f.Pos.Offset:], tt.at) || !strings.Contains(f.Message, tt.message) || !strings.Contains(f.Hint, tt.hint) {
			t.Errorf("%v\nwant %s %q %s (%s)\n%s", f, tt.pos, tt.at, tt.message, tt.hint, tt.src)
		}
		if f.Code == "" || f.Len <= 0 && tt.at != "" || cfg == nil {
			t.Errorf("incomplete finding %+v", f)
		}
		if (f.Fix != nil) != (tt.fixed != "") {
			t.Errorf("fix %v of %v", f.Fix, f)
		}
		if tt.fixed != "" {
			mended, _ := ossec.Mend("f", []byte(tt.src), findings)
			if _, left := Parse("f", mended, ossec.Wazuh); ossec.Failed(left) || !strings.Contains(string(mended), tt.fixed) {
				t.Errorf("mended to\n%s\n%v", mended, left)
			}
		}
	}
}

func TestSelectors(t *testing.T) {
	p := one(t, ossec.Wazuh, "command fw", "location local", "level 7", "rules_id 100100, 100108 ,100107,", "rules_group a_failed , b|sshd$")
	if fmt.Sprint(p.IDs[0].ID, p.IDs[1].ID, p.IDs[2].ID, len(p.IDs)) != "100100 100108 100107 3" || p.Level != 7 {
		t.Errorf("%+v", p)
	}
	for _, tt := range []struct {
		selector, groups string
		want             bool
	}{
		{"a_failed,a_failures", "a_failures,", true},
		{"a_failed, a_failures", "x,a_failed,", true},
		{"a_failed|a_failures", "a_failed,", true},
		{"a_failed,a_failures", "a_fail,", false},
		{"authentication_fail", "authentication_failures,", true}, // part of a name, as in the real systems
		{"SSHD", "syslog,sshd,", true},
		{"sshd$", "syslog,sshd,", false},
		{"sshd,$", "syslog,sshd,", true}, // an expression: the comma is literal
		{"sshd,$", "sshd,attack,", false},
		{"^syslog", "syslog,sshd,", true},
		{`web_\w+`, "web_scan,", true},
		{",sshd,", "sshd,", true},
	} {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			p := one(t, d, "command fw", "location local", "rules_group "+tt.selector)
			got := false
			for i := range p.Groups {
				got = got || p.Groups[i].Match(tt.groups)
			}
			if got != tt.want {
				t.Errorf("%s %q on %q: %v", d, tt.selector, tt.groups, got)
			}
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		executable, expect string
		want               Needs
	}{
		{"restart-ossec.sh", "<expect></expect>", Needs{}},
		{"route-null.cmd", "<expect>srcip</expect>", Needs{Kind: riposte.Address}},
		{"firewall-drop", "", Needs{Kind: riposte.Address}},
		{"disable-account", "", Needs{Kind: riposte.User}},
		{"disable-account.sh", "<expect>user</expect>", Needs{Kind: riposte.User}},
		{"disable-account.sh", "<expect>srcip, user</expect>", Needs{Kind: riposte.User}},
		{"disable-account.sh", "<expect>srcip</expect>", Needs{Kind: riposte.User}},
		{"own.sh", "", Needs{Kind: riposte.Address, Optional: true}},
		{"own.sh", "<expect/>", Needs{}},
		{"own.sh", "<expect>user srcip</expect>", Needs{Kind: riposte.Address}},
		{"own.sh", "<expect>UserName</expect>", Needs{Kind: riposte.User}},
		{"own.sh", "<expect>filename</expect>", Needs{Kind: riposte.File}},
		{"mail-test.sh", "<expect />", Needs{}},
	} {
		src := conf("<command><name>x</name><executable>" + tt.executable + "</executable>" + tt.expect + "</command>")
		cfg, findings := Parse("f", []byte(src), ossec.Wazuh)
		if cfg == nil || cfg.Commands[0].Needs != tt.want {
			t.Errorf("%s %s: %+v %v", tt.executable, tt.expect, cfg, findings)
		}
	}
}

func TestGlobal(t *testing.T) {
	src := conf(`<global>
	<email_notification>yes</email_notification><email_to>a@x.org</email_to><email_to> b@x.org, c@x.org</email_to>
	<smtp_server>mail.x.org.</smtp_server><email_from>ossec@x.org</email_from><email_reply_to>r@x.org</email_reply_to>
	<helo_server>h.x.org</helo_server><email_idsname>Ünser</email_idsname><email_maxperhour>99</email_maxperhour>
	<memory_size>1024</memory_size><jsonout_output>no</jsonout_output><alerts_log>no</alerts_log><logall>no</logall>
	<limits><eps><maximum>1</maximum></eps></limits>
	<white_list>127.0.0.1</white_list><allow_list>10.0.0.5/24</allow_list>`, "</global>",
		`<global><white_list>2001:db8::/32</white_list><white_list>!10.1.0.7</white_list><white_list>10.1.0.0/255.255.0.0</white_list>
	<white_list>^localhost.localdomain$</white_list><white_list>192.168.</white_list><white_list>::ffff:192.0.2.0/120</white_list></global>`)
	cfg, findings := Parse("f", []byte(src), ossec.OSSEC)
	if cfg == nil {
		t.Fatal(findings)
	}
	g := cfg.Global
	list := fmt.Sprint(g.AllowList)
	g.AllowList = nil
	want := "{[] true [a@x.org b@x.org c@x.org] ossec@x.org r@x.org mail.x.org. h.x.org Ünser 99 1024 false false}"
	if got := fmt.Sprint(g); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	wantList := "127.0.0.1 10.0.0.0/24 2001:db8::/32 !10.1.0.7 10.1.0.0/16 localhost.localdomain 192.168.0.0/16 192.0.2.0/24"
	if !strings.Contains(list, "localhost.localdomain") || len(cfg.Global.AllowList) != 8 {
		t.Error(list)
	}
	var texts []string
	for _, a := range cfg.Global.AllowList {
		texts = append(texts, a.String())
	}
	if got := strings.Join(texts, " "); got != wantList {
		t.Errorf("got  %s\nwant %s", got, wantList)
	}
}

// allowed reports whether the list keeps responses from an address, as the
// guard reads it.
func allowed(list []Allow, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, a := range list {
		if a.Prefix.IsValid() && a.Prefix.Contains(addr) {
			return !a.Not
		}
	}
	return false
}

// TestAllowed is the address part of the specification's table 8.3.
func TestAllowed(t *testing.T) {
	for _, tt := range []struct {
		n       int
		list    string // separated by spaces
		addr    string
		allowed bool
		why     string // where a real system does otherwise
	}{
		{64, "10.0.0.0/24", "10.0.0.5", true, ""},
		{65, "10.0.0.0/24", "10.0.1.5", false, ""},
		{66, "::1", "::1", true, ""},
		{66, "::1", "2001:db8::12", false, "W finds the text ::1 in the address"},
		{68, "!10.0.0.5", "10.0.0.5", false, "W drops the ! and allows it"},
		{68, "!10.0.0.5", "1.2.3.4", false, "O allows everything when the last entry has a !, by accident"},
		{69, "!10.0.0.5 10.0.0.0/24", "10.0.0.5", false, "W drops the !"},
		{69, "!10.0.0.5 10.0.0.0/24", "10.0.0.6", true, ""},
		{69, "!10.0.0.5 10.0.0.0/24", "1.2.3.4", false, ""},
		{70, "10.0.0.0/24", "::ffff:10.0.0.6", true, ""},
		{0, "10.0.0.", "110.0.0.7", false, "W finds the text in the address"},
		{0, "10.0.0.", "10.0.0.7", true, ""},
		{0, "any", "2001:db8::1", true, "W knows no any"},
	} {
		var src strings.Builder
		for _, e := range strings.Fields(tt.list) {
			src.WriteString("<white_list>" + e + "</white_list>")
		}
		cfg, findings := Parse("f", []byte(conf("<global>"+src.String()+"</global>")), ossec.Wazuh)
		if cfg == nil {
			t.Fatal(findings)
		}
		if got := allowed(cfg.Global.AllowList, netip.MustParseAddr(tt.addr)); got != tt.allowed {
			t.Errorf("row %d, %s in %s: %v (%s)", tt.n, tt.addr, tt.list, got, tt.why)
		}
	}
}

func TestLocalFiles(t *testing.T) {
	for _, tt := range []struct {
		body string
		want string
	}{
		{"<log_format>syslog</log_format><location> /var/log/auth.log </location>", "syslog [/var/log/auth.log]"},
		{"<log_format>apache</log_format><location>/var/log/a.log, /var/log/b-%Y-%m-%d.log</location><location>/c/*.log</location><exclude>/c/x.log</exclude>",
			"apache [/var/log/a.log /var/log/b-%Y-%m-%d.log /c/*.log] not [/c/x.log]"},
		{"<log_format>multi-line: 4</log_format><location>/a</location>", "multi-line 4 [/a]"},
		{"<log_format>command</log_format><command>df -P</command><frequency>60</frequency>", "command [] run df -P as df -P every 1m0s"},
		{"<log_format>full_command</log_format><command>last -n 20</command><alias>last</alias>", "full_command [] run last -n 20 as last every 6m0s"},
		{"<log_format>journald</log_format><location>journald</location><filter field=\"_SYSTEMD_UNIT\">^ssh.service$</filter><filter field='PRIORITY' ignore_if_missing='yes'>[0-3]</filter>",
			"journald [journald] where _SYSTEMD_UNIT ^ssh.service$ false where PRIORITY [0-3] true"},
		{"<log_format>journald</log_format>", "journald [journald]"},
		{"<log_format>json</log_format><location>/a.json</location><label key=\"@source\">app</label><only-future-events>yes</only-future-events><age>1d</age><target>agent</target><out_format target=\"agent\">$(log)</out_format>",
			"json [/a.json] label @source=app future age 24h0m0s to [agent] as $(log)"},
		{"<log_format>multi-line-regex</log_format><location>/a</location><multiline_regex match=\"end\" replace=\"wspace\" timeout=\"7\">\\d$</multiline_regex>",
			"multi-line-regex [/a] regex \\d$ end wspace 7s"},
		{"<log_format>eventchannel</log_format><location>Security</location><query>Event/System[EventID != 5145]</query><reconnect_time>5m</reconnect_time>",
			"eventchannel [Security] query Event/System[EventID != 5145] reconnect 5m0s"},
		{"<log_format>syslog</log_format><location>/a</location><ignore>^#</ignore><restrict type=\"osmatch\">sshd</restrict>", "syslog [/a] ignore 1 restrict 1"},
		{"<log_format>audit</log_format><location>/var/log/audit/audit.log</location>", "audit [/var/log/audit/audit.log]"},
	} {
		cfg, findings := Parse("f", []byte(conf("<localfile>"+tt.body+"</localfile>")), ossec.Wazuh)
		if cfg == nil || len(findings) > 0 || len(cfg.LocalFiles) != 1 {
			t.Errorf("%s: %v", tt.body, findings)
			continue
		}
		if got := describeFile(&cfg.LocalFiles[0]); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.body, got, tt.want)
		}
	}
}

func describeFile(l *LocalFile) string {
	var b strings.Builder
	b.WriteString(l.Format)
	add := func(yes bool, format string, args ...any) {
		if yes {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	add(l.Lines > 0, "%d", l.Lines)
	add(true, "%v", l.Locations)
	add(l.Exclude != nil, "not %v", l.Exclude)
	add(l.Command != "", "run %s as %s every %s", l.Command, l.Alias, l.Frequency)
	for _, x := range l.Labels {
		add(true, "label %s=%s", x.Key, x.Value)
	}
	add(l.OnlyFuture, "future")
	add(l.Age > 0, "age %s", l.Age)
	add(l.Targets != nil, "to %v", l.Targets)
	add(l.Output != "", "as %s", l.Output)
	if m := l.Multiline; m != nil {
		add(true, "regex %s %s %s %s", m.Text, m.Match, m.Replace, m.Timeout)
	}
	add(l.Query != "", "query %s", l.Query)
	add(l.Reconnect > 0, "reconnect %s", l.Reconnect)
	for _, x := range l.Filters {
		add(true, "where %s %s %v", x.Field, x.Text, x.Missing)
	}
	add(l.Ignore != nil, "ignore %d", len(l.Ignore))
	add(l.Restrict != nil, "restrict %d", len(l.Restrict))
	return b.String()
}

func TestRemotes(t *testing.T) {
	src := conf(`<remote><connection>secure</connection></remote>
	<remote><connection>syslog</connection><port>5514</port><protocol>udp,tcp</protocol><allowed-ips>10.0.0.0/8, 192.0.2.1</allowed-ips>
	<allowed-ips>2001:db8::/32</allowed-ips><denied-ips>10.9.0.0/16</denied-ips><local_ip>10.0.0.1</local_ip></remote>`)
	cfg, findings := Parse("f", []byte(src), ossec.Wazuh)
	if cfg == nil || len(findings) > 0 {
		t.Fatal(findings)
	}
	a, b := cfg.Remotes[0], cfg.Remotes[1]
	if a.Syslog || a.Port != 1514 || a.UDP || !a.TCP || a.LocalIP.IsValid() {
		t.Errorf("%+v", a)
	}
	if !b.Syslog || b.Port != 5514 || !b.UDP || !b.TCP || b.LocalIP.String() != "10.0.0.1" || fmt.Sprint(b.Allowed, b.Denied) != "[10.0.0.0/8 192.0.2.1/32 2001:db8::/32] [10.9.0.0/16]" {
		t.Errorf("%+v", b)
	}
	cfg, _ = Parse("f", []byte(conf("<remote><connection>syslog</connection><allowed-ips>any</allowed-ips></remote>")), ossec.OSSEC)
	if m := cfg.Remotes[0]; !m.UDP || m.TCP || m.Port != 514 || len(m.Allowed) != 2 {
		t.Errorf("%+v", m)
	}
}

func TestRules(t *testing.T) {
	src := conf(`<ruleset><decoder_dir>ruleset/decoders</decoder_dir><rule_dir pattern="_rules.xml$">ruleset/rules</rule_dir>
	<rule_exclude>0215-policy_rules.xml</rule_exclude><list>etc/lists/audit-keys</list><rule_include>x.xml</rule_include></ruleset>
	<rules><include>sshd_rules.xml</include><decoder>etc/d.xml</decoder></rules>`)
	cfg, findings := Parse("f", []byte(src), ossec.Wazuh)
	if cfg == nil || len(findings) > 0 {
		t.Fatal(findings)
	}
	var got []string
	for _, e := range cfg.Rules {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Path, " ", e.Pattern, " ", e.Pos.Line))
	}
	want := "4 ruleset/decoders .xml$ 2,3 ruleset/rules _rules.xml$ 2,5 0215-policy_rules.xml  3,2 etc/lists/audit-keys  3,0 x.xml  3,0 sshd_rules.xml  4,1 etc/d.xml  4"
	if strings.Join(got, ",") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ","), want)
	}
}

func TestDefaultsAndUnused(t *testing.T) {
	cfg, findings := Parse("f", []byte(conf("<syscheck><frequency>1</frequency></syscheck><wodle name='x'/><alerts><log_alert_level>5</log_alert_level></alerts>")), ossec.Wazuh)
	if cfg == nil || len(findings) > 0 {
		t.Fatal(findings)
	}
	if len(cfg.Unused) != 2 || cfg.Unused[0].Name != "syscheck" || cfg.Alerts != (Alerts{5, 12}) || !cfg.Global.JSONOut || cfg.Global.MemorySize != 8192 || cfg.Off {
		t.Errorf("%+v", cfg)
	}
	cfg, _ = Parse("f", nil, ossec.OSSEC)
	if cfg.Alerts != (Alerts{1, 7}) || cfg.Global.JSONOut || !cfg.Global.AlertsLog {
		t.Errorf("%+v", cfg)
	}
	if _, findings := Load(filepath.Join(t.TempDir(), "none"), ossec.Wazuh); len(findings) != 1 || findings[0].Code != "unreadable" {
		t.Error(findings)
	}
}

// TestStock reads OSSEC's own server configuration.
func TestStock(t *testing.T) {
	root := os.Getenv("RIPOSTE_CONFORMANCE")
	if root == "" {
		root = "../../../../shared/conformance"
	}
	path := filepath.Join(root, "ossec", "ossec-server.conf")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no conformance data: %v (set RIPOSTE_CONFORMANCE)", err)
	}
	cfg, findings := Load(path, ossec.OSSEC)
	if cfg == nil {
		t.Fatal(findings)
	}
	for _, f := range findings {
		t.Error(f)
	}
	if len(cfg.Rules) != 67 || cfg.Rules[0].Path != "rules_config.xml" || len(cfg.Commands) < 2 || len(cfg.Responses) < 2 || len(cfg.LocalFiles) == 0 || len(cfg.Global.AllowList) != 6 {
		t.Errorf("%d rules, %d commands, %d responses, %d files, %d allowed", len(cfg.Rules), len(cfg.Commands), len(cfg.Responses), len(cfg.LocalFiles), len(cfg.Global.AllowList))
	}
	if p := cfg.Responses[0]; p.Timeout != 10*time.Minute {
		t.Errorf("%+v", p)
	}
}

// TestManager reads a configuration with all that a Wazuh 4 manager has.
func TestManager(t *testing.T) {
	cfg, findings := Load("testdata/manager.conf", ossec.Wazuh)
	if cfg == nil || len(findings) > 0 {
		t.Fatal(findings)
	}
	if len(cfg.Commands) != 8 || len(cfg.Responses) != 2 || len(cfg.LocalFiles) != 5 || len(cfg.Rules) != 6 || len(cfg.Unused) != 11 || cfg.Alerts != (Alerts{3, 12}) {
		t.Errorf("%d commands, %d responses, %d files, %d rule entries, %d unused", len(cfg.Commands), len(cfg.Responses), len(cfg.LocalFiles), len(cfg.Rules), len(cfg.Unused))
	}
	if c := cfg.Responses[1].Command; c.Needs != (Needs{Kind: riposte.Address, Optional: true}) || fmt.Sprint(c.ExtraArgs) != "[--zone dmz]" {
		t.Errorf("%+v", c)
	}
}

// TestManyFindings bounds what is said about a file.
func TestManyFindings(t *testing.T) {
	_, findings := Inspect("f", []byte(conf(strings.Repeat("<zzzzz/>", 5000))), ossec.Wazuh)
	if len(findings) != maxFindings+1 || findings[maxFindings].Code != "too-many" || !ossec.Failed(findings) {
		t.Errorf("%d findings, the last %v", len(findings), findings[len(findings)-1])
	}
}

func FuzzInspect(f *testing.F) {
	for _, s := range []string{
		conf(cmdF, ar("command fw", "location local,defined-agent", "agent_id 1,2", "level 7", "rules_id 1,2", "rules_group a,b|c", "timeout 10m", "repeated_offenders 1,2")),
		seed4, "<ACtive‐resp></>", "<active‐response><command>а</command></active‐response>",
		conf("<global><white_list>!10.0.0.0/255.0.0.0</white_list><email_to>a@b</email_to></global><localfile><log_format>multi-line:3</log_format><location>/a,/b</location></localfile>"),
		conf("<remote><connection>syslog</connection><allowed-ips>any</allowed-ips></remote><ruleset><rule_dir pattern='x'>y</rule_dir></ruleset>"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
			cfg, findings := Inspect("f", src, d)
			if cfg == nil {
				t.Fatal("no config")
			}
			for _, x := range findings {
				if x.Pos.Offset < 0 || x.Pos.Offset > len(src) || x.Len < 0 || x.Pos.Offset+x.Len > len(src)+64 {
					t.Fatalf("impossible place %+v", x)
				}
				for _, e := range []*ossec.Edit{x.Fix, x.Also} {
					if e != nil && (e.Offset < 0 || e.Offset+e.Len > len(src)) {
						t.Fatalf("impossible fix %+v of %v", e, x)
					}
				}
			}
			ossec.Mend("f", src, findings)
		}
	})
}
