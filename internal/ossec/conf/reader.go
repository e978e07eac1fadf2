package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// reader collects what is read and what is to be said about it.
type reader struct {
	file     string
	src      string
	dialect  ossec.Dialect
	cfg      *Config
	findings []ossec.Finding

	pending    []pending // responses whose command is looked up at the end
	ladder     *value    // of the first block that holds only <repeated_offenders>
	firstBlock bool      // no <active-response> of this root was read yet
}

// maxFindings bounds what is said about one file.
const maxFindings = 1000

func (r *reader) add(f ossec.Finding) {
	switch n := len(r.findings); {
	case n < maxFindings:
	case n == maxFindings:
		f = ossec.Finding{Severity: ossec.Error, Pos: ossec.Pos{File: r.file, Offset: len(r.src)}, Code: "too-many",
			Message: fmt.Sprintf("there are more than %d findings, the rest is left out", maxFindings)}
	default:
		return
	}
	r.findings = append(r.findings, f)
}

// value is the text of an element without the white space around it.
type value struct {
	text   string
	node   *xml.Node
	from   int  // where text starts in node.Text
	mended bool // look-alikes were mended: the bytes of text are not those of the file
}

// pos returns the place of byte i of the text.
func (v value) pos(i int) ossec.Pos {
	if v.mended {
		i = 0
	}
	return v.node.At(v.from + i)
}

// edit replaces bytes i to j of the text, nil if they do not stand in the file
// in one piece.
func (v value) edit(i, j int, text string) *ossec.Edit {
	if v.mended || !v.node.Whole(v.from+i, v.from+j) {
		return nil
	}
	return &ossec.Edit{Offset: v.pos(i).Offset, Len: j - i, Text: text}
}

// sub returns the part of the value from byte i to byte j, white space trimmed.
func (v value) sub(i, j int) value {
	part := v.text[i:j]
	trimmed := strings.TrimLeft(part, spaces)
	v.from += i + len(part) - len(trimmed)
	v.text = strings.TrimRight(trimmed, spaces)
	return v
}

// split cuts the value at every byte that is one of seps; parts may be empty.
func (v value) split(seps string) []value {
	var out []value
	start := 0
	for i := 0; i <= len(v.text); i++ {
		if i == len(v.text) || strings.IndexByte(seps, v.text[i]) >= 0 {
			out = append(out, v.sub(start, i))
			start = i + 1
		}
	}
	return out
}

// words splits the value at any of seps and drops empty parts.
func (v value) words(seps string) []value {
	return slices.DeleteFunc(v.split(seps), func(w value) bool { return w.text == "" })
}

const spaces = " \t\r\n\v\f"

