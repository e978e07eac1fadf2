package xml

import (
	"fmt"
	"strings"

	"riposte/internal/ossec"
)

// Parse reads a file. The error is an ossec.Finding that says where the first
// mistake is, what was read and what was expected.
func Parse(file string, src []byte, d ossec.Dialect) ([]*Node, error) {
	nodes, findings := ParseAll(file, src, d)
	if len(findings) > 0 {
		return nil, findings[0]
	}
	return nodes, nil
}

// ParseAll reads a file and goes on after mistakes whose mend is beyond doubt,
// such as an element closed by another's name, so that a checker can tell all
// of them at once. The nodes are as if the file were mended; they are nil when
// it cannot be. Every finding is an error.
func ParseAll(file string, src []byte, d ossec.Dialect) (nodes []*Node, findings []ossec.Finding) {
	p := &parser{src: string(src), dialect: d, first: ossec.Pos{File: file, Line: 1, Col: 1}}
	if len(src) > MaxFile {
		return nil, []ossec.Finding{{Severity: ossec.Error, Pos: ossec.Pos{File: file}, Code: codeLimit,
			Message: fmt.Sprintf("the file has %d bytes, at most %d are read", len(src), MaxFile)}}
	}
	defer func() {
		// The parser leaves deep recursion by panicking with its own finding.
		switch f := recover().(type) {
		case nil:
		case fatal:
			nodes, findings = nil, append(p.findings, ossec.Finding(f))
		default:
			panic(f)
		}
	}()
	p.prolog()
	nodes = p.roots()
	return nodes, p.findings
}

const (
	codeSyntax   = "xml-syntax"
	codeMismatch = "xml-mismatch"
	codeLimit    = "xml-limit"
)

// fatal is a mistake after which the rest of the file cannot be understood.
type fatal ossec.Finding

type parser struct {
	src      string
	off      int
	dialect  ossec.Dialect
	first    ossec.Pos // of the file, after a byte order mark
	mark     ossec.Pos // the last place that was asked for: the next is counted from there
	open     []*Node
	findings []ossec.Finding
}

// pos returns the place of an offset. Asking in rising order costs one pass
// over the file in all.
func (p *parser) pos(off int) ossec.Pos {
	if off < p.mark.Offset {
		p.mark = p.first
	}
	p.mark = advance(p.mark, p.src[p.mark.Offset:off])
	return p.mark
}

