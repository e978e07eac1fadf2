package pattern

import "strings"

// group reads what starts with a parenthesis.
func (p *pcreParser) group() (*node, error) {
	start := p.pos
	if p.depth++; p.depth > maxGroupDepth {
		return nil, errorAt(start, "parentheses nested more than %d deep", maxGroupDepth)
	}
	defer func() { p.depth-- }()
	p.pos++
	if p.peek() == '*' {
		return p.verb(start)
	}
	if !p.has("?") {
		if p.opts.noCapture {
			return p.body(start, func(n *node) *node { return n })
		}
		return p.capture(start, "")
	}
	switch {
	case p.has("#"):
		return nil, p.comment(start)
	case p.has(":"):
		return p.body(start, func(n *node) *node { return n })
	case p.has(">"):
		return p.body(start, func(n *node) *node { return &node{kind: nodeAtomic, subs: []*node{n}} })
	case p.has("|"):
		return p.branchReset(start)
	case p.has("="):
		return p.look(start, true, false)
	case p.has("!"):
		return p.look(start, true, true)
	case p.has("<="):
		return p.look(start, false, false)
	case p.has("<!"):
		return p.look(start, false, true)
	case p.has("P="):
		name, err := p.name(start, ')')
		if err != nil {
			return nil, err
		}
		return p.addReference(0, name, start)
	case p.has("P<"), p.has("<"):
		return p.namedGroup(start, '>')
	case p.has("'"):
		return p.namedGroup(start, '\'')
	}
	switch c := p.peek(); {
	case c == 'R' || c == '&' || c == 'P' || '0' <= c && c <= '9',
		(c == '+' || c == '-') && p.pos+1 < len(p.text) && '0' <= p.text[p.pos+1] && p.text[p.pos+1] <= '9':
		return nil, errorAt(start, "a subroutine call or recursion is not supported")
	case c == '(':
		return nil, errorAt(start, "a conditional group is not supported")
	case c == 'C':
		return nil, errorAt(start, "a callout is not supported")
	}
	return p.options(start)
}

// body reads a group's alternatives and its closing parenthesis. Options set
// inside end with it.
func (p *pcreParser) body(start int, wrap func(*node) *node) (*node, error) {
	saved := p.opts
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	p.opts = saved
	if !p.has(")") {
		return nil, errorAt(start, "a ( without ): write \\( for the character")
	}
	return wrap(n), nil
}

func (p *pcreParser) capture(start int, name string) (*node, error) {
	p.groups++
	g := &node{kind: nodeGroup, group: p.groups}
	if name != "" {
		if err := p.register(start, name); err != nil {
			return nil, err
		}
	}
	p.open = append(p.open, p.groups)
	return p.body(start, func(n *node) *node {
		p.open = p.open[:len(p.open)-1]
		g.subs = []*node{n}
		return g
	})
}

// register notes the name of the group just opened. Only in a branch reset can
// there be a group of that number already.
func (p *pcreParser) register(start int, name string) error {
	if p.names == nil {
		p.names, p.named = map[string]int{}, map[int]string{}
	}
	if n := p.names[name]; n != 0 && n != p.groups && !p.opts.duplicates {
		return errorAt(start, "a second group of the name %q", name)
	}
	if other := p.named[p.groups]; other != "" && other != name {
		return errorAt(start, "group %d has the name %q already", p.groups, other)
	}
	p.names[name], p.named[p.groups] = p.groups, name
	return nil
}

func (p *pcreParser) namedGroup(start int, closing byte) (*node, error) {
	name, err := p.name(start, closing)
	if err != nil {
		return nil, err
	}
	return p.capture(start, name)
}

// name reads a group's name and what closes it.
func (p *pcreParser) name(start int, closing byte) (string, error) {
	end := strings.IndexByte(p.text[p.pos:], closing)
	if end < 0 {
		return "", errorAt(start, "a group's name that does not end with %c", closing)
	}
	name := p.text[p.pos : p.pos+end]
	for i := range len(name) {
		if !words.has(name[i]) || i == 0 && digits.has(name[i]) {
			return "", errorAt(p.pos, "%q is no name for a group: letters, digits and _ are, with no digit first", name)
		}
	}
	if name == "" || len(name) > 32 {
		return "", errorAt(p.pos, "a group's name must have 1 to 32 characters")
	}
	p.pos += end + 1
	return name, nil
}

// branchReset reads a group whose alternatives all number their captures from
// the same start.
func (p *pcreParser) branchReset(start int) (*node, error) {
	saved, first, last := p.opts, p.groups, p.groups
	var alts []*node
	for {
		p.groups = first
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alts = append(alts, n)
		last = max(last, p.groups)
		if !p.has("|") {
			break
		}
	}
	p.groups, p.opts = last, saved
	if !p.has(")") {
		return nil, errorAt(start, "a ( without ): write \\( for the character")
	}
	return &node{kind: nodeAlt, subs: alts}, nil
}

// look reads a look-around.
func (p *pcreParser) look(start int, ahead, negative bool) (*node, error) {
	p.looks++
	defer func() { p.looks-- }()
	n, err := p.body(start, func(n *node) *node {
		return &node{kind: nodeLook, ahead: ahead, negative: negative, subs: []*node{n}}
	})
	if err != nil || ahead {
		return n, err
	}
	if p.utf {
		return nil, errorAt(start, "a look-behind in UTF mode is not supported")
	}
	alts := []*node{n.subs[0]}
	if alts[0].kind == nodeAlt {
		alts = alts[0].subs
	}
	for _, a := range alts {
		if _, ok := a.width(); !ok {
			return nil, errorAt(start, "a look-behind whose length is not fixed")
		}
	}
	return n, nil
}

// comment skips (?#…), of which (?# is read.
func (p *pcreParser) comment(start int) error {
	end := strings.IndexByte(p.text[p.pos:], ')')
	if end < 0 {
		return errorAt(start, "a comment (?# without )")
	}
	p.pos += end + 1
	return nil
}

// options reads (?i), (?i-m:…) and their like, of which (? is read.
func (p *pcreParser) options(start int) (*node, error) {
	opts, on := p.opts, true
	reset := p.has("^")
	if reset {
		opts = pcreOptions{duplicates: opts.duplicates, ungreedy: opts.ungreedy}
	}
	for {
		if !p.more() {
			return nil, errorAt(start, "a ( without ): write \\( for the character")
		}
		c := p.text[p.pos]
		p.pos++
		switch c {
		case 'i':
			opts.caseless = on
		case 'm':
			opts.multiline = on
		case 's':
			opts.dotAll = on
		case 'n':
			opts.noCapture = on
		case 'J':
			opts.duplicates = on
		case 'U':
			opts.ungreedy = on
		case 'x':
			opts.extended = on
			opts.extMore = p.has("x") && on
		case '-':
			if !on || reset {
				return nil, errorAt(p.pos-1, "a - among options after another - or after ^")
			}
			on = false
		case ')':
			p.opts = opts
			return nil, nil
		case ':':
			saved := p.opts
			p.opts = opts
			n, err := p.body(start, func(n *node) *node { return n })
			p.opts = saved
			return n, err
		default:
			return nil, errorAt(p.pos-1, "%q after (?: expected an option (i m s x n U J), :, =, !, <, > or |", c)
		}
	}
}

// verb reads (*…).
func (p *pcreParser) verb(start int) (*node, error) {
	for _, v := range []string{"*FAIL)", "*F)"} {
		if p.has(v) {
			return &node{kind: nodeFail}, nil
		}
	}
	return nil, errorAt(start, "a (*VERB) is supported only as (*FAIL), or as (*UTF) at the start")
}
