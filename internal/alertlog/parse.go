package alertlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"riposte"
)

// Parse reads one line of an alerts.json written by Wazuh 3 or 4, by OSSEC or
// by riposte, and tells the layouts apart by itself. The alert owns its memory;
// Raw is a copy of the line, Log is false (the other engine has logged it).
//
// The members of data (in OSSEC's layout: of the alert itself) become fields,
// nested ones with dotted names; the file of a file-integrity alert becomes the
// static field filename. A Location with an agent's prefix is restored from the
// agent's name and address. An alert without a readable time has the time of
// its id, or none.
func Parse(line []byte) (*riposte.Alert, error) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return nil, errors.New("not an alert: expected a JSON object")
	}
	var w wireAlert
	if err := w.read(line); err != nil {
		return nil, fmt.Errorf("not an alert: %w", err)
	}
	if w.Rule == nil {
		return nil, errors.New(`not an alert: it has no "rule"`)
	}
	a := &riposte.Alert{
		ID:       w.ID.text,
		FullLog:  w.FullLog.text,
		Location: w.Location.text,
		Raw:      bytes.Clone(line),
	}
	a.Rule = w.Rule.rule()
	a.Rule.NoFullLog = !w.FullLog.set
	var err error
	if w.Rule.SID.set {
		err = w.fillOSSEC(a, line)
	} else {
		err = w.fillWazuh(a)
	}
	if err != nil {
		return nil, fmt.Errorf("not an alert: %w", err)
	}
	if a.Rule.ID <= 0 {
		return nil, errors.New("not an alert: its rule has no id")
	}
	if a.Time.IsZero() {
		sec, _, _ := strings.Cut(a.ID, ".")
		if n, err := strconv.ParseInt(sec, 10, 64); err == nil && n > 0 && n < 1<<40 {
			a.Time = time.Unix(n, 0).UTC()
		}
	}
	return a, nil
}

// wireAlert is the union of both layouts. What is unknown is left in Raw.
type wireAlert struct {
	Rule                            *wireRule
	ID, FullLog, Location, Previous word

	// Wazuh.
	Timestamp word // OSSEC has one too, without zone
	Agent     struct {
		ID   word `json:"id"`
		Name word `json:"name"`
		IP   word `json:"ip"`
	}
	Manager struct {
		Name word `json:"name"`
	}
	Predecoder struct {
		Program   word `json:"program_name"`
		Timestamp word `json:"timestamp"`
		Hostname  word `json:"hostname"`
	}
	Data        json.RawMessage
	PreviousLog word
	Syscheck    wireFile

	// Decoder is an object in Wazuh's layout and a word in OSSEC's.
	Decoder json.RawMessage

	// OSSEC.
	Millis        word
	DecoderParent word
	DecoderDesc   wireDecoder
	Hostname      word
	Program       word
	AgentName     word
	AgentIP       word
	SyscheckFile  wireFile
}

type wireFile struct {
	Path word `json:"path"`
}

type wireDecoder struct {
	Name       word `json:"name"`
	Parent     word `json:"parent"`
	FTSComment word `json:"ftscomment"`
	Accumulate word `json:"accumulate"`
}

