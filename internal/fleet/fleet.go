// Package fleet is the language that servers and agents speak: the subjects
// they speak on, what they say, how an order is signed, and how events and
// receipts are packed. It holds no connection and knows no broker; what comes
// from the other end is bounded and judged here before anybody acts on it.
//
// Foreign text in orders and receipts may hold any byte, and a target must
// arrive as it was sent, so everything that is JSON goes through Encode and
// Decode, which keep strings that are not UTF-8.
package fleet

import (
	"strings"
	"time"

	"riposte"
)

// The streams and buckets that servers keep in the broker.
const (
	EventStream   = "EVENTS"
	OrderStream   = "ORDERS"
	ReceiptStream = "RECEIPTS"
	AgentBucket   = "riposte_agents"
	TokenBucket   = "riposte_tokens"
	StateBucket   = "riposte_state"
)

// JoinSubject is asked by whoever holds an enrolment token.
const JoinSubject = "riposte.join"

// All addresses an order to every host of the fleet.
const All = "all"

// Server is the id of the server among the hosts, OSSEC's agent 000.
const Server = "000"

// EventSubject is where the agent id sends its events. Here and below, "*" in
// place of an id names the subjects of all agents.
func EventSubject(id string) string { return "riposte.event." + id }

// ReceiptSubject is where the agent id sends its receipts.
func ReceiptSubject(id string) string { return "riposte.receipt." + id }

// PresenceSubject is where the agent id says that it lives.
func PresenceSubject(id string) string { return "riposte.presence." + id }

// SyncSubject is where the agent id asks for the orders it has not seen.
func SyncSubject(id string) string { return "riposte.sync." + id }

// RekeySubject is where the agent id brings a new public key.
func RekeySubject(id string) string { return "riposte.rekey." + id }

// OrderSubject is where servers publish orders to All or an agent.
func OrderSubject(to string) string { return "riposte.order." + to }

// LiveSubject is where stored orders to All or an agent are heard at once.
func LiveSubject(to string) string { return "riposte.live." + to }

// Inbox is the prefix below which the agent id gets answers.
func Inbox(id string) string { return "_INBOX." + id }

// JoinInbox is the prefix below which the holder of a token gets its answer.
func JoinInbox(token string) string { return "_INBOX.join." + token }

// Speaker returns the id that ends a subject of an agent's: "001" of
// riposte.event.001. ok is false when there is none; the broker saw to it that
// it is the id of the connection that sent it.
func Speaker(subject string) (id string, ok bool) {
	id = subject[strings.LastIndexByte(subject, '.')+1:]
	return id, ValidID(id)
}

// ValidID reports whether id is written as OSSEC writes agent ids: three
// decimal digits, or more without a leading zero. Nothing else may stand in a
// subject.
func ValidID(id string) bool {
	if len(id) < 3 || len(id) > 9 || len(id) > 3 && id[0] == '0' {
		return false
	}
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return true
}

// Undo takes back what is in force on the hosts it is addressed to. Its body
// travels in an envelope of KindUndo.
type Undo struct {
	ID      string         `json:"id"`
	Target  riposte.Target `json:"target"`
	Command string         `json:"command,omitempty"` // only this one's; "" for every command's
	Order   string         `json:"order,omitempty"`   // only what this order put in force
	All     bool           `json:"all,omitempty"`     // whatever the target
	Forgive bool           `json:"forgive,omitempty"` // forget the offences, too
	By      string         `json:"by"`
}

// Bundle is the part of the configuration that the servers give to every host.
// A host may be stricter, never laxer.
type Bundle struct {
	Version  uint64           `json:"version"` // rises by one with every change
	Made     time.Time        `json:"made"`
	Allow    []string         `json:"allow,omitempty"` // addresses, networks and names that nothing may act on
	Limit    Limit            `json:"limit"`           // of each command that Limits does not name
	Limits   map[string]Limit `json:"limits,omitempty"`
	Breaker  Breaker          `json:"breaker"`
	WidestV4 int              `json:"widest_v4"` // length of the shortest prefix that may be acted on
	WidestV6 int              `json:"widest_v6"`
	Observe  []string         `json:"observe,omitempty"` // commands that are only observed
	Canary   map[string]int   `json:"canary,omitempty"`  // commands that only so many of a hundred agents carry out

	// Responses are what agents that judge for themselves carry out without a
	// server. nil: a server that knows of no such agents made the bundle.
	Responses []Response `json:"responses"`
	Dialect   string     `json:"dialect,omitempty"` // by which their selectors are meant: ossec or wazuh
}

