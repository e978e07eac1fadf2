package conf

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"riposte"
	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// Response is an <active-response> that is not disabled.
type Response struct {
	Command Command
	Place   riposte.Place // without Defined
	Agents  []string      // of location defined-agent, ids of three digits or more

	// The selectors. Level 0 and empty lists are not set.
	Level   int
	IDs     []RuleID
	Groups  []Group
	Timeout time.Duration   // 0: not undone
	Ladder  []time.Duration // of the offences after the first
	Pos     ossec.Pos
	Len     int // bytes of the element
}

// Selects reports whether the response is bound to rules at all. One that is
// not can only be run by hand.
func (r *Response) Selects() bool { return r.Level > 0 || len(r.IDs) > 0 || len(r.Groups) > 0 }

// pending is a response whose command is not known yet: it may be defined
// further down.
type pending struct {
	Response
	command value
	timeout *value
}

// response reads an <active-response>.
func (r *reader) response(n *xml.Node) {
	first := r.firstBlock
	r.firstBlock = false
	if len(n.Children) == 0 {
		r.emptyBlock(n)
		return
	}
	f := r.fields(n, ossec.Error, "disabled", "command", "location", "agent_id", "level", "rules_id", "rules_group",
		"timeout", "repeated_offenders", "ca_store", "ca_verification")
	var disabled bool
	f.flag("disabled", &disabled)
	if disabled {
		r.disabled(f, first)
		return
	}
	if !f.has("command") && !f.has("location") && !f.has("agent_id") && !f.selects() && !f.has("timeout") {
		r.settings(f)
		return
	}
	p := pending{Response: Response{Pos: n.Pos, Len: n.End - n.Pos.Offset}}
	ok := true
	if p.command, ok = f.one("command"); !ok {
		f.missing("command")
	} else if p.command.text == "" {
		r.report(p.command, ossec.Error, "missing-element", "give the name of a <command>", "<command> is empty")
		ok = false
	}
	ok = r.location(f, &p.Response) && ok
	r.selectors(f, &p.Response)
	if v, has := f.one("timeout"); has {
		p.timeout = &v
		p.Timeout = r.timeout(v)
	}
	if v, has := f.one("repeated_offenders"); has {
		p.Ladder = r.offenders(v)
		if p.Timeout == 0 && len(p.Ladder) > 0 && (p.timeout == nil || p.timeout.text == "0") {
			r.report(v, ossec.Warning, "ladder-unused", "add a <timeout>", "<repeated_offenders> has no effect: without a <timeout> the response is never undone")
		}
	}
	if ok {
		r.pending = append(r.pending, p)
	}
}

func (f fields) has(name string) bool { return len(f.all[name]) > 0 }

func (f fields) selects() bool { return f.has("level") || f.has("rules_id") || f.has("rules_group") }

// disabled notes a block with disabled=yes, which is left out unread.
func (r *reader) disabled(f fields, first bool) {
	v, _ := f.one("disabled")
	switch {
	case !f.has("command"):
		r.cfg.Off = true
		r.report(v, ossec.Note, "responses-off", "", "no response runs on the host of this file: this block switches them all off")
	case first:
		r.report(v, ossec.Note, "disabled", "", "only this response is off; in OSSEC and Wazuh a disabled first block also switches off every response executed on this host")
	default:
		r.report(v, ossec.Note, "disabled", "", "only this response is off; in OSSEC and Wazuh it may also keep the blocks before it from being sent")
	}
}

// settings reads a block without command and selectors: an agent's own, or one
// that only sets the ladder.
func (r *reader) settings(f fields) {
	v, ok := f.one("repeated_offenders")
	if !ok {
		r.add(ossec.Finding{Severity: ossec.Note, Pos: f.node.Pos, Len: 1 + len(f.node.Name), Code: "no-response",
			Message: "this <active-response> names no command, so it configures no response; a manager of OSSEC or Wazuh does not start with it"})
		return
	}
	if r.ladder != nil {
		r.report(v, ossec.Warning, "given-twice", "leave one of them", "the ladder of all responses is set in line %d already; this one is not used", r.ladder.pos(0).Line)
		return
	}
	r.ladder = &v
	r.cfg.Ladder = r.offenders(v)
}

