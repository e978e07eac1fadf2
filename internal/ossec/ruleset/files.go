package ruleset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/ossec/pattern"
)

const defaultDirPattern = ".xml$"

const maxFiles = 20_000 // in all directories together

// FromConfig finds and reads the files of a configuration, and takes from it
// what else loading depends on.
func FromConfig(root string, cfg *conf.Config) (Options, []ossec.Finding) {
	o, findings := ReadFiles(root, cfg.Dialect, cfg.Rules)
	o.LogLevel, o.MailLevel = cfg.Alerts.LogLevel, cfg.Alerts.EmailLevel
	return o, findings
}

// ReadFiles finds and reads the files that the entries of a configuration name,
// in the order in which the dialect loads them. root is the installation
// directory that relative paths start from.
func ReadFiles(root string, d ossec.Dialect, entries []conf.RuleEntry) (Options, []ossec.Finding) {
	c := &collector{root: root, d: d}
	c.decoders.exclude = c.excluded(entries, conf.DecoderExclude)
	c.rules.exclude = c.excluded(entries, conf.RuleExclude)
	entries = c.defaults(entries)
	for _, e := range entries {
		switch e.Kind {
		case conf.RuleFile:
			c.file(&c.rules, e, c.inDir(e.Path, "ruleset/rules/", "rules/"))
		case conf.DecoderFile:
			c.file(&c.decoders, e, c.inDir(e.Path, "ruleset/decoders/", ""))
		case conf.RuleDir:
			c.dir(&c.rules, e)
		case conf.DecoderDir:
			c.dir(&c.decoders, e)
		}
	}
	if d == ossec.Wazuh {
		c.decoders.byBase()
		c.rules.byBase()
	}
	opt := Options{Dialect: d, Decoders: c.read(&c.decoders, d == ossec.Wazuh), Rules: c.read(&c.rules, false)}
	for _, e := range entries {
		if e.Kind == conf.ListFile {
			opt.Lists = append(opt.Lists, c.list(e))
		}
	}
	return opt, c.findings
}

type collector struct {
	root     string
	d        ossec.Dialect
	rules    fileList
	decoders fileList
	findings []ossec.Finding
}

// fileList is the files of one kind, relative to the root.
type fileList struct {
	files   []configured
	exclude []string
}

type configured struct {
	path     string
	pos      ossec.Pos
	optional bool
}

