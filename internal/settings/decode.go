package settings

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"riposte/internal/ossec"
)

// Bounds of what is read and said; what people write has a few kilobytes.
const (
	maxFile     = 1 << 20
	maxFindings = 50
)

// Parse reads settings. They are nil when a finding is an error.
func Parse(file string, src []byte) (*Settings, []ossec.Finding) {
	d := &decoder{file: file, src: bytes.TrimPrefix(src, []byte("\ufeff"))}
	d.skipped = len(src) - len(d.src)
	s := Default()
	d.document(reflect.ValueOf(s).Elem())
	if ossec.Failed(d.findings) {
		return nil, d.findings
	}
	return s, d.findings
}

// decoder fills a structure from a YAML document and remembers where
// everything stands.
type decoder struct {
	file     string
	src      []byte
	skipped  int // bytes before src: a byte order mark
	findings []ossec.Finding
}

func (d *decoder) document(target reflect.Value) {
	if len(d.src) > maxFile {
		d.findings = append(d.findings, ossec.Finding{Severity: ossec.Error, Pos: ossec.Pos{File: d.file}, Code: "yaml-limit",
			Message: fmt.Sprintf("the file has %d bytes, at most %d are read", len(d.src), maxFile)})
		return
	}
	tree, err := parse(d.src)
	if err != nil {
		d.syntax(err)
		return
	}
	documents := slices.DeleteFunc(tree.Docs, func(doc *ast.DocumentNode) bool {
		return doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType
	})
	switch {
	case len(documents) == 0:
	case len(documents) > 1:
		d.report(first(documents[1].Body), "yaml-documents", "remove the line ---", "the file holds more than one document")
	default:
		d.mapping(documents[0].Body, target, "")
	}
}

// first returns the token that a node starts with: a mapping's own is its first
// colon.
func first(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

// parse keeps a mistake of the library from being ours.
func parse(src []byte) (tree *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file cannot be understood: %v", r)
		}
	}()
	return parser.ParseBytes(src, 0)
}

func (d *decoder) syntax(err error) {
	f := ossec.Finding{Severity: ossec.Error, Pos: ossec.Pos{File: d.file, Line: 1, Col: 1}, Code: "yaml-syntax", Message: err.Error()}
	var at yaml.Error
	if errors.As(err, &at) {
		f.Message = at.GetMessage()
		if tok := at.GetToken(); tok != nil {
			f.Pos, f.Len = d.pos(tok), len(tok.Value)
		}
	}
	f.Message = "this is not YAML: " + f.Message
	d.findings = append(d.findings, f)
}

// pos returns the place of a token.
func (d *decoder) pos(tok *token.Token) ossec.Pos {
	p := ossec.Pos{File: d.file, Offset: d.skipped, Line: max(1, tok.Position.Line), Col: max(1, tok.Position.Column)}
	rest := d.src
	for range p.Line - 1 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		p.Offset += i + 1
		rest = rest[i+1:]
	}
	for range p.Col - 1 {
		_, n := utf8.DecodeRune(rest)
		if n == 0 || rest[0] == '\n' {
			break
		}
		p.Offset += n
		rest = rest[n:]
	}
	return p
}

func (d *decoder) report(tok *token.Token, code, hint, format string, args ...any) *ossec.Finding {
	d.findings = append(d.findings, ossec.Finding{Severity: ossec.Error, Pos: d.pos(tok), Len: len(tok.Value), Code: code,
		Message: fmt.Sprintf(format, args...), Hint: hint})
	return &d.findings[len(d.findings)-1]
}

