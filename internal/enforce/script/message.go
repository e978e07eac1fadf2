package script

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"riposte"
	"riposte/internal/enforce"
)

// maxMessage is the longest line that a Wazuh 4 program reads, its line feed
// included.
const maxMessage = 64 << 10

// state is what a script was told, kept for the undo: the very arguments and
// the very message are repeated, as the real executors do.
type state struct {
	Generation Generation      `json:"generation"`
	Args       []string        `json:"args,omitempty"`    // those after add or delete
	Message    json.RawMessage `json:"message,omitempty"` // without its command
	Keys       []string        `json:"keys,omitempty"`    // what the script sent with check_keys
	Once       bool            `json:"once,omitempty"`    // there is no undo
	Boot       string          `json:"boot,omitempty"`    // the machine's boot in which it was run
}

func (s *state) String() string {
	b, err := json.Marshal(s)
	if err != nil {
		return "" // only strings and a message that was marshalled before
	}
	return string(b)
}

// readState reads what String wrote; nil when there is nothing that can be read.
func readState(text string) *state {
	s := &state{}
	if json.Unmarshal([]byte(text), s) != nil {
		return nil
	}
	return s
}

// compose writes what a script of the generation is told about the effect.
func (r *Runner) compose(e *enforce.Effect, g Generation) (*state, error) {
	w, err := wordsOf(e)
	if err != nil {
		return nil, err
	}
	st := &state{Generation: g, Boot: bootID()}
	if g.arguments() {
		st.Args = w.arguments(e, g)
	}
	if g.message() {
		if st.Message, err = r.message(e, w, g); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// words are the values that a command may expect, "-" for those it does not.
type words struct{ user, address, file string }

// wordsOf takes the target's word from the effect and any other that the
// command expects from the alert. A word that a script could take for an
// option, or that no real system lets through to a script, is an error.
func wordsOf(e *enforce.Effect) (words, error) {
	w := words{user: "-", address: "-", file: "-"}
	for _, k := range e.Command.Expect {
		if k == e.Target.Kind || k == riposte.None || e.Alert == nil {
			continue
		}
		if text, ok := fromAlert(e.Alert, k); ok {
			t, err := riposte.ParseTarget(k, text)
			if err != nil {
				return w, err
			}
			w.set(t)
		}
	}
	w.set(e.Target)
	for _, v := range []struct{ what, text, set string }{
		{"user", w.user, "._@?-"},
		{"address", w.address, ".:/-"},
		{"file", w.file, ""},
	} {
		if v.text != "-" && strings.HasPrefix(v.text, "-") {
			return w, fmt.Errorf("the %s %q begins with '-' and would be read as an option", v.what, v.text)
		}
		if c, bad := foreign(v.text, v.set); v.set != "" && bad {
			return w, fmt.Errorf("the %s %q holds %q: only letters, digits and %s reach a script", v.what, v.text, c, v.set)
		}
	}
	return w, nil
}

func (w *words) set(t riposte.Target) {
	switch t.Kind {
	case riposte.User:
		w.user = t.Value
	case riposte.Address:
		w.address = t.Value
	case riposte.File:
		w.file = t.Value
	}
}

// fromAlert finds the value of a kind where OSSEC takes it from.
func fromAlert(a *riposte.Alert, k riposte.Kind) (string, bool) {
	var names []string
	switch k {
	case riposte.User:
		names = []string{"dstuser", "srcuser"}
	case riposte.Address:
		names = []string{"srcip"}
	case riposte.File:
		names = []string{"filename"}
	}
	for _, n := range names {
		if v, ok := a.Field(n); ok && v != "" && v != "-" {
			return v, true
		}
	}
	return "", false
}

// foreign returns the first character of s that is no ASCII letter, no digit
// and not in extra.
func foreign(s, extra string) (rune, bool) {
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune(extra, c):
		default:
			return c, true
		}
	}
	return 0, false
}

// arguments returns what follows add or delete. The location is one argument,
// whatever it holds: OSSEC's own executor splits it at its spaces, which shifts
// everything behind it.
func (w words) arguments(e *enforce.Effect, g Generation) []string {
	// What OSSEC's agent_control writes for an order given by hand.
	id, rule, location := "(from_the_server)", "(no_rule_id)", "-"
	if a := e.Alert; a != nil {
		id, rule, location = a.ID, strconv.Itoa(a.Rule.ID), printable(a.Location)
		if id == "" {
			id = "-"
		}
		if location == "" || strings.HasPrefix(location, "-") {
			location = "-"
		}
	}
	args := []string{w.user, w.address, id, rule, location, w.file}
	switch {
	case g == OSSEC:
	case len(e.Command.ExtraArgs) > 0:
		args = append(args, e.Command.ExtraArgs...)
	case g == Wazuh3:
		args = append(args, "-")
	}
	return args
}

// printable replaces what no argument may hold.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f || c == utf8.RuneError {
			return '?'
		}
		return c
	}, s)
}

// The message of Wazuh 4: spec/active-response.md 2.7 (d) and 3.4.
type (
	message4 struct {
		Version    int        `json:"version"`
		Origin     origin     `json:"origin"`
		Command    string     `json:"command"`
		Parameters parameters `json:"parameters"`
	}
	origin struct {
		Name   string `json:"name"`
		Module string `json:"module"`
	}
	parameters struct {
		ExtraArgs []string        `json:"extra_args"`
		Alert     json.RawMessage `json:"alert"`
		Program   string          `json:"program"`
	}
)

