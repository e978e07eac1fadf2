package identity

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"riposte/internal/fleet"
)

// maxKeys bounds a client.keys, in lines: no fleet of OSSEC's or Wazuh's is
// larger.
const maxKeys = 1 << 20

// keyLine is one agent of a client.keys.
type keyLine struct {
	line              int
	id, name, address string
	removed           bool
}

// Import takes over the agents of a client.keys of OSSEC or Wazuh: ids, names and
// addresses. The keys in it are not taken over: each agent joins once with a
// token for its name and keeps its id. The ids of removed agents stay taken. It
// returns the records that are new; a file may be imported again. With an error
// in the file nothing was imported.
func (r *Roster) Import(ctx context.Context, path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("import agents: %w", err)
	}
	defer f.Close()
	lines, err := readKeys(f)
	if err != nil {
		return nil, fmt.Errorf("import agents: %s:%w", path, err)
	}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	for _, l := range lines {
		r.mu.RLock()
		_, _, err := r.imported(l)
		r.mu.RUnlock()
		if err != nil {
			return nil, fmt.Errorf("import agents: %s:%d:1: %w", path, l.line, err)
		}
	}
	var out []Record
	for _, l := range lines {
		var fresh bool
		rec, err := r.change(ctx, func() (rec Record, err error) {
			rec, fresh, err = r.imported(l)
			return rec, err
		})
		if err != nil {
			return out, fmt.Errorf("import agents: %s:%d:1: %w", path, l.line, err)
		}
		if fresh {
			out = append(out, rec)
		}
	}
	return out, nil
}

// imported is the record of a line: a fresh one, or the one that is there.
func (r *Roster) imported(l keyLine) (rec Record, fresh bool, err error) {
	if rec, ok := r.records[l.id]; ok {
		if l.removed || rec.Name == l.name {
			return rec, false, nil
		}
		return Record{}, false, fmt.Errorf("id %s is agent %s here and %s in the file: import into an empty fleet, or take the line out", l.id, rec.Name, l.name)
	}
	now := time.Now().UTC()
	rec = Record{ID: l.id, Name: l.name, Address: l.address, Created: now, Imported: true}
	if l.removed {
		rec.Removed = now
		return rec, true, nil
	}
	if by, ok := r.names[l.name]; ok {
		return Record{}, false, fmt.Errorf("%w: %s is agent %s here and %s in the file", ErrNameTaken, l.name, by, l.id)
	}
	return rec, true, nil
}

// readKeys reads a client.keys: "id name address key", one agent a line. Lines
// that begin with # or a space are comments; a name that begins with # (OSSEC) or
// ! (Wazuh) is a removed agent's. Errors begin with line and column.
func readKeys(f io.Reader) (out []keyLine, err error) {
	ids, names := map[string]int{}, map[string]int{} // to places in out
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		text := strings.TrimRight(s.Text(), "\r")
		if text == "" || text[0] == '#' || text[0] == ' ' {
			continue
		}
		l, err := readKey(text)
		if err != nil {
			return nil, fmt.Errorf("%d:%w", n, err)
		}
		l.line = n
		if at, ok := ids[l.id]; ok {
			switch {
			case l.removed:
				continue
			case !out[at].removed:
				return nil, fmt.Errorf("%d:1: id %s is in line %d already: take one of the lines out", n, l.id, out[at].line)
			}
			out[at] = l // enrolled anew under the id of a removed agent
		} else {
			ids[l.id] = len(out)
			out = append(out, l)
		}
		if !l.removed {
			if at, ok := names[l.name]; ok {
				return nil, fmt.Errorf("%d:%d: agent %s is in line %d already: take one of the lines out", n, len(l.id)+2, l.name, out[at].line)
			}
			names[l.name] = ids[l.id]
		}
		if len(out) > maxKeys {
			return nil, fmt.Errorf("%d:1: more than %d agents", n, maxKeys)
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, errors.New("1:1: a line is longer than 64 kB: this is no client.keys")
	}
	return out, s.Err()
}

func readKey(text string) (l keyLine, err error) {
	id, rest, _ := strings.Cut(text, " ")
	name, rest, _ := strings.Cut(rest, " ")
	address, key, _ := strings.Cut(rest, " ")
	l = keyLine{id: id, name: name, address: address}
	if !fleet.ValidID(id) || id == fleet.Server {
		return l, fmt.Errorf("1: read %q, expected the id of an agent: three digits or more, 001 and up", clip(id))
	}
	if strings.HasPrefix(name, "#") || strings.HasPrefix(name, "!") {
		l.removed, l.name = true, strings.TrimPrefix(name, "!")
		if checkName(l.name) != nil { // OSSEC leaves nothing of it
			l.name = ""
		}
		if !validAddress(address) {
			l.address = ""
		}
		return l, nil
	}
	if err := checkName(name); err != nil {
		return l, fmt.Errorf("%d: read %q, expected the name of an agent: %w", len(id)+2, clip(name), err)
	}
	if !validAddress(address) {
		return l, fmt.Errorf("%d: read %q, expected an address, a network or \"any\"", len(id)+len(name)+3, clip(address))
	}
	if key == "" {
		return l, fmt.Errorf("%d: expected the agent's key; the line is cut off", len(text)+1)
	}
	return l, nil
}

// validAddress judges the third field: an address, a network with length or
// mask, or any; with ! in front, none of these.
func validAddress(text string) bool {
	text = strings.TrimPrefix(text, "!")
	if text == "any" {
		return true
	}
	addr, bits, network := strings.Cut(text, "/")
	if _, err := netip.ParseAddr(addr); err != nil {
		return false
	}
	if !network || net.ParseIP(bits) != nil {
		return true
	}
	_, err := netip.ParsePrefix(text)
	return err == nil
}

// clip shortens what was read for an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