// location reads <location> and <agent_id>.
func (r *reader) location(f fields, p *Response) bool {
	v, ok := f.one("location")
	switch {
	case !ok:
		f.missing("location")
		return false
	case v.text == "":
		r.report(v, ossec.Error, "bad-location", "write local, server, defined-agent or all", "<location> is empty")
		return false
	}
	defined := false
	for _, w := range v.words(", \t\r\n") {
		place, ok := locations[strings.ToLower(w.text)]
		if !ok {
			r.badLocation(w)
			return false
		}
		p.Place.Local = p.Place.Local || place == onAgent
		p.Place.Server = p.Place.Server || place == onServer
		p.Place.All = p.Place.All || place == onAll
		defined = defined || place == onDefined
	}
	ids, has := f.one("agent_id")
	switch {
	case defined && (!has || ids.text == ""):
		r.add(ossec.Finding{Severity: ossec.Error, Pos: v.pos(0), Len: len(v.text), Code: "no-agent",
			Message: "<location> is defined-agent but no <agent_id> says which", Hint: "add <agent_id>001</agent_id>"})
		return false
	case !defined && has:
		r.report(ids, ossec.Warning, "agent-unused", "write defined-agent as <location>", "<agent_id> has no effect: <location> is %s", v.text)
		return true
	case !defined:
		return true
	}
	return r.agents(ids, p)
}

// where is what a word of <location> says.
type where uint8

const (
	onAgent where = iota + 1
	onServer
	onDefined
	onAll
)

// locations are the words of <location>. The real systems search for them
// anywhere in the text, which makes "last" the server and "company" all.
var locations = map[string]where{
	"local": onAgent, "server": onServer, "analysisd": onServer, "analysis-server": onServer, "as": onServer,
	"defined-agent": onDefined, "all": onAll, "any": onAll,
}

func (r *reader) badLocation(w value) {
	f := w.finding(ossec.Error, "bad-location", "write local, server, defined-agent or all", "<location> knows no word %q", w.text)
	lower := strings.ToLower(w.text)
	for _, accident := range []struct{ part, place string }{{"local", "local"}, {"defined-agent", "defined-agent"}, {"server", "server"}, {"as", "server"}, {"all", "all"}, {"any", "all"}} {
		if strings.Contains(lower, accident.part) {
			f.Message += fmt.Sprintf("; OSSEC and Wazuh find %q in it and take it for %s", accident.part, accident.place)
			break
		}
	}
	if near, ok := ossec.Nearest(lower, []string{"local", "server", "defined-agent", "all"}); ok && len(lower) > 3 {
		f.Hint = fmt.Sprintf("did you mean %s?", near)
		if lower != "last" {
			f.Fix = w.edit(0, len(w.text), near)
		}
	}
	r.add(f)
}

// agents reads the ids of <agent_id>.
func (r *reader) agents(v value, p *Response) bool {
	ids := v.words(", \t\r\n")
	for _, w := range ids {
		if !digits(w.text) || len(w.text) > 8 {
			r.report(w, ossec.Error, "bad-agent", "write the agent's number, such as 001", "<agent_id> %q is not the number of an agent", w.text)
			return false
		}
		id := agentID(w.text)
		if id == "000" {
			r.report(w, ossec.Warning, "agent-server", "write server as <location>",
				"agent %s is the server itself; riposte acts there, Wazuh drops the block and OSSEC finds no such agent", w.text)
			p.Place.Server = true
			continue
		}
		if id != w.text {
			r.report(w, ossec.Note, "agent-number", fmt.Sprintf("write %s", id), "OSSEC compares the text and knows no agent %q; riposte reads %s, as Wazuh does", w.text, id)
		}
		if !slices.Contains(p.Agents, id) {
			p.Agents = append(p.Agents, id)
		}
	}
	if len(ids) > 1 {
		r.report(v, ossec.Note, "several-agents", "", "riposte acts on each of these %d agents; OSSEC and Wazuh take no list here", len(ids))
	}
	return len(ids) > 0
}

