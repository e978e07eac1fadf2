package check

import (
	"encoding/json"
	"io"

	"riposte/internal/ossec"
)

// JSON writes the report for a program.
func (r *Report) JSON(w io.Writer) error {
	type response struct {
		Response
		Text string `json:"text"`
	}
	out := struct {
		File      string          `json:"file"`
		Dialect   string          `json:"dialect"`
		OK        bool            `json:"ok"`
		Rules     int             `json:"rules"`
		Findings  []ossec.Finding `json:"findings"`
		Responses []response      `json:"responses"`
		Unused    []section       `json:"unused"`
	}{File: r.File, Dialect: r.Dialect.String(), OK: !r.Failed(), Rules: r.Loaded,
		Findings: append([]ossec.Finding{}, r.Findings...), Responses: []response{}, Unused: []section{}}
	for _, e := range r.Responses {
		out.Responses = append(out.Responses, response{e, e.String()})
	}
	for _, s := range r.Unused {
		out.Unused = append(out.Unused, section{s.Name, s.Pos})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// section is a section that is not used.
type section struct {
	Name string    `json:"name"`
	Pos  ossec.Pos `json:"pos"`
}
