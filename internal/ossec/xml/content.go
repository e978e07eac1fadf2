package xml

import (
	"fmt"
	"slices"
	"strings"

	"riposte/internal/ossec"
)

// content reads the text and children of n up to and with its closing tag.
// The text starts anew after each child.
func (p *parser) content(n *Node) {
	var t text
	t.start(p, n)
	var esc escape
	for {
		i := strings.IndexAny(p.src[p.off:], `<\`)
		if i < 0 {
			p.off = len(p.src)
			p.unclosed(n)
		}
		if i > 0 {
			esc = 0
		}
		p.off += i
		if p.off-t.begin+len(t.joined) > MaxText {
			p.fail(codeLimit, t.begin, 1, "is its closing tag missing?", "the text of <%s> is longer than %d bytes", n.Name, MaxText)
		}
		if p.src[p.off] == '\\' {
			esc = esc.backslash(p.dialect)
			p.off++
			continue
		}
		switch before := p.off; {
		case p.comment():
			t.cut(p, n, before)
		case esc != 0:
			p.off++
			esc = 0
		case strings.HasPrefix(p.src[p.off:], "</"):
			n.Close = p.pos(p.off)
			t.end(p, n)
			p.close(n)
			return
		default:
			n.Children = append(n.Children, p.element())
			t.start(p, n)
			esc = 0
		}
	}
}

// text collects the text of an element. It is a part of the file unless a
// comment stands in it.
type text struct {
	begin  int    // offset of the piece being read
	joined []byte // the pieces before it
}

func (t *text) start(p *parser, n *Node) {
	*t = text{begin: p.off}
	n.TextPos = p.pos(p.off)
	n.cuts = cuts{}
}

// cut ends a piece at the comment that started at before.
func (t *text) cut(p *parser, n *Node, before int) {
	t.joined = append(t.joined, p.src[t.begin:before]...)
	t.begin = p.off
	if len(t.joined) == 0 {
		n.TextPos = p.pos(p.off)
		return
	}
	next := piece{len(t.joined), p.pos(p.off)}
	if last := len(n.cuts.pieces) - 1; last >= 0 && n.cuts.pieces[last].off == next.off {
		n.cuts.pieces[last] = next
		return
	}
	n.cuts.pieces = append(n.cuts.pieces, next)
}

func (t *text) end(p *parser, n *Node) {
	n.Text = p.src[t.begin:p.off]
	if len(t.joined) > 0 {
		n.Text = string(t.joined) + n.Text
	}
}

// closing reads the closing tag at hand without moving on: its name and the
// length of the whole tag.
func (p *parser) closing() (name string, length int) {
	rest := p.src[p.off:]
	end := strings.IndexAny(rest[2:], "<>")
	if end < 0 || rest[2+end] == '<' {
		p.fail(codeSyntax, p.off, 2, `write ">" at its end`, "the closing tag has no end")
	}
	return rest[2 : 2+end], 2 + end + 1
}

// close reads the closing tag at hand, which should be n's. When it is another
// one, it is mended if there is only one way to do that.
func (p *parser) close(n *Node) {
	name, length := p.closing()
	if name == n.Name {
		p.off += length
		return
	}
	shown := "</" + name + ">"
	want := "</" + n.Name + ">"
	f := ossec.Finding{Severity: ossec.Error, Pos: n.Close, Len: length, Code: codeMismatch,
		Message: fmt.Sprintf("%s stands where the <%s> of line %d must be closed", shown, n.Name, n.Pos.Line)}
	switch hint := p.escaped(n); {
	case len(p.findings) == maxFindings:
		panic(fatal(f))
	case hint != "":
		f.Hint = hint
		panic(fatal(f))
	case p.misspelt(n, name):
		f.Hint = "write " + want
		f.Fix = &ossec.Edit{Offset: p.off, Len: length, Text: want}
		p.off += length
	case p.isOpen(name) && len(n.Children) == 0:
		f.Hint = fmt.Sprintf("write %s before it", want)
		f.Fix = &ossec.Edit{Offset: p.off, Text: want}
	default:
		f.Hint = fmt.Sprintf("close <%s> with exactly %s", n.Name, want)
		panic(fatal(f))
	}
	p.findings = append(p.findings, f)
}

// maxFindings bounds the mistakes that are mended in one file.
const maxFindings = 50

// misspelt reports whether the closing tag at hand must have been meant for n:
// it names nothing that is open and looks like n's or ends a text of one line,
// or it names an element further out that is closed once more later on.
func (p *parser) misspelt(n *Node, name string) bool {
	_, length := p.closing()
	rest := p.src[p.off+length:]
	if p.isOpen(name) {
		next := strings.Index(rest, "</"+name+">")
		again := strings.Index(rest, "<"+name+">")
		return next >= 0 && (again < 0 || next < again)
	}
	if strings.EqualFold(strings.TrimSpace(name), n.Name) {
		return true
	}
	if _, near := ossec.Nearest(name, []string{n.Name}); near {
		return true
	}
	line, _, _ := strings.Cut(rest, "\n")
	return len(n.Children) == 0 && !strings.Contains(n.Text, "\n") && !strings.Contains(line, "</"+n.Name+">")
}

// isOpen reports whether an element further out than the innermost one has
// that name.
func (p *parser) isOpen(name string) bool {
	return slices.ContainsFunc(p.open[:len(p.open)-1], func(n *Node) bool { return n.Name == name })
}

// unclosed fails for n, the innermost element that the file ends in.
func (p *parser) unclosed(n *Node) {
	hint := p.escaped(n)
	if hint == "" {
		hint = fmt.Sprintf("close it with </%s>", n.Name)
	}
	p.fail(codeMismatch, n.Pos.Offset, 1+len(n.Name), hint, "<%s> is never closed", n.Name)
}

// escaped says where a backslash keeps n's closing tag from closing it.
func (p *parser) escaped(n *Node) string {
	from := n.TextPos.Offset
	i := strings.Index(p.src[from:p.off], `\</`+n.Name+">")
	if i < 0 {
		return ""
	}
	line := n.TextPos.Line + strings.Count(p.src[from:from+i], "\n")
	return fmt.Sprintf("the backslash before </%s> in line %d keeps that tag from closing it", n.Name, line)
}
