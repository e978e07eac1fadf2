package ossec

import "testing"

func TestMend(t *testing.T) {
	at := func(off, n int, text string) *Edit { return &Edit{Offset: off, Len: n, Text: text} }
	f := func(fix, also *Edit) Finding { return Finding{Pos: Pos{File: "f"}, Fix: fix, Also: also} }
	for _, tt := range []struct {
		src      string
		findings []Finding
		want     string
		n        int
	}{
		{"abc", nil, "abc", 0},
		{"abc", []Finding{f(at(2, 1, "C"), nil), f(at(0, 1, "A"), nil)}, "AbC", 2},
		{"abc", []Finding{f(at(1, 0, "x"), nil), f(at(1, 0, "x"), nil)}, "axbc", 2}, // one insertion, two reasons
		{"abc", []Finding{f(at(1, 0, "x"), nil), f(at(1, 0, "y"), nil)}, "axbc", 1},
		{"abcd", []Finding{f(at(0, 2, "X"), nil), f(at(1, 1, "Y"), nil)}, "Xcd", 1},
		{"abcd", []Finding{f(at(0, 1, "X"), at(3, 1, "Z")), f(at(2, 2, "Y"), nil)}, "XbcZ", 1},
		{"abcd", []Finding{f(at(3, 1, "X"), nil), f(at(0, 1, "Y"), at(3, 1, "Z"))}, "abcX", 1}, // whole or not at all
		{"abc", []Finding{f(at(3, 0, "d"), nil), f(at(3, 1, "e"), nil)}, "abcd", 1},
		{"abc", []Finding{f(at(0, 3, ""), nil), f(at(0, 0, "<"), at(3, 0, ">"))}, "<>", 2},
		{"abc", []Finding{{Pos: Pos{File: "other"}, Fix: at(0, 3, "")}}, "abc", 0},
	} {
		got, n := Mend("f", []byte(tt.src), tt.findings)
		if string(got) != tt.want || n != tt.n {
			t.Errorf("%q %v: %q, %d; want %q, %d", tt.src, tt.findings, got, n, tt.want, tt.n)
		}
	}
}

func TestNearest(t *testing.T) {
	commands := []string{"firewall-drop", "win_route-null", "pf-block", "host-deny", "restart-ossec"}
	for word, want := range map[string]string{
		"firewall-block": "firewall-drop", "win_rout-null": "win_route-null", "hostdeny": "host-deny", "xyz": "", "": "",
		"firewall-drop": "",
	} {
		if got, ok := Nearest(word, commands); ok != (want != "") || ok && got != want {
			t.Errorf("Nearest(%q) = %q, %v; want %q", word, got, ok, want)
		}
	}
}
