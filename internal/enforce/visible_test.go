package enforce

import "testing"

func TestVisible(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Visible(in); got != want {
			t.Errorf("%q is shown as %q, expected %q", in, got, want)
		}
	}
	f("", "")
	f("a\r\nb\tc\n\n", "a\nb\tc")
	f("\x1b[31mred\x07\x00\x9b\r", `\x1b[31mred\x07\x00\x9b\x0d`)
	f("é\u202e\ufeff\u2028\ufffd", `é\u{202e}\u{feff}\u{2028}`+"\ufffd")
}

func TestOneLine(t *testing.T) {
	f := func(in string, limit int, want string) {
		t.Helper()
		if got := OneLine(in, limit); got != want {
			t.Errorf("%q in %d bytes is %q, expected %q", in, limit, got, want)
		}
	}
	f("a\r\nBcc: x\n", 80, `a\nBcc: x`)
	f("aéb", 2, "a…")
	f("aéb", 3, "aé…")
	f("aéb", 4, "aéb")
	f("\x00\x00", 4, `\x00…`)
}
