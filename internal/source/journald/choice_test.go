//go:build linux

package journald

import (
	"strings"
	"testing"
)

func is(want string) func(string) bool { return func(s string) bool { return s == want } }

func TestChoices(t *testing.T) {
	f := func(fields string, want bool, choices ...Choice) {
		t.Helper()
		s := &Source{opt: Options{Choices: choices}}
		e, err := newExportReader(strings.NewReader(cursor+fields+"\n"), asked(choices)).next()
		if err != nil {
			t.Fatal(err)
		}
		if got := s.takes(e, "the line"); got != want {
			t.Errorf("%q with %+v: taken %v, want %v", fields, choices, got, want)
		}
	}
	unit := func(name string) Filter { return Filter{Field: "_SYSTEMD_UNIT", Match: is(name)} }
	f("MESSAGE=m\n", true)
	f("MESSAGE=m\n", true, Choice{})
	f("MESSAGE=m\n_SYSTEMD_UNIT=ssh.service\n", true, Choice{Filters: []Filter{unit("ssh.service")}})
	f("MESSAGE=m\n_SYSTEMD_UNIT=cron.service\n", false, Choice{Filters: []Filter{unit("ssh.service")}})
	f("MESSAGE=m\n", false, Choice{Filters: []Filter{unit("")}})
	f("MESSAGE=m\n_SYSTEMD_UNIT=\n", true, Choice{Filters: []Filter{unit("")}})
	f(blob("_SYSTEMD_UNIT", "a\nb")+"MESSAGE=m\n", true, Choice{Filters: []Filter{unit("a\nb")}})
	f("MESSAGE=m\n", true, Choice{Filters: []Filter{{Field: "_SYSTEMD_UNIT", Match: is("x"), Missing: true}}})
	f("MESSAGE=m\n_SYSTEMD_UNIT=y\n", false, Choice{Filters: []Filter{{Field: "_SYSTEMD_UNIT", Match: is("x"), Missing: true}}})
	// All filters of a choice, any of the choices.
	both := Choice{Filters: []Filter{unit("ssh.service"), {Field: "PRIORITY", Match: is("4")}}}
	f("PRIORITY=4\nMESSAGE=m\n_SYSTEMD_UNIT=ssh.service\n", true, both)
	f("PRIORITY=5\nMESSAGE=m\n_SYSTEMD_UNIT=ssh.service\n", false, both)
	f("PRIORITY=5\nMESSAGE=m\n_SYSTEMD_UNIT=ssh.service\n", true, both, Choice{Filters: []Filter{{Field: "PRIORITY", Match: is("5")}}})
	// Fields that make the line may be asked for as well.
	f("MESSAGE=m\n_PID=7\n", true, Choice{Filters: []Filter{{Field: "MESSAGE", Match: is("m")}, {Field: "_PID", Match: is("7")}}})
	f("MESSAGE=m\n_PID=7\n_PID=8\n", false, Choice{Filters: []Filter{{Field: "_PID", Match: is("8")}}})
	f("MESSAGE=m\n", false, Choice{Filters: []Filter{{Field: "no field", Match: is("")}}})
	f("MESSAGE=m\n", true, Choice{Keep: is("the line")})
	f("MESSAGE=m\n", false, Choice{Keep: is("another line")})
}

// What is left out is asked of journalctl for nothing, makes no events, and is
// not read again.
func TestChoicesOfARealJournal(t *testing.T) {
	j := newJournal(t)
	lines := j.write("a.journal", "one", "two", "three")
	opt := Options{Directory: j.dir, FromStart: true, Choices: []Choice{
		{Filters: []Filter{{Field: "PRIORITY", Match: is("6")}, {Field: "_PID", Match: is("2")}}},
		{Filters: []Filter{{Field: "PRIORITY", Match: is("3")}}},
	}}
	out, stop := run(t, opt)
	position := want(t, out, lines[1])
	for !strings.Contains(position, "i=3;") {
		b := <-out
		position = b.Position
		if len(b.Events) > 0 {
			t.Fatalf("events %+v", b.Events)
		}
	}
	stop()
	opt.Position, opt.Choices = position, nil
	out, _ = run(t, opt)
	want(t, out, j.write("a.journal", "four")...)
}
