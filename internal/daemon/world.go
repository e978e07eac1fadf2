// Package daemon builds a riposte out of the rooms: it loads the configuration
// and the rules, starts the sources, the analysis, the executor and the control
// interface, swaps configuration and rules on reload, and stops everything in
// order.
package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/check"
	"riposte/internal/host"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	rules "riposte/internal/ossec/ruleset"
	"riposte/internal/response"
	"riposte/internal/settings"
	"riposte/ruleset"
)

// World is what a riposte judges lines by: settings, configuration, rules and
// the plan of responses. It never changes; a reload builds a new one.
type World struct {
	Settings *settings.Settings
	Config   *conf.Config
	Set      *rules.Set
	Planner  *response.Planner
	Report   *check.Report

	Geo func(address string) string // the place of an address; nil: no database is given

	Observing  string // why nothing is to be changed, in words; "": responses are carried out
	Builtin    bool   // the configuration is riposte's own
	ConfigName string // where the configuration came from, in words
	RulesName  string // likewise the rules
}

// ErrConfig means that the report holds an error: nothing was built.
var ErrConfig = errors.New("errors in the configuration")

// CheckOptions say how a configuration is checked: as the daemon reads it.
// into, which may be nil, is given the rules.
func CheckOptions(s *settings.Settings, into *World) check.Options {
	if into == nil {
		into = &World{}
	}
	read := &conf.Config{} // what the check has read, for what depends on it
	return check.Options{
		Given:   s,
		Default: func() (string, []byte) { f := builtinConfig(); return f.Name, f.Data },
		Rules: func(s *settings.Settings, cfg *conf.Config) ([]response.Rule, []ossec.Finding) {
			read = cfg
			geo, found := openGeo(s.GeoIP.Database)
			into.Geo = geo
			opts, more := into.ruleFiles(s, cfg)
			found = append(found, more...)
			if ossec.Failed(found) {
				return nil, found
			}
			set, more := rules.Load(opts)
			into.Set = set
			if set == nil {
				return nil, append(found, more...)
			}
			into.RulesName = fmt.Sprintf("%d rules and %d decoders, %s", len(set.Rules), len(set.Decoders), into.RulesName)
			return known(set), append(found, more...)
		},
		Mechanism: func(s *settings.Settings, cmd riposte.Command) (string, error) { return mechanism(s, read, cmd) },
		Text:      builtinText,
	}
}

// Load builds a world from settings and the files they name. On ErrConfig the
// world holds the report alone.
func Load(s *settings.Settings, ids *response.IDs) (*World, error) {
	w := &World{Settings: s}
	return w, w.load(CheckOptions(s, w), ids)
}

// LoadAgent builds the world of an agent: it reads and acts, and has no rules.
func LoadAgent(s *settings.Settings, ids *response.IDs) (*World, error) {
	w := &World{Settings: s}
	o := CheckOptions(s, w)
	o.Rules = func(*settings.Settings, *conf.Config) ([]response.Rule, []ossec.Finding) {
		w.Set, w.RulesName = &rules.Set{Dialect: s.Dialect}, "none: the server judges"
		return nil, nil
	}
	return w, w.load(o, ids)
}

func (w *World) load(o check.Options, ids *response.IDs) error {
	s := w.Settings
	w.Report = check.Run(o)
	if w.Report.Failed() || w.Set == nil {
		return ErrConfig
	}
	w.answerByItself(ids)
	w.ConfigName = w.Report.File
	if strings.HasPrefix(w.ConfigName, "ruleset/") {
		w.Builtin = true
		w.ConfigName = fmt.Sprintf("built-in (there is no %s)", s.ConfPath())
	}
	w.Observing = w.observing()
	return nil
}

// answerByItself has the world answer by its own <active-response> blocks.
func (w *World) answerByItself(ids *response.IDs) {
	w.Config = w.Report.Config
	w.Planner = response.New(w.Config, w.Settings.Dialect, ids)
}

// builtinConfig is the configuration of a host that has none. Where a journal is
// kept it is read, and not also the files that a syslog daemon copies it to:
// every event would count twice.
func builtinConfig() ruleset.File {
	if journalKept() {
		return ruleset.ConfigJournal()
	}
	return ruleset.ConfigSyslog()
}

// journalKept reports whether systemd keeps a journal here that can be read.
func journalKept() bool {
	if _, err := exec.LookPath("journalctl"); err != nil {
		return false
	}
	for _, dir := range []string{"/run/log/journal", "/var/log/journal"} {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			return true
		}
	}
	return false
}

// observing says why a riposte only observes, "" when it enforces.
func (w *World) observing() string {
	switch {
	case w.Settings.Mode == settings.Observe:
		return "as riposte.yaml says"
	case w.Config.Off:
		return "active response is disabled in " + w.ConfigName
	case !host.EffectivePrivileges().NetAdmin:
		return "no right to change the firewall: run riposte as root to enforce"
	}
	return ""
}

