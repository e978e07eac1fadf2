package record

import (
	"database/sql"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"riposte"
)

func TestTimesAndTargetsAreReadBack(t *testing.T) {
	for _, want := range []time.Time{{}, time.Unix(0, 1).UTC(), time.Date(2026, 11, 23, 6, 0, 0, 123, time.FixedZone("", 3600)).UTC()} {
		if got := Time(Nanos(want)); !got.Equal(want) || got.IsZero() != want.IsZero() {
			t.Errorf("%v became %v", want, got)
		}
	}
	for _, want := range []riposte.Target{{}, {Kind: riposte.Address, Value: "2001:db8::/64"}, {Kind: riposte.User, Value: "a b"}, {Kind: riposte.File, Value: "/x\xff y"}} {
		if got, err := ParseTarget(Target(want)); err != nil || got != want {
			t.Errorf("%q became %q, %v", want, got, err)
		}
	}
	if _, err := ParseTarget("planet mars"); err == nil {
		t.Error("a kind that is none was read")
	}
}

func TestTargets(t *testing.T) {
	for text, want := range map[string][]string{
		"-":            {"none "},
		"root":         {"user root", "file root"},
		"10.0.0.0/3":   {"address 0.0.0.0/3", "address 0.0.0.0/2", "address 0.0.0.0/1", "address 0.0.0.0/0"},
		"2001:db8::/1": {"address ::/1", "address ::/0"},
	} {
		if got := Targets(text); !slices.Equal(got, want) {
			t.Errorf("%q means %q, want %q", text, got, want)
		}
	}
	if got := Targets("203.0.113.9"); len(got) != 33 || got[0] != "address 203.0.113.9" || got[8] != "address 203.0.113.0/24" {
		t.Errorf("an address means %q", got)
	}
}

// TestWhere asks a real database whose name has what a URL takes otherwise.
func TestWhere(t *testing.T) {
	db, err := sql.Open("sqlite", DSN(filepath.Join(t.TempDir(), "a b%20?#é.db"), "rwc", "busy_timeout(5000)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE x (target TEXT, host TEXT, time INTEGER)"); err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for i, target := range []string{"203.0.113.9", "203.0.113.0/24", "198.51.100.1"} {
		if _, err := db.Exec("INSERT INTO x VALUES (?, ?, ?)", Target(riposte.Target{Kind: riposte.Address, Value: target}), "00"+string(rune('1'+i)), Nanos(day.AddDate(0, 0, i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		what string
		ask  func(*Where)
		max  int
		want int
	}{
		{"everything", func(*Where) {}, 0, 3},
		{"two of it", func(*Where) {}, 2, 2},
		{"empty texts", func(w *Where) { w.Text("host", ""); w.Target("target", "") }, 0, 3},
		{"a target and what holds it", func(w *Where) { w.Target("target", "203.0.113.9") }, 0, 2},
		{"a target on a host", func(w *Where) { w.Target("target", "203.0.113.9"); w.Text("host", "002") }, 0, 1},
		{"a day", func(w *Where) { w.Between("time", day.AddDate(0, 0, 1), day.AddDate(0, 0, 2)) }, 0, 1},
		{"from a day on", func(w *Where) { w.Between("time", day.AddDate(0, 0, 1), time.Time{}) }, 0, 2},
		{"text that would be SQL", func(w *Where) { w.Text("host", "' OR 1 = 1 --") }, 0, 0},
	} {
		var w Where
		x.ask(&w)
		n := 0
		if err := db.QueryRow("SELECT count(*) FROM (SELECT * FROM x"+w.String()+" LIMIT ?)", append(w.Args, Limit(x.max))...).Scan(&n); err != nil || n != x.want {
			t.Errorf("%s: %d rows, want %d; %v", x.what, n, x.want, err)
		}
	}
}
