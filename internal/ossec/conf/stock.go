package conf

import (
	"strings"

	"riposte"
)

// stockKinds says what the programs that ship with OSSEC and Wazuh act on, by
// file name without the extension of its platform (spec/active-response.md
// 4.1 to 4.3 and 7), and riposte's own.
var stockKinds = map[string]riposte.Kind{
	"firewall-drop":         riposte.Address,
	"default-firewall-drop": riposte.Address,
	"firewalld-drop":        riposte.Address,
	"nftables-drop":         riposte.Address,
	"host-deny":             riposte.Address,
	"route-null":            riposte.Address,
	"route-null-2012":       riposte.Address,
	"pf":                    riposte.Address,
	"npf":                   riposte.Address,
	"ipfw":                  riposte.Address,
	"ipfw_mac":              riposte.Address,
	"ip-customblock":        riposte.Address,
	"netsh":                 riposte.Address,
	"win_route-null":        riposte.Address,
	"block-ip":              riposte.Address,
	"netsh-win-2016":        riposte.Address,
	"cloudflare-ban":        riposte.Address,
	"ossec-aws-waf":         riposte.Address,
	"disable-account":       riposte.User,
	"restart-ossec":         riposte.None,
	"restart-wazuh":         riposte.None,
	"restart":               riposte.None,
	"mail-test":             riposte.None,
	"ossec-slack":           riposte.None,
	"ossec-tweeter":         riposte.None,
	"ossec-pagerduty":       riposte.None,
	"wazuh-slack":           riposte.None,
	"kaspersky":             riposte.None,
	"quarantine":            riposte.File,
	"isolate-host":          riposte.None,
	"restart-service":       riposte.None,
	"webhook":               riposte.None,
}

// StockKind returns what a program that ships with OSSEC or Wazuh acts on.
func StockKind(executable string) (riposte.Kind, bool) {
	name := strings.ToLower(executable)
	for _, ext := range []string{".sh", ".cmd", ".exe", ".py", ".bat", ".ps1"} {
		name = strings.TrimSuffix(name, ext)
	}
	k, ok := stockKinds[name]
	return k, ok
}
