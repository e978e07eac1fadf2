package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte"
)

func TestMatchPath(t *testing.T) {
	f := func(pattern, path string, want bool) {
		t.Helper()
		if got := matchPath(pattern, path); got != want {
			t.Errorf("%q and %q: %v", pattern, path, got)
		}
	}
	f("/var/log/*.log", "/var/log/a.log", true)
	f("/var/log/*.log", "/var/log/.a.log", false)
	f("/var/log/.*.log", "/var/log/.a.log", true)
	f("/var/log/*.log", "/var/log/x/a.log", false)
	f("/var/*/a.log", "/var/log/a.log", true)
	f("/var/log/[!a].log", "/var/log/b.log", true)
	f("/var/log/[!a].log", "/var/log/a.log", false)
	f("/var/log/[", "/var/log/[", true)
}

func TestAnyTime(t *testing.T) {
	f := func(location, want string) {
		t.Helper()
		if got := anyTime(location); got != want {
			t.Errorf("%q: %q, want %q", location, got, want)
		}
	}
	f("/a/b.log", "/a/b.log")
	f("/a/b-%Y-%m-%d.log", "/a/b-*-*-*.log")
	f("/a/b-%-d.log", "/a/b-*.log")
	f("/a/100%%.log", "/a/100%.log")
	f("/a/b%", "/a/b*")
	now := time.Date(2026, 11, 3, 6, 5, 4, 0, time.Local)
	if got := at("/a/b-%Y-%m-%d-%H%M%S-%j.log", now); got != "/a/b-2026-11-03-060504-307.log" {
		t.Errorf("at: %q", got)
	}
}

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/x.log", "a/y.log.gz", "b/x.log", "b/deep/x.log"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := func(pattern, files, dirs string) {
		t.Helper()
		x := expand(filepath.Join(dir, pattern))
		short := func(list []string) string {
			return strings.ReplaceAll(strings.Join(list, " "), dir, "")
		}
		if short(x.files) != files || short(x.dirs) != dirs || x.errs != nil {
			t.Errorf("%s: files %q, directories %q, %v", pattern, short(x.files), short(x.dirs), x.errs)
		}
	}
	f("a/x.log", "/a/x.log", "/a")
	f("a/y.log.gz", "/a/y.log.gz", "/a")
	f("a/*", "/a/x.log", "/a")
	f("*/x.log", "/a/x.log /b/x.log", " /a /b")
	f("b", "", "")
	f("c/d/e.log", "", "")
	f("b/none/e.log", "", "/b")
}

func TestStyles(t *testing.T) {
	f := func(root, older, younger string, want bool) {
		t.Helper()
		st := styleOf(root, older)
		a, b := entry{name: older}, entry{name: younger}
		if got := st.of(root, younger) && st.follows(a, b); got != want {
			t.Errorf("%s, then %s: %v", older, younger, got)
		}
	}
	f("a.log", "a.log.2", "a.log.1", true)
	f("a.log", "a.log.1", "a.log.2", false)
	f("a.log", "a.log.10", "a.log.9", true)
	f("a.log", "a.log.1", "a.log.1", false)
	f("a.log", "a.log.2", "a-1.log", false)
	f("a.log", "a.log-20261122", "a.log-20261123", true)
	f("a.log", "a.log-20261123", "a.log-20261122", false)
	f("a.log", "a.log-20261123", "a.log-20261123-1", false)
	f("a.log", "a-2026-11-22.log", "a-2026-11-23.log", true)
	f("a20261120.log", "a20261120.log.2", "a20261120.log.1", true)
	f("a.log", "a.log.old", "a.log.old", false)
	f("", "a-2026-11-22.log", "a-2026-11-23.log", true)
}

func TestSuffixes(t *testing.T) {
	f := func(separator byte, text string, want bool) {
		t.Helper()
		if got := suffix(separator, text); got != want {
			t.Errorf("%c%s: %v", separator, text, got)
		}
	}
	f('.', "1", true)
	f('.', "log", false)
	f('.', "old", true)
	f('-', "20261123", true)
	f('-', "2026-11-23T10:00:00Z", true)
	f('-', "1", false)
	f('.', "", false)
}

func TestParseFormat(t *testing.T) {
	f := func(text string, format riposte.Format, lines int, ok bool) {
		t.Helper()
		got, framing, err := ParseFormat(text)
		if (err == nil) != ok || ok && (got != format || framing.Lines != lines) {
			t.Errorf("%q: %v, %+v, %v", text, got, framing, err)
		}
	}
	f("syslog", riposte.FormatSyslog, 0, true)
	f(" json ", riposte.FormatJSON, 0, true)
	f("multi-line:3", riposte.FormatSyslog, 3, true)
	f("multi-line: 3", riposte.FormatSyslog, 3, true)
	f("multi-line", 0, 0, false)
	f("multi-line:0", 0, 0, false)
	f("multi-line:x", 0, 0, false)
	f("multi-line:1001", 0, 0, false)
	f("apache", riposte.FormatSyslog, 0, true)
	f("audit", riposte.FormatSyslog, 0, true)
	f("command", 0, 0, false)
	f("syslog:3", 0, 0, false)
	f("", 0, 0, false)
}

func TestLongRecordsAreCut(t *testing.T) {
	r := newRig(t)
	r.run(Input{Location: "a.log", Framing: Framing{Lines: 3, Glue: " "}, Max: 10})
	r.told(1)
	r.write("a.log", "12345\n1234567\n1\n1\n2\n3\n")
	r.told(1)
	if ev := r.want("12345 1234", "1 2 3"); !ev[0].Cut || ev[1].Cut {
		t.Errorf("cut: %v, %v", ev[0].Cut, ev[1].Cut)
	}
}
