package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"riposte/internal/enforce"
)

// maxLine is the longest line in which check_keys is looked for.
const maxLine = 64 << 10

// maxKeys is how many keys of one message are kept.
const maxKeys = 64

// handshake is a script's question whether an effect with its keys is new.
type handshake struct {
	keys []string
	flaw error // how the message departs from Wazuh 4's form, nil if it does not
}

// readHandshake reads one line that a script printed. ok is false for a line
// that is no JSON object, and so is no attempt at a handshake. Which members a
// good message has is said in spec/active-response.md 3.4.
func readHandshake(line []byte) (h handshake, ok bool) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return h, false
	}
	var m struct {
		Version    json.RawMessage `json:"version"`
		Origin     json.RawMessage `json:"origin"`
		Command    json.RawMessage `json:"command"`
		Parameters json.RawMessage `json:"parameters"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return h, false
	}
	var command string
	if json.Unmarshal(m.Command, &command) != nil || command != "check_keys" {
		h.flaw = fmt.Errorf(`"command" is %s, expected "check_keys"`, shown(m.Command))
		return h, true
	}
	var version json.Number
	if json.Unmarshal(m.Version, &version) != nil || bytes.HasPrefix(m.Version, []byte(`"`)) {
		h.flaw = fmt.Errorf(`"version" is %s, expected a number`, shown(m.Version))
		return h, true
	}
	if !bytes.HasPrefix(m.Origin, []byte("{")) {
		h.flaw = fmt.Errorf(`"origin" is %s, expected an object`, shown(m.Origin))
		return h, true
	}
	var p struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if !bytes.HasPrefix(m.Parameters, []byte("{")) || json.Unmarshal(m.Parameters, &p) != nil || p.Keys == nil {
		h.flaw = fmt.Errorf(`"parameters" is %s, expected an object with an array "keys"`, shown(m.Parameters))
		return h, true
	}
	for _, raw := range p.Keys {
		var k string
		if json.Unmarshal(raw, &k) != nil || !bytes.HasPrefix(raw, []byte(`"`)) {
			h.flaw = errors.New("a key is no string")
			continue
		}
		if len(h.keys) < maxKeys {
			h.keys = append(h.keys, k)
		}
	}
	return h, true
}

func shown(raw json.RawMessage) string {
	if raw == nil {
		return "missing"
	}
	return enforce.Cut(string(raw), 40)
}
