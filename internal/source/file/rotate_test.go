package file

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// quiet makes sure that nothing more comes: a last line is the next event.
func (r *rig) quiet(name string) {
	r.t.Helper()
	r.append(name, "-- quiet --\n")
	r.want("-- quiet --")
}

func TestRenameWhileItGrows(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.append("a.log", "one\ntw")
	r.want("one")
	r.rename("a.log", "a.log.1")
	r.append("a.log.1", "o\n") // the program has not heard of it yet
	r.want("two")
	r.write("a.log", "four\n")
	r.append("a.log.1", "three\n")
	r.want("three", "four")
	r.append("a.log.1", "late\n")
	r.want("late")
	r.quiet("a.log")
}

// A line without end, in a file that was put aside, is delivered when nothing
// more comes.
func TestLastLineOfARotatedFile(t *testing.T) {
	r := newRig(t)
	r.linger = 60 * time.Millisecond
	r.write("a.log", "")
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.append("a.log", "no end")
	r.rename("a.log", "a.log.1")
	r.write("a.log", "")
	r.want("no end")
	r.quiet("a.log")
}

// While nobody takes what was read, the file is rotated several times, and the
// rotated ones are removed.
func TestRotationsBehindTheBackOfABusyReader(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.run(Input{Location: "a.log"})
	r.told(1)
	var want []string
	for i := range 6 {
		text, lines := numbered(fmt.Sprintf("gen%d", i), 1, 3)
		r.append("a.log", text)
		want = append(want, lines...)
		r.rename("a.log", fmt.Sprintf("a.log.%d", i))
		r.write("a.log", "")
		time.Sleep(20 * time.Millisecond) // the follower waits for us to take a batch, but looks at names
		r.remove(fmt.Sprintf("a.log.%d", i))
	}
	r.want(want...)
	r.quiet("a.log")
}

// All at once, faster than the follower can look, in logrotate's way of naming
// and with times.
func TestRotationsBetweenTwoLooks(t *testing.T) {
	f := func(name string, shift func(r *rig, i int)) {
		t.Helper()
		r := newRig(t)
		r.polled = true
		r.write("a.log", "")
		r.run(Input{Location: "a.log"})
		r.told(1)
		var want []string
		for round := range 10 {
			for i := range 5 {
				text, lines := numbered(fmt.Sprintf("%s%d-%d", name, round, i), 1, 3)
				r.append("a.log", text)
				want = append(want, lines...)
				shift(r, round*5+i)
				r.write("a.log", "")
			}
			r.want(want...)
			want = nil
		}
		r.quiet("a.log")
		r.halt()
	}
	f("counter", func(r *rig, _ int) {
		for i := 60; i > 0; i-- {
			_ = os.Rename(r.path(fmt.Sprintf("a.log.%d", i)), r.path(fmt.Sprintf("a.log.%d", i+1)))
		}
		r.rename("a.log", "a.log.1")
	})
	f("stamp", func(r *rig, i int) { r.rename("a.log", fmt.Sprintf("a.log-20261123-%04d", i)) })
	f("stem", func(r *rig, i int) { r.rename("a.log", fmt.Sprintf("a-2026-11-23T10:%02d:%02d.log", i/60, i%60)) })
}

// The youngest file that is known was removed meanwhile; those after it were not.
func TestRotationsBehindARemovedFile(t *testing.T) {
	f := func(rotate func(r *rig, n int), remove string) {
		t.Helper()
		r := newRig(t)
		r.polled = true
		r.write("a.log", "")
		r.run(Input{Location: "a.log"})
		r.told(1)
		text, lines := numbered("known", 1, 3)
		r.append("a.log", text)
		r.want(lines...)
		rotate(r, 1)
		r.want() // nothing, but its new name is seen
		r.told(1)
		r.remove(remove)
		var want []string
		for n := 2; n < 5; n++ {
			text, lines := numbered(fmt.Sprintf("missed%d", n), 1, 3)
			r.append("a.log", text)
			want = append(want, lines...)
			rotate(r, n)
		}
		r.want(want...)
		r.quiet("a.log")
		r.halt()
	}
	f(func(r *rig, n int) {
		r.rename("a.log", fmt.Sprintf("a.log-20261123-%04d", n))
		r.write("a.log", "")
	}, "a.log-20261123-0001")
	f(func(r *rig, n int) {
		for i := 5; i > 0; i-- {
			_ = os.Rename(r.path(fmt.Sprintf("a.log.%d", i)), r.path(fmt.Sprintf("a.log.%d", i+1)))
		}
		r.rename("a.log", "a.log.1")
		r.write("a.log", "")
	}, "a.log.1")
}

