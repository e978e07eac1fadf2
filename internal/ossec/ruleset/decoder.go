package ruleset

import (
	"fmt"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
)

// Decoder takes records apart.
type Decoder struct {
	Index  int
	ID     int    // equal for decoders of the same final name
	Name   string // final: a child has its parent's name unless it keeps its own
	Given  string // as written
	Parent string // as written, "" for a root
	Pos    ossec.Pos

	Program        *pattern.Pattern
	Prematch       *pattern.Pattern
	PrematchOffset Offset // NoOffset or AfterParent
	Regex          *pattern.Pattern
	RegexOffset    Offset
	RegexText      string   // as written
	Order          []Target // what the captures of Regex are
	FTS            *Key     // what makes an event new; nil when the decoder has no fts
	FTSComment     string
	Type           Category
	Plugin         Plugin
	PluginOffset   Offset
	Accumulate     bool
	NullDiscard    bool // json_null_field=discard
	CSV            bool // json_array_structure=csv
	OwnName        bool

	// Next: a later child has the same written name, so the two (and what
	// stands between them) make a chain.
	Next     bool
	Children []*Decoder
}

// Target is where a capture goes: a slot, or a dynamic field.
type Target struct {
	Slot    Slot
	Dynamic bool
	Name    string // of a dynamic field, as written
	Field   int    // of a dynamic field: its place in Set.Fields
}

// Offset says where in the record an expression of a decoder starts.
type Offset uint8

// The offsets.
const (
	NoOffset Offset = iota
	AfterParent
	AfterPrematch
	AfterRegex
)

var offsetNames = map[string]Offset{
	"after_parent": AfterParent, "after_prematch": AfterPrematch, "after_regex": AfterRegex,
}

// Plugin is a decoder that is code.
type Plugin uint8

// The plug-in decoders.
const (
	NoPlugin Plugin = iota
	PF
	SymantecWS
	SonicWall
	OSSECAlertPlugin
	JSON
)

var pluginNames = map[string]Plugin{
	"PF_Decoder": PF, "SymantecWS_Decoder": SymantecWS, "SonicWall_Decoder": SonicWall,
	"OSSECAlert_Decoder": OSSECAlertPlugin, "JSON_Decoder": JSON,
}

// slotsByOrder are the names that <order> has for slots.
var slotsByOrder = map[string]Slot{
	"dstuser": DstUser, "user": DstUser, "srcuser": SrcUser, "srcip": SrcIP, "dstip": DstIP, "srcport": SrcPort,
	"dstport": DstPort, "protocol": Protocol, "action": Action, "id": ID, "url": URL, "data": Data,
	"extra_data": ExtraData, "status": Status, "system_name": SystemName,
}

// internalDecoders are the decoders that exist without a file.
var internalDecoders = [...][]string{
	ossec.Wazuh: {
		"rootcheck", "syscheck_integrity_changed", "syscheck_new_entry", "syscheck_deleted",
		"syscheck_registry_key_modified", "syscheck_registry_key_added", "syscheck_registry_key_deleted",
		"syscheck_registry_value_modified", "syscheck_registry_value_added", "syscheck_registry_value_deleted",
		"hostinfo_new", "hostinfo_modified", "syscollector", "ciscat", "windows_eventchannel", "sca",
	},
	ossec.OSSEC: {
		"rootcheck", "syscheck_integrity_changed", "syscheck_integrity_changed_2nd", "syscheck_integrity_changed_3rd",
		"syscheck_new_entry", "syscheck_deleted", "hostinfo_new", "hostinfo_modified",
	},
}

// order reads the names of <order>.
func (l *loader) orderList(s string) []Target {
	var out []Target
	for part := range strings.SplitSeq(s, ",") {
		name := firstWord(strings.TrimLeft(part, " "))
		if slot, ok := slotsByOrder[name]; ok {
			if slot == ExtraData && !l.wazuh() {
				slot = Data
			}
			out = append(out, Target{Slot: slot, Name: name})
			continue
		}
		if !l.wazuh() {
			if strings.Contains(name, "filename") {
				out = append(out, Target{Slot: Filename, Name: name})
				continue
			}
			// OSSEC takes only one leading space off a dynamic name.
			trimmed := strings.TrimPrefix(part, " ")
			lead := len(trimmed) - len(strings.TrimLeft(trimmed, " "))
			name = strings.Repeat(" ", lead) + name
		}
		out = append(out, Target{Dynamic: true, Name: name, Field: l.field(name)})
	}
	return out
}

func firstWord(s string) string {
	if i := strings.IndexByte(s, ' '); i >= 0 {
		return s[:i]
	}
	return s
}

// ftsWazuh are the names that Wazuh's <fts> and <ignore> have for slots.
var ftsWazuh = map[string]Slot{
	"dstuser": DstUser, "user": DstUser, "srcuser": SrcUser, "srcip": SrcIP, "dstip": DstIP, "id": ID,
	"data": Data, "extra_data": Data, "system_name": SystemName,
}

// ftsOSSEC are the words that OSSEC looks for in a name of <fts>, in the order
// in which it looks: "srcuser" contains "user", so it means dstuser.
var ftsOSSEC = []struct {
	word string
	slot Slot
}{
	{"dstuser", DstUser}, {"user", DstUser}, {"srcip", SrcIP}, {"dstip", DstIP}, {"id", ID}, {"location", SlotCount},
	{"data", Data}, {"extra_data", Data}, {"system_name", SystemName}, {"name", SlotCount},
}

// ftsKey reads the names of a decoder's <fts>.
func (l *loader) ftsKey(s string, order []Target) (*Key, error) {
	k := &Key{}
	for _, name := range commaList(s) {
		if l.wazuh() {
			if slot, ok := ftsWazuh[name]; ok {
				k.Slots |= 1 << slot
				continue
			}
			switch {
			case name == "location":
				k.Location = true
			case name == "name":
			case isDynamic(order, name):
				k.Fields = append(k.Fields, name)
			default:
				return nil, fmt.Errorf("%q is neither a static field nor one of the decoder's order", name)
			}
			continue
		}
		if err := k.addOSSEC(name); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *Key) addOSSEC(name string) error {
	for _, w := range ftsOSSEC {
		if !strings.Contains(name, w.word) {
			continue
		}
		switch w.word {
		case "location":
			k.Location = true
		case "name":
			k.Name = true
		default:
			k.Slots |= 1 << w.slot
		}
		return nil
	}
	return fmt.Errorf("%q is no field that can be remembered", name)
}

func isDynamic(order []Target, name string) bool {
	for _, t := range order {
		if t.Dynamic && t.Name == name {
			return true
		}
	}
	return false
}