// builtinText returns a built-in file, to show its lines.
func builtinText(name string) []byte {
	if f := builtinConfig(); f.Name == name {
		return f.Data
	}
	for _, d := range []string{ruleset.Wazuh, ruleset.OSSEC} {
		decoders, rules := ruleset.Files(d)
		for _, f := range append(decoders, rules...) {
			if f.Name == name {
				return f.Data
			}
		}
	}
	return nil
}

// ruleFiles finds the rules: those that the configuration names, or the
// built-in ones when it names none, or none that are there.
func (w *World) ruleFiles(s *settings.Settings, cfg *conf.Config) (rules.Options, []ossec.Finding) {
	var found []ossec.Finding
	entries := cfg.Rules
	use := s.Rules
	if use == settings.RulesAuto {
		use = settings.RulesConfig
		if !anyRuleFile(s, entries) {
			use = settings.RulesBuiltin
			if len(entries) > 0 {
				found = append(found, ossec.Finding{
					Severity: ossec.Warning, Pos: entries[0].Pos, Code: "rules-absent",
					Message: fmt.Sprintf("no rule file that the configuration names is below %s; the built-in rules are used", s.Root),
					Hint:    "set root in riposte.yaml to the installation that the files are in, or rules: builtin to say that this is meant",
				})
			}
		}
	}
	var opts rules.Options
	if use == settings.RulesConfig {
		var more []ossec.Finding
		opts, more = rules.ReadFiles(s.Root, s.Dialect, entries)
		found = append(found, more...)
		w.RulesName = "from " + s.Root
	} else {
		opts.Dialect = s.Dialect
		ds, rs := ruleset.Files(s.Dialect.String())
		opts.Decoders, opts.Rules = sources(ds), sources(rs)
		w.RulesName = "built-in"
	}
	own := ownFiles(s.OwnDecoders, &opts.Decoders, &found) + ownFiles(s.OwnRules, &opts.Rules, &found)
	if own > 0 {
		w.RulesName += fmt.Sprintf(" and %d own files", own)
	}
	opts.LogLevel, opts.MailLevel = cfg.Alerts.LogLevel, cfg.Alerts.EmailLevel
	return opts, found
}

// anyRuleFile reports whether any rule file that the entries name is there.
// Without an entry for rules Wazuh reads its stock directory.
func anyRuleFile(s *settings.Settings, entries []conf.RuleEntry) bool {
	if len(entries) == 0 {
		return false
	}
	opts, _ := rules.ReadFiles(s.Root, s.Dialect, entries)
	return len(opts.Rules) > 0
}

// ownFiles appends the XML files of a directory, by name, and returns how many
// there are. A directory that is not there is empty.
func ownFiles(dir string, to *[]rules.Source, found *[]ossec.Finding) int {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.xml"))
	if err != nil {
		return 0
	}
	slices.Sort(paths)
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			*found = append(*found, ossec.Finding{Severity: ossec.Error, Pos: ossec.Pos{File: p}, Code: "unreadable",
				Message: fmt.Sprintf("the file cannot be read: %v", err), Hint: "mend its permissions or move it away"})
			continue
		}
		*to = append(*to, rules.Source{Name: p, Data: b})
	}
	return len(paths)
}

// escapeGlob makes a path stand for itself in a glob pattern.
func escapeGlob(p string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(p)
}

func sources(fs []ruleset.File) []rules.Source {
	out := make([]rules.Source, len(fs))
	for i, f := range fs {
		out[i] = rules.Source{Name: f.Name, Data: f.Data}
	}
	return out
}

// known lists the loaded rules as the planner wants to know them.
func known(set *rules.Set) []response.Rule {
	out := make([]response.Rule, 0, len(set.Rules))
	for _, r := range set.Rules {
		out = append(out, response.Rule{ID: r.ID, Level: r.Level, Groups: r.Groups, NoAR: r.NoAR || r.NoAlert})
	}
	return out
}

// serial is the microsecond of the day, which goes faster than alerts are made:
// a riposte that is started again within a second repeats no id.
func serial(live bool, now time.Time) uint64 {
	if !live {
		return 0
	}
	return uint64(now.Sub(now.UTC().Truncate(24 * time.Hour)).Microseconds())
}

// Engine returns an analysis engine for the world. live makes it behave as in
// service, not as in a log test.
func (w *World) Engine(live bool, remember func(analysis.Fact)) *analysis.Engine {
	return analysis.New(w.Set, analysis.Options{
		Host:     w.Settings.HostName(),
		Live:     live,
		Memory:   w.Config.Global.MemorySize,
		Remember: remember,
		Serial:   serial(live, time.Now()),
		Geo:      w.Geo,
		Wanted: func(r *rules.Rule) bool {
			return w.Planner.Answers(&riposte.Rule{ID: r.ID, Level: r.Level, Groups: r.Groups, NoAR: r.NoAR})
		},
	})
}
