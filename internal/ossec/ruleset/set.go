// Package ruleset reads the decoders, rules and lists of OSSEC and Wazuh into
// one immutable Set and finds every mistake in them, each with its file, line
// and column. It says what a ruleset means; package analysis applies it.
package ruleset

import (
	"time"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
)

// Set is a whole ruleset. It never changes once loaded and is safe for
// concurrent use.
type Set struct {
	Dialect  ossec.Dialect
	Program  []*Decoder // root decoders with a program_name, in load order
	Plain    []*Decoder // root decoders without, in load order
	Decoders []*Decoder // all of them in load order; Decoder.Index is the place here
	Rules    []*Rule    // the rules in force in load order; Rule.Index is the place here
	Roots    []*Node    // the rule tree
	Watches  []*Watch   // the histories that correlation rules search
	Fields   []string   // lower-cased names of the dynamic fields that rules and decoders ask for
	Longest  int        // the largest stored frequency, which bounds the history (spec 5.9.1)

	LogLevel  int // <alerts><log_alert_level>
	MaxFields int // dynamic fields that an event can have

	fieldIDs map[string]int
	ruleIDs  map[int]*Rule
	nodes    int
	events   *Decoder
}

// Rule returns the rule in force with the given id.
func (s *Set) Rule(id int) (*Rule, bool) {
	r, ok := s.ruleIDs[id]
	return r, ok
}

// FieldID returns the place of a dynamic field's name in Fields, -1 for a name
// that nothing in the set asks for. The name must be in lower case.
func (s *Set) FieldID(lower string) int {
	if id, ok := s.fieldIDs[lower]; ok {
		return id
	}
	return -1
}

// FieldIDBytes is FieldID for a name in a buffer.
func (s *Set) FieldIDBytes(lower []byte) int {
	if id, ok := s.fieldIDs[string(lower)]; ok {
		return id
	}
	return -1
}

// Lookback is the longest time for which any rule remembers events.
func (s *Set) Lookback() time.Duration {
	most := 0
	for _, r := range s.Rules {
		if r.Correlate != nil {
			most = max(most, r.Timeframe)
		}
	}
	return time.Duration(most) * time.Second
}

// Nodes is the number of nodes in the rule tree; Node.Index is below it.
func (s *Set) Nodes() int { return s.nodes }

// EventChannel is the internal decoder of Windows events.
func (s *Set) EventChannel() *Decoder { return s.events }

// Node is one place of a rule in the tree. A rule that was put below several
// parents has a node below each, with children of its own.
type Node struct {
	Index    int
	Rule     *Rule
	Parent   *Node
	Children []*Node // in the order in which they are tried
}

// Rule is one rule as it is in force, overwrites applied.
type Rule struct {
	Index       int
	ID          int
	Level       int
	Pos         ossec.Pos // of <rule
	Groups      string    // of the file and of the rule, in one text
	Description string
	Parts       []Part // the description cut at its $(field) references; nil when it has none
	Category    Category
	Parents     []int // the ids of if_sid as written

	Conditions []Condition // in the order in which the real systems test them, stateful ones last
	Correlate  *Correlate
	Feeds      []int // the histories (Set.Watches) that an event of this rule is added to, repeats intended

	Frequency int // as stored: N-2 in Wazuh, N in OSSEC
	Timeframe int // seconds
	Written   int // frequency as written, 0 when not
	Ignore    int // seconds for which the rule is silent after it fired

	NoAlert     bool // only its children can be final
	Log         bool // an alert is to be written
	Mail        bool
	NoAR        bool
	NoFullLog   bool
	NoCounter   bool
	IgnoreKeys  *Key // what <ignore> remembers
	IgnoreCheck *Key // what <check_if_ignored> asks for

	MITRE []Technique
	Info  []Info
}

// Technique is a MITRE ATT&CK technique as the rule gives it: an ID alone in
// the older form, a tactic and a technique in the newer.
type Technique struct{ ID, Tactic string }

// Info is a reference: Kind is text, link, cve or osvdb.
type Info struct{ Kind, Text string }

// Part is a piece of a description: text, or a reference when Field is true.
type Part struct {
	Text  string // literal text, or the field's name
	Field bool
}

// Watch is one history of events that correlation rules search.
type Watch struct {
	Kind  WatchKind
	Rule  *Rule   // the watched rule (BySID), the watching one (ByGroup)
	Users []*Rule // the rules that search it
}

// WatchKind says what a history holds.
type WatchKind uint8

// The kinds of history.
const (
	BySID   WatchKind = iota // events of one rule
	ByGroup                  // events of all rules of a group
	ByAny                    // the last events of all rules
)

// Correlate is what a frequency rule asks of the events before.
type Correlate struct {
	Watch  int // place in Set.Watches, -1: nothing to search, never true
	Kind   WatchKind
	Regex  *pattern.Pattern // if_matched_regex (ByAny)
	Global bool             // over all agents

	Same      []Operand // present in both and equal
	Different []Operand // not present in both and equal
	Strict    bool      // OSSEC: the Different ones must be present in both and different
	Fields    []int     // same_field: Set.Fields
	NotFields []int     // not_same_field
}

// Operand is something of an event that two events are compared by.
type Operand uint8

// The operands beyond the slots, which are operands by their own number.
const (
	OperandLocation Operand = Operand(SlotCount) + iota
	OperandHost
)

// Key says which parts of an event make up a first-time-seen or ignore key.
type Key struct {
	Slots    uint32 // 1<<Slot
	Name     bool   // the decoder's name (ignore keys only)
	Location bool
	Fields   []string // dynamic fields
}

// Has reports whether the slot is part of the key.
func (k *Key) Has(s Slot) bool { return k.Slots&(1<<s) != 0 }
