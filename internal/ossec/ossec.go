// Package ossec holds what all readers of the OSSEC/Wazuh dialect share: the
// dialect itself, positions in source files, and findings about them. It holds
// no reader: those are the rooms beside it.
package ossec

import "fmt"

// Dialect says whose behaviour is followed where OSSEC and Wazuh differ.
type Dialect uint8

// The two dialects. Wazuh means Wazuh 3 and 4, OSSEC means OSSEC-HIDS 4.
const (
	Wazuh Dialect = iota
	OSSEC
)

func (d Dialect) String() string {
	if d == OSSEC {
		return "ossec"
	}
	return "wazuh"
}

// ParseDialect reads "wazuh" or "ossec".
func ParseDialect(s string) (Dialect, error) {
	switch s {
	case "wazuh":
		return Wazuh, nil
	case "ossec":
		return OSSEC, nil
	}
	return 0, fmt.Errorf("unknown dialect %q: expected wazuh or ossec", s)
}

// Pos is a place in a source file.
type Pos struct {
	File   string `json:"file"`
	Offset int    `json:"offset"` // in bytes from the start
	Line   int    `json:"line"`   // from 1; 0: the file as a whole
	Col    int    `json:"col"`    // from 1, in characters; a byte that is not UTF-8 counts as one
}

func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Severity ranks a finding.
type Severity uint8

// An Error keeps the file from being used, a Warning says that something will
// not do what it seems to say, a Note that another system would read it
// otherwise or that something is left unused.
const (
	Note Severity = iota
	Warning
	Error
)

func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one remark on a source file: what was read, why that is wrong, and
// what to do.
type Finding struct {
	Severity Severity `json:"severity"`
	Pos      Pos      `json:"pos"`
	Len      int      `json:"len,omitempty"`  // bytes the remark is about, 0: unknown
	Code     string   `json:"code"`           // stable word for scripts: "unknown-command"
	Message  string   `json:"message"`        // one sentence: what was read and what was expected
	Hint     string   `json:"hint,omitempty"` // one sentence: what to do
	Fix      *Edit    `json:"fix,omitempty"`  // the mend, when there is only one
	Also     *Edit    `json:"also,omitempty"` // the second half of Fix, such as the closing tag
}

// Edit replaces Len bytes at Offset of the finding's file by Text.
type Edit struct {
	Offset int    `json:"offset"`
	Len    int    `json:"len"`
	Text   string `json:"text"`
}

func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s: %s", f.Pos, f.Severity, f.Message)
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Error makes a finding usable as an error.
func (f Finding) Error() string { return f.String() }

// Failed reports whether any finding is an error.
func Failed(fs []Finding) bool {
	for i := range fs {
		if fs[i].Severity == Error {
			return true
		}
	}
	return false
}

// Nearest returns the candidate closest to word in edit distance, if one is
// near enough to be what a hurried typist meant.
func Nearest(word string, candidates []string) (string, bool) {
	best, dist := "", len([]rune(word))/3+1
	for _, c := range candidates {
		if d := distance([]rune(word), []rune(c), dist); d < dist || d == dist && best == "" {
			best, dist = c, d
		}
	}
	return best, best != "" && best != word
}

// distance is the number of inserted, removed, changed or swapped characters
// between a and b, or something over limit when it is over limit.
func distance(a, b []rune, limit int) int {
	if n := len(a) - len(b); n > limit || -n > limit {
		return limit + 1
	}
	var before, prev, row []int
	prev = make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range a {
		row = make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