func (p *parser) fail(code string, off, length int, hint, format string, args ...any) {
	panic(fatal{Severity: ossec.Error, Pos: p.pos(off), Len: length, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// prolog skips a byte order mark and an <?xml … ?> declaration. Wazuh refuses
// both, OSSEC skips them; they can mean nothing else.
func (p *parser) prolog() {
	if strings.HasPrefix(p.src, "\ufeff") {
		p.off = len("\ufeff")
		p.first.Offset = p.off
	}
	p.mark = p.first
	rest := strings.TrimLeft(p.src[p.off:], " \t\r\n")
	if !strings.HasPrefix(rest, "<?xml") {
		return
	}
	i := strings.Index(rest, "?>")
	if i < 0 {
		p.fail(codeSyntax, len(p.src)-len(rest), len("<?xml"), `end it with "?>"`, "the <?xml declaration is never closed")
	}
	p.off = len(p.src) - len(rest) + i + len("?>")
}

// roots reads the elements of the file and skips the text around them.
func (p *parser) roots() []*Node {
	var out []*Node
	var esc escape
	for {
		i := strings.IndexAny(p.src[p.off:], `<\`)
		if i < 0 {
			return out
		}
		if i > 0 {
			esc = 0
		}
		p.off += i
		if p.src[p.off] == '\\' {
			esc = esc.backslash(p.dialect)
			p.off++
			continue
		}
		switch {
		case p.comment():
		case esc != 0:
			p.off++
		case strings.HasPrefix(p.src[p.off:], "</"):
			name, n := p.closing()
			p.fail(codeMismatch, p.off, n, "remove it, or open the element before it", "</%s> closes an element that is not open", name)
		default:
			out = append(out, p.element())
		}
		esc = 0
	}
}

// escape says whether a '<' that follows is kept as text: after an odd run of
// backslashes in Wazuh, after any in OSSEC.
type escape uint8

func (e escape) backslash(d ossec.Dialect) escape {
	if d == ossec.Wazuh {
		return 1 - e
	}
	return 1
}

// comment skips a comment that starts at the '<' at hand. It ends at the first
// "-->" or "!>".
func (p *parser) comment() bool {
	if !strings.HasPrefix(p.src[p.off:], "<!") {
		return false
	}
	body := p.src[p.off+2:]
	for i := 0; ; i++ {
		gt := strings.IndexByte(body[i:], '>')
		if gt < 0 {
			p.fail(codeSyntax, p.off, 2, `end it with "-->"; whatever starts with "<!" is a comment here, CDATA too`, "the comment is never closed")
		}
		i += gt
		if before := body[:i]; strings.HasSuffix(before, "--") || strings.HasSuffix(before, "!") {
			p.off += 2 + i + 1
			return true
		}
	}
}

// element reads the element that opens at the '<' at hand.
func (p *parser) element() *Node {
	if len(p.open) == MaxDepth {
		p.fail(codeLimit, p.off, 1, "", "more than %d elements are nested here", MaxDepth)
	}
	n := &Node{Pos: p.pos(p.off)}
	closed := p.tag(n)
	n.TextPos = p.pos(p.off)
	if !closed {
		p.open = append(p.open, n)
		p.content(n)
		p.open = p.open[:len(p.open)-1]
	}
	n.End = p.off
	return n
}

// tag reads an opening tag and reports whether it closes itself.
func (p *parser) tag(n *Node) (closed bool) {
	start := p.off
	p.off++
	i := strings.IndexAny(p.src[p.off:], "> \t\n\r\v\f<")
	if i < 0 || p.src[p.off+i] == '<' {
		p.fail(codeSyntax, start, 1, `write ">" at its end; a "<" that belongs to a text must be written "\<"`, "the tag that opens here has no end")
	}
	name := p.src[p.off : p.off+i]
	if len(name) > MaxText {
		p.fail(codeLimit, start, 1, "", "the tag's name is longer than %d bytes", MaxText)
	}
	p.off += i
	slash := strings.HasSuffix(name, "/")
	n.Name = strings.TrimSuffix(name, "/")
	if n.Name == "" {
		p.fail(codeSyntax, start, 1, `a "<" that belongs to a text must be written "\<"`, "a tag has no name")
	}
	if p.src[p.off] == '>' {
		p.off++
		return slash
	}
	return p.attrs(n) || slash
}

// attrs reads what follows the name of a tag, up to its '>', and reports
// whether a '/' stands before that.
func (p *parser) attrs(n *Node) (closed bool) {
	for {
		p.spaces()
		start := p.off
		i := strings.IndexAny(p.src[p.off:], "=/> \t\n\r\v\f")
		if i < 0 {
			p.fail(codeSyntax, n.Pos.Offset, 1+len(n.Name), `write ">" at its end`, "the tag <%s has no end", n.Name)
		}
		name := p.src[start : start+i]
		p.off += i
		switch c := p.src[p.off]; {
		case c == '>' && name == "":
			p.off++
			return false
		case c == '/' && name == "":
			p.slash(n)
			return true
		case c != '=' || name == "":
			p.fail(codeSyntax, start, max(i, 1), `write it as name="value", without a space before "="`, "an attribute of <%s> has no value", n.Name)
		}
		if _, twice := n.Attr(name); twice {
			p.fail(codeSyntax, start, i, "leave one of them", "<%s> has the attribute %s twice", n.Name, name)
		}
		pos := p.pos(start)
		p.off++
		p.value(n, name, pos)
		if p.off < len(p.src) && !strings.ContainsRune("/> \t\n\r\v\f", rune(p.src[p.off])) {
			p.fail(codeSyntax, p.off, 1, "put a space between attributes", "something follows the value of attribute %s of <%s> without a space", name, n.Name)
		}
	}
}

// slash skips the end of a tag that closes itself.
func (p *parser) slash(n *Node) {
	p.off++
	if p.off >= len(p.src) || p.src[p.off] != '>' {
		p.fail(codeSyntax, p.off-1, 1, `write "/>" together`, "the tag <%s has a / that is not at its end", n.Name)
	}
	p.off++
}

// value reads an attribute's value, quotes and all.
func (p *parser) value(n *Node, name string, pos ossec.Pos) {
	p.spaces()
	if p.off >= len(p.src) || p.src[p.off] != '"' && p.src[p.off] != '\'' {
		p.fail(codeSyntax, pos.Offset, len(name), `write the value in " or '`, "the value of attribute %s of <%s> is not quoted", name, n.Name)
	}
	quote := p.src[p.off]
	p.off++
	rest := p.src[p.off:]
	end := strings.IndexByte(rest, quote)
	if end < 0 || strings.Contains(rest[:end], ">") {
		p.fail(codeSyntax, p.off-1, 1, `end it with the same quote; a value cannot hold ">"`, "the value of attribute %s of <%s> is not closed before the tag ends", name, n.Name)
	}
	if end > MaxText {
		p.fail(codeLimit, p.off, 1, "", "the value of attribute %s of <%s> is longer than %d bytes", name, n.Name, MaxText)
	}
	n.Attrs = append(n.Attrs, Attr{Name: name, Value: rest[:end], Pos: pos, ValuePos: p.pos(p.off)})
	p.off += end + 1
}

func (p *parser) spaces() {
	for p.off < len(p.src) && strings.IndexByte(" \t\n\r\v\f", p.src[p.off]) >= 0 {
		p.off++
	}
}
