package analysis

import (
	"strings"

	"riposte/internal/ossec/ruleset"
)

// plugin runs a decoder that is code.
func (w *Worker) plugin(r *record, d *decoder, at *offsets) {
	switch d.Plugin {
	case ruleset.JSON:
		// Where the text begins is what the decoder that owns the event says,
		// which is not always the one that has the plug-in.
		start := 0
		switch r.decoder.PluginOffset {
		case ruleset.AfterParent:
			start = at.parent
		case ruleset.AfterPrematch:
			start = at.pre
		}
		if start >= 0 && start <= len(r.log) {
			w.json.read(r, r.log[start:], r.decoder)
		}
	case ruleset.PF:
		decodePF(r)
	case ruleset.SymantecWS:
		decodeSymantec(r)
	case ruleset.SonicWall:
		if !w.plan.wazuh { // the real Wazuh's is broken and never runs
			w.decodeSonicWall(r)
		}
	case ruleset.OSSECAlertPlugin:
		w.decodeAlert(r)
	}
}

// decodePF reads "… ) pass in on em0: 10.0.0.1.1024 > 10.0.0.2.80: tcp".
func decodePF(r *record) {
	_, s, ok := strings.Cut(r.log, ")")
	if !ok || len(s) < 2 || s[0] != ' ' {
		return
	}
	switch s[1] {
	case 'p':
		r.set(ruleset.Action, "pass")
	case 'b':
		r.set(ruleset.Action, "block")
	default:
		return
	}
	if _, s, ok = strings.Cut(s, ": "); !ok {
		return
	}
	from, s, ok := strings.Cut(s, " ")
	if !ok {
		return
	}
	setEndpoint(r, from, ruleset.SrcIP, ruleset.SrcPort)
	if s, ok = strings.CutPrefix(s, "> "); !ok {
		return
	}
	to, s, ok := strings.Cut(s, ":")
	if !ok {
		return
	}
	setEndpoint(r, to, ruleset.DstIP, ruleset.DstPort)
	s = strings.TrimLeft(s, " ")
	switch {
	case s == "":
	case s[0] == 'u':
		r.set(ruleset.Protocol, "UDP")
	case s[0] == 'i':
		r.set(ruleset.Protocol, "ICMP")
	default:
		r.set(ruleset.Protocol, "TCP")
	}
}

// setEndpoint splits "10.0.0.1.1024" into address and port.
func setEndpoint(r *record, s string, ip, port ruleset.Slot) {
	dots := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '.' {
			continue
		}
		if dots++; dots == 4 {
			r.set(ip, s[:i])
			r.set(port, s[i+1:])
			return
		}
	}
	r.set(ip, s)
}

// decodeSymantec reads the comma-separated "n=value" entries of Symantec Web
// Security.
func decodeSymantec(r *record) {
	_, s, ok := strings.Cut(r.log, ",")
	for ok {
		entry, rest, more := strings.Cut(s, ",")
		switch {
		case strings.HasPrefix(entry, "10="):
			setOnce(r, ruleset.DstUser, cutTo(entry[3:], 128))
		case strings.HasPrefix(entry, "11="):
			setOnce(r, ruleset.SrcIP, entry[3:])
		case strings.HasPrefix(entry, "60="):
			setOnce(r, ruleset.URL, cutTo(entry[3:], 1024))
		case strings.HasPrefix(entry, "3="), strings.HasPrefix(entry, "2="):
			setOnce(r, ruleset.ID, cutTo(s, 9)) // with the key, and what follows a comma
		}
		s, ok = rest, more
	}
}

func setOnce(r *record, s ruleset.Slot, v string) {
	if r.has&(1<<s) == 0 {
		r.set(s, v)
	}
}

func cutTo(s string, n int) string { return s[:min(n, len(s))] }

