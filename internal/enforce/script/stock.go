package script

// stock holds what is peculiar about scripts that ship with OSSEC or Wazuh.
type stock struct {
	status bool // always ends with status 1, so that the status says nothing
	once   bool // one-time by nature: there is nothing to take back, and "delete" would do it again
}

// quirks lists the stock scripts that do not keep the contract, by file name
// (spec/active-response.md 4.1, 4.3 and defect 42). A script of one's own that
// bears such a name is treated like it.
var quirks = map[string]stock{
	"disable-account.sh": {status: true},
	"ip-customblock.sh":  {status: true},
	"restart-ossec.sh":   {once: true},
	"restart-ossec.cmd":  {once: true},
	"restart-wazuh":      {once: true},
	"restart-wazuh.exe":  {once: true},
	"restart.sh":         {once: true},
	"ossec-slack.sh":     {once: true},
	"ossec-tweeter.sh":   {once: true},
	"ossec-pagerduty.sh": {once: true},
	"wazuh-slack":        {once: true},
	"kaspersky":          {once: true},
	"kaspersky.py":       {once: true},
	"mail-test.sh":       {once: true},
}

// once reports whether an effect of the script has no undo.
//
// An argument script is always undone with "delete": that is all that its
// contract knows. A script declared to be of Wazuh 4 or 5 is undone if it asked
// check_keys, for by that it says that it can be; there the real executor runs
// no undo, silently, where riposte's receipt says it. A script that may be of
// either kind is undone, asked or not: a "delete" too many is the smaller harm.
func once(name string, g Generation, asked bool) bool {
	return quirks[name].once || !asked && (g == Wazuh4 || g == Wazuh5)
}
