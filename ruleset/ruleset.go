// Package ruleset holds riposte's built-in decoders and rules, and the
// configuration of a host that has none of its own. It reads and judges
// nothing: Files gives the files to whoever loads them, Samples the lines that
// show what each rule is for.
//
// The files are written once, in Wazuh's dialect. For OSSEC they are translated
// on the way out: PCRE2 patterns get elements of their own, frequencies are
// counted as OSSEC counts them, and what OSSEC has no word for is left out.
// docs/rules.md says what is detected and how to add to it.
package ruleset

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed decoders rules samples conf
var files embed.FS

// The dialects, by the names that riposte's settings know them by.
const (
	Wazuh = "wazuh"
	OSSEC = "ossec"
)

// File is one file of the ruleset. Its name begins with "ruleset/".
type File struct {
	Name string
	Data []byte
}

// Files returns the decoder and rule files of a dialect in the order in which
// they are to be loaded.
func Files(dialect string) (decoders, rules []File) {
	return folder("decoders", dialect), folder("rules", dialect)
}

// Samples returns the sample files.
func Samples() []File {
	return read("samples", func(string) bool { return true })
}

// Config returns the ossec.conf of a host that has none of its own, with every
// log that such a host may have. Where a syslog daemon writes to files what is
// in the journal too, events would be counted twice: use ConfigJournal there.
func Config() File {
	return File{Name: "ruleset/ossec.conf", Data: concat("conf/responses.conf", "conf/journal.conf", "conf/syslog.conf")}
}

// ConfigJournal is Config for a host whose journal can be read: without the
// files that a syslog daemon writes from it.
func ConfigJournal() File {
	return File{Name: "ruleset/ossec.conf", Data: concat("conf/responses.conf", "conf/journal.conf")}
}

// ConfigSyslog is Config for a host without a journal.
func ConfigSyslog() File {
	return File{Name: "ruleset/ossec.conf", Data: concat("conf/responses.conf", "conf/syslog.conf")}
}

// concat joins embedded files: a configuration may have several roots.
func concat(names ...string) []byte {
	var out []byte
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			panic(err) // embedded: it is there or the binary is not
		}
		out = append(out, b...)
	}
	return out
}

// folder reads the files of a folder that are meant for a dialect: all but
// those whose names end in that of the other one.
func folder(name, dialect string) []File {
	other := OSSEC
	if dialect == OSSEC {
		other = Wazuh
	}
	out := read(name, func(file string) bool { return !strings.HasSuffix(file, "-"+other+".xml") })
	if dialect == OSSEC {
		for i := range out {
			out[i].Data = translate(out[i].Data)
		}
	}
	return out
}

// read reads the files of an embedded folder that are wanted, by name.
func read(folder string, wanted func(file string) bool) []File {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		panic(err) // embedded: it is there or the binary is not
	}
	var out []File
	for _, e := range entries {
		if !wanted(e.Name()) {
			continue
		}
		b, err := files.ReadFile(path.Join(folder, e.Name()))
		if err != nil {
			panic(err)
		}
		out = append(out, File{Name: path.Join("ruleset", folder, e.Name()), Data: b})
	}
	return out
}