// message returns the message without its command, which line fills in.
func (r *Runner) message(e *enforce.Effect, w words, g Generation) (json.RawMessage, error) {
	write := r.message4
	if g == Wazuh5 {
		write = r.message5
	}
	for _, alert := range []*riposte.Alert{e.Alert, shortened(e.Alert), nil} {
		m, err := write(e, w, alert)
		if err != nil {
			return nil, fmt.Errorf("message for a script: %w", err)
		}
		if len(m)+len(`"disable"`)+1 <= maxMessage {
			return m, nil
		}
	}
	return nil, fmt.Errorf("message for a script is longer than %d bytes: shorten the extra arguments", maxMessage)
}

func (r *Runner) message4(e *enforce.Effect, w words, a *riposte.Alert) (json.RawMessage, error) {
	alert, err := r.alertObject(e, w, a)
	if err != nil {
		return nil, err
	}
	extra := e.Command.ExtraArgs
	if extra == nil {
		extra = []string{}
	}
	return encode(message4{
		Version: 1,
		Origin:  origin{Name: r.o.Host, Module: "wazuh-execd"},
		Parameters: parameters{
			ExtraArgs: extra,
			Alert:     alert,
			Program:   "active-response/bin/" + e.Command.Executable,
		},
	})
}

// alertObject is the alert as JSON with every value that a stock program acts
// on replaced by the effect's own: the guard has looked at those, and at no
// other. Without an alert it is what Wazuh sends for an order by hand.
func (r *Runner) alertObject(e *enforce.Effect, w words, a *riposte.Alert) (json.RawMessage, error) {
	object := map[string]any{}
	if a != nil && r.o.EncodeAlert != nil {
		d := json.NewDecoder(bytes.NewReader(r.o.EncodeAlert(a)))
		d.UseNumber()
		if err := d.Decode(&object); err != nil || object == nil {
			object = map[string]any{}
		}
	}
	data := member(object, "data")
	switch e.Target.Kind {
	case riposte.Address:
		data["srcip"] = w.address
		if win, ok := data["win"].(map[string]any); ok {
			if event, ok := win["eventdata"].(map[string]any); ok {
				for _, k := range []string{"ipAddress", "destinationIp"} {
					if _, ok := event[k]; ok {
						event[k] = w.address
					}
				}
			}
		}
	case riposte.User:
		data["dstuser"] = w.user
	case riposte.File:
		member(object, "syscheck")["path"] = w.file
	}
	if len(data) == 0 {
		delete(object, "data")
	}
	return encode(object)
}

// member returns the object of that name in o, making it if there is none.
func member(o map[string]any, name string) map[string]any {
	m, ok := o[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		o[name] = m
	}
	return m
}

// message5 is Wazuh 5's: the event with the response's own description
// (spec/active-response.md 7).
func (r *Runner) message5(e *enforce.Effect, w words, a *riposte.Alert) (json.RawMessage, error) {
	response := map[string]any{
		"name":            e.Command.Name,
		"executable":      e.Command.Executable,
		"extra_arguments": strings.Join(e.Command.ExtraArgs, " "),
		"location":        "local",
		"type":            "stateless",
	}
	if !e.Until.IsZero() {
		response["type"] = "stateful"
		if a != nil && e.Until.After(a.Time) {
			response["stateful_timeout"] = int(e.Until.Sub(a.Time).Seconds())
		}
	}
	wazuh := map[string]any{"active_response": response}
	object := map[string]any{"wazuh": wazuh, "command": ""}
	if w.address != "-" {
		object["source"] = map[string]any{"ip": w.address}
	}
	if w.user != "-" {
		object["user"] = map[string]any{"name": w.user}
	}
	if w.file != "-" {
		object["file"] = map[string]any{"path": w.file}
	}
	if a != nil {
		wazuh["agent"] = a.Agent
		object["event"] = map[string]any{"original": a.FullLog}
		object["rule"] = map[string]any{
			"id": strconv.Itoa(a.Rule.ID), "level": a.Rule.Level,
			"description": a.Rule.Description, "groups": a.Rule.GroupList(),
		}
	}
	return encode(object)
}

// encode writes v on one line, its text as it is.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// shortened returns a copy of the alert without what makes alerts long.
func shortened(a *riposte.Alert) *riposte.Alert {
	if a == nil {
		return nil
	}
	const longest = 1 << 10
	s := *a
	s.FullLog = enforce.Cut(s.FullLog, 4*longest)
	s.Previous, s.Diff, s.Raw = nil, "", nil
	s.Fields = make([]riposte.Field, min(len(a.Fields), 20))
	for i := range s.Fields {
		s.Fields[i] = a.Fields[i]
		s.Fields[i].Value = enforce.Cut(s.Fields[i].Value, longest)
	}
	return &s
}

// line returns the message as it is sent, with its command and a line feed.
func (s *state) line(command string) []byte {
	var m any = &message4{Command: command}
	if s.Generation == Wazuh5 {
		m = &map[string]json.RawMessage{}
	}
	// What compose has marshalled, or a journal has kept, can be read; of a state
	// that was damaged the script gets what is left.
	json.Unmarshal(s.Message, m)
	switch m := m.(type) {
	case *message4:
		m.Command = command
	case *map[string]json.RawMessage:
		(*m)["command"] = json.RawMessage(strconv.Quote(command))
	}
	b, err := encode(m)
	if err != nil {
		return []byte("{}\n")
	}
	return append(b, '\n')
}
