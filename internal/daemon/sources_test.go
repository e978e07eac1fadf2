package daemon

import (
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"riposte/internal/ossec"
	"riposte/internal/ossec/conf"
	"riposte/internal/settings"
)

// localFiles reads <localfile> blocks.
func localFiles(t *testing.T, text string) []conf.LocalFile {
	t.Helper()
	cfg, found := conf.Parse("ossec.conf", []byte("<ossec_config>"+text+"</ossec_config>"), ossec.Wazuh)
	if len(found) > 0 {
		t.Fatal(found)
	}
	return cfg.LocalFiles
}

const aFile = "<localfile><log_format>syslog</log_format><location>/a</location>"

func TestKeep(t *testing.T) {
	f := func(elements string, want ...string) {
		t.Helper()
		k := keep(&localFiles(t, aFile+elements+"</localfile>")[0])
		var got []string
		for _, record := range []string{"sshd: one", "sshd: two", "cron: one"} {
			if k == nil || k(record) {
				got = append(got, record)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", elements, got, want)
		}
	}
	f("", "sshd: one", "sshd: two", "cron: one")
	f("<ignore>two$</ignore>", "sshd: one", "cron: one")
	f("<ignore>two$</ignore><ignore>^cron</ignore>", "sshd: one")
	f(`<restrict type="osmatch">^sshd</restrict>`, "sshd: one", "sshd: two")
	f(`<restrict type="osregex">^sshd: \w+$</restrict><restrict>one</restrict>`, "sshd: one")
	f("<restrict>sshd</restrict><ignore>one</ignore>", "sshd: two")
	f("<restrict>nothing</restrict>")
}

func TestMultiline(t *testing.T) {
	f := func(match string, start, end, all bool) {
		t.Helper()
		lf := localFiles(t, `<localfile><log_format>multi-line-regex</log_format><location>a.log</location>`+
			`<multiline_regex match="`+match+`" replace="wspace">^x</multiline_regex></localfile>`)[0]
		in, err := fileInput(&lf, lf.Locations[0], "/var/ossec")
		if err != nil {
			t.Fatal(err)
		}
		fr := in.Framing
		if in.Location != "/var/ossec/a.log" || fr.Glue != " " || (fr.Start != nil) != start || (fr.End != nil) != end || (fr.All != nil) != all {
			t.Errorf("match %s: %+v", match, in)
		}
	}
	lf := localFiles(t, `<localfile><log_format>json</log_format><location>/a</location><label key="@from">the "dmz"</label><label key="b">c</label></localfile>`)[0]
	if in, err := fileInput(&lf, lf.Locations[0], "/"); err != nil || in.Members != `"@from":"the \"dmz\"","b":"c"` {
		t.Errorf("labels: %q, %v", in.Members, err)
	}
	f("start", true, false, false)
	f("end", false, true, false)
	f("all", false, false, true)
}

// What is read, and how, tells whether a reload leaves a source alone.
func TestKeysTellInputsApart(t *testing.T) {
	d := &Daemon{log: slog.New(slog.DiscardHandler)}
	key := func(text string) string {
		t.Helper()
		in, err := d.wanted(&World{Settings: settings.Default(), Config: &conf.Config{LocalFiles: localFiles(t, text)}})
		if err != nil || len(in) != 1 {
			t.Fatalf("%s: %d inputs, %v", text, len(in), err)
		}
		return in[0].key
	}
	const journal = "<localfile><log_format>journald</log_format>"
	seen := map[string]string{}
	for _, text := range []string{
		aFile + "</localfile>",
		aFile + "<ignore>x</ignore></localfile>",
		aFile + `<label key="a">b</label></localfile>`,
		aFile + "<ignore>y</ignore></localfile>",
		aFile + "<restrict>x</restrict></localfile>",
		aFile + `<restrict type="osmatch">x</restrict></localfile>`,
		aFile + `<multiline_regex>x</multiline_regex></localfile>`,
		aFile + `<multiline_regex>y</multiline_regex></localfile>`,
		aFile + `<multiline_regex match="all">x</multiline_regex></localfile>`,
		journal + "</localfile>",
		journal + `<filter field="A">x</filter></localfile>`,
		journal + `<filter field="B">x</filter></localfile>`,
		journal + `<filter field="B">y</filter></localfile>`,
		journal + `<filter field="B" ignore_if_missing="yes">y</filter></localfile>`,
		journal + `<filter field="A">x</filter></localfile>` + journal + `<filter field="B">x</filter></localfile>`,
		journal + `<filter field="A">x</filter><filter field="B">x</filter></localfile>`,
		journal + "<ignore>x</ignore></localfile>",
	} {
		k := key(text)
		if other, ok := seen[k]; ok {
			t.Errorf("%s and %s have the same key", text, other)
		}
		if k != key(text) {
			t.Errorf("%s has two keys", text)
		}
		seen[k] = text
	}
}

// The locations of one <localfile> share its patterns, and a stream has no key
// that a reload could change.
func TestInputs(t *testing.T) {
	d := &Daemon{log: slog.New(slog.DiscardHandler), opt: Options{Input: io.LimitReader(nil, 0)}}
	dir := t.TempDir()
	cfg := &conf.Config{LocalFiles: localFiles(t, "<localfile><log_format>syslog</log_format><location>"+filepath.Join(dir, "a")+
		"</location><location>"+filepath.Join(dir, "b")+"</location><ignore>x</ignore></localfile>")}
	in, err := d.wanted(&World{Settings: settings.Default(), Config: cfg})
	if err != nil || len(in) != 2 || in[0].name != "files" || in[1].key != "stdin" {
		t.Fatalf("%+v, %v", in, err)
	}
}
