package ruleset

import (
	"strconv"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
)

// place is a node of the rule tree while it grows.
type place struct {
	rule     *draft
	parent   *place
	children []*place
	depth    int
}

const maxDepth = 1000 // of the tree; the real systems recurse as well

// enter puts a finished rule into the tree, or changes the one it overwrites.
func (l *loader) enter(d *draft) {
	old := l.rules[d.id]
	switch {
	case d.overwrite && old != nil:
		l.overwrite(old, d)
		return
	case d.overwrite && !l.wazuh():
		l.fail(d.overwritePos, "overwrite-nothing", "remove overwrite or load the file later", "rule %d overwrites nothing: no rule of that id was read before", d.id)
		return
	case d.overwrite:
		l.warn(d.overwritePos, "overwrite-nothing", "remove overwrite or load the file later", "rule %d overwrites nothing: no rule of that id was read before", d.id)
	case old != nil:
		l.unlike(d.pos, "duplicate-rule", `give it another id, or write overwrite="yes"`, "rule %d exists already, at %s; this one is not used", d.id, old.pos)
		return
	}
	if before := len(l.findings); !l.put(d) {
		l.broken[d.id] = ossec.Failed(l.findings[before:])
		return
	}
	l.rules[d.id] = d
	l.order = append(l.order, d)
	l.observe(d)
}

// put finds the parents of a rule and adds it to each.
func (l *loader) put(d *draft) bool {
	if d.id < 10 {
		l.add(&l.tree, nil, d)
		return true
	}
	if d.ifSID.pieces == nil && d.ifGroup.pieces == nil && !(l.wazuh() && d.overwrite) {
		if d.matchedGroup.pieces != nil {
			d.ifGroup = d.matchedGroup
		} else if d.matchedSID.pieces != nil {
			d.ifSID = d.matchedSID
		}
	}
	switch {
	case d.ifSID.pieces != nil:
		return l.putBySID(d)
	case d.ifLevel.pieces != nil:
		level, _ := strconv.Atoi(strings.TrimSpace(d.ifLevel.value))
		l.putWhere(d, &l.tree, func(o *draft) bool { return o.load >= level*100 })
		return true
	case d.ifGroup.pieces != nil:
		words := l.compile(pattern.Words, false, &d.ifGroup)
		if words == nil {
			return false
		}
		l.putWhere(d, &l.tree, l.byGroup(words))
		return true
	}
	for _, root := range l.tree {
		if root.rule.category == d.category {
			l.add(&root.children, root, d)
			return true
		}
	}
	l.unlike(d.pos, "no-parent", "give the rule an if_sid", "rule %d has no place: there is no root rule of the category %s", d.id, d.category)
	return false
}

// byGroup returns a test of a rule's group text, which is done once for each
// distinct text: many rules share one.
func (l *loader) byGroup(p *pattern.Pattern) func(*draft) bool {
	const yes, no = 1, 2
	known := make([]uint8, len(l.groupIDs))
	return func(o *draft) bool {
		if known[o.groupsID] == 0 {
			known[o.groupsID] = no
			if p.Match(o.groups) {
				known[o.groupsID] = yes
			}
		}
		return known[o.groupsID] == yes
	}
}

// groupID numbers the distinct group texts.
func (l *loader) groupID(text string) int {
	id, ok := l.groupIDs[text]
	if !ok {
		id = len(l.groupIDs)
		l.groupIDs[text] = id
	}
	return id
}

// ids reads the list of if_sid.
func (l *loader) ids(d *draft) ([]int, bool) {
	var out []int
	s := d.ifSID.value
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == ',':
			i++
		case c >= '0' && c <= '9':
			j := i
			for j < len(s) && s[j] >= '0' && s[j] <= '9' {
				j++
			}
			id, err := strconv.Atoi(s[i:j])
			if err != nil {
				l.fail(d.ifSID.at(i), "bad-number", "", "if_sid of rule %d: %q is too large", d.id, s[i:j])
				return nil, false
			}
			out = append(out, id)
			i = j
		default:
			l.unlike(d.ifSID.at(i), "bad-if-sid", "give rule ids separated by commas", "if_sid of rule %d is %q: a list of rule ids is expected", d.id, s)
			return nil, false
		}
	}
	return out, true
}

func (l *loader) putBySID(d *draft) bool {
	ids, ok := l.ids(d)
	if !ok {
		return false
	}
	found := false
	for _, id := range ids {
		if l.attach(id, d) || l.broken[id] {
			found = true
			continue
		}
		l.unlike(d.ifSID.at(0), "unknown-rule", "load the other rule first, or mend the id", "if_sid of rule %d: no rule %d was read before", d.id, id)
		if d.matchedSID.pieces != nil && l.wazuh() {
			return false
		}
	}
	if !found && l.wazuh() {
		l.warn(d.pos, "no-parent", "", "rule %d is dropped: none of the rules of its if_sid exists", d.id)
	}
	return found
}

