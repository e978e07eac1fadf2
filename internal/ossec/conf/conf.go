// Package conf reads ossec.conf as OSSEC, Wazuh 3 and Wazuh 4 know it, the file
// of a manager as well as that of an agent, and says of every word that cannot
// mean what it seems to where it stands, why, and what to write instead. Where
// the real systems are sloppy (a timeout of "10m" that is ten seconds, a
// location "last" that is the server) it is strict; where they differ without
// harm it takes both. It reads no rules and decides nothing: what the blocks
// mean for an alert is the room response.
package conf

import (
	"fmt"
	"os"
	"slices"
	"time"

	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// Config is what an ossec.conf says. It is not changed after Parse.
type Config struct {
	File    string
	Dialect ossec.Dialect

	Commands  []Command  // in the order of the file
	Responses []Response // in the order of the file, those with disabled=yes left out

	// Ladder is what a block that holds only <repeated_offenders> says; it has
	// been given to every timed response without a ladder of its own.
	Ladder []time.Duration

	// Off is set by a block that holds only <disabled>yes</disabled>: no
	// response is to run on the host that this file belongs to.
	Off bool

	Global     Global
	Alerts     Alerts
	LocalFiles []LocalFile
	Remotes    []Remote
	Rules      []RuleEntry // of <rules> and <ruleset>, in the order of the file
	Unused     []Section   // sections that riposte knows and has no use for
}

// Section is a section of the file by name and place.
type Section struct {
	Name string
	Pos  ossec.Pos
}

// Alerts are the levels of <alerts>.
type Alerts struct {
	LogLevel   int // an alert of a lower level is not logged, but still answered
	EmailLevel int // an alert of this level or more is mailed
}

// Load reads the file at path. The config is nil when a finding is an error.
func Load(path string, d ossec.Dialect) (*Config, []ossec.Finding) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, []ossec.Finding{{Severity: ossec.Error, Pos: ossec.Pos{File: path}, Code: "unreadable",
			Message: fmt.Sprintf("the configuration cannot be read: %v", err), Hint: "give the path of ossec.conf as ossec_conf in riposte.yaml"}}
	}
	return Parse(path, src, d)
}

// Parse reads a configuration. The config is nil when a finding is an error.
// Findings stand in the order of the file.
func Parse(file string, src []byte, d ossec.Dialect) (*Config, []ossec.Finding) {
	cfg, findings := Inspect(file, src, d)
	if ossec.Failed(findings) {
		return nil, findings
	}
	return cfg, findings
}

// Inspect is Parse for a checker: it returns what could be read also when a
// finding is an error, mended as the findings propose.
func Inspect(file string, src []byte, d ossec.Dialect) (*Config, []ossec.Finding) {
	nodes, findings := xml.ParseAll(file, src, d)
	r := &reader{file: file, src: string(src), dialect: d, cfg: empty(file, d), findings: findings}
	r.roots(nodes)
	slices.SortStableFunc(r.findings, func(a, b ossec.Finding) int { return a.Pos.Offset - b.Pos.Offset })
	return r.cfg, r.findings
}

// empty returns what a file without any section says.
func empty(file string, d ossec.Dialect) *Config {
	cfg := &Config{File: file, Dialect: d}
	cfg.Global = Global{MemorySize: 8192, AlertsLog: true, JSONOut: d == ossec.Wazuh, EmailMaxPerHour: 12}
	cfg.Alerts = Alerts{LogLevel: 1, EmailLevel: 7}
	if d == ossec.Wazuh {
		cfg.Alerts = Alerts{LogLevel: 3, EmailLevel: 12}
	}
	return cfg
}
