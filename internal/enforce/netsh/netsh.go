// Package netsh blocks addresses with the Windows firewall: one rule for each
// target, which names it,
//
//	netsh.exe advfirewall firewall add rule name=riposte-203.0.113.9 dir=in action=block remoteip=203.0.113.9
//
// as OSSEC's firewall-drop.cmd and Wazuh's netsh.exe do under other names. A
// rule that blocks wins over any that allows. The name marks a rule as ours, so
// that ours alone are listed and deleted; the rules are read from the registry,
// since what netsh prints is in the system's language. Windows keeps its rules
// over a restart.
package netsh

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// Name is how receipts call the mechanism.
const Name = "windows firewall"

// mark begins the names of our rules.
const mark = "riposte-"

// policy is where Windows keeps the firewall's profiles and rules.
const policy = `HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy`

// New blocks by rules of the Windows firewall; run runs netsh.exe and reg.exe.
func New(run enforce.Runner) *tool.Mechanism {
	return tool.New(tool.System{
		Name:    Name,
		Durable: true,
		Marked:  true,
		Once:    true, // netsh takes a second rule of the same name
		Ready:   ready,
		Add: func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string {
				return []string{"netsh.exe", "advfirewall", "firewall", "add", "rule",
					"name=" + mark + tool.Client(p), "dir=in", "action=block", "remoteip=" + tool.Client(p)}
			})
		},
		Delete: func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string {
				return []string{"netsh.exe", "advfirewall", "firewall", "delete", "rule", "name=" + mark + tool.Client(p)}
			})
		},
		Show: func([]netip.Prefix) []tool.Command {
			return []tool.Command{{Argv: []string{"reg.exe", "query", policy + `\FirewallRules`}}}
		},
		Parse: parse,
	}, run)
}

// ready reports that the firewall is switched off in every profile, so that no
// rule counts. A profile that is off while another is on is the operator's
// choice.
func ready(ctx context.Context, run enforce.Runner) error {
	var unread error
	for _, profile := range []string{"DomainProfile", "StandardProfile", "PublicProfile"} {
		out, _, err := run(ctx, []string{"reg.exe", "query", policy + `\` + profile, "/v", "EnableFirewall"}, nil)
		if err != nil {
			unread = err
			continue
		}
		for line := range bytes.Lines(out) {
			words := strings.Fields(string(line))
			if len(words) == 3 && words[0] == "EnableFirewall" && words[2] == "0x1" {
				return nil
			}
		}
	}
	if unread != nil {
		return unread
	}
	return errors.New("the Windows firewall is switched off in every profile (netsh advfirewall set allprofiles state on)")
}

// parse reads the rules in the registry. Each is a value of fields between bars:
//
//	{GUID}    REG_SZ    v2.31|Action=Block|Active=TRUE|Dir=In|RA4=203.0.113.9|Name=riposte-203.0.113.9|
func parse(out []byte) []netip.Prefix {
	var found []netip.Prefix
	for line := range bytes.Lines(out) {
		var name string
		blocks, active := false, false
		for field := range strings.SplitSeq(strings.TrimSpace(string(line)), "|") {
			switch key, value, _ := strings.Cut(field, "="); key {
			case "Name":
				name = value
			case "Action":
				blocks = value == "Block"
			case "Active":
				active = value == "TRUE"
			}
		}
		if text, ours := strings.CutPrefix(name, mark); ours && blocks && active {
			if p, ok := tool.ParseClient(text); ok {
				found = append(found, p)
			}
		}
	}
	return found
}