// mapping fills a structure.
func (d *decoder) mapping(n ast.Node, target reflect.Value, path string) {
	entries, ok := d.entries(n, path)
	if !ok {
		return
	}
	fields := map[string]int{}
	var names []string
	for i := range target.NumField() {
		name := target.Type().Field(i).Tag.Get("yaml")
		fields[name] = i
		names = append(names, name)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if len(d.findings) >= maxFindings {
			return
		}
		tok := e.Key.GetToken()
		name := tok.Value
		i, known := fields[name]
		switch {
		case !known:
			d.unknown(tok, path, names)
			continue
		case seen[name]:
			d.report(tok, "yaml-twice", "leave one of them", "%s is given twice", join(path, name))
			continue
		}
		seen[name] = true
		d.value(e.Value, target.Field(i), target.Type().Field(i).Tag, join(path, name))
	}
	for name, i := range fields {
		if !seen[name] && target.Type().Field(i).Tag.Get("required") != "" {
			d.report(first(n), "missing-key", fmt.Sprintf("add %s: …", name), "%s has no %s", path, name)
		}
	}
}

// entries returns the keys and values of a mapping.
func (d *decoder) entries(n ast.Node, path string) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, true
	}
	what := "the file"
	if path != "" {
		what = path
	}
	d.report(n.GetToken(), "yaml-kind", "write it as key: value", "%s must hold keys", what)
	return nil, false
}

func (d *decoder) unknown(tok *token.Token, path string, names []string) {
	f := d.report(tok, "unknown-key", "the keys here are "+strings.Join(names, ", "), "there is no key %s", join(path, tok.Value))
	near, ok := ossec.Nearest(strings.ToLower(tok.Value), names)
	if !ok {
		if slices.Contains(names, strings.ReplaceAll(strings.ToLower(tok.Value), "-", "_")) {
			near, ok = strings.ReplaceAll(strings.ToLower(tok.Value), "-", "_"), true
		}
	}
	if ok {
		f.Hint = fmt.Sprintf("did you mean %s?", near)
		f.Fix = d.edit(tok, near)
	}
}

// edit replaces a plain word; nil when it is written otherwise.
func (d *decoder) edit(tok *token.Token, text string) *ossec.Edit {
	p := d.pos(tok)
	if !bytes.HasPrefix(d.src[p.Offset-d.skipped:], []byte(tok.Value)) {
		return nil
	}
	return &ossec.Edit{Offset: p.Offset, Len: len(tok.Value), Text: text}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// value fills one setting. A key without value keeps its default.
func (d *decoder) value(n ast.Node, target reflect.Value, tag reflect.StructTag, path string) {
	switch n.(type) {
	case nil, *ast.NullNode:
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.report(n.GetToken(), "yaml-kind", "write the value out", "%s: anchors, aliases and tags are not used here", path)
		return
	}
	switch target.Interface().(type) {
	case ossec.Dialect:
		d.dialect(n, target, path)
		return
	case time.Duration:
		d.duration(n, target, tag, path)
		return
	case choice:
		d.choice(n, target, path)
		return
	}
	switch target.Kind() {
	case reflect.Struct:
		d.mapping(n, target, path)
	case reflect.Slice:
		d.list(n, target, tag, path)
	case reflect.Map:
		d.table(n, target, tag, path)
	case reflect.Bool:
		d.flag(n, target, path)
	case reflect.Int:
		d.number(n, target, tag, path)
	case reflect.String:
		d.text(n, target, tag, path)
	}
}

// scalar returns the text of a single value.
func (d *decoder) scalar(n ast.Node, path string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	d.report(n.GetToken(), "yaml-kind", "", "%s must be a single value", path)
	return "", false
}

func (d *decoder) list(n ast.Node, target reflect.Value, tag reflect.StructTag, path string) {
	nodes := []ast.Node{n} // a single value is a list of one
	if s, ok := n.(*ast.SequenceNode); ok {
		nodes = s.Values
	}
	list := reflect.MakeSlice(target.Type(), 0, len(nodes))
	for i, n := range nodes {
		if len(d.findings) >= maxFindings {
			return
		}
		item := reflect.New(target.Type().Elem()).Elem()
		d.value(n, item, tag, fmt.Sprintf("%s[%d]", path, i))
		list = reflect.Append(list, item)
	}
	target.Set(list)
}

func (d *decoder) table(n ast.Node, target reflect.Value, tag reflect.StructTag, path string) {
	entries, ok := d.entries(n, path)
	if !ok {
		return
	}
	m := reflect.MakeMap(target.Type())
	for _, e := range entries {
		item := reflect.New(target.Type().Elem()).Elem()
		name := e.Key.GetToken().Value
		d.value(e.Value, item, tag, join(path, name))
		m.SetMapIndex(reflect.ValueOf(name), item)
	}
	target.Set(m)
}

func (d *decoder) flag(n ast.Node, target reflect.Value, path string) {
	text, ok := d.scalar(n, path)
	if !ok {
		return
	}
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		target.SetBool(true)
	case "false", "no", "off":
		target.SetBool(false)
	default:
		d.report(n.GetToken(), "bad-value", "write true or false", "%s is %q, it must be true or false", path, text)
	}
}