func (c *collector) fail(pos ossec.Pos, code, hint, format string, args ...any) {
	c.findings = append(c.findings, ossec.Finding{Severity: ossec.Error, Pos: pos, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// defaults adds what is loaded when the configuration does not say.
func (c *collector) defaults(entries []conf.RuleEntry) []conf.RuleEntry {
	has := func(kinds ...conf.EntryKind) bool {
		return slices.ContainsFunc(entries, func(e conf.RuleEntry) bool { return slices.Contains(kinds, e.Kind) })
	}
	entries = slices.Clone(entries)
	if c.d == ossec.OSSEC {
		if !has(conf.DecoderFile, conf.DecoderDir) {
			c.decoders.files = []configured{{path: "etc/decoder.xml"}, {path: "etc/local_decoder.xml", optional: true}}
		}
		return entries
	}
	if !has(conf.DecoderDir) {
		entries = append(entries, conf.RuleEntry{Kind: conf.DecoderDir, Path: "ruleset/decoders"})
	}
	if !has(conf.RuleDir) {
		entries = append(entries, conf.RuleEntry{Kind: conf.RuleDir, Path: "ruleset/rules"})
	}
	return entries
}

func (c *collector) excluded(entries []conf.RuleEntry, k conf.EntryKind) []string {
	var out []string
	for _, e := range entries {
		if e.Kind == k {
			out = append(out, e.Path)
		}
	}
	return out
}

// inDir puts a bare file name into the directory of its kind.
func (c *collector) inDir(path, wazuh, ossecDir string) string {
	if strings.Contains(path, "/") {
		return path
	}
	if c.d == ossec.Wazuh {
		return wazuh + path
	}
	return ossecDir + path
}

// known reports whether a file is excluded or there already, by its path or
// its bare name.
func (l *fileList) known(path string) bool {
	base := filepath.Base(path)
	for _, x := range l.exclude {
		if x == path || x == base {
			return true
		}
	}
	for _, f := range l.files {
		if f.path == path || f.path == base {
			return true
		}
	}
	return false
}

func (l *fileList) byBase() {
	slices.SortStableFunc(l.files, func(a, b configured) int {
		if n := strings.Compare(filepath.Base(a.path), filepath.Base(b.path)); n != 0 {
			return n
		}
		return strings.Compare(a.path, b.path)
	})
}

func (c *collector) file(l *fileList, e conf.RuleEntry, path string) {
	if !l.known(path) {
		l.files = append(l.files, configured{path: path, pos: e.Pos})
	}
}

func (c *collector) dir(l *fileList, e conf.RuleEntry) {
	text := e.Pattern
	if text == "" {
		text = defaultDirPattern
	}
	p, err := pattern.Compile(pattern.OSRegex, c.d, text, false)
	if err != nil {
		c.fail(e.Pos, "bad-pattern", "", "the pattern %q of the directory %s cannot be used: %v", text, e.Path, err)
		return
	}
	entries, err := os.ReadDir(c.abs(e.Path))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			// A directory for one's own rules need not be there; a default one
			// that is not is not worth a word.
			if e.Pos.Line > 0 {
				c.findings = append(c.findings, ossec.Finding{Severity: ossec.Warning, Pos: e.Pos, Code: "missing-directory",
					Message: fmt.Sprintf("the directory %s does not exist below %s", e.Path, c.root),
					Hint:    "make it, or give the installation's directory as root"})
			}
			return
		}
		c.fail(e.Pos, "missing-directory", "", "the directory %s cannot be read: %v", e.Path, err)
		return
	}
	dir := strings.TrimRight(e.Path, "/")
	for _, f := range entries { // sorted by name
		path := dir + "/" + f.Name()
		if f.IsDir() || !p.Match(path) || l.known(path) {
			continue
		}
		if len(l.files) >= maxFiles {
			c.fail(e.Pos, "too-many", "", "more than %d files", maxFiles)
			return
		}
		l.files = append(l.files, configured{path: path, pos: e.Pos})
	}
}

func (c *collector) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.root, path)
}

const maxFileSize = 64 << 20

// read reads the files; lenient says that a missing one is only a warning.
func (c *collector) read(l *fileList, lenient bool) []Source {
	var out []Source
	for _, f := range l.files {
		data, err := readFile(c.abs(f.path))
		switch {
		case err == nil:
			out = append(out, Source{Name: c.abs(f.path), Data: data})
		case f.optional && errors.Is(err, fs.ErrNotExist):
		case lenient && errors.Is(err, fs.ErrNotExist):
			c.findings = append(c.findings, ossec.Finding{Severity: ossec.Warning, Pos: f.pos, Code: "missing-file", Message: fmt.Sprintf("the file %s does not exist", f.path)})
		default:
			c.fail(f.pos, "missing-file", "", "the file %s cannot be read: %v", f.path, err)
		}
	}
	return out
}

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if st.Size() > maxFileSize {
		return nil, fmt.Errorf("%s has %d bytes, %d is the most", path, st.Size(), maxFileSize)
	}
	return os.ReadFile(path)
}

func (c *collector) list(e conf.RuleEntry) List {
	name, _, _ := strings.Cut(c.inDir(e.Path, "ruleset/rules/", "rules/"), ".cdb")
	data, err := readFile(c.abs(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.fail(e.Pos, "bad-list", "", "the list %s cannot be read: %v", e.Path, err)
	}
	return List{Name: e.Path, Data: data, Missing: err != nil, Pos: e.Pos}
}
