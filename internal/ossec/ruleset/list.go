package ruleset

import (
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/pattern"
)

// List is a lookup list as the configuration names it.
type List struct {
	Name    string // as written in the configuration; without a slash it stands below the rules
	Data    []byte // the text file, not the compiled .cdb
	Missing bool   // there is no such file
	Pos     ossec.Pos
}

// list is a list ready for look-ups.
type list struct {
	values map[string]string
}

// Lookup is a <list> element of a rule.
type Lookup struct {
	Mode  LookupMode
	Check *pattern.Pattern // check_value
	list  *list            // nil: not known
}

// LookupMode is what the lookup attribute says.
type LookupMode uint8

// The look-ups.
const (
	MatchKey LookupMode = iota
	NotMatchKey
	MatchKeyValue
	AddressMatchKey
	NotAddressMatchKey
	AddressMatchKeyValue
)

var lookupNames = map[string]LookupMode{
	"match_key": MatchKey, "not_match_key": NotMatchKey, "match_key_value": MatchKeyValue,
	"address_match_key": AddressMatchKey, "not_address_match_key": NotAddressMatchKey,
	"address_match_key_value": AddressMatchKeyValue,
}

// Match looks a field's value up. AddressMatchKeyValue is as inverted here as
// it is in the real systems.
func (lu *Lookup) Match(value string) bool {
	if lu.list == nil {
		return false
	}
	switch lu.Mode {
	case MatchKey:
		_, ok := lu.list.values[value]
		return ok
	case NotMatchKey:
		_, ok := lu.list.values[value]
		return !ok
	case MatchKeyValue:
		v, ok := lu.list.values[value]
		return ok && lu.check(v)
	case AddressMatchKey:
		_, ok := lu.list.address(value)
		return ok
	case NotAddressMatchKey:
		_, ok := lu.list.address(value)
		return !ok
	default:
		v, ok := lu.list.address(value)
		return !ok || !lu.check(v)
	}
}

func (lu *Lookup) check(v string) bool { return lu.Check == nil || lu.Check.Match(v) }

// address finds the value itself or its longest prefix that ends in a dot.
func (l *list) address(value string) (string, bool) {
	if v, ok := l.values[value]; ok {
		return v, true
	}
	rest := strings.TrimSuffix(value, ".")
	for {
		i := strings.LastIndexByte(rest, '.')
		if i < 0 {
			return "", false
		}
		if v, ok := l.values[rest[:i+1]]; ok {
			return v, true
		}
		rest = rest[:i]
	}
}

// list reads a list and makes it known by its name.
func (l *loader) list(src *List) {
	name := src.Name
	if i := strings.Index(name, ".cdb"); i >= 0 {
		name = name[:i]
	}
	if !strings.Contains(name, "/") {
		if l.wazuh() {
			name = "ruleset/rules/" + name
		} else {
			name = "rules/" + name
		}
	}
	if src.Missing {
		l.warn(src.Pos, "missing-list", "", "the list %s does not exist; rules that ask for it %s", name,
			[...]string{ossec.Wazuh: "are dropped", ossec.OSSEC: "never match"}[l.d])
		return
	}
	values := map[string]string{}
	for line := range strings.SplitSeq(string(src.Data), "\n") {
		line, _, _ = strings.Cut(line, "\r")
		key, value, ok := l.listLine(line)
		if !ok {
			continue
		}
		if _, dup := values[key]; !dup {
			values[key] = value
		}
	}
	l.lists[name] = &list{values: values}
}

func (l *loader) listLine(line string) (key, value string, ok bool) {
	if !l.wazuh() {
		if i := strings.Index(line, "###"); i >= 0 {
			line = strings.TrimRight(line[:i], " \t")
		}
		return strings.Cut(line, ":")
	}
	colon := strings.IndexByte(line, ':')
	if quote := strings.IndexByte(line, '"'); quote >= 0 && quote < colon {
		rest := line[quote+1:]
		end := strings.IndexByte(rest, '"')
		if end < 0 {
			return "", "", false
		}
		key = rest[:end]
		_, value, ok = strings.Cut(rest[end+1:], ":")
	} else {
		key, value, ok = strings.Cut(line, ":")
	}
	if !ok {
		return "", "", false
	}
	if i := strings.IndexByte(value, '"'); i >= 0 {
		rest := value[i+1:]
		end := strings.IndexByte(rest, '"')
		if end < 0 {
			return "", "", false
		}
		value = rest[:end]
	}
	return key, value, true
}
