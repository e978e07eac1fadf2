package response

import (
	"fmt"
	"strings"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
)

// The fields that name a target, in the order in which they are asked. Wazuh's
// programs look at Windows' own fields before srcip; src_ip is how many JSON
// logs spell it.
var (
	addressFields = map[ossec.Dialect][]string{
		ossec.OSSEC: {"srcip", "src_ip"},
		ossec.Wazuh: {"win.eventdata.ipAddress", "win.eventdata.destinationIp", "srcip", "src_ip"},
	}
	userFields = []string{"dstuser", "srcuser"}
	fileFields = []string{"filename"}
)

// target returns what a response to the alert acts on, or why it cannot act:
// everything that its command expects must be in the alert. What it does not
// expect does not matter.
func (p *Planner) target(r *conf.Response, a *riposte.Alert) (target riposte.Target, reason string) {
	c := &r.Command
	for _, kind := range c.Expect {
		if _, reason := p.find(kind, a); reason != "" {
			return riposte.Target{}, fmt.Sprintf("%s expects %s, but %s", c.Name, kindWords(kind), reason)
		}
	}
	if c.Needs.Kind == riposte.None {
		return riposte.Target{}, ""
	}
	target, reason = p.find(c.Needs.Kind, a)
	if reason == "" {
		return target, ""
	}
	if c.Needs.Optional {
		return riposte.Target{}, ""
	}
	return riposte.Target{}, fmt.Sprintf("%s acts on %s, but %s", c.Name, kindWords(c.Needs.Kind), reason)
}

// find returns the alert's target of a kind: the first of its fields that can
// be one.
func (p *Planner) find(kind riposte.Kind, a *riposte.Alert) (target riposte.Target, reason string) {
	var names []string
	switch kind {
	case riposte.Address:
		names = addressFields[p.dialect]
	case riposte.User:
		names = userFields
	case riposte.File:
		names = fileFields
	}
	for _, name := range names {
		value, ok := a.Field(name)
		if !ok || value == "" || value == "-" {
			continue
		}
		t, err := parse(kind, value)
		if err == nil {
			return t, ""
		}
		if reason == "" {
			reason = fmt.Sprintf("in field %s %s", name, err)
		}
	}
	if reason == "" {
		reason = fmt.Sprintf("the alert has none (field %s)", list(names, "or"))
	}
	return riposte.Target{}, reason
}

// parse makes a target of what a log says, which an attacker may have written.
func parse(kind riposte.Kind, text string) (riposte.Target, error) {
	switch kind {
	case riposte.Address:
		if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
			text = text[1 : len(text)-1] // an IPv6 address as written before a port
		}
		if strings.Contains(text, "/") {
			return riposte.Target{}, fmt.Errorf("%q is not a single address", text)
		}
	case riposte.User:
		if i := strings.IndexFunc(text, func(c rune) bool { return !userChar(c) }); i >= 0 {
			return riposte.Target{}, fmt.Errorf("%q holds a character that no user name has", text)
		}
		if text[0] == '-' {
			return riposte.Target{}, fmt.Errorf("%q would be an option, not a user", text)
		}
	}
	return riposte.ParseTarget(kind, text)
}

// userChar reports whether c may stand in the name of a user: the characters
// that OSSEC and Wazuh let pass.
func userChar(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._@?-", c)
}

func kindWords(k riposte.Kind) string {
	switch k {
	case riposte.Address:
		return "a source address"
	case riposte.User:
		return "a user"
	}
	return "a file"
}
