package alertlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

func TestWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	w, err := Open(dir, ossec.Wazuh)
	if err != nil {
		t.Fatal(err)
	}
	quiet := sample()
	quiet.Log = false
	if err := w.WriteAlerts([]*riposte.Alert{sample(), quiet, sample()}); err != nil {
		t.Fatal(err)
	}
	r := block()
	if err := w.WriteResponses([]Response{r}); err != nil {
		t.Fatal(err)
	}
	line := append(AppendJSON(nil, sample(), ossec.Wazuh), '\n')
	expect(t, dir, AlertsJSON, string(line)+string(line))
	text := string(AppendText(nil, sample(), ossec.Wazuh))
	expect(t, dir, AlertsText, text+text)
	expect(t, dir, Responses, string(AppendResponse(nil, &r, ossec.Wazuh)))
	for _, name := range []string{AlertsJSON, AlertsText, Responses} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v %v", name, fi.Mode(), err)
		}
	}

	// logrotate moves the file away; until Reopen the old one is written.
	if err := os.Rename(filepath.Join(dir, AlertsJSON), filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteAlerts([]*riposte.Alert{sample()}); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, "old", strings.Repeat(string(line), 3))
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteAlerts([]*riposte.Alert{sample()}); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, "old", strings.Repeat(string(line), 3))
	expect(t, dir, AlertsJSON, string(line))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, dir, name, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(got) != want {
		t.Errorf("%s holds (%v)\n%s\nexpected\n%s", name, err, got, want)
	}
}

// An alert that a crash has left torn is cut off: it is judged again. What riposte
// did not write is only ended.
func TestTorn(t *testing.T) {
	whole := sample()
	json, text := string(AppendJSON(nil, whole, ossec.Wazuh))+"\n", string(AppendText(nil, whole, ossec.Wazuh))
	for cut := 0; cut < len(json); cut += 13 {
		for _, c := range []struct{ name, before, torn, want string }{
			{AlertsJSON, "", json[:cut], ""},
			{AlertsJSON, json, json[:cut], json},
			{AlertsJSON, "by hand\n", json[:cut], "by hand\n"},
			{AlertsJSON, json + "by", json[:cut], json + "by" + json[:cut] + "\n"},
			{AlertsText, "", text[:min(cut, len(text)-1)], ""},
			{AlertsText, text, text[:min(cut, len(text)-1)], text},
			{AlertsText, text + "by", text[:min(cut, len(text)-1)], text + "by" + strings.TrimSuffix(text[:min(cut, len(text)-1)], "\n") + "\n"},
		} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.name), []byte(c.before+c.torn), 0o640); err != nil {
				t.Fatal(err)
			}
			w, err := Open(dir, ossec.Wazuh)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			expect(t, dir, c.name, c.want)
			if t.Failed() {
				t.Fatalf("cut at %d behind %q", cut, c.before)
			}
		}
	}
}

// What is in one of the logs already is written into the other only.
func TestTail(t *testing.T) {
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		dir := t.TempDir()
		var alerts []*riposte.Alert
		var json, text []string
		for i := range 4 {
			a := sample()
			a.Number = 7<<20 + uint64(i)
			a.ID = fmt.Sprintf("1700000000.%d", a.Number)
			a.FullLog = fmt.Sprintf("line %d with \"id\":\"1.7777777\" in it\n\n** Alert 1.9999999: - x", i)
			alerts = append(alerts, a)
			json, text = append(json, string(AppendJSON(nil, a, d))+"\n"), append(text, string(AppendText(nil, a, d)))
		}
		local := sample()
		json, text = append(json, string(AppendJSON(nil, local, d))+"\n"), append(text, string(AppendText(nil, local, d)))
		for name, there := range map[string]string{AlertsJSON: json[4] + json[0] + json[1] + json[2][:40], AlertsText: text[4] + text[1] + text[3]} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(there), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		w, err := Open(dir, d)
		if err != nil {
			t.Fatal(err)
		}
		written, err := Tail(dir)
		if err != nil || len(written.JSON) != 2 || len(written.Text) != 2 {
			t.Fatalf("%v: found %v, %v", d, written, err)
		}
		w.Leave(written)
		if err := errors.Join(w.WriteAlerts(append(alerts, local)), w.Close()); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, AlertsJSON, json[4]+json[0]+json[1]+json[2]+json[3]+json[4])
		expect(t, dir, AlertsText, text[4]+text[1]+text[3]+text[0]+text[2]+text[4])
	}
}

