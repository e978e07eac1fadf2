package file

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPositionRoundTrip(t *testing.T) {
	f := func(marks ...mark) {
		t.Helper()
		got, err := parsePosition(encodePosition(marks))
		if err != nil || !slices.Equal(got, marks) {
			t.Errorf("%v became %v, %v", marks, got, err)
		}
	}
	f()
	f(mark{id: fileID{1, 2}, offset: 3, head: 4, tail: 5})
	f(mark{id: fileID{1<<64 - 1, 1<<64 - 1}, offset: 1 << 62, head: 1<<64 - 1, tail: 1<<64 - 1, skip: true}, mark{})
}

func TestBadPositions(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if marks, err := parsePosition(text); err == nil {
			t.Errorf("%q was taken: %v", text, marks)
		}
	}
	f("")
	f("2 1.2.3.4.5")
	f("1 1.2.3.4")
	f("1 1.2.3.4.5.6")
	f("1 1.2.-3.4.5")
	f("1 1.2.9223372036854775807.4.5")
	f("1 1.2.x.4.5")
	f("1 1.2.3.4.5.s.s")
}

func FuzzPosition(f *testing.F) {
	f.Add("1")
	f.Add("1 64769.131.4096.abc.def 64769.132.0.1.2.s")
	f.Fuzz(func(t *testing.T, text string) {
		marks, err := parsePosition(text)
		if err != nil {
			return
		}
		again, err := parsePosition(encodePosition(marks))
		if err != nil || !slices.Equal(again, marks) {
			t.Errorf("%q: %v became %v, %v", text, marks, again, err)
		}
		for _, m := range marks {
			if m.offset < 0 {
				t.Errorf("%q: offset %d", text, m.offset)
			}
		}
	})
}

func TestMarksTellFilesApart(t *testing.T) {
	dir := t.TempDir()
	open := func(name, text string) *os.File {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	text, _ := numbered("a", 1, 50)
	other, _ := numbered("b", 1, 50)
	a := open("a", text)
	m, err := markAt(a, fileID{1, 1}, 2000)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, text string, held, begins bool) {
		t.Helper()
		file := open(name, text)
		if got := m.heldBy(file); got != held {
			t.Errorf("%s: held %v", name, got)
		}
		if got := m.beginsAs(file, int64(len(text))); got != begins {
			t.Errorf("%s: begins as the marked one: %v", name, got)
		}
	}
	f("the same", text, true, true)
	f("a longer one", text+other, true, true)
	f("its beginning", text[:2000], true, true)
	f("less", text[:1999], false, true)
	f("much less", text[:900], false, false)
	f("another end", text[:1900]+other, false, true)
	f("another", other, false, false)
	f("empty", "", false, false)
}
