package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"riposte"
	"riposte/internal/enforce"
)

// The bounds on what is shown in a message, in bytes. Slack cuts at 4,000
// characters.
const (
	maxTitle  = 300
	maxRecord = 3000
)

// document is the plain form.
type document struct {
	Host    string          `json:"host"`
	Order   string          `json:"order,omitempty"`
	Command string          `json:"command"`
	Target  riposte.Target  `json:"target"`
	Until   time.Time       `json:"until,omitzero"`
	By      string          `json:"by,omitempty"`
	Alert   json.RawMessage `json:"alert,omitempty"` // in Wazuh 4's alerts.json layout
}

func (w *Webhook) document(e *enforce.Effect) document {
	d := document{Host: w.o.Host, Order: e.Order, Command: e.Command.Name, Target: e.Target, Until: e.Until, By: e.By}
	if e.Alert != nil && w.o.EncodeAlert != nil {
		if b := w.o.EncodeAlert(e.Alert); json.Valid(b) {
			d.Alert = b
		}
	}
	return d
}

// message is the Slack form, with the colours of wazuh-slack: up to level 4
// good, up to 7 a warning.
type message struct {
	Text        string       `json:"text"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	Color    string  `json:"color"`
	Fallback string  `json:"fallback"`
	Title    string  `json:"title"`
	Text     string  `json:"text,omitempty"`
	Fields   []field `json:"fields"`
	Stamp    int64   `json:"ts,omitempty"`
}

type field struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

func (w *Webhook) message(e *enforce.Effect) message {
	a := attachment{Color: "warning"}
	add := func(title, value string) {
		if value != "" {
			a.Fields = append(a.Fields, field{title, literal(enforce.OneLine(value, maxTitle)), len(value) < 40})
		}
	}
	if al := e.Alert; al != nil {
		switch {
		case al.Rule.Level <= 4:
			a.Color = "good"
		case al.Rule.Level > 7:
			a.Color = "danger"
		}
		a.Title = literal(enforce.OneLine(al.Rule.Description, maxTitle))
		a.Text = literal(enforce.Visible(enforce.Cut(al.FullLog, maxRecord)))
		a.Stamp = al.Time.Unix()
		add("Rule", fmt.Sprintf("%d (level %d)", al.Rule.ID, al.Rule.Level))
		add("Location", al.Location)
		if !al.Agent.Local() {
			add("Agent", al.Agent.ID+" "+al.Agent.Name)
		}
	} else {
		a.Title = literal(enforce.OneLine(e.Command.Name, maxTitle)) + " by hand"
	}
	if e.Target.Kind != riposte.None {
		add("Target", e.Target.Value)
	}
	add("By", e.By)
	a.Fallback = a.Title
	return message{Text: "Riposte on " + literal(enforce.OneLine(w.o.Host, maxTitle)), Attachments: []attachment{a}}
}

// literal takes from text what Slack would read as a mention or a link.
func literal(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
