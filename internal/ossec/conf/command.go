package conf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// Command is a <command>.
type Command struct {
	riposte.Command
	Timed  Timed
	Needs  Needs
	Pos    ossec.Pos
	Len    int    // bytes of the element
	insert int    // offset after the last element, where <timeout_allowed> can be added
	indent string // what stands before an element in its line, with the line feed
}

// Timed is what <timeout_allowed> says.
type Timed uint8

// An absent <timeout_allowed> is a no in the real systems; riposte lets a
// <timeout> speak for itself then.
const (
	TimedUnsaid Timed = iota
	TimedYes
	TimedNo
)

// Needs says what a command acts on.
type Needs struct {
	Kind riposte.Kind
	// Optional: a script of one's own without <expect>, which Wazuh hands the
	// whole alert. It gets the alert's address if there is one.
	Optional bool
}

// maxName bounds the names of commands and files.
const maxName = 255

// command reads a <command>.
func (r *reader) command(n *xml.Node) {
	if len(n.Children) == 0 {
		r.emptyBlock(n)
		return
	}
	f := r.fields(n, ossec.Error, "name", "executable", "expect", "timeout_allowed", "extra_args")
	last := n.Children[len(n.Children)-1]
	c := Command{Pos: n.Pos, Len: n.End - n.Pos.Offset, insert: last.End, indent: r.indent(last)}
	ok := r.commandName(f, &c)
	ok = r.executable(f, &c) && ok
	r.expect(f, &c)
	var timed bool
	if f.flag("timeout_allowed", &timed) {
		c.Timed = TimedNo
		if timed {
			c.Timed = TimedYes
		}
	}
	if v, has := f.one("extra_args"); has {
		c.ExtraArgs = strings.Fields(v.text)
		if r.dialect == ossec.OSSEC {
			r.report(v, ossec.Note, "other-dialect", "", "OSSEC refuses <extra_args>; riposte hands them to the script as Wazuh does")
		}
	}
	if !ok {
		return
	}
	if i := slices.IndexFunc(r.cfg.Commands, func(d Command) bool { return d.Name == c.Name }); i >= 0 {
		v, _ := f.one("name")
		r.report(v, ossec.Warning, "same-name", "give it another name or remove it",
			"there is a command %q already in line %d; this one is never used", c.Name, r.cfg.Commands[i].Pos.Line)
	}
	r.cfg.Commands = append(r.cfg.Commands, c)
}

// indent returns the white space before an element with the line feed before
// that, "" when the element does not start its line.
func (r *reader) indent(n *xml.Node) string {
	before := r.src[:n.Pos.Offset]
	i := len(strings.TrimRight(before, " \t"))
	if i == 0 || before[i-1] != '\n' {
		return ""
	}
	if i > 1 && before[i-2] == '\r' {
		i--
	}
	return before[i-1:]
}

// emptyBlock reports a block that says nothing.
func (r *reader) emptyBlock(n *xml.Node) {
	r.add(ossec.Finding{Severity: ossec.Error, Pos: n.Pos, Len: n.End - n.Pos.Offset, Code: "empty-block",
		Message: fmt.Sprintf("this <%s> is empty; OSSEC and Wazuh do not start with it", n.Name), Hint: "remove it",
		Fix: &ossec.Edit{Offset: n.Pos.Offset, Len: n.End - n.Pos.Offset}})
}

// missing reports that a section lacks an element.
func (f fields) missing(name string) {
	if slices.Contains(f.broken, name) {
		return
	}
	f.r.add(ossec.Finding{Severity: ossec.Error, Pos: f.node.Pos, Len: 1 + len(f.node.Name), Code: "missing-element",
		Message: fmt.Sprintf("this <%s> has no <%s>", f.node.Name, name), Hint: fmt.Sprintf("add <%s>…</%s>", name, name)})
}

func (r *reader) commandName(f fields, c *Command) bool {
	v, ok := f.one("name")
	switch {
	case !ok:
		f.missing("name")
	case v.text == "":
		r.report(v, ossec.Error, "empty-name", "", "the command has an empty name")
	case len(v.text) > maxName || strings.ContainsFunc(v.text, unicode.IsControl):
		r.report(v, ossec.Error, "bad-name", "use letters, digits, '-' and '_'", "the command's name holds a control character or more than %d bytes", maxName)
	case v.text[0] == '!' && r.dialect == ossec.Wazuh:
		r.report(v, ossec.Error, "bad-name", `leave out the "!"`, `the command's name starts with "!", which Wazuh keeps for scripts run by hand`)
	default:
		c.Name = v.text
		return true
	}
	return false
}

