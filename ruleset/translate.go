package ruleset

import (
	"bytes"
	"regexp"
	"strconv"
)

// The forms in which the built-in files write what OSSEC writes otherwise. A
// test holds the files to these forms: each element on one line of its own.
var (
	pcre2     = regexp.MustCompile(`<(\w+)((?: offset="\w+")?) type="pcre2">(.*)</\w+>`)
	frequency = regexp.MustCompile(` frequency="(\d+)"`)
	mitre     = regexp.MustCompile(`(?s)[ \t]*<mitre>.*?</mitre>\n`)
)

// translate turns a file of the built-in ruleset from Wazuh's dialect into
// OSSEC's (spec rules-engine.md 3.1, 5.2, 5.9.2). OSSEC fires two events later
// than its frequency says, knows no ATT&CK techniques, and prints descriptions
// as they stand.
func translate(src []byte) []byte {
	src = mitre.ReplaceAll(src, nil)
	src = pcre2.ReplaceAllFunc(src, func(m []byte) []byte {
		p := pcre2.FindSubmatch(m)
		name := p[1]
		if string(name) == "regex" {
			name = []byte("pcre2")
		} else {
			name = append(bytes.Clone(name), "_pcre2"...)
		}
		return bytes.Join([][]byte{{'<'}, name, p[2], {'>'}, p[3], []byte("</"), name, {'>'}}, nil)
	})
	return frequency.ReplaceAllFunc(src, func(m []byte) []byte {
		n, err := strconv.Atoi(string(frequency.FindSubmatch(m)[1]))
		if err != nil || n < 3 {
			return m
		}
		return append(strconv.AppendInt([]byte(` frequency="`), int64(n-2), 10), '"')
	})
}
