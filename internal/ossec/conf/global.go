package conf

import (
	"path"
	"slices"
	"strings"

	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// Global is what the <global> sections say, all of them together.
type Global struct {
	AllowList []Allow // <white_list> and <allow_list>, in the order of the file

	EmailNotification bool
	EmailTo           []string
	EmailFrom         string
	EmailReplyTo      string
	SMTPServer        string // a host, with or without port, or the path of a sendmail
	HeloServer        string
	EmailIDSName      string
	EmailMaxPerHour   int

	MemorySize int  // events kept for correlation
	JSONOut    bool // alerts.json is written
	AlertsLog  bool // alerts.log is written
}

// globalUnused are the elements of <global> that riposte has no use for.
var globalUnused = []string{
	"agents_disconnection_alert_time", "agents_disconnection_time", "compress_alerts", "custom_alert_output",
	"email_alert_level", "email_log_source", "geoip_db_path", "geoip6_db_path", "geoipdb", "geoip6db", "heartbeat",
	"host_information", "integrity_checking", "limits", "logall", "logall_json", "max_output_size", "md5_allowlist",
	"md5_whitelist", "picviz_output", "picviz_socket", "prelude_log_level", "prelude_output", "prelude_profile",
	"queue_size", "rotate_interval", "rootkit_detection", "stats", "syscheck_alert_new", "update_check",
	"use_geoip", "zeromq_output", "zeromq_output_client_cert", "zeromq_output_server_cert", "zeromq_server_cert",
	"zeromq_client_cert", "zeromq_uri",
}

// global reads a <global>.
func (r *reader) global(n *xml.Node) {
	g := &r.cfg.Global
	// <limits> is the one element here that holds others.
	inner := *n
	inner.Children = slices.DeleteFunc(slices.Clone(n.Children), func(c *xml.Node) bool { return c.Name == "limits" })
	f := r.fields(&inner, ossec.Warning, append([]string{"white_list", "allow_list", "email_notification", "email_to", "email_from",
		"email_reply_to", "smtp_server", "helo_server", "email_idsname", "email_maxperhour", "memory_size", "jsonout_output",
		"alerts_log"}, globalUnused...)...)
	for _, c := range n.Children {
		if c.Name == "white_list" || c.Name == "allow_list" {
			r.allow(r.value(c, c.Name))
		}
	}
	f.flag("email_notification", &g.EmailNotification)
	f.flag("jsonout_output", &g.JSONOut)
	f.flag("alerts_log", &g.AlertsLog)
	for _, v := range f.all["email_to"] {
		for _, w := range v.words(", \t\r\n") {
			if r.mailAddress(w) {
				g.EmailTo = append(g.EmailTo, w.text)
			}
		}
	}
	for name, target := range map[string]*string{"email_from": &g.EmailFrom, "email_reply_to": &g.EmailReplyTo} {
		if v, ok := f.one(name); ok && v.text != "" && r.mailAddress(v) {
			*target = v.text
		}
	}
	f.text("helo_server", &g.HeloServer)
	f.text("email_idsname", &g.EmailIDSName)
	if v, ok := f.one("smtp_server"); ok {
		r.smtpServer(v)
	}
	if v, ok := f.one("email_maxperhour"); ok {
		if n, ok := r.number(v, 1, 1_000_000, "a number of mails"); ok {
			g.EmailMaxPerHour = n
		}
	}
	if v, ok := f.one("memory_size"); ok {
		if n, ok := r.number(v, 1, 10_000_000, "a number of events"); ok {
			g.MemorySize = n
		}
	}
}

// mailAddress reports whether a value can be the address of a mail.
func (r *reader) mailAddress(v value) bool {
	user, host, ok := strings.Cut(v.text, "@")
	if ok && user != "" && host != "" && !strings.ContainsAny(v.text, "<>\" \t\r\n\x00") {
		return true
	}
	r.report(v, ossec.Error, "bad-value", "write name@host", "<%s> %q is not a mail address", v.node.Name, v.text)
	return false
}

func (r *reader) smtpServer(v value) {
	if strings.ContainsAny(v.text, " \t\r\n\x00") && !path.IsAbs(v.text) {
		r.report(v, ossec.Error, "bad-value", "write a host name, an address, or the path of a sendmail program", "<smtp_server> %q is not the name of a host", v.text)
		return
	}
	r.cfg.Global.SMTPServer = v.text
}