// finding makes a finding about a value: about its element when it is empty.
func (v value) finding(s ossec.Severity, code, hint, format string, args ...any) ossec.Finding {
	f := ossec.Finding{Severity: s, Pos: v.pos(0), Len: len(v.text), Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	if v.text == "" {
		f.Pos, f.Len = v.node.Pos, v.node.End-v.node.Pos.Offset
	}
	return f
}

func (r *reader) report(v value, s ossec.Severity, code, hint, format string, args ...any) {
	r.add(v.finding(s, code, hint, format, args...))
}

// replace reports a value whose one mend is another text.
func (r *reader) replace(v value, s ossec.Severity, code, text, format string, args ...any) {
	f := v.finding(s, code, fmt.Sprintf("write %s", text), format, args...)
	f.Fix = v.edit(0, len(v.text), text)
	r.add(f)
}

// fields are the values of a section's elements.
type fields struct {
	r      *reader
	node   *xml.Node
	all    map[string][]value
	broken []string // elements that were reported instead of read
}

// fields reads the elements of a section. An element that is not known is
// reported: as an error when it looks like a known one, else with the severity
// given.
func (r *reader) fields(n *xml.Node, unknown ossec.Severity, known ...string) fields {
	f := fields{r: r, node: n, all: map[string][]value{}}
	for _, c := range n.Children {
		name, ok := r.element(c, known, unknown, "<"+n.Name+">")
		if !ok {
			continue
		}
		if len(c.Children) > 0 {
			r.add(ossec.Finding{Severity: ossec.Error, Pos: c.Children[0].Pos, Len: 1 + len(c.Children[0].Name), Code: "not-a-value",
				Message: fmt.Sprintf("<%s> must hold a value, here it holds <%s>", c.Name, c.Children[0].Name),
				Hint:    fmt.Sprintf("is </%s> missing before it?", c.Name)})
			f.broken = append(f.broken, name)
			continue
		}
		f.all[name] = append(f.all[name], r.value(c, name))
	}
	return f
}

// one returns the value of an element that may stand once; when it stands more
// often the last one counts, as in the real systems.
func (f fields) one(name string) (value, bool) {
	vs := f.all[name]
	if len(vs) == 0 {
		return value{}, false
	}
	last := vs[len(vs)-1]
	for _, v := range vs[:len(vs)-1] {
		f.r.add(ossec.Finding{Severity: ossec.Warning, Pos: v.node.Pos, Len: v.node.End - v.node.Pos.Offset, Code: "given-twice",
			Message: fmt.Sprintf("<%s> stands more than once in this block; the one in line %d counts", name, last.node.Pos.Line),
			Hint:    "leave one of them"})
	}
	return last, true
}

// flag reads a yes or no into target.
func (f fields) flag(name string, target *bool) bool {
	v, ok := f.one(name)
	if !ok {
		return false
	}
	switch v.text {
	case "yes", "no":
		*target = v.text == "yes"
		return true
	}
	switch strings.ToLower(v.text) {
	case "yes", "y", "true", "on", "1", "enabled":
		*target = true
		f.r.replace(v, ossec.Error, "bad-value", "yes", "<%s> is %q, it must be yes or no", name, v.text)
	case "no", "n", "false", "off", "0", "disabled":
		*target = false
		f.r.replace(v, ossec.Error, "bad-value", "no", "<%s> is %q, it must be yes or no", name, v.text)
	default:
		f.r.report(v, ossec.Error, "bad-value", "write yes or no", "<%s> is %q, it must be yes or no", name, v.text)
	}
	return true
}

// text reads a value as it stands.
func (f fields) text(name string, target *string) {
	if v, ok := f.one(name); ok {
		*target = v.text
	}
}

// number reads a decimal number from low to high.
func (r *reader) number(v value, low, high int, what string) (int, bool) {
	n, err := strconv.Atoi(v.text)
	if err != nil || !digits(v.text) || n < low || n > high {
		r.report(v, ossec.Error, "bad-value", fmt.Sprintf("write a number from %d to %d", low, high),
			"<%s> is %q, it must be %s from %d to %d", v.node.Name, v.text, what, low, high)
		return 0, false
	}
	return n, true
}

// level reads the level of an alert into target.
func (r *reader) level(v value, target *int) {
	if n, ok := r.number(v, 0, 16, "a level"); ok {
		*target = n
	}
}

// digits reports whether s is a run of decimal digits.
func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// pick compares a value with the words it may be. A near miss is mended.
func (r *reader) pick(v value, words ...string) (string, bool) {
	for _, w := range words {
		if strings.EqualFold(v.text, w) {
			return w, true
		}
	}
	if near, ok := ossec.Nearest(v.text, words); ok {
		r.replace(v, ossec.Error, "bad-value", near, "<%s> is %q, it must be one of %s", v.node.Name, v.text, strings.Join(words, ", "))
		return near, true
	}
	r.report(v, ossec.Error, "bad-value", "", "<%s> is %q, it must be one of %s", v.node.Name, v.text, strings.Join(words, ", "))
	return "", false
}

// value trims an element's text and mends look-alike characters in it.
func (r *reader) value(n *xml.Node, name string) value {
	v := value{text: n.Text, node: n}.sub(0, len(n.Text))
	if freeText[name] || ascii(v.text) {
		return v
	}
	mended, first, ok := mend(v.text, paths[name])
	if !ok {
		return v
	}
	severity := ossec.Error
	if paths[name] {
		severity = ossec.Warning
	}
	c, size := utf8.DecodeRuneInString(v.text[first:])
	f := ossec.Finding{Severity: severity, Pos: v.pos(first), Len: size, Code: "look-alike",
		Message: fmt.Sprintf("<%s> holds %s, which only looks like %s", name, describe(c), lookalike(c)),
		Hint:    fmt.Sprintf("write %s", quoteEmpty(mended)), Fix: v.edit(0, len(v.text), mended)}
	r.add(f)
	if severity == ossec.Error {
		v.text, v.mended = mended, true
	}
	return v
}

func quoteEmpty(s string) string {
	if s == "" {
		return "nothing there"
	}
	return s
}

// element finds out which of the known elements n is. Look-alike characters in
// its name and near misses are mended, so that reading can go on inside.
func (r *reader) element(n *xml.Node, known []string, unknown ossec.Severity, where string) (string, bool) {
	if slices.Contains(known, n.Name) {
		return n.Name, true
	}
	f := ossec.Finding{Severity: unknown, Pos: n.Pos, Len: 1 + len(n.Name), Code: "unknown-element",
		Message: fmt.Sprintf("%s has no element <%s>", where, n.Name)}
	name := n.Name
	if mended, first, ok := mend(name, false); ok {
		c, size := utf8.DecodeRuneInString(name[first:])
		name = mended
		f.Severity, f.Code = ossec.Error, "look-alike"
		f.Pos = ossec.Pos{File: r.file, Offset: n.Pos.Offset + 1 + first, Line: n.Pos.Line, Col: n.Pos.Col + 1 + utf8.RuneCountInString(n.Name[:first])}
		f.Len = size
		f.Message = fmt.Sprintf("the tag <%s> holds %s, which only looks like %s", n.Name, describe(c), lookalike(c))
	}
	near, ok := name, slices.Contains(known, name)
	if !ok {
		near, ok = ossec.Nearest(strings.ToLower(name), known)
	}
	if !ok {
		r.add(f)
		return "", false
	}
	f.Severity = ossec.Error
	if f.Code == "look-alike" {
		f.Hint = fmt.Sprintf("write <%s>", near)
	} else {
		f.Hint = fmt.Sprintf("did you mean <%s>?", near)
	}
	f.Fix = &ossec.Edit{Offset: n.Pos.Offset + 1, Len: len(n.Name), Text: near}
	if n.Close.Line > 0 {
		f.Also = &ossec.Edit{Offset: n.Close.Offset, Len: n.End - n.Close.Offset, Text: "</" + near + ">"}
	}
	r.add(f)
	return near, true
}
