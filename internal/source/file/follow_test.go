package file

import (
	"os"
	"strings"
	"testing"
	"time"

	"riposte"
)

func TestOnlyNewLines(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "old\nhalf a li")
	r.run(Input{Location: "a.log", Format: riposte.FormatJSON})
	r.told(1)
	r.append("a.log", "ne\n")
	before := time.Now()
	r.append("a.log", "new\n")
	got := r.want("half a line", "new")
	ev := got[1]
	if ev.Location != r.path("a.log") || ev.Format != riposte.FormatJSON || ev.Cut || !ev.Agent.Local() {
		t.Errorf("event %+v", ev)
	}
	if ev.Time.Before(before.Add(-time.Second)) || ev.Time.After(time.Now()) {
		t.Errorf("received at %v", ev.Time)
	}
}

func TestFromStart(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "one\r\n\ntwo\nthree")
	r.run(Input{Location: "a.log", FromStart: true})
	r.told(1)
	r.want("one", "two")
	r.append("a.log", "\n")
	r.want("three")
}

func TestLateFilesAreReadFromTheirStart(t *testing.T) {
	r := newRig(t)
	r.run(Input{Location: "deep/er/a.log"}, Input{Location: "deep/*/b*.log"})
	r.told(2)
	if err := os.MkdirAll(r.path("deep/er"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.write("deep/er/a.log", "a1\n")
	r.told(1)
	r.want("a1")
	r.write("deep/er/b1.log", "b1\n")
	r.told(1)
	r.want("b1")
	if err := os.Mkdir(r.path("deep/est"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.write("deep/est/b2.log", "b2\n")
	r.told(1)
	r.want("b2")

	// The directory goes and comes back.
	r.rename("deep", "gone")
	if err := os.MkdirAll(r.path("deep/er"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.write("deep/er/a.log", "a2, another one\n")
	r.told(1)
	r.want("a2, another one")
}

func TestWildCard(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"x.log", "x.log.1", "x.log-20261122", "x.log.2.gz", ".hidden.log", "skip.log", "worker-1.log", "worker.log"} {
		r.write(name, "old\n")
	}
	if err := os.Mkdir(r.path("dir.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.run(Input{Location: "*.log*", Exclude: r.path("other") + "," + r.path("sk*")})
	r.told(4) // x.log, worker.log, worker-1.log and the pattern itself
	for _, name := range []string{"x.log.1", "x.log-20261122", "x.log.2.gz", ".hidden.log", "skip.log"} {
		r.append(name, "not followed\n")
	}
	r.append("worker-1.log", "followed\n")
	r.want("followed")
	r.append("x.log", "followed too\n")
	r.want("followed too")
	r.rename("x.log.1", "x.log.2")
	r.rename("x.log", "x.log.1")
	r.write("x.log", "after rotation\n")
	r.told(1)
	r.want("after rotation")
	if strings.Contains(r.log.String(), "WARN") {
		t.Errorf("logged:\n%s", r.log)
	}
}

func TestStrangeBytes(t *testing.T) {
	r := newRig(t)
	r.run(Input{Location: "a.log"})
	r.told(1)
	long := strings.Repeat("x", 64<<10)
	r.write("a.log", "nul\x00 \xff\xfe\x1b[31m\ttab\r\n"+long+"\n"+long+"y\nshort\n"+strings.Repeat("z", 1<<20)+"\nlast\n")
	r.told(1)
	var got []riposte.Event
	for len(got) < 6 {
		got = append(got, r.next().Events...)
	}
	f := func(i int, text string, cut bool) {
		t.Helper()
		if got[i].Text != text || got[i].Cut != cut {
			t.Errorf("event %d: %d bytes %.20q, cut %v", i, len(got[i].Text), got[i].Text, got[i].Cut)
		}
	}
	f(0, "nul\x00 \xff\xfe\x1b[31m\ttab", false)
	f(1, long, false)
	f(2, long, true)
	f(3, "short", false)
	f(4, strings.Repeat("z", 64<<10), true)
	f(5, "last", false)
}

func TestRestartInsideALineThatWasCut(t *testing.T) {
	r := newRig(t)
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.write("a.log", strings.Repeat("z", 300<<10))
	r.told(1)
	if ev := r.next().Events; len(ev) != 1 || !ev[0].Cut {
		t.Fatalf("%d events", len(ev))
	}
	r.halt()
	r.append("a.log", "rest of it\nnew\n")
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.want("new")
}

func TestSeveralLinesARecord(t *testing.T) {
	f := func(in Input, text string, want ...string) {
		t.Helper()
		r := newRig(t)
		in.Location = "a.log"
		r.run(in)
		r.told(1)
		r.write("a.log", text)
		r.told(1)
		r.want(want...)
		r.halt()
	}
	indented := func(l string) bool { return !strings.HasPrefix(l, " ") }
	f(Input{Framing: Framing{Lines: 3, Glue: " "}}, "a\r\nb\nc\nd\n\nf\ng\n", "a b c", "d  f")
	f(Input{Framing: Framing{Start: indented, Glue: "\n", Wait: 50 * time.Millisecond}}, "a\n b\n\nc\n d\n", "a\n b", "c\n d")
	f(Input{Framing: Framing{End: func(l string) bool { return l == "." }, Glue: " "}}, "a\nb\n.\n\nc\n.\n", "a b .", "c .")
	f(Input{Framing: Framing{All: func(r string) bool { return strings.Count(r, "<") == strings.Count(r, ">") }, Glue: "|", Wait: 50 * time.Millisecond}},
		"a\n<b\n\n<c>\n>\n\n<d\n", "a", "<b||<c>|>", "<d")
	f(Input{Framing: Framing{All: func(string) bool { return false }, Wait: 50 * time.Millisecond}},
		strings.Repeat("x\n", maxAll+1), strings.Repeat("x", maxAll), "x")
	f(Input{Framing: Framing{Audit: true, Glue: " ", Wait: 50 * time.Millisecond}},
		"type=SYSCALL msg=audit(1.2:3): a\ntype=CWD msg=audit(1.2:3): b\ntype=USER msg=audit(1.2:4): c\nother\nother\n",
		"type=SYSCALL msg=audit(1.2:3): a type=CWD msg=audit(1.2:3): b", "type=USER msg=audit(1.2:4): c", "other", "other")
}

func TestMembers(t *testing.T) {
	f := func(members, record, want string) {
		t.Helper()
		in := Input{Members: members}
		if got := in.given(record); got != want {
			t.Errorf("%s given to %s: %s, want %s", members, record, got, want)
		}
	}
	f("", `{"a":1}`, `{"a":1}`)
	f(`"l":"v"`, `{"a":1}`, `{"a":1,"l":"v"}`)
	f(`"l":"v","m":"w"`, ` {"a":{}} `, ` {"a":{},"l":"v","m":"w"}`)
	f(`"l":"v"`, `{ }`, `{ "l":"v"}`)
	f(`"l":"v"`, `[{"a":1}]`, `[{"a":1}]`)
	f(`"l":"v"`, `no object}`, `no object}`)
	f(`"l":"v"`, `}`, `}`)
	f(`"l":"v"`, ``, ``)
}

// What is left out makes no events, is not read again, and is not counted
// where lines make a record.
func TestKeep(t *testing.T) {
	r := newRig(t)
	in := Input{Location: "a.log", Keep: func(record string) bool { return !strings.HasPrefix(record, "#") }}
	r.run(in)
	r.told(1)
	r.write("a.log", "#1\n2\n#3\n4\n")
	r.told(1)
	r.want("2", "4")
	before := r.positions[SourceOf(r.path("a.log"))]
	r.append("a.log", "#5\n")
	r.told(1)
	if r.positions[SourceOf(r.path("a.log"))] == before {
		t.Error("the position stays where it was")
	}
	r.halt()
	r.append("a.log", "6\n")
	in.Keep = nil
	r.run(in)
	r.told(1)
	r.want("6")
	r.halt()

	in = Input{Location: "b.log", Framing: Framing{Lines: 2, Glue: " "}, Keep: func(record string) bool { return record == "b #c" }}
	r.run(in)
	r.told(1)
	r.write("b.log", "#a\na\nb\n#c\n")
	r.told(1)
	r.want("b #c")
}

func TestRestartInsideARecord(t *testing.T) {
	r := newRig(t)
	in := Input{Location: "a.log", Framing: Framing{Lines: 3, Glue: " "}}
	r.run(in)
	r.told(1)
	r.write("a.log", "1\n2\n3\n4\n5\n")
	r.told(1)
	r.want("1 2 3")
	r.halt()
	r.append("a.log", "6\n")
	r.run(in)
	r.told(1)
	r.want("4 5 6")
}

func TestDatedNames(t *testing.T) {
	r := newRig(t)
	day := time.Date(2026, 11, 22, 23, 59, 59, 0, time.Local)
	clock := make(chan time.Time, 1)
	clock <- day
	r.now = func() time.Time { now := <-clock; clock <- now; return now }
	in := Input{Location: "app-%Y-%m-%d.log"}
	r.write("app-2026-11-22.log", "old\n")
	r.run(in)
	r.told(2)
	r.append("app-2026-11-22.log", "today\n")
	r.want("today")
	r.append("app-2026-11-22.log", "the last of the day\n")
	r.write("app-2026-11-23.log", "tomorrow\n")
	r.want("the last of the day")
	<-clock
	clock <- day.Add(time.Second)
	r.told(1)
	r.want("tomorrow")
	r.append("app-2026-11-22.log", "late\n")
	r.want("late")
	r.halt()

	// Down for two nights: the rest of the 23rd, all of the 24th, the 25th.
	r.append("app-2026-11-23.log", "rest\n")
	r.write("app-2026-11-24.log", "between\n")
	r.write("app-2026-11-25.log", "now\n")
	<-clock
	clock <- day.Add(50 * time.Hour)
	r.run(in)
	got := map[string]bool{}
	for len(got) < 3 {
		for _, ev := range r.next().Events {
			if got[ev.Text] {
				t.Errorf("%q came twice", ev.Text)
			}
			got[ev.Text] = true
		}
	}
	if !got["rest"] || !got["between"] || !got["now"] {
		t.Errorf("got %v", got)
	}
}

func TestSymbolicLink(t *testing.T) {
	r := newRig(t)
	for _, dir := range []string{"pods", "containers"} {
		if err := os.Mkdir(r.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.write("pods/0.log", "old\n")
	if err := os.Symlink("../pods/0.log", r.path("containers/web.log")); err != nil {
		t.Fatal(err)
	}
	r.run(Input{Location: "containers/*.log"})
	r.told(2)
	r.append("pods/0.log", "new\n")
	if ev := r.want("new"); ev[0].Location != r.path("containers/web.log") {
		t.Errorf("location %q", ev[0].Location)
	}
	// The kubelet's way of rotating.
	r.append("pods/0.log", "last\n")
	r.rename("pods/0.log", "pods/0.log.20261123-060000")
	r.write("pods/0.log", "first\n")
	r.want("last")
	r.told(1)
	r.want("first")
	// The link goes to another file.
	r.write("pods/1.log", "restarted\n")
	r.remove("containers/web.log")
	if err := os.Symlink("../pods/1.log", r.path("containers/web.log")); err != nil {
		t.Fatal(err)
	}
	r.told(1)
	r.want("restarted")
}

func TestUnreadableFileIsTakenUpWhenItCanBeRead(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(r.path("a.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.remove("a.log")
	r.write("a.log", "readable\n")
	r.told(1)
	r.want("readable")
}

func TestPolling(t *testing.T) {
	r := newRig(t)
	r.polled = true
	r.write("a.log", "old\n")
	r.run(Input{Location: "*.log"})
	r.told(2)
	text, lines := numbered("a", 1, 1000)
	r.append("a.log", text)
	r.want(lines...)
	r.append("a.log", "last\n")
	r.rename("a.log", "a.log.1")
	r.write("a.log", "first\n")
	r.want("last", "first")
}

func TestManyFiles(t *testing.T) {
	r := newRig(t)
	const n = 500
	name := func(i int) string {
		return "f" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String() + ".log"
	}
	for i := range n {
		r.write(name(i), "")
	}
	r.run(Input{Location: "*.log"})
	r.told(n + 1)
	for round := range 3 {
		go func() {
			for i := range n {
				r.append(name(i), strings.Repeat("line\n", round+1))
			}
		}()
		got := 0
		for got < n*(round+1) {
			got += len(r.next().Events)
		}
	}
}

func TestBadInputs(t *testing.T) {
	f := func(location string) {
		t.Helper()
		if _, err := New(Options{Inputs: []Input{{Location: location}}}); err == nil {
			t.Errorf("%q was taken", location)
		}
	}
	f("")
	f("var/log/messages")
	f("/var/log/[a")
}