// What was rotated away before a stop is known, and what a kill has torn there is
// cut off; older files, compressed ones and strangers are left alone.
func TestTailOfWhatWasRotatedAway(t *testing.T) {
	for _, rotated := range []string{".1", "-20261123", "-20261123-1795442818"} {
		dir := t.TempDir()
		var alerts []*riposte.Alert
		var json, text []string
		for i := range 6 {
			a := sample()
			a.Number = 7<<20 + uint64(i)
			a.ID = fmt.Sprintf("1700000000.%d", a.Number)
			alerts = append(alerts, a)
			json, text = append(json, string(AppendJSON(nil, a, ossec.Wazuh))+"\n"), append(text, string(AppendText(nil, a, ossec.Wazuh)))
		}
		files := []struct {
			name, text, want string
			age              time.Duration
		}{
			{AlertsJSON + rotated, json[1] + json[2] + json[3][:40], json[1] + json[2], time.Minute},
			{AlertsText + rotated, text[1] + text[2][:40], text[1], time.Minute},
			{AlertsJSON + ".2", json[0] + json[5][:40], json[0] + json[5][:40], time.Hour},
			{AlertsText + ".2", text[0], text[0], time.Hour},
			{AlertsJSON + ".3.gz", json[4], json[4], time.Second},
			{"alertsjson", json[4], json[4], time.Second},
		}
		for _, f := range files {
			path := filepath.Join(dir, f.name)
			if err := os.WriteFile(path, []byte(f.text), 0o640); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(-f.age)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		w, err := Open(dir, ossec.Wazuh)
		if err != nil {
			t.Fatal(err)
		}
		written, err := Tail(dir)
		if err != nil || len(written.JSON) != 3 || len(written.Text) != 2 {
			t.Fatalf("%s: found %v, %v", rotated, written, err)
		}
		w.Leave(written)
		if err := errors.Join(w.WriteAlerts(alerts), w.Close()); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, AlertsJSON, json[3]+json[4]+json[5])
		expect(t, dir, AlertsText, text[2]+text[3]+text[4]+text[5])
		for _, f := range files {
			expect(t, dir, f.name, f.want)
		}
	}
}

// A disk that takes nothing is reported at each write; what waited is written
// once there is room, whole and in order.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full: ", err)
	}
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, AlertsJSON)); err != nil {
		t.Fatal(err)
	}
	w, err := Open(dir, ossec.Wazuh)
	if err != nil {
		t.Fatal(err)
	}
	first, second := sample(), sample()
	second.ID = "2.2"
	for _, a := range []*riposte.Alert{first, second} {
		var pe *fs.PathError
		if err := w.WriteAlerts([]*riposte.Alert{a}); !errors.As(err, &pe) {
			t.Fatalf("a full disk gives %v", err)
		}
	}
	big := sample()
	big.FullLog = strings.Repeat("x", keep)
	if err := w.WriteAlerts([]*riposte.Alert{big}); err == nil || w.Lost() != 1 {
		t.Errorf("what is over the bound: %v, %d lost", err, w.Lost())
	}
	if err := os.Remove(filepath.Join(dir, AlertsJSON)); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err == nil {
		t.Error("the last try to write to the full disk is not reported")
	}
	if err := w.WriteAlerts(nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, AlertsJSON))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(got, []byte("\n"))
	if len(lines) != 3 || !bytes.Contains(lines[0], []byte(first.ID)) || !bytes.Contains(lines[1], []byte(second.ID)) {
		t.Errorf("the file holds %s", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteAlerts([]*riposte.Alert{sample()}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := Open(file, ossec.Wazuh); err == nil {
		t.Errorf("a file was taken for a directory: %v", w)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, Responses), 0o700); err != nil {
		t.Fatal(err)
	}
	if w, err := Open(dir, ossec.Wazuh); err == nil {
		t.Errorf("a directory was taken for a file: %v", w)
	}
}

// Alerts, responses and reopening come from different goroutines; each line
// stays whole.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, ossec.Wazuh)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if err := w.WriteAlerts([]*riposte.Alert{sample()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := w.Reopen(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, AlertsJSON, strings.Repeat(string(AppendJSON(nil, sample(), ossec.Wazuh))+"\n", 400))
}

func TestIDs(t *testing.T) {
	now := time.Unix(100, 5_999)
	ids := NewIDs(func() time.Time { return now })
	f := func(at time.Time, want string) {
		t.Helper()
		now = at
		if got := ids.Next(); got != want {
			t.Errorf("at %v: %s, expected %s", at.UnixMicro(), got, want)
		}
	}
	f(now, "100.5")
	f(now, "100.6")
	f(time.Unix(100, 9_000), "100.9")
	f(time.Unix(99, 0), "100.10") // the clock was set back
	f(time.Unix(100, 1_000), "100.11")
	f(time.Unix(101, 0), "101.0")

	now = time.Unix(200, 0)
	seen := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				id := ids.Next()
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 4000 {
		t.Errorf("%d different ids of 4000", len(seen))
	}
}

func BenchmarkWriter(b *testing.B) {
	w, err := Open(b.TempDir(), ossec.Wazuh)
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]*riposte.Alert, 256)
	for i := range batch {
		batch[i] = sample()
		batch[i].Fields[4].Value = "x"
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.WriteAlerts(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*256), "ns/alert")
}