func TestCopyTruncate(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.run(Input{Location: "a.log*"})
	r.told(2)
	for i := range 5 {
		text, lines := numbered(fmt.Sprintf("gen%d", i), 1, 20)
		r.append("a.log", text)
		if i%2 == 0 {
			r.want(lines...)
			lines = nil
		}
		// Otherwise the reader has not come to it: the copy has the rest.
		_ = os.Rename(r.path("a.log.2"), r.path("a.log.3"))
		_ = os.Rename(r.path("a.log.1"), r.path("a.log.2"))
		r.copyTruncate("a.log", "a.log.1")
		r.want(lines...)
	}
	r.quiet("a.log")
}

// A program that does not append writes on where it was, and leaves a hole.
func TestTruncatedWithAHole(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.run(Input{Location: "a.log"})
	r.told(1)
	f, err := os.OpenFile(r.path("a.log"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	text, lines := numbered("a", 1, 5000)
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	r.want(lines...)
	if err := os.Truncate(r.path("a.log"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("behind the hole\n"); err != nil {
		t.Fatal(err)
	}
	r.want("behind the hole")
	r.quiet("a.log")
}

// A file that was read is replaced by a copy of itself, in an editor's way, or
// loses some lines: what it holds is not new.
func TestEditedFile(t *testing.T) {
	r := newRig(t)
	text, lines := numbered("a", 1, 40)
	r.write("a.log", "")
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.append("a.log", text)
	r.want(lines...)
	more, fresh := numbered("b", 1, 3)
	r.write("a.tmp", text+more)
	r.rename("a.tmp", "a.log")
	r.want(fresh...)
	// One line less, as sed -i '20d' does.
	short := strings.Replace(text, lines[19]+"\n", "", 1)
	r.write("a.tmp", short)
	r.rename("a.tmp", "a.log")
	for !strings.Contains(r.log.String(), "edited") {
		time.Sleep(time.Millisecond)
		select {
		case b := <-r.out:
			if len(b.Events) > 0 {
				t.Fatalf("came again: %q", textsOf(b.Events))
			}
		default:
		}
	}
	r.quiet("a.log")
}

func TestRestart(t *testing.T) {
	in := Input{Location: "a.log"}
	f := func(what string, change func(r *rig, more string), gone bool) {
		t.Helper()
		r := newRig(t)
		text, lines := numbered("old", 1, 10)
		r.write("a.log", text)
		r.run(in)
		r.told(1)
		before, seen := numbered("seen", 1, 10)
		r.append("a.log", before)
		r.want(seen...)
		r.halt()
		more, fresh := numbered("more", 1, 30)
		_ = lines
		change(r, more)
		r.run(in)
		r.want(fresh...)
		r.quiet("a.log")
		if warned := strings.Contains(r.log.String(), "lost"); warned != gone {
			t.Errorf("%s: logged:\n%s", what, r.log)
		}
		r.halt()
	}
	part := func(more string, i int) string {
		lines := strings.SplitAfter(more, "\n")
		return strings.Join(lines[i*10:i*10+10], "")
	}
	f("grown", func(r *rig, more string) { r.append("a.log", more) }, false)
	f("rotated once", func(r *rig, more string) {
		r.append("a.log", part(more, 0))
		r.rename("a.log", "a.log.1")
		r.write("a.log", part(more, 1)+part(more, 2))
	}, false)
	f("rotated twice", func(r *rig, more string) {
		r.append("a.log", part(more, 0))
		r.rename("a.log", "a.log.1")
		r.write("a.log", part(more, 1))
		r.rename("a.log.1", "a.log.2")
		r.rename("a.log", "a.log.1")
		r.write("a.log", part(more, 2))
	}, false)
	f("rotated twice with dates, beside older ones", func(r *rig, more string) {
		r.write("a.log-20261120", "older\n")
		r.write("a.log.9", "another style\n")
		r.append("a.log", part(more, 0))
		r.rename("a.log", "a.log-20261121")
		r.write("a.log", part(more, 1))
		r.rename("a.log", "a.log-20261122")
		r.write("a.log", part(more, 2))
	}, false)
	f("rotated, older counters touched since", func(r *rig, more string) {
		r.write("a.log.2", "older\n")
		r.append("a.log", part(more, 0))
		r.rename("a.log", "a.log.1")
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(r.path("a.log.2"), later, later); err != nil {
			t.Fatal(err)
		}
		r.write("a.log", part(more, 1)+part(more, 2))
	}, false)
	f("counted upwards", func(r *rig, more string) {
		r.write("a-1.log", "older\n")
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(r.path("a-1.log"), old, old); err != nil {
			t.Fatal(err)
		}
		r.append("a.log", part(more, 0))
		r.rename("a.log", "a-2.log")
		r.write("a.log", part(more, 1)+part(more, 2))
	}, false)
	f("copied and truncated", func(r *rig, more string) {
		r.append("a.log", part(more, 0))
		r.copyTruncate("a.log", "a.log.1")
		r.append("a.log", part(more, 1)+part(more, 2))
	}, false)
	f("copied and truncated twice", func(r *rig, more string) {
		r.append("a.log", part(more, 0))
		r.copyTruncate("a.log", "a.log.1")
		r.append("a.log", part(more, 1))
		r.rename("a.log.1", "a.log.2")
		r.copyTruncate("a.log", "a.log.1")
		r.append("a.log", part(more, 2))
	}, false)
	f("restored from a copy", func(r *rig, more string) {
		text, err := os.ReadFile(r.path("a.log"))
		if err != nil {
			t.Fatal(err)
		}
		r.remove("a.log")
		r.write("a.log", string(text)+more)
	}, false)
	f("moved away, nothing in its place yet", func(r *rig, more string) {
		r.append("a.log", more)
		r.rename("a.log", "elsewhere")
	}, false)
	f("removed", func(r *rig, more string) {
		r.append("a.log", "nobody will read this\n")
		r.remove("a.log")
		r.write("a.log", more)
	}, true)
}

func TestRestartBeforeAnythingWasRead(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "old\n")
	r.run(Input{Location: "a.log"}, Input{Location: "absent.log"}, Input{Location: "*.txt"})
	r.told(3)
	r.halt()
	r.append("a.log", "new\n")
	r.write("absent.log", "came meanwhile\n")
	r.write("b.txt", "too\n")
	r.run(Input{Location: "a.log"}, Input{Location: "absent.log"}, Input{Location: "*.txt"})
	got := map[string]bool{}
	for len(got) < 3 {
		for _, ev := range r.next().Events {
			got[ev.Text] = true
		}
	}
	if !got["new"] || !got["came meanwhile"] || !got["too"] {
		t.Errorf("got %v", got)
	}
}

// Two followed paths: a file that is renamed from one to the other goes on.
func TestRenamedToAnotherFollowedPath(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.write("b.log", "")
	r.run(Input{Location: "a.log"}, Input{Location: "b.log"})
	r.told(2)
	text, lines := numbered("a", 1, 5)
	r.append("a.log", text)
	r.want(lines...)
	r.rename("a.log", "b.log")
	// Lines that come before the renaming was noticed still bear the old name.
	for i := range 200 {
		text := fmt.Sprint("goes on ", i)
		r.append("b.log", text+"\n")
		if ev := r.want(text); ev[0].Location == r.path("b.log") {
			break
		} else if i == 199 {
			t.Errorf("location %q", ev[0].Location)
		}
	}
	r.halt()
	r.append("b.log", "after a restart\n")
	r.run(Input{Location: "a.log"}, Input{Location: "b.log"})
	r.want("after a restart")
	r.quiet("b.log")
}

func TestBadPositionMeansOnlyNewLines(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "old\n")
	r.positions[SourceOf(r.path("a.log"))] = "9 what is this"
	r.run(Input{Location: "a.log"})
	r.told(1)
	r.quiet("a.log")
	if !strings.Contains(r.log.String(), "position cannot be read") {
		t.Errorf("logged:\n%s", r.log)
	}
}
