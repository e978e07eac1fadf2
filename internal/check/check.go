// Package check judges a configuration: it reads riposte.yaml and ossec.conf,
// has the rules loaded that they name, and reports every finding, what each
// response does in words, and the text with the mends applied. The daemon
// starts from the same report that `riposte check` prints, so that the two
// cannot disagree.
package check

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/response"
	"riposte/internal/settings"
)

// Options say what is to be checked.
type Options struct {
	// Settings is the path of riposte.yaml; empty: the default one, if any.
	Settings string
	// Given are settings that were read already; nil: they are read.
	Given *settings.Settings
	// Conf is the path of ossec.conf; empty: as the settings say.
	Conf string
	// Source is the text to be checked instead of the file at Conf; nil: the
	// file.
	Source []byte
	// Dialect overrides that of the settings.
	Dialect *ossec.Dialect

	// Default is the configuration of a host that has no ossec.conf and whose
	// settings name none.
	Default func() (name string, src []byte)
	// Rules loads the rules that a configuration names; nil: none are loaded,
	// and nothing is said about them.
	Rules func(*settings.Settings, *conf.Config) ([]response.Rule, []ossec.Finding)
	// Mechanism says by what a command would be carried out on this host; nil:
	// nothing is said about it.
	Mechanism func(*settings.Settings, riposte.Command) (name string, err error)
	// Text returns the text of a file that is not on disk, such as a built-in
	// rule file, to show its lines; nil: there are none.
	Text func(name string) []byte
}

// Report is what is to be said about a configuration.
type Report struct {
	Settings *settings.Settings // nil when they have an error
	Dialect  ossec.Dialect
	File     string       // of ossec.conf
	Config   *conf.Config // nil when a finding is an error

	Findings  []ossec.Finding // of riposte.yaml, of ossec.conf in the order of the file, of the rules
	Responses []Response
	Unused    []conf.Section
	Loaded    int // rules

	texts map[string][]byte // by file name
	text  func(name string) []byte
}

// Response is what a response does.
type Response struct {
	response.Explanation
	Mechanism string `json:"mechanism,omitempty"` // by which it is carried out on this host
}

// Failed reports whether any finding is an error.
func (r *Report) Failed() bool { return ossec.Failed(r.Findings) }

// Run checks a configuration.
func Run(o Options) *Report {
	r := &Report{texts: map[string][]byte{}, text: o.Text}
	s := r.settings(o)
	src, ok := r.source(o, s)
	if !ok {
		return r
	}
	r.config(o, s, src)
	return r
}

// settings reads riposte.yaml. When it has errors the rest is checked with
// the defaults.
func (r *Report) settings(o Options) *settings.Settings {
	s := o.Given
	if s == nil {
		s, r.Findings = settings.Load(o.Settings)
	}
	r.Settings = s
	if s == nil {
		s = settings.Default()
	}
	r.Dialect = s.Dialect
	if o.Dialect != nil {
		r.Dialect = *o.Dialect
	}
	return s
}

// source reads ossec.conf.
func (r *Report) source(o Options, s *settings.Settings) ([]byte, bool) {
	r.File = o.Conf
	if r.File == "" {
		r.File = s.ConfPath()
	}
	src, err := o.Source, error(nil)
	if src == nil {
		src, err = os.ReadFile(r.File)
	}
	if errors.Is(err, fs.ErrNotExist) && o.Default != nil && o.Conf == "" && s.OssecConf == "" {
		r.File, src = o.Default()
		err = nil
	}
	if err != nil {
		_, findings := conf.Load(r.File, r.Dialect)
		r.Findings = append(r.Findings, findings...)
		return nil, false
	}
	r.texts[r.File] = src
	return src, true
}

// config checks the text of ossec.conf.
func (r *Report) config(o Options, s *settings.Settings, src []byte) {
	cfg, findings := conf.Inspect(r.File, src, r.Dialect)
	r.Unused = cfg.Unused
	var rules []response.Rule
	var about []ossec.Finding
	if o.Rules != nil {
		rules, about = o.Rules(s, cfg)
	}
	r.Loaded = len(rules)
	explained, more := response.New(cfg, r.Dialect, nil).Explain(rules)
	more = append(more, mail(s, cfg)...)
	more = append(more, unread(cfg)...)
	for _, e := range explained {
		r.Responses = append(r.Responses, Response{Explanation: e})
	}
	if o.Mechanism != nil {
		more = append(more, r.mechanisms(o, s, cfg)...)
	}
	findings = append(findings, more...)
	slices.SortStableFunc(findings, func(a, b ossec.Finding) int { return a.Pos.Offset - b.Pos.Offset })
	r.Findings = append(r.Findings, findings...)
	r.Findings = append(r.Findings, about...)
	if !r.Failed() {
		r.Config = cfg
	}
}

// mechanisms says by what each response is carried out on this host.
func (r *Report) mechanisms(o Options, s *settings.Settings, cfg *conf.Config) []ossec.Finding {
	var out []ossec.Finding
	told := map[string]bool{}
	for i := range cfg.Responses {
		c := cfg.Responses[i].Command
		name, err := o.Mechanism(s, c.Command)
		r.Responses[i].Mechanism = name
		if err == nil || told[c.Name] {
			continue
		}
		told[c.Name] = true
		out = append(out, ossec.Finding{Severity: ossec.Warning, Pos: c.Pos, Len: len("<command"), Code: "no-mechanism",
			Message: "this host cannot carry out " + c.Name + ": " + err.Error(), Hint: "hosts that can will still do it"})
	}
	return out
}

// mail warns of a response that mails to nobody.
func mail(s *settings.Settings, cfg *conf.Config) []ossec.Finding {
	if len(cfg.Global.EmailTo)+len(s.Mail.To) > 0 {
		return nil
	}
	for i := range cfg.Responses {
		c := &cfg.Responses[i].Command
		if name := c.Executable; name == "mail-test.sh" || name == "mail-test" {
			return []ossec.Finding{{Severity: ossec.Warning, Pos: c.Pos, Len: len("<command"), Code: "no-recipient",
				Message: c.Name + " has nobody to mail to", Hint: "add <global><email_to>name@host</email_to></global>"}}
		}
	}
	return nil
}

// unread notes sources of events that this host cannot read.
func unread(cfg *conf.Config) []ossec.Finding {
	var out []ossec.Finding
	home := map[string]string{"eventchannel": "windows", "eventlog": "windows", "macos": "darwin"}
	for _, l := range cfg.LocalFiles {
		switch home[l.Format] {
		case "":
		case runtime.GOOS:
			out = append(out, ossec.Finding{Severity: ossec.Warning, Pos: l.Pos, Len: len("<localfile"), Code: "not-read",
				Message: "riposte cannot read logs of format " + l.Format + ": nothing is seen of this one",
				Hint:    "let a Wazuh or OSSEC agent read it, and give their manager's alerts.json as sources.alerts in riposte.yaml"})
		default:
			out = append(out, ossec.Finding{Severity: ossec.Note, Pos: l.Pos, Len: len("<localfile"), Code: "not-here",
				Message: "this host has no logs of format " + l.Format})
		}
	}
	for _, m := range cfg.Remotes {
		if !m.Syslog {
			out = append(out, ossec.Finding{Severity: ossec.Note, Pos: m.Pos, Len: len("<remote"), Code: "remote-secure",
				Message: "riposte does not speak the protocol of OSSEC's and Wazuh's agents: nothing is received here",
				Hint:    "let their manager receive them, and give its alerts.json as sources.alerts in riposte.yaml"})
		}
	}
	return out
}