// attach adds a rule below the nodes of rule id. In each list of siblings only
// the first hit counts and what follows it is not searched; a node below
// another of the same rule is not reached.
func (l *loader) attach(id int, d *draft) bool {
	sites := l.sites[id]
	found := false
	for _, p := range sites {
		if len(sites) > 1 && l.hidden(p, id) {
			continue
		}
		d.category = p.rule.category
		l.add(&p.children, p, d)
		found = true
	}
	return found
}

// hidden reports whether a search for id from the roots ends before it comes
// to p.
func (l *loader) hidden(p *place, id int) bool {
	for q := p; q != nil; q = q.parent {
		if q != p && q.rule.id == id {
			return true
		}
		siblings := l.tree
		if q.parent != nil {
			siblings = q.parent.children
		}
		for _, s := range siblings {
			if s == q {
				break
			}
			if s.rule.id == id {
				return true
			}
		}
	}
	return false
}

// putWhere adds a rule below every node that ok likes, itself left out.
func (l *loader) putWhere(d *draft, list *[]*place, ok func(*draft) bool) {
	for _, p := range *list {
		if p.rule == d {
			continue
		}
		if ok(p.rule) {
			l.add(&p.children, p, d)
		}
		if len(p.children) > 0 {
			l.putWhere(d, &p.children, ok)
		}
	}
}

// add puts a node into a list of siblings: before the first one with a lower
// level.
func (l *loader) add(list *[]*place, parent *place, d *draft) {
	p := &place{rule: d, parent: parent}
	if parent != nil {
		p.depth = parent.depth + 1
	}
	l.count++
	if l.count > maxNodes || p.depth > maxDepth {
		if l.count == maxNodes+1 || p.depth > maxDepth {
			l.fail(d.pos, "too-many", "", "rule %d makes the rule tree larger than %d places or deeper than %d", d.id, maxNodes, maxDepth)
		}
		return
	}
	s := *list
	i := 0
	for i < len(s) && s[i].rule.load >= d.load {
		i++
	}
	s = append(s, nil)
	copy(s[i+1:], s[i:])
	s[i] = p
	*list = s
	l.sites[d.id] = append(l.sites[d.id], p)
}

// observe connects a correlation rule with the history that it searches.
func (l *loader) observe(d *draft) {
	if !d.searches {
		return
	}
	switch d.search {
	case BySID:
		id, _ := strconv.Atoi(strings.TrimSpace(d.matchedSID.value))
		if o := l.rules[id]; o != nil {
			d.watch = l.ownHistory(o)
		} else {
			l.warn(d.matchedSID.at(0), "unknown-rule", "load the other rule first, or mend the id", "rule %d counts events of rule %d, which was not read before; it never fires", d.id, id)
		}
	case ByGroup:
		p := l.compile(pattern.OSMatch, false, &d.matchedGroup)
		if p == nil {
			return
		}
		d.watch = l.history(ByGroup, d)
		in := l.byGroup(p)
		l.register(l.tree, func(o *draft) {
			if in(o) {
				o.groupFeeds = append(o.groupFeeds, d.watch)
			}
		})
	case ByAny:
		for _, w := range l.watches {
			if w.Kind == ByAny {
				d.watch = w
				return
			}
		}
		d.watch = l.history(ByAny, d)
	}
}

// register visits every node, so that a rule with two nodes is seen twice.
func (l *loader) register(list []*place, f func(*draft)) {
	for _, p := range list {
		f(p.rule)
		l.register(p.children, f)
	}
}

func (l *loader) history(k WatchKind, d *draft) *Watch {
	w := &Watch{Kind: k, Rule: d.rule}
	l.watches = append(l.watches, w)
	return w
}

func (l *loader) ownHistory(o *draft) *Watch {
	if o.bySID == nil {
		o.bySID = l.history(BySID, o)
	}
	return o.bySID
}

// overwrite replaces what a rule says and leaves it where it stands.
func (l *loader) overwrite(old, d *draft) {
	if l.wazuh() && (d.ifSID.pieces != nil && d.ifSID.value != old.ifSID.value ||
		d.ifLevel.value != old.ifLevel.value || d.ifGroup.pieces != nil && d.ifGroup.value != old.ifGroup.value ||
		d.matchedSID.value != old.matchedSID.value || d.matchedGroup.value != old.matchedGroup.value) {
		l.warn(d.pos, "overwrite-keeps-place", "", "rule %d is overwritten, its if_sid, if_group, if_level and if_matched_… stay those of %s", d.id, old.pos)
	}
	if !l.wazuh() && d.searches && d.search == BySID {
		id, _ := strconv.Atoi(strings.TrimSpace(d.matchedSID.value))
		if o := l.rules[id]; o != nil {
			l.ownHistory(o)
		}
	}
	was := old.body
	old.body, old.load = d.body, d.load
	if l.wazuh() {
		return
	}
	old.category = was.category
	old.fields, old.lists = was.fields, was.lists
	old.ignoreKeys, old.ignoreCheck = was.ignoreKeys, was.ignoreCheck
	for name := range old.exprs {
		if _, pcre, _ := l.element(name); pcre {
			delete(old.exprs, name)
		}
	}
	for name, e := range was.exprs {
		if _, pcre, _ := l.element(name); pcre {
			old.exprs[name] = e
		}
	}
}
