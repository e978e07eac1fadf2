// Package xml reads the XML-like language of OSSEC and Wazuh files:
// configuration, rules and decoders. It is not XML: there are no entities, any
// number of roots, a backslash keeps a '<' in a text, and a comment is
// whatever stands between "<!" and "-->" or "!>". Both systems' own stock
// files are read as those systems read them; see rules-engine.md section 1 of
// the specification. The package gives positions for everything it reads and
// knows nothing of what elements mean.
package xml

import (
	"strings"
	"unicode/utf8"

	"riposte/internal/ossec"
)

// Bounds of what is read. Longer input is an error, as it is in Wazuh; OSSEC
// has smaller bounds for texts, which no working file can notice.
const (
	MaxFile  = 16 << 20 // bytes in a file
	MaxText  = 20480    // bytes in a name, an attribute's value or a text
	MaxDepth = 1024     // nested elements
)

// Node is an element.
type Node struct {
	Name     string
	Pos      ossec.Pos // of the '<' that opens it
	Attrs    []Attr    // in the order written, no name twice
	Children []*Node
	Text     string    // verbatim, comments taken out; of an element with children what follows the last one
	TextPos  ossec.Pos // of the first byte of Text, or where it would stand
	Close    ossec.Pos // of the '<' of the closing tag; the zero Pos for <a/>
	End      int       // offset after the closing tag

	cuts cuts
}

// Attr is an attribute.
type Attr struct {
	Name, Value string
	Pos         ossec.Pos // of the name
	ValuePos    ossec.Pos // of the first byte between the quotes
}

// Attr returns the value of the attribute of that name, compared with case.
func (n *Node) Attr(name string) (string, bool) {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			return n.Attrs[i].Value, true
		}
	}
	return "", false
}

// Child returns the last child of that name, nil when there is none: where an
// element may stand once, both systems let the last one win.
func (n *Node) Child(name string) *Node {
	for i := len(n.Children) - 1; i >= 0; i-- {
		if n.Children[i].Name == name {
			return n.Children[i]
		}
	}
	return nil
}

// At returns the place in the file of byte i of Text, also when a comment was
// taken out before it. A text in which a variable was replaced has only one
// known place, its start.
func (n *Node) At(i int) ossec.Pos {
	return n.cuts.at(n.Text, n.TextPos, i)
}

// Whole reports whether bytes i to j of Text stand in the file as they are,
// without a comment between them, so that they can be replaced as one piece.
func (n *Node) Whole(i, j int) bool {
	return n.At(j).Offset-n.At(i).Offset == j-i && !n.cuts.replaced
}

// At returns the place in the file of byte i of Value.
func (a *Attr) At(i int) ossec.Pos {
	return cuts{}.at(a.Value, a.ValuePos, i)
}

// cuts says where a text that was not read in one piece comes from.
type cuts struct {
	pieces   []piece // after the first one, which starts the text
	replaced bool    // by a variable: positions are lost
}

// piece is where byte off of a text stands in the file.
type piece struct {
	off int
	pos ossec.Pos
}

func (c cuts) at(text string, start ossec.Pos, i int) ossec.Pos {
	if c.replaced {
		return start
	}
	i = max(0, min(i, len(text)))
	p := piece{0, start}
	for _, q := range c.pieces {
		if q.off > i {
			break
		}
		p = q
	}
	return advance(p.pos, text[p.off:i])
}

// advance returns the place after text, which begins at pos.
func advance(pos ossec.Pos, text string) ossec.Pos {
	pos.Offset += len(text)
	for {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			break
		}
		pos.Line++
		pos.Col = 1
		text = text[i+1:]
	}
	pos.Col += utf8.RuneCountInString(text)
	return pos
}