// agentID writes the number of an agent as OSSEC does: with three digits or
// more.
func agentID(digits string) string {
	id := strings.TrimLeft(digits, "0")
	return strings.Repeat("0", max(0, 3-len(id))) + id
}

// finish looks up the commands of the responses and gives out the ladder.
func (r *reader) finish() {
	names := make([]string, len(r.cfg.Commands))
	for i, c := range r.cfg.Commands {
		names[i] = c.Name
	}
	for _, p := range r.pending {
		i := slices.Index(names, p.command.text)
		if i < 0 {
			if i = r.unknownCommand(p.command, names); i < 0 {
				continue
			}
		}
		p.Command = r.cfg.Commands[i]
		if p.Command.Pos.Offset > p.Pos.Offset {
			r.report(p.command, ossec.Warning, "defined-later", "move the <command> before this block",
				"the command %q is defined only in line %d; OSSEC and Wazuh do not start with this", p.Command.Name, p.Command.Pos.Line)
		}
		r.timed(&p)
		if p.Timeout > 0 && p.Ladder == nil {
			p.Ladder = r.cfg.Ladder
		}
		r.append(p.Response)
	}
}

func (r *reader) unknownCommand(v value, names []string) int {
	f := v.finding(ossec.Error, "unknown-command", "define it with <command>", "there is no command %q", v.text)
	near, ok := ossec.Nearest(v.text, names)
	if ok {
		f.Hint = fmt.Sprintf("did you mean %s?", near)
		f.Fix = v.edit(0, len(v.text), near)
	}
	r.add(f)
	if !ok {
		return -1
	}
	return slices.Index(names, near)
}

// timed compares a <timeout> with the command's <timeout_allowed>. The real
// systems take an absent one for a no: OSSEC and early Wazuh 3 do not start,
// later ones drop the timeout, so that a block meant for minutes stays for
// ever.
func (r *reader) timed(p *pending) {
	if p.Timeout == 0 || p.timeout == nil {
		return
	}
	switch c := p.Command; c.Timed {
	case TimedNo:
		r.report(*p.timeout, ossec.Error, "timeout-refused", "remove the <timeout>, or write <timeout_allowed>yes</timeout_allowed> there",
			"the command %q says timeout_allowed no in line %d, so it cannot have a <timeout>", c.Name, c.Pos.Line)
	case TimedUnsaid:
		f := p.timeout.finding(ossec.Warning, "timeout-unsaid", fmt.Sprintf("add <timeout_allowed>yes</timeout_allowed> to the command in line %d", c.Pos.Line),
			"the command %q has no <timeout_allowed>; riposte keeps the timeout, OSSEC refuses the file and Wazuh drops the timeout", c.Name)
		f.Fix = &ossec.Edit{Offset: c.insert, Text: c.indent + "<timeout_allowed>yes</timeout_allowed>"}
		r.add(f)
	}
}

// append keeps a response unless it says the same as an earlier one.
func (r *reader) append(p Response) {
	for i := range r.cfg.Responses {
		if q := &r.cfg.Responses[i]; same(q, &p) {
			r.add(ossec.Finding{Severity: ossec.Warning, Pos: p.Pos, Len: 1 + len("active-response"), Code: "same-response",
				Message: fmt.Sprintf("this block says the same as the one in line %d; it is used once", q.Pos.Line), Hint: "remove it"})
			return
		}
	}
	r.cfg.Responses = append(r.cfg.Responses, p)
}

// same reports whether two responses would do the same for every alert.
func same(a, b *Response) bool {
	return a.Command.Name == b.Command.Name && a.Place == b.Place && slices.Equal(a.Agents, b.Agents) &&
		a.Level == b.Level && a.Timeout == b.Timeout && slices.Equal(a.Ladder, b.Ladder) &&
		slices.EqualFunc(a.IDs, b.IDs, func(x, y RuleID) bool { return x.ID == y.ID }) &&
		slices.EqualFunc(a.Groups, b.Groups, func(x, y Group) bool { return x.Text == y.Text })
}
