package alertlog

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"riposte"
	"riposte/internal/ossec"
)

// ossecCut is how much of a record OSSEC prints in alerts.log, in bytes.
const ossecCut = 1256

// AppendText appends an alert as one block of alerts.log, as Wazuh or OSSEC
// write it (spec rules-engine.md 7.1), the empty line that ends it included.
// OSSEC's blocks hold no more than 1256 bytes of each record.
func AppendText(dst []byte, a *riposte.Alert, d ossec.Dialect) []byte {
	e := Encoder{dialect: d}
	return e.Text(dst, a)
}

// Text appends an alert as one block of alerts.log, as AppendText does.
func (e *Encoder) Text(dst []byte, a *riposte.Alert) []byte {
	dst = append(dst, alertMark...)
	dst = appendVisible(dst, a.ID)
	dst = append(dst, ':')
	known := e.rules[a.Rule.ID]
	if known != nil && known.is(&a.Rule) {
		dst = append(dst, known.groups...)
	} else {
		known = nil
		dst = appendGroups(dst, &a.Rule)
	}

	e.at(a.Time)
	dst = append(append(dst, e.day...), ' ')
	if !strings.HasPrefix(a.Location, "(") {
		dst = e.visible(dst, a.Hostname)
		dst = append(dst, "->"...)
	}
	dst = appendVisible(dst, a.Location)
	dst = append(dst, '\n')

	if known != nil && known.rule.Description == a.Rule.Description {
		dst = append(dst, known.line...)
	} else {
		dst = appendRule(dst, &a.Rule)
	}

	var values [len(fieldLabels)]string
	for i := len(a.Fields) - 1; i >= 0; i-- { // the first of a name counts
		if f := &a.Fields[i]; !f.Dynamic {
			if k := labelIndex(f.Name); k >= 0 {
				values[k] = f.Value
			}
		}
	}
	for k, l := range fieldLabels {
		dst = e.labelled(dst, l, values[k])
	}

	limit := 0
	if e.dialect == ossec.OSSEC {
		limit = ossecCut
	}
	if !a.Rule.NoFullLog || e.dialect == ossec.OSSEC {
		dst = e.line(dst, a.FullLog, limit)
	}
	if e.dialect == ossec.Wazuh {
		for i := range a.Fields {
			f := &a.Fields[i]
			if f.Dynamic && f.Value != "" && f.Name != "" {
				dst = append(e.setOff(dst, f.Name, ": "), ": "...)
				if e.isPlain(a, i) {
					dst = append(dst, f.Value...)
				} else {
					dst = e.visible(dst, f.Value)
				}
				dst = append(dst, '\n')
			}
		}
	}
	if a.Diff != "" {
		dst = append(dst, "Previous output:\n"...)
		dst = e.line(dst, a.Diff, limit)
	}
	for _, p := range a.Previous {
		dst = e.line(dst, p, limit)
	}
	return append(dst, '\n')
}

// appendGroups appends what stands behind the id of a block.
func appendGroups(dst []byte, r *riposte.Rule) []byte {
	if r.Mail {
		dst = append(dst, " mail "...)
	}
	dst = append(dst, " - "...)
	return append(appendVisible(dst, r.Groups), '\n')
}

// appendRule appends the line of a block that names its rule.
func appendRule(dst []byte, r *riposte.Rule) []byte {
	dst = append(dst, "Rule: "...)
	dst = strconv.AppendInt(dst, int64(r.ID), 10)
	dst = append(dst, " (level "...)
	dst = strconv.AppendInt(dst, int64(r.Level), 10)
	dst = append(dst, ") -> '"...)
	return append(appendVisible(dst, r.Description), "'\n"...)
}

// alertMark begins a block.
const alertMark = "** Alert "

// fieldLabels begin the lines of the fields that a block shows.
var fieldLabels = [...]string{"Src IP: ", "Src Port: ", "Dst IP: ", "Dst Port: ", "User: "}

// labelIndex returns the place in fieldLabels of a field's name, or -1.
func labelIndex(name string) int {
	switch name {
	case "srcip":
		return 0
	case "srcport":
		return 1
	case "dstip":
		return 2
	case "dstport":
		return 3
	case "dstuser":
		return 4
	}
	return -1
}

func (e *Encoder) labelled(dst []byte, label, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, label...)
	dst = e.visible(dst, value)
	return append(dst, '\n')
}

// line appends a record as one line that is not empty. A limit of 0 is
// none.
func (e *Encoder) line(dst []byte, s string, limit int) []byte {
	if limit > 0 && len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	if s == "" {
		return dst
	}
	return append(e.setOff(dst, s, ""), '\n')
}

// blockLines begin the lines of a block that have a meaning for its readers.
// OSSEC's own reader of alerts.log looks for them in every line of a block.
var blockLines = [...]string{
	"** Alert", "Rule: ", "Src ", "Dst ", "User: ", "Attributes:", "Previous output:", "Integrity checksum",
	"Size changed", "Ownership was", "Group ownership was", "Permissions changed", "Old md5sum", "New md5sum",
	"Old sha1sum", "New sha1sum", "Old sha256sum", "New sha256sum",
}

// setOff appends foreign text at the beginning of a line, after one space
// when it, together with what is to follow, would otherwise be taken for a line
// of the block.
func (e *Encoder) setOff(dst []byte, s, next string) []byte {
	if s != "" && strings.IndexByte("*RSDUAPIOGN", s[0]) < 0 {
		return e.visible(dst, s) // no line of a block begins like that
	}
	for _, l := range blockLines {
		if strings.HasPrefix(s, l) || strings.HasPrefix(l, s) && strings.HasPrefix(next, l[len(s):]) {
			dst = append(dst, ' ')
			break
		}
	}
	return e.visible(dst, s)
}
