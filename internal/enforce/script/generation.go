package script

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Generation says by which contract a script is called.
type Generation uint8

// The generations.
//
//	         arguments                          standard input
//	Auto     add|delete user ip alert rule      {"command":"add"|"delete",…} and the answer to
//	         location file extra…               check_keys; both at once
//	OSSEC    add|delete user ip alert rule      empty
//	         location file
//	Wazuh3   as OSSEC, then extra… or "-"       empty
//	Wazuh4   none                               {"command":"add"|"delete",…}, answer to check_keys
//	Wazuh5   none                               {"command":"enable"|"disable",…}, answer to check_keys
//
// A Wazuh 4 program looks at its first argument only as far as C's argv[0], so
// the further ones do not disturb it; an OSSEC script does not read its input.
const (
	Auto Generation = iota
	OSSEC
	Wazuh3
	Wazuh4
	Wazuh5
)

var generationNames = [...]string{"auto", "ossec", "wazuh3", "wazuh4", "wazuh5"}

func (g Generation) String() string {
	if int(g) < len(generationNames) {
		return generationNames[g]
	}
	return fmt.Sprintf("generation(%d)", uint8(g))
}

// ParseGeneration reads a generation's name.
func ParseGeneration(s string) (Generation, error) {
	for i, n := range generationNames {
		if n == s {
			return Generation(i), nil
		}
	}
	return 0, fmt.Errorf("unknown script generation %q: expected auto, ossec, wazuh3, wazuh4 or wazuh5", s)
}

// MarshalText writes the generation's name.
func (g Generation) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads a generation's name.
func (g *Generation) UnmarshalText(b []byte) (err error) {
	*g, err = ParseGeneration(string(b))
	return err
}

// arguments reports whether the generation is told by its arguments.
func (g Generation) arguments() bool { return g == Auto || g == OSSEC || g == Wazuh3 }

// message reports whether the generation is told by a line on its input.
func (g Generation) message() bool { return g == Auto || g == Wazuh4 || g == Wazuh5 }

// detectLimit is how much of a file is looked at to tell its generation.
const detectLimit = 64 << 10

// detect tells Wazuh 5's scripts from all others, which Auto serves alike. It
// is sure only of the program that no earlier Wazuh had, and of a text that
// names both of Wazuh 5's commands and the object it finds its orders in, and
// that knows no "add"; everything else is Auto.
func detect(path string) Generation {
	if base := filepath.Base(path); base == "block-ip" || base == "block-ip.exe" {
		return Wazuh5
	}
	f, err := os.Open(path)
	if err != nil {
		return Auto
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, detectLimit))
	if err != nil || !bytes.HasPrefix(text, []byte("#!")) {
		return Auto
	}
	word := func(w string) bool {
		return bytes.Contains(text, []byte(`"`+w+`"`)) || bytes.Contains(text, []byte(`'`+w+`'`))
	}
	if bytes.Contains(text, []byte("active_response")) && word("enable") && word("disable") && !word("add") {
		return Wazuh5
	}
	return Auto
}
