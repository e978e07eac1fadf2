package riposte

import (
	"fmt"
	"net/netip"
	"time"
)

// Kind says what a target is.
type Kind uint8

// The kinds of target. None is the target of a response that acts on the host
// as a whole: a restart, a mail.
const (
	None Kind = iota
	Address
	User
	File
)

var kindNames = [...]string{"none", "address", "user", "file"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(b []byte) error {
	for i, n := range kindNames {
		if n == string(b) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown target kind %q", b)
}

// Target is what a response acts on. Two targets are the same offender exactly
// when they are equal with ==, so they are made by ParseTarget, never by hand
// from foreign text.
type Target struct {
	Kind  Kind   `json:"kind"`
	Value string `json:"value,omitempty"` // canonical text
}

// String returns the canonical text, "-" for a response without target.
func (t Target) String() string {
	if t.Kind == None {
		return "-"
	}
	return t.Value
}

// Prefix returns the addresses an Address target covers: one address, or the
// prefix it names. ok is false for every other kind.
func (t Target) Prefix() (p netip.Prefix, ok bool) {
	if t.Kind != Address {
		return p, false
	}
	if p, err := netip.ParsePrefix(t.Value); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(t.Value)
	if err != nil {
		return p, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// ParseTarget makes a target of foreign text. Addresses and prefixes are made
// canonical: mapped IPv4 (::ffff:192.0.2.1, any case) becomes IPv4, a prefix
// is masked, a prefix of full length becomes its address; zones and host names
// are refused. User and file names are taken byte for byte but must not be
// empty, "-" or hold a control character.
func ParseTarget(kind Kind, text string) (Target, error) {
	switch kind {
	case None:
		return Target{}, nil
	case Address:
		return parseAddress(text)
	}
	if text == "" || text == "-" {
		return Target{}, fmt.Errorf("no %s given", kind)
	}
	for i := 0; i < len(text); i++ {
		if text[i] < 0x20 || text[i] == 0x7f {
			return Target{}, fmt.Errorf("%s %q holds a control character", kind, text)
		}
	}
	return Target{Kind: kind, Value: text}, nil
}

func parseAddress(text string) (Target, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		if a.Zone() != "" {
			return Target{}, fmt.Errorf("address %q has a zone", text)
		}
		return Target{Kind: Address, Value: a.Unmap().String()}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return Target{}, fmt.Errorf("%q is not an IP address", text)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	if p.IsSingleIP() {
		return Target{Kind: Address, Value: p.Addr().String()}, nil
	}
	return Target{Kind: Address, Value: p.String()}, nil
}

// Action says whether an order puts a response in force or takes it back.
type Action uint8

// The two actions, by the names that scripts know them by.
const (
	Add Action = iota
	Delete
)

func (a Action) String() string {
	if a == Delete {
		return "delete"
	}
	return "add"
}

// Order is one response to be carried out on one target by the hosts it is
// addressed to, because of one alert or of a person's word.
//
// It carries all that the acting host needs to know, the ladder included, so
// that the response means the same wherever it runs.
type Order struct {
	ID       string          `json:"id"`       // unique, sorts by time of issue
	Command  Command         `json:"command"`  // what to run
	Target   Target          `json:"target"`   // what to act on
	Place    Place           `json:"place"`    // where to act
	Timeout  time.Duration   `json:"timeout"`  // of a first offence; 0: not undone (stateless)
	Ladder   []time.Duration `json:"ladder"`   // of the following offences, the last one for ever
	Issued   time.Time       `json:"issued"`   // when it was decided
	Received time.Time       `json:"received"` // when the record that caused it was read; zero by hand
	By       string          `json:"by"`       // "rule 5712", "uid 0 (root)", …
	Force    bool            `json:"force"`    // by hand: pass the guard, audited
	Alert    *Alert          `json:"alert,omitempty"`
}

// Stateful reports whether the order is to be undone when its time is up.
func (o *Order) Stateful() bool { return o.Timeout > 0 }

// Key identifies what may be in force only once on a host: the command and its
// target. A further order of the same key extends the first.
func (o *Order) Key() Key { return Key{Command: o.Command.Name, Target: o.Target} }

// Key is a command and its target.
type Key struct {
	Command string
	Target  Target
}

// Command is what <command> of ossec.conf says about a response.
type Command struct {
	Name       string   `json:"name"`
	Executable string   `json:"executable"` // file name as configured: "firewall-drop.sh"
	Expect     []Kind   `json:"expect,omitempty"`
	ExtraArgs  []string `json:"extra_args,omitempty"`
}

// Place says which hosts carry out an order.
type Place struct {
	Local   bool   `json:"local,omitempty"`   // the agent the alert came from
	Server  bool   `json:"server,omitempty"`  // the analysing host
	All     bool   `json:"all,omitempty"`     // every agent and the server
	Defined string `json:"defined,omitempty"` // the agent with this id
}
