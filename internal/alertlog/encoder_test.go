package alertlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/ossec"
)

// TestEncoder: what an encoder keeps never shows: a rule that changes, a time
// that moves or another zone give what an encoder without a memory gives.
func TestEncoder(t *testing.T) {
	edit := []func(a *riposte.Alert){
		func(*riposte.Alert) {},
		func(a *riposte.Alert) { a.Rule.Description = "another \"one\"" },
		func(a *riposte.Alert) { a.Rule.Description = "" },
		func(a *riposte.Alert) { a.Rule.Fired = 0 },
		func(a *riposte.Alert) { a.Rule.Level = 0 },
		func(a *riposte.Alert) { a.Rule.Level = 11 },
		func(a *riposte.Alert) { a.Rule.Groups = "x,pci_dss_1.1,cis_2," },
		func(a *riposte.Alert) { a.Rule.Frequency = 0 },
		func(a *riposte.Alert) { a.Rule.Mail = false },
		func(a *riposte.Alert) { a.Rule.MITRE = nil },
		func(a *riposte.Alert) { a.Rule.Info = []riposte.Info{{Kind: "text", Text: "z"}} },
		func(a *riposte.Alert) { a.Rule.ID = 7 },
		func(a *riposte.Alert) { a.Time = a.Time.Add(time.Millisecond) },
		func(a *riposte.Alert) { a.Time = a.Time.Add(time.Second) },
		func(a *riposte.Alert) { a.Time = a.Time.UTC() },
		func(a *riposte.Alert) { a.Time = time.Time{} },
		func(a *riposte.Alert) { a.Time = time.Unix(0, 0).UTC() },
	}
	for _, d := range []ossec.Dialect{ossec.Wazuh, ossec.OSSEC} {
		e := NewEncoder(d)
		base := sample()
		for i := range edit {
			for j := range edit {
				a := *base
				edit[i](&a)
				edit[j](&a)
				if got, want := string(e.JSON(nil, &a)), string(AppendJSON(nil, &a, d)); got != want {
					t.Fatalf("%s, edits %d and %d:\n%s\nwant\n%s", d, i, j, got, want)
				}
				if got, want := string(e.Text(nil, &a)), string(AppendText(nil, &a, d)); got != want {
					t.Fatalf("%s, edits %d and %d:\n%s\nwant\n%s", d, i, j, got, want)
				}
			}
		}
	}
}

// TestPages: pages are written whole and in order, also what did not fit one.
func TestPages(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, ossec.Wazuh)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	big := sample()
	big.FullLog = strings.Repeat("y", fullPage/3)
	quiet := sample()
	quiet.Log = false
	alerts := []*riposte.Alert{sample(), quiet, big, big, big, big, big, sample(), quiet}
	e := NewEncoder(ossec.Wazuh)
	var p Page
	e.Fill(&p, alerts)
	if len(p.rest) != 4 || len(p.json) > 2*fullPage {
		t.Errorf("%d alerts and %d bytes, want 4 alerts behind a full page", len(p.rest), len(p.json))
	}
	var json, text string
	for range 2 {
		for _, a := range alerts {
			if a.Log {
				json += string(AppendJSON(nil, a, ossec.Wazuh)) + "\n"
				text += string(AppendText(nil, a, ossec.Wazuh))
			}
		}
		if err := w.WritePage(&p); err != nil {
			t.Fatal(err)
		}
		e.Fill(&p, alerts)
	}
	expect(t, dir, AlertsJSON, json)
	expect(t, dir, AlertsText, text)
	if e.Fill(&p, nil); w.WritePage(&p) != nil {
		t.Error("an empty page")
	}
	if fi, err := os.Stat(filepath.Join(dir, AlertsJSON)); err != nil || fi.Size() != int64(len(json)) {
		t.Errorf("an empty page writes: %v %v", fi.Size(), err)
	}
}
