package facts

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"riposte/internal/analysis"
)

func open(t testing.TB, path string) (*Store, string) {
	t.Helper()
	s, problem, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, problem
}

func all(t testing.TB, s *Store) (out []analysis.Fact) {
	t.Helper()
	if err := s.Each(func(f analysis.Fact) { out = append(out, f) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func flush(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

var some = []analysis.Fact{
	{Kind: analysis.Seen, Key: "sshd  bob"},
	{Kind: analysis.LastLog, Key: "host/10", Value: "a\x00\n\xffb"},
	{Kind: analysis.Ignored, Key: ""},
	{Kind: analysis.LastLog, Key: "host/10", Value: ""},
	{Kind: analysis.Seen, Key: strings.Repeat("k", 300), Value: strings.Repeat("v", 9000)},
}

// TestStore: what was flushed is there for the next process, whether this one
// closes the store or not.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts")
	s, problem := open(t, path)
	if got := all(t, s); len(got) != 0 || problem != "" {
		t.Fatalf("a new store holds %q (%s)", got, problem)
	}
	for i, f := range some {
		s.Add(f)
		if i%2 == 0 {
			flush(t, s)
		}
	}
	abandoned, problem := open(t, path)
	if got := all(t, abandoned); !slices.Equal(got, some) || problem != "" {
		t.Errorf("%q (%s)", got, problem)
	}
	s.Add(analysis.Fact{Key: "closing"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, path)
	if got := all(t, s); len(got) != len(some)+1 {
		t.Errorf("%d facts after Close", len(got))
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
}

// TestTorn: wherever a crash ends the file, the facts in front of that are read,
// and later ones are appended behind them.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "facts")
	s, _ := open(t, path)
	ends := []int64{int64(len(magic))}
	for _, f := range some[:4] {
		s.Add(f)
		flush(t, s)
		ends = append(ends, s.size)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		for _, damage := range []bool{false, true} {
			if damage && (n == 0 || n == len(whole)) {
				continue
			}
			data := slices.Clone(whole[:n])
			want, clean := 0, n == 0 || n == len(magic)
			for i, end := range ends[1:] {
				if int64(n) >= end {
					want, clean = i+1, int64(n) == end
				}
			}
			if damage { // the last byte is another
				data[n-1] ^= 0x40
				if clean && n > len(magic) {
					want--
				}
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, problem := open(t, path)
			got := all(t, s)
			if damage && n <= len(magic) {
				want = 0
			}
			if !slices.Equal(got, some[:want:want]) && len(got)+want > 0 {
				t.Fatalf("%d bytes, damage %v: %q, want %d facts", n, damage, got, want)
			}
			if told := problem != ""; told != (damage || !clean && n > len(magic)) {
				t.Errorf("%d bytes, damage %v: told %q", n, damage, problem)
			}
			s.Add(analysis.Fact{Key: "later"})
			flush(t, s)
			s, problem = open(t, path)
			if got := all(t, s); len(got) != want+1 || problem != "" {
				t.Fatalf("%d bytes, damage %v: %q after a later one (%s)", n, damage, got, problem)
			}
			s.Close()
		}
	}
}

// TestRewrite: the file does not grow without end, the newest facts stay.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts")
	s, _ := open(t, path)
	s.slack, s.limit = 4<<10, 16<<10
	const rounds = 2000
	for i := range rounds {
		s.Add(analysis.Fact{Kind: analysis.LastLog, Key: "changing", Value: fmt.Sprint("value ", i)})
		s.Add(analysis.Fact{Kind: analysis.Seen, Key: fmt.Sprintf("source %06d", i)})
		if i%10 == 9 {
			flush(t, s)
		}
		if fi, err := os.Stat(path); err != nil || fi.Size() > 2*(s.limit+s.slack) {
			t.Fatalf("round %d: %v %v", i, fi.Size(), err)
		}
	}
	for range 2 {
		got := all(t, s)
		value, oldest, newest := "", rounds, -1
		for _, f := range got {
			var n int
			if f.Kind == analysis.LastLog {
				value = f.Value
			} else if _, err := fmt.Sscanf(f.Key, "source %d", &n); err != nil || n <= newest {
				t.Fatalf("%+v behind source %d: %v", f, newest, err)
			} else {
				oldest, newest = min(oldest, n), n
			}
		}
		if value != fmt.Sprint("value ", rounds-1) {
			t.Errorf("the changing fact is %q", value)
		}
		if oldest == 0 || oldest > rounds-300 {
			t.Errorf("the oldest source kept is %d of %d", oldest, rounds)
		}
		seen := 0
		for _, f := range got {
			if f.Kind == analysis.Seen {
				seen++
			}
		}
		if seen != rounds-oldest {
			t.Errorf("%d sources since %d", seen, oldest)
		}
		s, _ = open(t, path)
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestForeign: a file of another kind is moved aside, not destroyed.
func TestForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts")
	if err := os.WriteFile(path, []byte("something else entirely"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, problem := open(t, path)
	if problem == "" {
		t.Error("nothing is told")
	}
	s.Add(some[0])
	flush(t, s)
	if b, err := os.ReadFile(path + ".unreadable"); err != nil || string(b) != "something else entirely" {
		t.Errorf("%q %v", b, err)
	}
	s, problem = open(t, path)
	if got := all(t, s); len(got) != 1 || problem != "" {
		t.Errorf("%q (%s)", got, problem)
	}
}

// TestNoRoom: what cannot be written waits, up to a bound.
func TestNoRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts")
	s, _ := open(t, path)
	good := s.file
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs /dev/full: ", err)
	}
	defer full.Close()
	s.file = full
	s.Add(some[0])
	if err := s.Flush(); err == nil {
		t.Error("a full disk is not told")
	}
	s.Add(some[1])
	s.Add(analysis.Fact{Value: strings.Repeat("x", maxRecord)})
	if s.Lost() != 1 {
		t.Errorf("%d lost", s.Lost())
	}
	s.file = good
	flush(t, s)
	if got := all(t, s); !slices.Equal(got, some[:2]) {
		t.Errorf("%q", got)
	}
}

const childOf = "RIPOSTE_FACTS_CHILD"

// TestKilled: a process that is killed while it writes loses no fact of a Flush
// that returned.
func TestKilled(t *testing.T) {
	if path := os.Getenv(childOf); path != "" {
		writeUntilKilled(path)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "facts")
	flushed := 0
	for round := range 5 {
		cmd := exec.Command(exe, "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), childOf+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 20*(round+1) && lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &flushed); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		s, _ := open(t, path)
		got := all(t, s)
		for i, f := range got {
			if f.Key != fmt.Sprint(i) {
				t.Fatalf("round %d: fact %d is %q", round, i, f.Key)
			}
		}
		if len(got) < flushed || flushed == 0 {
			t.Fatalf("round %d: %d facts, %d were flushed", round, len(got), flushed)
		}
		s.Close()
	}
}

func writeUntilKilled(path string) {
	s, _, err := Open(path)
	n := 0
	if err == nil {
		err = s.Each(func(analysis.Fact) { n++ })
	}
	for err == nil {
		for range 7 {
			s.Add(analysis.Fact{Key: fmt.Sprint(n)})
			n++
		}
		if err = s.Flush(); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(magic))
	f.Add(append([]byte(magic), appendRecord(appendRecord(nil, some[0]), some[1])...))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "facts")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, path)
		before := all(t, s)
		s.slack, s.limit = 0, 1<<20
		s.Add(some[0])
		flush(t, s)
		if got := all(t, s); len(got) == 0 || got[len(got)-1] != some[0] || len(got) > len(before)+1 {
			t.Fatalf("%d facts before, %d after", len(before), len(got))
		}
	})
}
