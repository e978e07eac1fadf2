package syslog

import (
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

var now = time.Date(2026, 11, 3, 6, 0, 0, 0, time.Local)

func local(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.Local().Format(time.Stamp)
}

func TestLine(t *testing.T) {
	f := func(msg, want string) {
		t.Helper()
		if got := Line(msg, "192.0.2.1", now); got != want {
			t.Errorf("%q:\n got %q\nwant %q", msg, got, want)
		}
	}
	// RFC 3164, and what is said to be.
	f("<34>Oct 11 22:14:15 mymachine su: 'su root' failed\n", "Oct 11 22:14:15 mymachine su: 'su root' failed")
	f("<0>Oct 11 22:14:15 m a: b\r\n\x00", "Oct 11 22:14:15 m a: b")
	f("no priority at all", "no priority at all")
	f("<191>x", "x")
	f("<192>x", "<192>x")
	f("<1234>x", "<1234>x")
	f("<>x", "<>x")
	f("<a>x", "<a>x")
	f("<13", "<13")
	f("", "")
	f("<189>123: *Mar  1 18:46:11: %SYS-5-CONFIG_I: Configured", "123: *Mar  1 18:46:11: %SYS-5-CONFIG_I: Configured")
	f("<13>2026-11-23T06:00:00.123456+01:00 web1 sshd[1]: m", local("2026-11-23T06:00:00+01:00")+" web1 sshd[1]: m")
	f("<13>2026-11-23T06:00:00Z web1 sshd[1]: m", local("2026-11-23T06:00:00Z")+" web1 sshd[1]: m")
	f("2026-11-23T06:00:00Z web1 sshd[1]: m", local("2026-11-23T06:00:00Z")+" web1 sshd[1]: m")
	// RFC 5424.
	at := local("2003-10-11T22:14:15.003Z")
	f("<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed", at+" mymachine.example.com su: 'su root' failed")
	f("<165>1 2003-10-11T22:14:15.003Z h evntslog 77 ID47 [a@1 k=\"v\"][b@2 x=\"]\"] text", "1 2003-10-11T22:14:15.003Z h evntslog 77 ID47 [a@1 k=\"v\"][b@2 x=\"]\"] text")
	f(`<165>1 2003-10-11T22:14:15.003Z h evntslog 77 ID47 [a@1 k="v"][b@2 x="\]"] text`, at+` h evntslog[77]: text [a@1 k="v"][b@2 x="\]"]`)
	f("<165>1 2003-10-11T22:14:15.003Z h app x-77 - -", at+" h app:")
	f("<165>1 2003-10-11T22:14:15.003Z h - 77 - [a]", at+" h [a]")
	f("<165>1 - - app - - - text", "Nov  3 06:00:00 192.0.2.1 app: text")
	f("<165>1 - - - - - -", "Nov  3 06:00:00 192.0.2.1")
	f("<165>1 yesterday h app - - - text", "1 yesterday h app - - - text")
	f("<165>2 - h app - - - text", "2 - h app - - - text")
	f("<165>1 - h app - - [a text", "1 - h app - - [a text")
	f("<165>1 - h app - - -text", "1 - h app - - -text")
	f("<165>1 - h  app - - - text", "1 - h  app - - - text")
	// One message, one line.
	f("<13>Nov 23 06:00:00 web1 a: one\nNov 23 06:00:00 web1 sshd[1]: two", "Nov 23 06:00:00 web1 a: one#012Nov 23 06:00:00 web1 sshd[1]: two")
	f("<13>1 - h a - - - one\ntwo\x00\x1b", "Nov  3 06:00:00 h a: one#012two#000#033")
}

// oracle compares with an independent parser: what it takes, we take, and read
// the same in it.
func oracle(t *testing.T, parser syslog.Machine, msg string) {
	t.Helper()
	parsed, err := parser.Parse([]byte(msg))
	if err != nil {
		return
	}
	want, ok := parsed.(*rfc5424.SyslogMessage)
	if !ok || want.Version != 1 {
		return
	}
	rest, ok := priority(msg)
	if !ok {
		t.Fatalf("%q: no priority seen", msg)
	}
	got, ok := parse5424(rest)
	if !ok {
		t.Fatalf("%q: not taken", msg)
	}
	same := func(what, got string, want *string) {
		t.Helper()
		if want == nil && got != "" || want != nil && got != *want {
			t.Errorf("%q: %s %q", msg, what, got)
		}
	}
	same("host", got.host, want.Hostname)
	same("app", got.app, want.Appname)
	same("procid", got.procid, want.ProcID)
	same("msgid", got.msgid, want.MsgID)
	if want.Message != nil {
		text := strings.TrimPrefix(*want.Message, "\ufeff")
		same("text", got.text, &text)
	}
	if (want.Timestamp == nil) != got.stamp.IsZero() || want.Timestamp != nil && !want.Timestamp.Equal(got.stamp) {
		t.Errorf("%q: time %v, want %v", msg, got.stamp, want.Timestamp)
	}
	if (want.StructuredData == nil) != (got.data == "") {
		t.Errorf("%q: structured data %q, want %v", msg, got.data, want.StructuredData)
	}
}

var samples = []string{
	"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed for lonvick on /dev/pts/8",
	"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
	`<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application event`,
	`<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [a@1 iut="3"][b@2 class="high"]`,
	`<165>1 - - - - - [a k="\"\\\]"] x`,
	`<165>1 - - - - - [a k="\x"] x`,
	"<0>1 - - - - - -",
	"<0>1 - - - - - - ",
	"<191>1 2026-02-28T23:59:59Z h a p m - \n",
	"<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
}

func TestOracle(t *testing.T) {
	parser := rfc5424.NewParser()
	for _, msg := range samples {
		oracle(t, parser, msg)
	}
}

func FuzzLine(f *testing.F) {
	for _, msg := range samples {
		f.Add(msg)
	}
	parser := rfc5424.NewParser()
	f.Fuzz(func(t *testing.T, msg string) {
		line := Line(msg, "192.0.2.1", now)
		for i := range len(line) {
			if line[i] < 0x20 || line[i] == 0x7f {
				t.Fatalf("%q: control character in %q", msg, line)
			}
		}
		if len(line) > 4*len(msg)+64 {
			t.Fatalf("%d bytes became %d", len(msg), len(line))
		}
		oracle(t, parser, msg)
	})
}

func BenchmarkLine3164(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Line("<34>Oct 11 22:14:15 mymachine sshd[42]: Failed password for root from 192.0.2.7 port 4242 ssh2", "192.0.2.1", now)
	}
}

func BenchmarkLine5424(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Line("<34>1 2003-10-11T22:14:15.003Z mymachine sshd 42 - - Failed password for root from 192.0.2.7 port 4242 ssh2", "192.0.2.1", now)
	}
}
