package ruleset

import "fmt"

// Slot is one of the static fields that an event can have.
type Slot uint8

// The slots. Filename exists in OSSEC only; OSSEC has one slot for data and
// extra_data, which is Data here.
const (
	DstUser Slot = iota
	SrcUser
	SrcIP
	DstIP
	SrcPort
	DstPort
	Protocol
	Action
	ID
	URL
	Data
	ExtraData
	Status
	SystemName
	Filename
	SrcGeo
	DstGeo
	SlotCount
)

var slotNames = [SlotCount]string{
	"dstuser", "srcuser", "srcip", "dstip", "srcport", "dstport", "protocol", "action", "id", "url",
	"data", "extra_data", "status", "system_name", "filename", "srcgeoip", "dstgeoip",
}

func (s Slot) String() string {
	if s < SlotCount {
		return slotNames[s]
	}
	return fmt.Sprintf("slot(%d)", uint8(s))
}

// Category is the type of a decoder and the category of a root rule.
type Category uint8

// The categories. OSSECAlert is set by the plug-in decoder of that name only.
const (
	Syslog Category = iota + 1
	IDS
	Firewall
	WebLog
	Squid
	Windows
	HostInformation
	Internal
	OSSECAlert
)

var categoryNames = map[string]Category{
	"syslog": Syslog, "ids": IDS, "firewall": Firewall, "web-log": WebLog, "squid": Squid,
	"windows": Windows, "host-information": HostInformation, "ossec": Internal,
}

func (c Category) String() string {
	for n, k := range categoryNames {
		if k == c {
			return n
		}
	}
	if c == OSSECAlert {
		return "ossec-alert"
	}
	return fmt.Sprintf("category(%d)", uint8(c))
}
