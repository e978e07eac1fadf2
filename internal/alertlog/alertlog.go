// Package alertlog writes and reads the three logs that OSSEC and Wazuh users
// know: alerts.json, alerts.log and active-responses.log. Encoders append to a
// buffer that the caller owns, Writer keeps the files, Parse reads alerts that
// another engine wrote. It decides nothing: what is an alert and what became of
// a response is said by others.
//
// Nothing that an attacker can put into a log record can forge anything in
// these files. In JSON every control character is escaped, and a byte that is
// not part of valid UTF-8 is carried as the four characters \xNN. In text, in
// addition, line breaks are written \n and \r, and a record that looks like a
// line of an alert block is set off by one space.
package alertlog

// staticFields are the names of the fields that have a place of their own in
// the dialect, in the order in which Wazuh writes them. "filename" is OSSEC's.
var staticFields = [...]string{
	"protocol", "action", "srcip", "srcport", "srcuser", "dstip", "dstport", "dstuser",
	"id", "status", "url", "data", "extra_data", "system_name",
}

func isStatic(name string) bool { return staticIndex(name) >= 0 }

// staticIndex returns the place of a name in staticFields, -1 for others.
func staticIndex(name string) int {
	switch name {
	case "protocol":
		return 0
	case "action":
		return 1
	case "srcip":
		return 2
	case "srcport":
		return 3
	case "srcuser":
		return 4
	case "dstip":
		return 5
	case "dstport":
		return 6
	case "dstuser":
		return 7
	case "id":
		return 8
	case "status":
		return 9
	case "url":
		return 10
	case "data":
		return 11
	case "extra_data":
		return 12
	case "system_name":
		return 13
	}
	return -1
}

// groupLists are the compliance standards whose names prefix a group and which
// Wazuh writes as arrays of their own beside "groups".
var groupLists = [...]string{"pci_dss", "cis", "gdpr", "gpg13", "hipaa", "nist_800_53", "tsc"}

// groupList returns the index in groupLists of the standard a group belongs to,
// or -1.
func groupList(group string) int {
	for i, l := range groupLists {
		if len(group) > len(l) && group[len(l)] == '_' && group[:len(l)] == l {
			return i
		}
	}
	return -1
}

// ossecMembers are the members of an alert in OSSEC's layout that are no
// decoded fields; "id" is there the alert's, not the event's.
var ossecMembers = [...]string{
	"rule", "id", "TimeStamp", "decoder", "decoder_parent", "location", "full_log", "previous_output",
	"SyscheckFile", "hostname", "program_name", "decoder_desc", "agent_name", "agentip", "timestamp",
	"logfile", "srcgeoip", "dstgeoip",
}

func isOSSECMember(name string) bool {
	for _, m := range ossecMembers {
		if m == name {
			return true
		}
	}
	return false
}

// ossecField is the field that a member of an alert in OSSEC's layout holds.
func ossecField(member string) string {
	if member == "systemname" {
		return "system_name"
	}
	return member
}
