package ruleset

import (
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
)

// Condition is one thing that a rule asks of an event. A slot or field that the
// event does not have fails the condition, negated or not.
type Condition struct {
	Kind     Kind
	Slot     Slot             // SlotText, Address, List
	Field    int              // Field, List: place in Set.Fields
	Pattern  *pattern.Pattern // text conditions
	Negate   bool             // the expression must not match
	Decoder  int              // DecodedAs: Decoder.ID
	Address  *Addresses       // Address
	Compiled Compiled         // CompiledRule
	Size     int              // Size: least bytes of the record
	Hours    Hours            // Hour
	Days     Weekdays         // Weekday
	List     *Lookup          // List
	Of       Kind             // List: what is looked up: SlotText, Field, User, Program or Host
	Name     string           // of the element as written: "match", "field", …
	Text     string           // the expression as written
	Pos      ossec.Pos
}

// Kind is what a condition looks at, in the order in which the real systems
// look.
type Kind uint8

// The kinds of condition.
const (
	DecodedAs    Kind = iota
	Program           // program_name
	SlotText          // one of the slots
	Match             // the record
	Location          // the location
	Field             // a dynamic field
	Address           // srcip, dstip
	CompiledRule      // code
	User              // dstuser, else srcuser
	Size              // maxsize
	Hour              // time
	Weekday           // weekday
	Host              // hostname
	Diff              // check_diff; remembers
	FTS               // if_fts; remembers
	InList            // list
)

// Compiled is a condition that is code.
type Compiled uint8

// The compiled conditions.
const (
	SimpleHTTPRequest Compiled = iota + 1
	ValidCrawler
	SrcUserDstUser
	IDSize
	TargetCallerUser
)

var compiledNames = map[string]Compiled{
	"is_simple_http_request": SimpleHTTPRequest, "is_valid_crawler": ValidCrawler,
	"comp_srcuser_dstuser": SrcUserDstUser, "check_id_size": IDSize,
	"comp_mswin_targetuser_calleruser_diff": TargetCallerUser,
}

// textElement is a rule element that holds an expression.
type textElement struct {
	name     string
	kind     Kind
	slot     Slot
	wazuh    bool           // Wazuh only
	syntax   pattern.Syntax // when no type is given
	twin     string         // OSSEC's PCRE2 form
	position int            // among the conditions of a rule (spec 5.7)
}

// textElements are the elements that hold an expression, with their place in
// the order of tests.
var textElements = []textElement{
	{"program_name", Program, 0, false, pattern.OSMatch, "program_name_pcre2", 1},
	{"id", SlotText, ID, false, pattern.OSMatch, "id_pcre2", 2},
	{"system_name", SlotText, SystemName, true, pattern.OSMatch, "", 3},
	{"protocol", SlotText, Protocol, true, pattern.OSMatch, "", 4},
	{"match", Match, 0, false, pattern.OSMatch, "match_pcre2", 5},
	{"regex", Match, 0, false, pattern.OSRegex, "pcre2", 6},
	{"action", SlotText, Action, false, pattern.Exact, "", 7},
	{"url", SlotText, URL, false, pattern.OSMatch, "url_pcre2", 8},
	{"location", Location, 0, true, pattern.OSMatch, "", 9},
	{"srcport", SlotText, SrcPort, false, pattern.OSMatch, "srcport_pcre2", 13},
	{"dstport", SlotText, DstPort, false, pattern.OSMatch, "dstport_pcre2", 14},
	{"user", User, 0, false, pattern.OSMatch, "user_pcre2", 16},
	{"srcgeoip", SlotText, SrcGeo, false, pattern.OSMatch, "srcgeoip_pcre2", 17},
	{"dstgeoip", SlotText, DstGeo, false, pattern.OSMatch, "dstgeoip_pcre2", 18},
	{"data", SlotText, Data, true, pattern.OSMatch, "", 22},
	{"extra_data", SlotText, ExtraData, false, pattern.OSMatch, "extra_data_pcre2", 23},
	{"hostname", Host, 0, false, pattern.OSMatch, "hostname_pcre2", 24},
	{"status", SlotText, Status, false, pattern.OSMatch, "status_pcre2", 25},
}

// Places of the other conditions in the order of tests.
const (
	placeDecoded  = 0
	placeField    = 10
	placeSrcIP    = 11
	placeDstIP    = 12
	placeCompiled = 15
	placeSize     = 19
	placeHour     = 20
	placeWeekday  = 21
	placeDiff     = 26
	placeFTS      = 27
	placeList     = 28
)

// element finds the expression element of a (lower-cased) name; pcre says that
// it is the PCRE2 form.
func (l *loader) element(name string) (e *textElement, pcre, ok bool) {
	for i := range textElements {
		e := &textElements[i]
		switch {
		case name == e.name && (!e.wazuh || l.wazuh()):
			return e, false, true
		case name == e.twin && name != "" && !l.wazuh():
			return e, true, true
		}
	}
	return nil, false, false
}

// operands are the words behind same_ and different_.
var operands = map[string]Operand{
	"source_ip": Operand(SrcIP), "srcip": Operand(SrcIP), "dstip": Operand(DstIP),
	"src_port": Operand(SrcPort), "srcport": Operand(SrcPort), "dst_port": Operand(DstPort), "dstport": Operand(DstPort),
	"srcuser": Operand(SrcUser), "user": Operand(DstUser), "protocol": Operand(Protocol), "action": Operand(Action),
	"id": Operand(ID), "url": Operand(URL), "data": Operand(Data), "extra_data": Operand(ExtraData),
	"status": Operand(Status), "system_name": Operand(SystemName), "srcgeoip": Operand(SrcGeo), "dstgeoip": Operand(DstGeo),
	"location": OperandLocation,
}

// relation takes a same_…, different_… or not_same_… element apart.
func (l *loader) relation(name string) (op Operand, different, ok bool) {
	if word, found := strings.CutPrefix(name, "same_"); found {
		op, ok = operands[word]
		if !l.wazuh() {
			switch word {
			case "source_ip", "id", "src_port", "dst_port", "user":
			case "location":
				op = OperandHost
			default:
				ok = false
			}
		}
		return op, false, ok
	}
	word, found := strings.CutPrefix(name, "different_")
	if !found {
		word, found = strings.CutPrefix(name, "not_same_")
		if word != "source_ip" && word != "user" && word != "id" {
			return 0, false, false
		}
	} else if word == "source_ip" {
		return 0, false, false
	}
	op, ok = operands[word]
	if !l.wazuh() && strings.HasPrefix(name, "different_") && word != "url" && word != "srcip" && word != "srcgeoip" {
		ok = false
	}
	return op, true, found && ok
}