// decodeSonicWall reads SonicWall's firewall log (OSSEC).
func (w *Worker) decodeSonicWall(r *record) {
	r.category = ruleset.Syslog
	p := w.plan.sonic
	log := r.log
	end, caps, ok := p.head.Find(log, w.caps[:0])
	w.caps = caps
	if !ok || len(caps) < 3 {
		return
	}
	category := log[caps[1].Start:caps[1].End]
	id := log[caps[2].Start:caps[2].End]
	r.set(ruleset.Status, log[caps[0].Start:caps[0].End])
	r.set(ruleset.ID, id)
	rest := log[p.head.Continue(log, end, r.prev):]
	end, caps, ok = p.peers.Find(rest, w.caps[:0])
	w.caps = caps
	if !ok || len(caps) < 4 {
		return
	}
	for i, s := range [...]ruleset.Slot{ruleset.SrcIP, ruleset.SrcPort, ruleset.DstIP, ruleset.DstPort} {
		r.set(s, rest[caps[i].Start:caps[i].End])
	}
	rest = rest[p.peers.Continue(rest, end, 0):]
	if _, tail, ok := strings.Cut(rest, " "); ok {
		if proto, ok := strings.CutPrefix(tail, "proto="); ok {
			n := 0
			for n < len(proto) && n < 6 && (isName(proto[n]) && proto[n] != '/') {
				n++
			}
			if n < len(proto) && proto[n] == '/' {
				r.set(ruleset.Protocol, proto[:n])
			}
		}
	}
	if category == "32" {
		r.category = ruleset.IDS
		return
	}
	switch id {
	case "98", "597", "598":
		r.category = ruleset.Firewall
		r.set(ruleset.Action, "pass")
	case "38", "36", "173", "174", "37":
		r.category = ruleset.Firewall
		r.set(ruleset.Action, "drop")
	case "537":
		r.category = ruleset.Firewall
		r.set(ruleset.Action, "close")
	case "97":
		r.category = ruleset.Squid
		_, caps, ok := p.web.Find(rest, w.caps[:0])
		w.caps = caps
		if ok && len(caps) == 3 {
			r.set(ruleset.ID, rest[caps[0].Start:caps[0].End])
			r.set(ruleset.URL, r.keep(rest[caps[1].Start:caps[1].End], rest[caps[2].Start:caps[2].End]))
		}
	}
}

const maxAlertText = 4094 // bytes of a record inside an alert

// decodeAlert reads an alert that another OSSEC forwarded over syslog: the
// event becomes the one that alert was about, the rule is taken as given.
func (w *Worker) decodeAlert(r *record) {
	r.category = ruleset.OSSECAlert
	s := r.log
	if !strings.HasPrefix(s, "Alert Level:") && !strings.HasPrefix(s, "ossec: Alert Level") {
		return
	}
	_, s, ok := strings.Cut(s, ";")
	if !ok {
		return
	}
	if _, s, ok = strings.Cut(s, ": "); !ok {
		return
	}
	word, s, ok := strings.Cut(s, " ")
	if !ok {
		return
	}
	id := 0
	for i := 0; i < len(word) && i < 8 && isDigit(word[i]); i++ {
		id = id*10 + int(word[i]-'0')
	}
	rule, ok := w.plan.byID[id]
	if !ok {
		return
	}
	if _, s, ok = strings.Cut(s, ";"); !ok {
		return
	}
	if s, ok = strings.CutPrefix(s, " Location: "); !ok {
		return
	}
	where, s, ok := strings.Cut(s, ";")
	if !ok {
		return
	}
	r.location = r.keep(r.location, "|", where)
	r.host, r.hasHost = r.location, true
	for {
		if v, rest, ok := entry(s, " srcip: "); ok {
			r.set(ruleset.SrcIP, v)
			s = rest
		} else if v, rest, ok := entry(s, " user: "); ok {
			r.set(ruleset.DstUser, v)
			s = rest
		} else {
			break
		}
	}
	s = cutTo(strings.TrimLeft(s, " "), maxAlertText)
	r.full, r.log, r.prev = s, s, 0
	r.ref = rule
}

func entry(s, key string) (value, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, key); !ok {
		return "", "", false
	}
	return strings.Cut(s, ";")
}
