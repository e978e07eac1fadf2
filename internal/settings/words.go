package settings

import (
	"fmt"
	"log/slog"
)

// The settings that are one of a few words. The first word of each list is the
// default.
type (
	Mode       uint8
	OnStop     uint8
	Builtin    uint8
	Rules      uint8
	Firewall   uint8
	Generation uint8
	TLS        uint8
	Level      uint8
	Format     uint8
)

// The words, in the order of their names.
const (
	Enforce Mode = iota
	Observe
)

const (
	Keep OnStop = iota
	Undo
)

const (
	Fallback Builtin = iota
	Prefer
	Never
)

const (
	RulesAuto Rules = iota
	RulesConfig
	RulesBuiltin
)

const (
	FirewallAuto Firewall = iota
	Nftables
	Iptables
	FirewallNone
)

const (
	Opportunistic TLS = iota
	Always
	NoTLS
)

var (
	modeWords       = words{"enforce", "observe"}
	onStopWords     = words{"keep", "undo"}
	builtinWords    = words{"fallback", "prefer", "never"}
	rulesWords      = words{"auto", "config", "builtin"}
	firewallWords   = words{"auto", "nftables", "iptables", "none"}
	generationWords = words{"auto", "ossec", "wazuh3", "wazuh4", "wazuh5"}
	tlsWords        = words{"opportunistic", "always", "never"}
	levelWords      = words{"info", "debug", "warn", "error"}
	formatWords     = words{"text", "json"}
)

func (m Mode) String() string       { return modeWords.name(uint8(m)) }
func (o OnStop) String() string     { return onStopWords.name(uint8(o)) }
func (b Builtin) String() string    { return builtinWords.name(uint8(b)) }
func (r Rules) String() string      { return rulesWords.name(uint8(r)) }
func (f Firewall) String() string   { return firewallWords.name(uint8(f)) }
func (g Generation) String() string { return generationWords.name(uint8(g)) }
func (t TLS) String() string        { return tlsWords.name(uint8(t)) }
func (l Level) String() string      { return levelWords.name(uint8(l)) }
func (f Format) String() string     { return formatWords.name(uint8(f)) }

// Slog returns the level as the log package knows it.
func (l Level) Slog() slog.Level {
	return [...]slog.Level{slog.LevelInfo, slog.LevelDebug, slog.LevelWarn, slog.LevelError}[l]
}

// choice is a setting that is one of a few words.
type choice interface{ choices() words }

func (Mode) choices() words       { return modeWords }
func (OnStop) choices() words     { return onStopWords }
func (Builtin) choices() words    { return builtinWords }
func (Rules) choices() words      { return rulesWords }
func (Firewall) choices() words   { return firewallWords }
func (Generation) choices() words { return generationWords }
func (TLS) choices() words        { return tlsWords }
func (Level) choices() words      { return levelWords }
func (Format) choices() words     { return formatWords }

type words []string

func (w words) name(i uint8) string {
	if int(i) < len(w) {
		return w[i]
	}
	return fmt.Sprintf("word(%d)", i)
}
