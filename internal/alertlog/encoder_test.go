package alertlog

import (
	"strconv"
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

// TestPages: alerts are written whole and in order, by any number of goroutines,
// also those that do not fit one page.
func TestPages(t *testing.T) {
	big := sample()
	big.FullLog = strings.Repeat("y", fullPage/3)
	quiet := sample()
	quiet.Log = false
	alerts := []*riposte.Alert{sample(), quiet, big, big, big, big, big, sample(), quiet}
	for i := range 5 * minPart {
		a := sample()
		a.ID = strconv.Itoa(i)
		a.Log = i%7 != 0
		alerts = append(alerts, a)
	}
	var p page
	NewEncoder(ossec.Wazuh).fill(&p, alerts, Written{})
	if len(p.rest) != len(alerts)-5 || len(p.json) > 2*fullPage {
		t.Errorf("%d of %d alerts do not fit %d bytes", len(p.rest), len(alerts), len(p.json))
	}
	jsonOf, textOf := map[*riposte.Alert]string{}, map[*riposte.Alert]string{}
	for _, a := range alerts {
		if a.Log {
			jsonOf[a] = string(AppendJSON(nil, a, ossec.Wazuh)) + "\n"
			textOf[a] = string(AppendText(nil, a, ossec.Wazuh))
		}
	}
	for _, n := range []int{0, 1, 2, 3, 100} {
		dir := t.TempDir()
		w, err := Open(dir, ossec.Wazuh)
		if err != nil {
			t.Fatal(err)
		}
		w.Parallel(n)
		var json, text string
		for _, some := range [][]*riposte.Alert{alerts, nil, alerts[20 : 20+2*minPart], alerts[:3]} {
			if err := w.WriteAlerts(some); err != nil {
				t.Fatal(err)
			}
			for _, a := range some {
				json += jsonOf[a]
				text += textOf[a]
			}
		}
		expect(t, dir, AlertsJSON, json)
		expect(t, dir, AlertsText, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