func (r *reader) executable(f fields, c *Command) bool {
	v, ok := f.one("executable")
	switch {
	case !ok:
		f.missing("executable")
	case v.text == "":
		r.report(v, ossec.Error, "empty-name", "give the name of a file in active-response/bin", "<executable> is empty")
	case len(v.text) > maxName || strings.ContainsFunc(v.text, unicode.IsControl):
		r.report(v, ossec.Error, "bad-name", "", "<executable> holds a control character or more than %d bytes", maxName)
	case !filepath.IsLocal(strings.ReplaceAll(v.text, `\`, "/")) || strings.Contains(v.text, ":"):
		f := v.finding(ossec.Error, "bad-path", "give a file name in active-response/bin", "<executable> %q leads out of active-response/bin", v.text)
		if i := strings.LastIndexAny(v.text, `/\`); i >= 0 && i+1 < len(v.text) {
			f.Hint = fmt.Sprintf("put the script into active-response/bin and write %s", v.text[i+1:])
		}
		r.add(f)
	default:
		c.Executable = v.text
		return true
	}
	return false
}

// expectWords are the words of <expect> that mean something. OSSEC knows user,
// username, srcip and filename; Wazuh 3 finds "user" in longer words too.
var expectWords = map[string]riposte.Kind{
	"srcip": riposte.Address, "user": riposte.User, "username": riposte.User, "dstuser": riposte.User, "srcuser": riposte.User,
	"filename": riposte.File,
}

// expect reads <expect> and settles what the command acts on.
func (r *reader) expect(f fields, c *Command) {
	v, has := f.one("expect")
	if has {
		for _, w := range v.words(", \t\r\n") {
			kind, ok := expectWords[strings.ToLower(w.text)]
			if !ok {
				kind, ok = r.unknownExpect(w)
			}
			if ok && !slices.Contains(c.Expect, kind) {
				c.Expect = append(c.Expect, kind)
			}
		}
	} else if r.dialect == ossec.OSSEC && c.Executable != "" {
		r.add(ossec.Finding{Severity: ossec.Warning, Pos: f.node.Pos, Len: 1 + len(f.node.Name), Code: "no-expect",
			Message: "this <command> has no <expect>; OSSEC does not start with it",
			Hint:    "add <expect>srcip</expect> or an empty <expect></expect>"})
	}
	stock, known := StockKind(c.Executable)
	switch {
	case known:
		c.Needs = Needs{Kind: stock}
		if has && stock != riposte.None && !slices.Contains(c.Expect, stock) {
			r.report(v, ossec.Note, "expect-other", fmt.Sprintf("write %s", expectWord(stock)),
				"%s acts on %s but <expect> is %q; riposte passes it on as Wazuh 4 does", c.Executable, article(stock), v.text)
		}
	case slices.Contains(c.Expect, riposte.Address):
		c.Needs = Needs{Kind: riposte.Address}
	case len(c.Expect) > 0:
		c.Needs = Needs{Kind: c.Expect[0]}
	case !has:
		c.Needs = Needs{Kind: riposte.Address, Optional: true}
	}
}

func (r *reader) unknownExpect(w value) (riposte.Kind, bool) {
	words := []string{"srcip", "user", "username", "filename"}
	if near, ok := ossec.Nearest(strings.ToLower(w.text), words); ok {
		f := w.finding(ossec.Error, "unknown-expect", fmt.Sprintf("did you mean %s?", near), "<expect> knows no word %q", w.text)
		f.Fix = w.edit(0, len(w.text), near)
		r.add(f)
		return expectWords[near], true
	}
	r.report(w, ossec.Warning, "unknown-expect", "use srcip, user or filename", "<expect> knows no word %q; it has no effect, here as in OSSEC and Wazuh", w.text)
	return 0, false
}

func expectWord(k riposte.Kind) string {
	switch k {
	case riposte.User:
		return "user"
	case riposte.File:
		return "filename"
	}
	return "srcip"
}

func article(k riposte.Kind) string {
	if k == riposte.Address {
		return "an address"
	}
	return "a " + k.String()
}
