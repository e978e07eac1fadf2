package conf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

const rootName = "ossec_config"

// read are the sections that riposte reads.
var read = map[string]func(*reader, *xml.Node){
	"command":         (*reader).command,
	"active-response": (*reader).response,
	"global":          (*reader).global,
	"alerts":          (*reader).alerts,
	"localfile":       (*reader).localfile,
	"remote":          (*reader).remote,
	"rules":           (*reader).rules,
	"ruleset":         (*reader).ruleset,
}

// unused are the sections of OSSEC and Wazuh that riposte has no use for.
var unused = []string{
	"agent-key-polling", "agent-upgrade", "agentless", "anti_tampering", "auth", "aws-s3", "azure-logs", "cis-cat",
	"client", "client_buffer", "cluster", "database_output", "docker-listener", "email_alerts", "fluent-forward",
	"gcp-bucket", "gcp-pubsub", "github", "indexer", "integration", "key-polling", "labels", "logging", "ms-graph",
	"office365", "open-scap", "osquery", "prelude", "reports", "rootcheck", "rule_test", "sca", "socket", "syscheck",
	"syscollector", "syslog_output", "task-manager", "vulnerability-detection", "vulnerability-detector", "wdb",
	"wodle", "zeromq",
}

// sectionNames lists every known section, in order.
func sectionNames() []string {
	names := append(slices.Collect(maps.Keys(read)), unused...)
	slices.Sort(names)
	return names
}

// roots reads the roots of the file. Sections that stand outside of any root,
// as when blocks were pasted into an empty file, are read as if inside.
func (r *reader) roots(nodes []*xml.Node) {
	names := append(sectionNames(), rootName)
	var bare []*xml.Node
	for _, n := range nodes {
		if n.Name == "agent_config" {
			r.add(ossec.Finding{Severity: ossec.Error, Pos: n.Pos, Len: 1 + len(n.Name), Code: "agent-conf",
				Message: "this is an agent.conf, not an ossec.conf; OSSEC and Wazuh run no responses from it", Hint: "give the path of ossec.conf"})
			continue
		}
		switch name, ok := r.element(n, names, ossec.Error, "the file"); {
		case !ok:
		case name == rootName:
			r.root(n)
		default:
			bare = append(bare, n)
			r.section(name, n)
		}
	}
	if len(bare) > 0 {
		first, last := bare[0], bare[len(bare)-1]
		r.add(ossec.Finding{Severity: ossec.Warning, Pos: first.Pos, Len: 1 + len(first.Name), Code: "no-root",
			Message: fmt.Sprintf("<%s> stands outside of <%s>; OSSEC and Wazuh refuse such a file", first.Name, rootName),
			Hint:    fmt.Sprintf("put the sections between <%s> and </%s>", rootName, rootName),
			Fix:     &ossec.Edit{Offset: first.Pos.Offset, Text: "<" + rootName + ">\n"},
			Also:    &ossec.Edit{Offset: last.End, Text: "\n</" + rootName + ">"}})
	}
	r.finish()
}

// root reads one <ossec_config>.
func (r *reader) root(root *xml.Node) {
	names := sectionNames()
	r.firstBlock = true
	for _, n := range root.Children {
		if name, ok := r.element(n, names, ossec.Error, "<"+rootName+">"); ok {
			r.section(name, n)
		}
	}
}

func (r *reader) section(name string, n *xml.Node) {
	if parse, ok := read[name]; ok {
		parse(r, n)
		return
	}
	if name == "client" {
		r.client(n)
	}
	r.cfg.Unused = append(r.cfg.Unused, Section{Name: name, Pos: n.Pos})
}

// client reads the one word of <client> that is about responses.
func (r *reader) client(n *xml.Node) {
	for _, c := range n.Children {
		if c.Name == "disable-active-response" && strings.TrimSpace(c.Text) == "yes" {
			r.cfg.Off = true
			r.add(ossec.Finding{Severity: ossec.Note, Pos: c.Pos, Len: 1 + len(c.Name), Code: "responses-off",
				Message: "no response runs on the host of this file; a Wazuh 4 agent reads this and runs them all the same"})
		}
	}
}

// alerts reads <alerts>.
func (r *reader) alerts(n *xml.Node) {
	f := r.fields(n, ossec.Warning, "log_alert_level", "email_alert_level", "use_geoip")
	if v, ok := f.one("log_alert_level"); ok {
		r.level(v, &r.cfg.Alerts.LogLevel)
	}
	if v, ok := f.one("email_alert_level"); ok {
		r.level(v, &r.cfg.Alerts.EmailLevel)
	}
}
