package conf

import (
	"maps"
	"slices"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
	"riposte/internal/ossec/xml"
)

// RuleEntry is one element of <rules> or <ruleset>: which rule, decoder and
// list files are to be loaded, and in which order.
type RuleEntry struct {
	Kind    EntryKind
	Path    string // as written
	Pattern string // of a directory: which of its files, an OS_Regex on "dir/file"
	Pos     ossec.Pos
	Len     int
}

// EntryKind says what a RuleEntry names.
type EntryKind uint8

// The elements of <rules> and <ruleset>.
const (
	RuleFile EntryKind = iota
	DecoderFile
	ListFile
	RuleDir
	DecoderDir
	RuleExclude
	DecoderExclude
)

// defaultFiles is the pattern of a directory that gives none.
const defaultFiles = ".xml$"

var (
	rulesElements = map[string]EntryKind{"include": RuleFile, "rule": RuleFile, "decoder": DecoderFile, "list": ListFile,
		"rule_dir": RuleDir, "decoder_dir": DecoderDir}
	rulesetElements = map[string]EntryKind{"rule_include": RuleFile, "decoder_include": DecoderFile, "list": ListFile,
		"rule_dir": RuleDir, "decoder_dir": DecoderDir, "rule_exclude": RuleExclude, "decoder_exclude": DecoderExclude}
)

// rules reads OSSEC's <rules>, ruleset Wazuh's <ruleset>. Both are read in
// either dialect.
func (r *reader) rules(n *xml.Node)   { r.entries(n, rulesElements) }
func (r *reader) ruleset(n *xml.Node) { r.entries(n, rulesetElements) }

func (r *reader) entries(n *xml.Node, known map[string]EntryKind) {
	names := slices.Sorted(maps.Keys(known))
	for _, c := range n.Children {
		name, ok := r.element(c, names, ossec.Error, "<"+n.Name+">")
		if !ok {
			continue
		}
		kind := known[name]
		v := r.value(c, name)
		if v.text == "" {
			r.report(v, ossec.Warning, "empty-value", "remove it", "<%s> is empty", name)
			continue
		}
		e := RuleEntry{Kind: kind, Path: v.text, Pos: v.pos(0), Len: len(v.text)}
		if kind == RuleDir || kind == DecoderDir {
			e.Pattern = r.filePattern(c)
		}
		r.cfg.Rules = append(r.cfg.Rules, e)
	}
}

// filePattern reads the attribute pattern of a directory.
func (r *reader) filePattern(n *xml.Node) string {
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if a.Name != "pattern" {
			r.add(ossec.Finding{Severity: ossec.Warning, Pos: a.Pos, Len: len(a.Name), Code: "unknown-attribute",
				Message: "<" + n.Name + "> has no attribute " + a.Name + "; it has no effect", Hint: "its one attribute is pattern"})
			continue
		}
		if _, err := pattern.Compile(pattern.OSRegex, r.dialect, a.Value, false); err != nil {
			r.add(ossec.Finding{Severity: ossec.Error, Pos: a.ValuePos, Len: len(a.Value), Code: "bad-pattern",
				Message: "the pattern of <" + n.Name + "> cannot be read: " + err.Error()})
			continue
		}
		return a.Value
	}
	return defaultFiles
}
