package ruleset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

// Source is one file: its name as findings are to call it, and what is in it.
type Source struct {
	Name string
	Data []byte
}

// Options say what to load and with which of the settings that ossec.conf and
// internal_options.conf have for it. A zero setting means its default.
type Options struct {
	Dialect  ossec.Dialect
	Decoders []Source // in the order of loading
	Rules    []Source // in the order of loading
	Lists    []List

	LogLevel  int // <alerts><log_alert_level>: 1 in OSSEC, 3 in Wazuh
	MailLevel int // <alerts><email_alert_level>: 7 in OSSEC, 12 in Wazuh
	Timeframe int // analysisd.default_timeframe: 360 seconds
	Order     int // analysisd.decoder_order_size: 256 fields
}

// Bounds of what is read, far above what any real ruleset holds.
const (
	maxRules    = 200_000
	maxNodes    = 500_000
	maxDecoders = 50_000
)

// Load reads a whole ruleset. The set is nil when any finding is an error.
// Findings stand in the order of the files. What the real system refuses is an
// error, what it drops or ignores is a warning.
func Load(o Options) (*Set, []ossec.Finding) {
	l := newLoader(o)
	for _, src := range o.Decoders {
		l.decoderFile(src)
	}
	l.finishDecoders()
	for i := range o.Lists {
		l.list(&o.Lists[i])
	}
	for _, src := range o.Rules {
		l.ruleFile(src)
	}
	l.finish()
	if ossec.Failed(l.findings) {
		return nil, l.findings
	}
	return l.set, l.findings
}

// loader holds what is needed only while reading.
type loader struct {
	opt      Options
	d        ossec.Dialect
	set      *Set
	findings []ossec.Finding
	patterns map[patternKey]*compiled

	roots     map[string][]*Decoder // by written name
	names     map[string]bool       // every name that decoded_as may say
	finals    map[string]int        // final name → Decoder.ID
	lists     map[string]*list
	groupText string // of the rule file's current group
	groupIDs  map[string]int

	tree    []*place // the roots of the rule tree
	rules   map[int]*draft
	order   []*draft
	sites   map[int][]*place // the nodes of each rule id
	count   int              // nodes
	watches []*Watch
	broken  map[int]bool // rules with errors, so that one mistake is one finding
}

type patternKey struct {
	syntax   pattern.Syntax
	captures bool
	text     string
}

type compiled struct {
	p   *pattern.Pattern
	err error
}

func newLoader(o Options) *loader {
	wazuh := o.Dialect == ossec.Wazuh
	o.LogLevel = cmp.Or(o.LogLevel, pick(wazuh, 3, 1))
	o.MailLevel = cmp.Or(o.MailLevel, pick(wazuh, 12, 7))
	o.Timeframe = cmp.Or(o.Timeframe, 360)
	o.Order = cmp.Or(o.Order, 256)
	return &loader{
		opt: o, d: o.Dialect,
		set:      &Set{Dialect: o.Dialect, LogLevel: o.LogLevel, MaxFields: o.Order, fieldIDs: map[string]int{}, ruleIDs: map[int]*Rule{}},
		patterns: map[patternKey]*compiled{},
		roots:    map[string][]*Decoder{}, names: map[string]bool{}, finals: map[string]int{},
		lists: map[string]*list{}, rules: map[int]*draft{}, sites: map[int][]*place{}, broken: map[int]bool{}, groupIDs: map[string]int{},
	}
}

func pick(wazuh bool, w, o int) int {
	if wazuh {
		return w
	}
	return o
}

func (l *loader) wazuh() bool { return l.d == ossec.Wazuh }

func (l *loader) report(f ossec.Finding) { l.findings = append(l.findings, f) }

// fail reports an error.
func (l *loader) fail(pos ossec.Pos, code, hint, format string, args ...any) {
	l.report(ossec.Finding{Severity: ossec.Error, Pos: pos, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// warn reports what the real system only warns of.
func (l *loader) warn(pos ossec.Pos, code, hint, format string, args ...any) {
	l.report(ossec.Finding{Severity: ossec.Warning, Pos: pos, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// unlike reports what Wazuh warns of and OSSEC refuses.
func (l *loader) unlike(pos ossec.Pos, code, hint, format string, args ...any) {
	if l.wazuh() {
		l.warn(pos, code, hint, format, args...)
	} else {
		l.fail(pos, code, hint, format, args...)
	}
}

// read parses a file and replaces its variables; nil when it is no XML of the
// dialect, which has then been reported.
func (l *loader) read(src Source) []*xml.Node {
	nodes, err := xml.Parse(src.Name, src.Data, l.d)
	if err == nil {
		nodes, err = xml.ApplyVariables(nodes, l.d)
	}
	if err != nil {
		var f ossec.Finding
		if !errors.As(err, &f) {
			f = ossec.Finding{Severity: ossec.Error, Pos: ossec.Pos{File: src.Name}, Code: "xml", Message: err.Error()}
		}
		l.report(f)
		return nil
	}
	return nodes
}

// text is an expression or word whose pieces may stand in several elements.
type text struct {
	value  string
	pieces []*xml.Node
	starts []int // of each piece in value
}

func (t *text) add(n *xml.Node) {
	t.pieces = append(t.pieces, n)
	t.starts = append(t.starts, len(t.value))
	t.value += n.Text
}

// at is the place in the file of byte i of the text.
func (t *text) at(i int) ossec.Pos {
	for k := len(t.pieces) - 1; k >= 0; k-- {
		if t.starts[k] <= i {
			return t.pieces[k].At(i - t.starts[k])
		}
	}
	return ossec.Pos{}
}

// compile compiles an expression, each distinct one once, and reports what is
// wrong with it.
func (l *loader) compile(syntax pattern.Syntax, captures bool, t *text) *pattern.Pattern {
	k := patternKey{syntax, captures, t.value}
	c, ok := l.patterns[k]
	if !ok {
		c = &compiled{}
		c.p, c.err = pattern.Compile(syntax, l.d, t.value, captures)
		l.patterns[k] = c
	}
	if c.err != nil {
		at, msg := 0, c.err.Error()
		var pe *pattern.Error
		if errors.As(c.err, &pe) {
			at, msg = pe.Offset, pe.Message
		}
		l.fail(t.at(at), "bad-pattern", "", "the %s expression %q cannot be used: %s", syntax, t.value, msg)
		return nil
	}
	return c.p
}

// field returns the number of a dynamic field's name.
func (l *loader) field(name string) int {
	lower := foldASCII(name)
	id, ok := l.set.fieldIDs[lower]
	if !ok {
		id = len(l.set.Fields)
		l.set.fieldIDs[lower] = id
		l.set.Fields = append(l.set.Fields, lower)
	}
	return id
}

func foldASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; c >= 'A' && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// commaList splits a list of names as the order and fts elements are written:
// spaces around a name do not count, what follows an inner space is dropped.
func commaList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimLeft(part, " ")
		if i := strings.IndexByte(part, ' '); i >= 0 {
			part = part[:i]
		}
		out = append(out, part)
	}
	return out
}

func didYouMean(word string, known []string) string {
	if near, ok := ossec.Nearest(word, known); ok {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return ""
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
