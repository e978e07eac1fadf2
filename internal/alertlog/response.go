package alertlog

import (
	"strconv"
	"strings"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

// Response is what one host did, or did not do, about one order: one line of
// active-responses.log.
type Response struct {
	Time   time.Time
	Host   string // name of the host that acted
	Action riposte.Action
	Order  *riposte.Order
	Failed string // why it was not done; "" when it was
}

// AppendResponse appends a response as one line with its line break.
//
// A response that was carried out is written so that the stock decoders read
// it: Wazuh's ar_log_json the JSON message that Wazuh 4 gives its programs,
// OSSEC's ar_log (and Wazuh's) the line that OSSEC's scripts write
// (spec active-response.md 4.4). OSSEC's has "-" for an address that the
// response does not have, its decoder then reads no srcip. One that was not
// carried out is a line of plain words that no stock decoder takes for a
// response.
func AppendResponse(dst []byte, r *Response, d ossec.Dialect) []byte {
	switch {
	case r.Failed != "":
		dst = appendFailure(dst, r)
	case d == ossec.OSSEC:
		dst = appendOSSECResponse(dst, r)
	default:
		dst = r.Time.AppendFormat(dst, "2006/01/02 15:04:05 active-response/bin/")
		dst = appendWord(dst, program(r.Order))
		dst = append(dst, ": "...)
		dst = AppendCommand(dst, r)
	}
	return append(dst, '\n')
}

func program(o *riposte.Order) string {
	if i := strings.LastIndexAny(o.Command.Executable, `/\`); i >= 0 {
		return o.Command.Executable[i+1:]
	}
	return o.Command.Executable
}

// AppendCommand appends the JSON message, version 1, by which Wazuh 4 gives an
// order to a program and by which it is logged. An order by hand carries an
// alert that holds only its target.
func AppendCommand(dst []byte, r *Response) []byte {
	dst = append(dst, `{"version":1,"origin":{"name":`...)
	dst = appendString(dst, r.Host)
	dst = append(dst, `,"module":"wazuh-execd"},"command":"`...)
	dst = append(dst, r.Action.String()...)
	dst = append(dst, `","parameters":{"extra_args":[`...)
	for i, arg := range r.Order.Command.ExtraArgs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, arg)
	}
	dst = append(dst, `],"alert":`...)
	if r.Order.Alert != nil {
		dst = AppendJSON(dst, r.Order.Alert, ossec.Wazuh)
	} else {
		dst = appendTarget(dst, r.Order.Target)
	}
	dst = append(dst, `,"program":`...)
	dst = append(dst, `"active-response/bin/`...)
	dst = appendStringPart(dst, program(r.Order))
	return append(dst, `"}}`...)
}

func appendTarget(dst []byte, t riposte.Target) []byte {
	o := object{dst: append(dst, '{'), enc: &Encoder{}}
	switch t.Kind {
	case riposte.Address:
		o.open("data")
		o.text("srcip", t.Value)
		o.close()
	case riposte.User:
		o.open("data")
		o.text("dstuser", t.Value)
		o.close()
	case riposte.File:
		o.open("syscheck")
		o.text("path", t.Value)
		o.close()
	}
	return append(o.dst, '}')
}

// appendOSSECResponse appends the line of OSSEC's scripts: `date`, then the
// program and its five arguments, action, user, address, alert id, rule id.
func appendOSSECResponse(dst []byte, r *Response) []byte {
	dst = scriptDate(r.Time).AppendFormat(dst, "Mon Jan _2 15:04:05 MST 2006 /var/ossec/active-response/bin/")
	dst = appendWord(dst, program(r.Order))
	dst = append(dst, ' ')
	dst = append(dst, r.Action.String()...)
	user, address := "", ""
	switch t := r.Order.Target; t.Kind {
	case riposte.User:
		user = t.Value
	case riposte.Address:
		address = t.Value
	}
	dst = appendWord(append(dst, ' '), user)
	dst = appendWord(append(dst, ' '), address)
	if a := r.Order.Alert; a != nil {
		dst = appendWord(append(dst, ' '), a.ID)
		dst = strconv.AppendInt(append(dst, ' '), int64(a.Rule.ID), 10)
	} else {
		dst = append(dst, " (from_the_server) (no_rule_id)"...)
	}
	return dst
}

// scriptDate is t in its own zone if the decoders can read the zone's name,
// else in UTC: a zone without a name is printed as "+03".
func scriptDate(t time.Time) time.Time {
	zone, _ := t.Zone()
	for i := range len(zone) {
		if c := zone[i] | 0x20; c < 'a' || c > 'z' {
			return t.UTC()
		}
	}
	if zone == "" {
		return t.UTC()
	}
	return t
}

func appendFailure(dst []byte, r *Response) []byte {
	dst = r.Time.AppendFormat(dst, "2006/01/02 15:04:05 riposte: ")
	dst = append(dst, r.Action.String()...)
	dst = appendWord(append(dst, ' '), r.Order.Command.Name)
	dst = appendWord(append(dst, ' '), r.Order.Target.String())
	dst = append(dst, " not done: "...)
	return appendVisible(dst, r.Failed)
}
