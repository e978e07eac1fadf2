package suite

import (
	"bytes"
	"encoding/json"
	"fmt"

	"riposte/internal/ossec"
)

// ParseJSONL reads a suite of one JSON object a line: "lines", "want" (rule,
// level, decoder), and optionally "negate", "file", "section" and "case". Where
// the object has a "real_verdict", that is what is wanted: it was the real
// system's. A case that the real system is known not to pass is turned round.
func ParseJSONL(file string, src []byte) ([]Case, []ossec.Finding) {
	var cases []Case
	var findings []ossec.Finding
	offset := 0
	for n, line := range bytes.Split(src, []byte("\n")) {
		if len(bytes.TrimSpace(line)) > 0 {
			c, err := parseCase(line)
			if err != nil {
				findings = append(findings, ossec.Finding{
					Severity: ossec.Error, Pos: ossec.Pos{File: file, Offset: offset, Line: n + 1, Col: 1},
					Code: "bad-suite", Message: err.Error(), Hint: `write {"lines": ["…"], "want": {"rule": "…", "level": "…", "decoder": "…"}}`,
				})
			} else {
				if c.File == "" {
					c.File, c.Line = file, n+1
				}
				cases = append(cases, c)
			}
		}
		offset += len(line) + 1
	}
	if len(findings) > 0 {
		return nil, findings
	}
	return cases, nil
}

func parseCase(line []byte) (Case, error) {
	var j struct {
		File    string   `json:"file"`
		Section string   `json:"section"`
		Case    string   `json:"case"`
		Lines   []string `json:"lines"`
		Negate  bool     `json:"negate"`
		Want    *Want    `json:"want"`
		Real    *Want    `json:"real_verdict"`
		Passes  *bool    `json:"real_system_passes"`
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return Case{}, fmt.Errorf("no case: %w", err)
	}
	if len(j.Lines) == 0 || j.Want == nil && j.Real == nil {
		return Case{}, fmt.Errorf("the case has no lines or no want")
	}
	c := Case{File: j.File, Section: j.Section, Name: j.Case, Lines: j.Lines, Negate: j.Negate}
	if j.Want != nil {
		c.Want = *j.Want
	}
	switch {
	case j.Real != nil:
		c.Want, c.Negate, c.Exact = *j.Real, false, true
	case j.Passes != nil && !*j.Passes:
		c.Negate = !c.Negate
	}
	return c, nil
}