// Response is an <active-response> on the host that saw the event.
type Response struct {
	Command  riposte.Command `json:"command"`
	Needs    riposte.Kind    `json:"needs,omitempty"`    // what it acts on
	Optional bool            `json:"optional,omitempty"` // it acts without, too
	// The selectors. Level 0 and empty lists are not set.
	Level   int             `json:"level,omitempty"`
	Rules   []int           `json:"rules,omitempty"`
	Groups  []string        `json:"groups,omitempty"`  // expressions as in <rules_group>
	Timeout time.Duration   `json:"timeout,omitempty"` // 0: not undone
	Ladder  []time.Duration `json:"ladder,omitempty"`  // of the offences after the first
}

// Limit bounds a command; 0 is without bound.
type Limit struct {
	PerMinute int `json:"per_minute,omitempty"`
	InForce   int `json:"in_force,omitempty"`
}

// Breaker stops everything when this many distinct targets are acted on within
// this time; with 0 targets it never does. 0 Cooldown: it closes by hand only.
type Breaker struct {
	Targets  int           `json:"targets,omitempty"`
	Within   time.Duration `json:"within,omitempty"`
	Cooldown time.Duration `json:"cooldown,omitempty"`
}

// Rotate tells an agent to make itself a new key and to bring it to
// RekeySubject.
type Rotate struct {
	By string `json:"by"`
}

// Presence is an agent's sign of life.
type Presence struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Version      string    `json:"version"`
	OS           string    `json:"os"`
	Arch         string    `json:"arch"`
	Host         string    `json:"host"`               // the system's name for itself
	Address      string    `json:"address"`            // from which the broker sees it
	Key          string    `json:"key"`                // public key in use
	Since        time.Time `json:"since"`              // when the agent started
	Now          time.Time `json:"now"`                // by the agent's clock
	Cursor       uint64    `json:"cursor"`             // sequence of the last order dealt with
	Bundle       uint64    `json:"bundle"`             // version in use
	BundleError  string    `json:"bundle_error"`       // why the newest one is not
	SpoolRecords int       `json:"spool_records"`      // not yet acknowledged
	SpoolBytes   int64     `json:"spool_bytes"`        // which they take
	Oldest       time.Time `json:"oldest,omitzero"`    // of them
	InForce      int       `json:"in_force"`           // responses
	Dropped      uint64    `json:"dropped"`            // events lost since it started
	Observing    string    `json:"observing"`          // why it only observes; "" when it acts
	Analyses     bool      `json:"analyses,omitempty"` // it judges what it reads, too

	Beat time.Duration `json:"beat,omitempty"` // how often it says so
}

// SyncRequest asks for what an agent has missed.
type SyncRequest struct {
	After  uint64    `json:"after"`           // sequence of the last order dealt with, or of one behind which some may be missing
	Issued time.Time `json:"issued,omitzero"` // of the last order dealt with
	Bundle uint64    `json:"bundle"`          // version in use
}

// SyncReply is the answer. It is not signed as a whole: each of its parts is.
type SyncReply struct {
	Now    time.Time `json:"now"`              // by the server's clock
	Head   uint64    `json:"head"`             // the agent has seen all up to here once it took Orders, unless More
	Orders []Signed  `json:"orders,omitempty"` // in their order, only those addressed to the agent
	More   bool      `json:"more,omitempty"`   // ask again
	Bundle *Signed   `json:"bundle,omitempty"` // when the agent's is not the current one
	Error  string    `json:"error,omitempty"`
}

// RekeyRequest brings the new public key of an agent.
type RekeyRequest struct {
	Key string `json:"key"`
}

// RekeyReply is the answer: the agent's new user JWT.
type RekeyReply struct {
	JWT   string `json:"jwt,omitempty"`
	Error string `json:"error,omitempty"`
}

// JoinRequest asks to become an agent.
type JoinRequest struct {
	Token   string `json:"token"` // id of the enrolment token
	Key     string `json:"key"`   // the agent's public key
	Host    string `json:"host"`
	OS      string `json:"os"`
	Version string `json:"version"`
}

// JoinReply travels in an envelope of KindJoined addressed to the public key
// of the request, so that it is neither forged nor anybody else's.
type JoinReply struct {
	ID        string   `json:"id,omitempty"`
	Name      string   `json:"name,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	JWT       string   `json:"jwt,omitempty"`
	CA        string   `json:"ca,omitempty"` // PEM
	OrderKeys []string `json:"order_keys,omitempty"`
	URLs      []string `json:"urls,omitempty"`
	Error     string   `json:"error,omitempty"`

	// What was ordered up to here, and was issued up to then, does not concern it.
	Head   uint64    `json:"head,omitempty"`
	Issued time.Time `json:"issued,omitzero"`
}
