package pattern

// A node is a part of a PCRE2 expression, free of syntax: flags are resolved,
// case folding is in the sets and literals, names are numbers.
type node struct {
	kind nodeKind
	subs []*node // nodeCat, nodeAlt: all; the others that hold something: one
	text string  // nodeLit; lower case if fold
	fold bool    // nodeLit, nodeBackref: without ASCII case
	set  *charSet

	min, max int // nodeRepeat; max < 0: no limit
	mode     repeatMode

	group int // nodeGroup, nodeBackref: the number

	ahead, negative bool // nodeLook
}

type nodeKind uint8

const (
	nodeEmpty       nodeKind = iota
	nodeFail                 // matches nothing
	nodeLit                  // these bytes
	nodeSet                  // one character of a set
	nodeCat                  // one after the other
	nodeAlt                  // the first that fits
	nodeGroup                // captured
	nodeRepeat               //
	nodeAtomic               // never entered again once left
	nodeLook                 // look-around
	nodeBackref              // the text of a group
	nodeBegin                // \A
	nodeEnd                  // \z
	nodeEndNL                // \Z: the end or before a newline at the end
	nodeLineBegin            // ^ in multi-line mode
	nodeLineEnd              // $ in multi-line mode
	nodeWordEdge             // \b
	nodeNotWordEdge          // \B
)

type repeatMode uint8

const (
	greedy repeatMode = iota
	lazy
	possessive
)

// width is the number of bytes that n matches, if that is always the same.
func (n *node) width() (int, bool) {
	switch n.kind {
	case nodeLit:
		return len(n.text), true
	case nodeSet:
		return 1, len(n.set.wide) == 0
	case nodeCat:
		sum := 0
		for _, s := range n.subs {
			w, ok := s.width()
			if !ok {
				return 0, false
			}
			sum += w
		}
		return sum, true
	case nodeAlt:
		first, ok := n.subs[0].width()
		for _, s := range n.subs[1:] {
			if w, same := s.width(); !same || w != first {
				ok = false
			}
		}
		return first, ok
	case nodeGroup, nodeAtomic:
		return n.subs[0].width()
	case nodeRepeat:
		w, ok := n.subs[0].width()
		return w * n.min, ok && n.min == n.max
	case nodeBackref:
		return 0, false
	}
	return 0, true
}

// nullable: n may match the empty text.
func (n *node) nullable() bool {
	switch n.kind {
	case nodeLit:
		return n.text == ""
	case nodeSet, nodeFail:
		return false
	case nodeCat:
		for _, s := range n.subs {
			if !s.nullable() {
				return false
			}
		}
		return true
	case nodeAlt:
		for _, s := range n.subs {
			if s.nullable() {
				return true
			}
		}
		return false
	case nodeGroup, nodeAtomic:
		return n.subs[0].nullable()
	case nodeRepeat:
		return n.min == 0 || n.subs[0].nullable()
	}
	return true
}