// read takes the members by their exact names: encoding/json ignores case in
// the names of a struct, and OSSEC's layout has decoded fields, whatever they
// are called, beside the alert's own members.
func (w *wireAlert) read(line []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return err
	}
	for name, into := range map[string]any{
		"rule": &w.Rule, "id": &w.ID, "full_log": &w.FullLog, "location": &w.Location, "previous_output": &w.Previous,
		"timestamp": &w.Timestamp, "agent": &w.Agent, "manager": &w.Manager, "predecoder": &w.Predecoder, "data": &w.Data,
		"previous_log": &w.PreviousLog, "syscheck": &w.Syscheck, "decoder": &w.Decoder,
		"TimeStamp": &w.Millis, "decoder_parent": &w.DecoderParent, "decoder_desc": &w.DecoderDesc, "hostname": &w.Hostname,
		"program_name": &w.Program, "agent_name": &w.AgentName, "agentip": &w.AgentIP, "SyscheckFile": &w.SyscheckFile,
	} {
		raw, ok := members[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

type wireRule struct {
	ID          word      `json:"id"`
	SID         word      `json:"sidid"`
	Level       word      `json:"level"`
	Description word      `json:"description"`
	Comment     word      `json:"comment"`
	Group       word      `json:"group"`
	Groups      words     `json:"groups"`
	Frequency   word      `json:"frequency"`
	Fired       word      `json:"firedtimes"`
	Mail        bool      `json:"mail"`
	CVE         word      `json:"cve"`
	Info        word      `json:"info"`
	MITRE       wireMITRE `json:"mitre"`
	PCI         words     `json:"pci_dss"`
	CIS         words     `json:"cis"`
	GDPR        words     `json:"gdpr"`
	GPG13       words     `json:"gpg13"`
	HIPAA       words     `json:"hipaa"`
	NIST        words     `json:"nist_800_53"`
	TSC         words     `json:"tsc"`
}

type wireMITRE struct {
	ID        words `json:"id"`
	Tactic    words `json:"tactic"`
	Tactics   words `json:"tactics"` // Wazuh 3
	Technique words `json:"technique"`
}

func (w *wireRule) rule() riposte.Rule {
	r := riposte.Rule{
		ID:          w.ID.number(),
		Level:       w.Level.number(),
		Description: w.Description.text,
		Frequency:   w.Frequency.number(),
		Fired:       w.Fired.number(),
		Mail:        w.Mail,
	}
	if w.SID.set {
		r.ID, r.Description, r.Groups = w.SID.number(), w.Comment.text, w.Group.text
	}
	if r.Groups == "" {
		var b strings.Builder
		lists := [...]words{w.PCI, w.CIS, w.GDPR, w.GPG13, w.HIPAA, w.NIST, w.TSC}
		for _, g := range w.Groups {
			b.WriteString(g + ",")
		}
		for i, list := range lists {
			for _, g := range list {
				b.WriteString(groupLists[i] + "_" + g + ",")
			}
		}
		r.Groups = b.String()
	}
	if w.CVE.text != "" {
		r.Info = append(r.Info, riposte.Info{Kind: "cve", Text: w.CVE.text})
	}
	if w.Info.text != "" {
		r.Info = append(r.Info, riposte.Info{Kind: "text", Text: w.Info.text})
	}
	r.MITRE = w.MITRE.techniques()
	return r
}

// techniques pairs the three lists by position. They are often of different
// length, since a technique may serve several tactics; no entry is lost, but a
// pair then says no more than that both stand in the alert.
func (w *wireMITRE) techniques() []riposte.Technique {
	tactics := w.Tactic
	if len(tactics) == 0 {
		tactics = w.Tactics
	}
	n := max(len(w.ID), len(tactics), len(w.Technique))
	if n == 0 {
		return nil
	}
	out := make([]riposte.Technique, n)
	for i := range out {
		if i < len(w.ID) {
			out[i].ID = w.ID[i]
		}
		if i < len(tactics) {
			out[i].Tactic = tactics[i]
		}
		if i < len(w.Technique) {
			out[i].Name = w.Technique[i]
		}
	}
	return out
}

func (w *wireAlert) fillWazuh(a *riposte.Alert) error {
	a.Time = parseTime(w.Timestamp.text)
	a.Manager = w.Manager.Name.text
	a.Agent = riposte.Agent{ID: w.Agent.ID.text, Name: w.Agent.Name.text, IP: w.Agent.IP.text}
	a.Program, a.Stamp = w.Predecoder.Program.text, w.Predecoder.Timestamp.text
	a.Hostname = w.Predecoder.Hostname.text
	if a.Hostname == "" {
		a.Hostname = a.Agent.Name
	}
	if !a.Agent.Local() {
		ip := a.Agent.IP
		if ip == "" {
			ip = "any"
		}
		a.Location = "(" + a.Agent.Name + ") " + ip + "->" + a.Location
	}
	a.Diff = w.PreviousLog.text
	if w.Previous.text != "" {
		a.Previous = strings.Split(w.Previous.text, "\n")
	}
	if len(w.Decoder) > 0 {
		var d wireDecoder
		if err := json.Unmarshal(w.Decoder, &d); err != nil {
			return fmt.Errorf("decoder: %w", err)
		}
		a.Decoder = riposte.Decoder{Name: d.Name.text, Parent: d.Parent.text,
			FTSComment: d.FTSComment.text, Accumulate: d.Accumulate.number() != 0}
	}
	if w.Syscheck.Path.text != "" {
		a.Fields = append(a.Fields, riposte.Field{Name: "filename", Value: w.Syscheck.Path.text})
	}
	if len(w.Data) == 0 || w.Data[0] != '{' {
		return nil
	}
	f := fieldReader{into: &a.Fields, static: isStatic}
	if err := f.read(w.Data); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

func (w *wireAlert) fillOSSEC(a *riposte.Alert, line []byte) error {
	if ms, err := strconv.ParseInt(w.Millis.text, 10, 64); err == nil && ms > 0 && ms < 1<<50 {
		a.Time = time.UnixMilli(ms).UTC()
	}
	a.Hostname, a.Program = w.Hostname.text, w.Program.text
	a.Decoder = riposte.Decoder{Parent: w.DecoderParent.text, FTSComment: w.DecoderDesc.FTSComment.text,
		Accumulate: w.DecoderDesc.Accumulate.number() != 0}
	var name word
	if err := json.Unmarshal(w.Decoder, &name); err == nil {
		a.Decoder.Name = name.text
	}
	// OSSEC does not write the agent's number; its name and address are enough
	// for the words of an alert, not for sending an order to it.
	if strings.HasPrefix(a.Location, "(") {
		a.Agent = riposte.Agent{ID: "?", Name: w.AgentName.text, IP: w.AgentIP.text}
	}
	if w.Previous.text != "" {
		a.Previous = []string{w.Previous.text}
	}
	if w.SyscheckFile.Path.text != "" {
		a.Fields = append(a.Fields, riposte.Field{Name: "filename", Value: w.SyscheckFile.Path.text})
	}
	f := fieldReader{into: &a.Fields, static: isStatic, skip: isOSSECMember, rename: ossecField}
	return f.read(line)
}

// parseTime reads the forms in which Wazuh has written its time stamps; the
// zero time stands for anything else.
func parseTime(s string) time.Time {
	for _, layout := range [...]string{
		"2006-01-02T15:04:05.000-0700", "2006-01-02T15:04:05-0700",
		time.RFC3339Nano, "2006-01-02T15:04:05.000",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// Bounds of what is read as, or written from, fields: the nesting of objects
// that stand for dotted names, and the fields of one alert. Wazuh's own limit is
// 256 fields; what is over is found in Raw only.
const (
	maxDepth  = 32
	maxFields = 512
)

// fieldReader turns the members of a JSON object into fields, in document
// order, the first of a name winning over later ones.
type fieldReader struct {
	into   *[]riposte.Field
	static func(name string) bool
	skip   func(name string) bool   // top-level members that are no fields
	rename func(name string) string // top-level members that are called otherwise as fields
}

func (f *fieldReader) read(object []byte) error {
	return f.object(object, "", 0)
}

func (f *fieldReader) object(object []byte, prefix string, depth int) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("expected a member's name")
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if depth == 0 && f.skip != nil && f.skip(key) {
			continue
		}
		if raw[0] == '{' && depth < maxDepth {
			if err := f.object(raw, prefix+key+".", depth+1); err != nil {
				return err
			}
			continue
		}
		f.add(prefix+key, raw, depth == 0)
	}
	if _, err := d.Token(); err != nil && err != io.EOF {
		return err
	}
	return nil
}

func (f *fieldReader) add(name string, raw json.RawMessage, top bool) {
	if len(*f.into) == maxFields {
		return
	}
	if top && f.rename != nil {
		name = f.rename(name)
	}
	for i := range *f.into {
		if (*f.into)[i].Name == name {
			return
		}
	}
	var v word
	if err := v.UnmarshalJSON(raw); err != nil {
		return
	}
	*f.into = append(*f.into, riposte.Field{
		Name: name, Value: v.text, Dynamic: !(top && f.static(name)),
	})
}

// word is a JSON value read as text: a string as its content, null as nothing,
// everything else as it stands.
type word struct {
	text string
	set  bool
}

func (w *word) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || string(b) == "null" {
		return nil
	}
	w.set = true
	if b[0] == '"' {
		return json.Unmarshal(b, &w.text)
	}
	w.text = string(b)
	return nil
}

// number is the value as an int, 0 when it is none.
func (w word) number() int {
	n, err := strconv.Atoi(w.text)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// words is a list of words; a single word is a list of one.
type words []string

func (ws *words) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var list []word
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		for _, w := range list {
			*ws = append(*ws, w.text)
		}
		return nil
	}
	var w word
	if err := w.UnmarshalJSON(b); err != nil || !w.set {
		return err
	}
	*ws = words{w.text}
	return nil
}
