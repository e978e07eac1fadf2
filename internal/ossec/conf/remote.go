package conf

import (
	"net/netip"
	"slices"

	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// Remote is a <remote>: where records come in over the network.
type Remote struct {
	Syslog   bool // plain syslog; otherwise the agents' own protocol
	Port     int
	UDP, TCP bool
	Allowed  []netip.Prefix
	Denied   []netip.Prefix
	LocalIP  netip.Addr // where to listen; invalid: everywhere
	IPv6     bool
	Pos      ossec.Pos
}

var remoteUnused = []string{"queue_size", "rids_closing_time", "connection_overtake_time", "agents", "group", "lip"}

// remote reads a <remote>.
func (r *reader) remote(n *xml.Node) {
	inner := *n
	inner.Children = slices.DeleteFunc(slices.Clone(n.Children), func(c *xml.Node) bool { return c.Name == "agents" })
	f := r.fields(&inner, ossec.Warning, append([]string{"connection", "port", "protocol", "allowed-ips", "denied-ips", "local_ip", "ipv6"}, remoteUnused...)...)
	m := Remote{Pos: n.Pos, Port: 1514}
	if v, ok := f.one("connection"); ok {
		word, known := r.pick(v, "secure", "syslog")
		if !known {
			return
		}
		m.Syslog = word == "syslog"
	}
	if m.Syslog {
		m.Port = 514
	}
	if v, ok := f.one("port"); ok {
		if n, ok := r.number(v, 1, 65535, "a port"); ok {
			m.Port = n
		}
	}
	r.protocol(f, &m)
	m.Allowed = r.networks(f, "allowed-ips")
	m.Denied = r.networks(f, "denied-ips")
	f.flag("ipv6", &m.IPv6)
	if v, ok := f.one("local_ip"); ok {
		addr, err := netip.ParseAddr(v.text)
		if err != nil {
			r.report(v, ossec.Error, "bad-address", "write an address of this host", "<local_ip> %q is not an address", v.text)
			return
		}
		m.LocalIP = addr
	}
	if m.Syslog && !f.has("allowed-ips") {
		r.add(ossec.Finding{Severity: ossec.Error, Pos: n.Pos, Len: 1 + len(n.Name), Code: "no-allowed-ips",
			Message: "this <remote> takes syslog from nobody: it has no <allowed-ips>; OSSEC and Wazuh do not start with it",
			Hint:    "add <allowed-ips>192.0.2.0/24</allowed-ips>"})
		return
	}
	r.cfg.Remotes = append(r.cfg.Remotes, m)
}

// protocol reads <protocol>. Without one OSSEC listens on UDP, Wazuh on TCP.
func (r *reader) protocol(f fields, m *Remote) {
	v, ok := f.one("protocol")
	if ok {
		for _, w := range v.words(", \t\r\n") {
			word, _ := r.pick(w, "udp", "tcp")
			m.UDP = m.UDP || word == "udp"
			m.TCP = m.TCP || word == "tcp"
		}
	}
	if !m.UDP && !m.TCP {
		m.UDP = r.dialect == ossec.OSSEC
		m.TCP = !m.UDP
	}
}

func (r *reader) networks(f fields, name string) []netip.Prefix {
	var out []netip.Prefix
	for _, v := range f.all[name] {
		for _, w := range v.words(", \t\r\n") {
			if w.text == "any" {
				out = append(out, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
				continue
			}
			p, err := parsePrefix(w.text)
			if err != nil {
				r.report(w, ossec.Error, "bad-address", "write an address or a network such as 192.0.2.0/24", "<%s> %q cannot be read: %v", name, w.text, err)
				continue
			}
			out = append(out, p)
		}
	}
	return out
}
