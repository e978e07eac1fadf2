package all

import (
	"strings"
)

// duty is what a stock program is for. A duty has one or more mechanisms that
// can do it, the best first.
type duty string

// The duties.
const (
	firewall        duty = "firewall"
	zoneFirewall    duty = "firewalld"
	hostDeny        duty = "hosts.deny"
	nullRoute       duty = "null route"
	packetFilter    duty = "pf"
	npfTable        duty = "npf"
	ipfwTable       duty = "ipfw"
	windowsFirewall duty = "windows firewall"
	lockAccount     duty = "account"
	restartSelf     duty = "restart"
	restartService  duty = "restart service"
	removeFile      duty = "quarantine"
	isolateHost     duty = "isolate"
	sendMail        duty = "mail"
	postSlack       duty = "slack"
	postWebhook     duty = "webhook"
)

// stock lists the programs that riposte stands in for, by file name without the
// extension of a platform: those of OSSEC and Wazuh (spec/active-response.md
// 4.1 to 4.3 and 7), and riposte's own: quarantine, isolate-host, restart-service, webhook, and
// mail-test, which ships with neither.
var stock = map[string]duty{
	"firewall-drop":         firewall,
	"default-firewall-drop": firewall,
	"firewalld-drop":        zoneFirewall,
	"nftables-drop":         firewall,
	"block-ip":              firewall,
	"host-deny":             hostDeny,
	"route-null":            nullRoute,
	"route-null-2012":       nullRoute,
	"win_route-null":        nullRoute,
	"pf":                    packetFilter,
	"npf":                   npfTable,
	"ipfw":                  ipfwTable,
	"ipfw_mac":              ipfwTable,
	"netsh":                 windowsFirewall,
	"netsh-win-2016":        windowsFirewall,
	"disable-account":       lockAccount,
	"restart-ossec":         restartSelf,
	"restart-wazuh":         restartSelf,
	"restart":               restartSelf,
	"restart-service":       restartService,
	"quarantine":            removeFile,
	"isolate-host":          isolateHost,
	"mail-test":             sendMail,
	"ossec-slack":           postSlack,
	"wazuh-slack":           postSlack,
	"webhook":               postWebhook,
}

// dutyOf returns the duty of a stock program, whatever platform's extension it
// bears.
func dutyOf(executable string) (duty, bool) {
	name := strings.ToLower(executable)
	for _, ext := range []string{".sh", ".cmd", ".exe", ".bat", ".ps1", ".py"} {
		if base, ok := strings.CutSuffix(name, ext); ok {
			name = base
			break
		}
	}
	d, ok := stock[name]
	return d, ok
}
