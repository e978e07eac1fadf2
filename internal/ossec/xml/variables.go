package xml

import (
	"fmt"
	"slices"
	"strings"

	"riposte/internal/ossec"
)

const codeVariable = "xml-variable"

// Bounds of what variables may make of a file.
const (
	maxExpanded = 256 << 10 // bytes of one text
	maxVariable = 255       // bytes of a variable's name
)

// ApplyVariables replaces, in a rule or decoder file, the variables that
// <var name="X">value</var> defines by their values, in texts and attribute
// values that come after the definition and are longer than two bytes. It
// changes the nodes and returns those that are not <var>. A reference is $
// and the name up to the next '$', '.', '|', ',' or space, compared without
// case; values are not expanded again. $(field) is left for the description
// of a Wazuh rule. The error is an ossec.Finding.
func ApplyVariables(nodes []*Node, d ossec.Dialect) ([]*Node, error) {
	v := variables{dialect: d}
	return v.apply(nodes)
}

type variables struct {
	dialect ossec.Dialect
	names   []string // lower case; the first of a name wins
	values  []string
}

func (v *variables) apply(nodes []*Node) ([]*Node, error) {
	out := nodes[:0]
	for _, n := range nodes {
		if strings.EqualFold(n.Name, "var") {
			if err := v.define(n); err != nil {
				return nil, err
			}
			continue
		}
		if err := v.node(n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	clear(nodes[len(out):])
	return out, nil
}

func (v *variables) define(n *Node) error {
	if len(n.Attrs) == 0 || !strings.EqualFold(n.Attrs[0].Name, "name") {
		return ossec.Finding{Severity: ossec.Error, Pos: n.Pos, Len: len("<var"), Code: codeVariable,
			Message: "a variable has no name", Hint: `write <var name="NAME">value</var>`}
	}
	name := n.Attrs[0].Value
	if name == "" || len(name) > maxVariable {
		return ossec.Finding{Severity: ossec.Error, Pos: n.Attrs[0].Pos, Len: len("name"), Code: codeVariable,
			Message: fmt.Sprintf("the name of a variable has %d bytes, it must have 1 to %d", len(name), maxVariable)}
	}
	v.names = append(v.names, strings.ToLower(name))
	v.values = append(v.values, n.Text)
	return nil
}

func (v *variables) node(n *Node) (err error) {
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if a.Value, _, err = v.expand(a.Value, a.At); err != nil {
			return err
		}
	}
	var replaced bool
	// The text comes before the children: the systems keep elements in the
	// order in which they open.
	if n.Text, replaced, err = v.expand(n.Text, n.At); err != nil {
		return err
	}
	n.cuts.replaced = n.cuts.replaced || replaced
	n.Children, err = v.apply(n.Children)
	return err
}

// expand replaces the variables of a text.
func (v *variables) expand(s string, at func(int) ossec.Pos) (string, bool, error) {
	if len(v.names) == 0 || len(s) <= 2 || !strings.Contains(s, "$") {
		return s, false, nil
	}
	var b strings.Builder
	replaced := false
	for i := 0; i < len(s); {
		j := strings.IndexByte(s[i:], '$')
		if j < 0 {
			b.WriteString(s[i:])
			break
		}
		b.WriteString(s[i : i+j])
		i += j
		end := i + 1
		for end < len(s) && strings.IndexByte("$.|, ", s[end]) < 0 {
			end++
		}
		name := s[i+1 : end]
		switch k := slices.Index(v.names, strings.ToLower(name)); {
		case k >= 0:
			b.WriteString(v.values[k])
			replaced = true
		case name == "", name[0] == '(' && v.dialect == ossec.Wazuh:
			b.WriteString(s[i:end])
		default:
			return "", false, v.unknown(name, at(i))
		}
		if b.Len() > maxExpanded {
			return "", false, ossec.Finding{Severity: ossec.Error, Pos: at(i), Len: end - i, Code: codeLimit,
				Message: fmt.Sprintf("variables make this text longer than %d bytes", maxExpanded)}
		}
		i = end
	}
	return b.String(), replaced, nil
}

func (v *variables) unknown(name string, pos ossec.Pos) error {
	f := ossec.Finding{Severity: ossec.Error, Pos: pos, Len: 1 + len(name), Code: codeVariable,
		Message: fmt.Sprintf("the variable $%s is not defined before this line", name)}
	if near, ok := ossec.Nearest(strings.ToLower(name), v.names); ok {
		f.Hint = fmt.Sprintf("did you mean $%s?", strings.ToUpper(near))
	} else {
		f.Hint = `in a file that defines variables every "$" before a word is a reference`
	}
	return f
}