func (d *decoder) number(n ast.Node, target reflect.Value, tag reflect.StructTag, path string) {
	text, ok := d.scalar(n, path)
	if !ok {
		return
	}
	low, _ := strconv.Atoi(tag.Get("min"))
	high, _ := strconv.Atoi(tag.Get("max"))
	x, err := strconv.Atoi(text)
	if err != nil || x < low || x > high {
		d.report(n.GetToken(), "bad-value", "", "%s is %q, it must be a number from %d to %d", path, text, low, high)
		return
	}
	target.SetInt(int64(x))
}

func (d *decoder) text(n ast.Node, target reflect.Value, tag reflect.StructTag, path string) {
	text, ok := d.scalar(n, path)
	if !ok {
		return
	}
	if hint := check(tag.Get("check"), text); hint != "" {
		d.report(n.GetToken(), "bad-value", hint, "%s cannot be %q", path, text)
		return
	}
	target.SetString(text)
}

func (d *decoder) dialect(n ast.Node, target reflect.Value, path string) {
	d.word(n, path, words{ossec.Wazuh.String(), ossec.OSSEC.String()}, func(i int) { target.SetUint(uint64(i)) })
}

func (d *decoder) choice(n ast.Node, target reflect.Value, path string) {
	d.word(n, path, target.Interface().(choice).choices(), func(i int) { target.SetUint(uint64(i)) })
}

// word reads one of a few words.
func (d *decoder) word(n ast.Node, path string, known words, set func(int)) {
	text, ok := d.scalar(n, path)
	if !ok {
		return
	}
	if i := slices.Index(known, text); i >= 0 {
		set(i)
		return
	}
	f := d.report(n.GetToken(), "bad-value", "", "%s is %q, it must be one of %s", path, text, strings.Join(known, ", "))
	if near, ok := ossec.Nearest(strings.ToLower(text), known); ok || slices.Contains(known, near) {
		f.Hint = fmt.Sprintf("did you mean %s?", near)
		f.Fix = d.edit(n.GetToken(), near)
	}
}

// duration reads a time such as 90s, 10m, 1h30m or 7d; 0 needs no unit.
func (d *decoder) duration(n ast.Node, target reflect.Value, tag reflect.StructTag, path string) {
	text, ok := d.scalar(n, path)
	if !ok {
		return
	}
	v, err := parseDuration(text)
	if err != nil || v < 0 {
		f := d.report(n.GetToken(), "bad-value", "write a number with s, m, h or d, such as 10m", "%s is %q, which is not a time", path, text)
		if _, err := strconv.Atoi(text); err == nil && !strings.HasPrefix(text, "-") {
			f.Hint = fmt.Sprintf("write %ss for seconds, %sm for minutes", text, text)
		}
		return
	}
	low, _ := time.ParseDuration(tag.Get("min"))
	if high, err := time.ParseDuration(tag.Get("max")); v < low || err == nil && v > high {
		d.report(n.GetToken(), "bad-value", "", "%s is %s, it must be from %s to %s", path, text, low, high)
		return
	}
	target.SetInt(int64(v))
}

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, fmt.Errorf("%q is not a number of days", days)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}
