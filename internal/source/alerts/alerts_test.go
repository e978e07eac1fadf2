package alerts_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte/internal/alertlog"
	"riposte/internal/lab"
	"riposte/internal/source/alerts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One alert of each engine, in the layouts of the active-response
// specification, section 5.3.
const (
	wazuh4 = `{"timestamp":"2026-11-23T06:00:00.123+0000","rule":{"level":5,"description":"sshd: authentication failed.","id":"5760","firedtimes":1,"mail":false,"groups":["syslog","sshd","authentication_failed"]},"agent":{"id":"001","name":"web01","ip":"10.0.0.9"},"manager":{"name":"m"},"id":"1795408700.2","full_log":"Nov 23 06:00:00 web01 sshd[1]: Failed password for root from 203.0.113.9","predecoder":{"program_name":"sshd","timestamp":"Nov 23 06:00:00","hostname":"web01"},"decoder":{"parent":"sshd","name":"sshd"},"data":{"srcip":"203.0.113.9","dstuser":"root"},"location":"/var/log/auth.log"}`
	wazuh3 = `{"timestamp":"2020-11-23T06:00:00.123+0000","rule":{"level":5,"description":"sshd: authentication failed.","id":"5716","firedtimes":1,"mail":false,"groups":["syslog","sshd"]},"agent":{"id":"000","name":"m"},"manager":{"name":"m"},"id":"1606111200.77","full_log":"x","decoder":{"name":"sshd"},"data":{"srcip":"203.0.113.3"},"location":"/var/log/auth.log"}`
	ossec  = `{"rule":{"level":5,"comment":"SSHD authentication failed.","sidid":5716,"group":"syslog,sshd,authentication_failed,","groups":["syslog","sshd"]},"id":"1795408700.9","TimeStamp":1795408700000,"decoder":"sshd","srcip":"203.0.113.1","location":"web01->/var/log/auth.log","full_log":"x","hostname":"web01","program_name":"sshd"}`
)

// rig follows an alert file, once or several times.
type rig struct {
	t         *testing.T
	path      string
	positions map[string]string
	log       lab.Log
	out       chan alerts.AlertBatch
	stop      func()
}

func (r *rig) run() {
	r.t.Helper()
	s, err := alerts.New(alerts.Options{Path: r.path, Parse: alertlog.Parse, Positions: r.positions, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.out = make(chan alerts.AlertBatch)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, r.out) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) next() alerts.AlertBatch {
	r.t.Helper()
	select {
	case b := <-r.out:
		if b.Source != "alerts:"+r.path || b.Position == "" {
			r.t.Fatalf("source %q, position %q", b.Source, b.Position)
		}
		r.positions[b.Source] = b.Position
		return b
	case <-time.After(10 * time.Second):
		r.t.Fatalf("nothing comes; logged:\n%s", &r.log)
		return alerts.AlertBatch{}
	}
}

// want receives alerts and compares rule and source address.
func (r *rig) want(texts ...string) {
	r.t.Helper()
	var got []string
	for len(got) < len(texts) {
		for _, a := range r.next().Alerts {
			ip, _ := a.Field("srcip")
			got = append(got, strconv.Itoa(a.Rule.ID)+" "+ip)
		}
	}
	if strings.Join(got, "|") != strings.Join(texts, "|") {
		r.t.Fatalf("got %q, want %q", got, texts)
	}
}

func (r *rig) append(lines ...string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, path: filepath.Join(t.TempDir(), "alerts.json"), positions: map[string]string{}}
}

func TestAlertsOfAllEngines(t *testing.T) {
	r := newRig(t)
	r.append(wazuh4)
	r.run()
	if b := r.next(); len(b.Alerts) != 0 {
		t.Fatalf("an old alert: %+v", b.Alerts[0])
	}
	r.append(wazuh4, wazuh3, ossec)
	r.want("5760 203.0.113.9", "5716 203.0.113.3", "5716 203.0.113.1")
	r.stop()
	r.append(ossec)
	r.run()
	r.want("5716 203.0.113.1")
}

func TestLinesThatAreNoAlerts(t *testing.T) {
	r := newRig(t)
	r.run()
	r.next()
	r.append("", "not json", `{"rule":`, `{"no":"rule"}`, `{"rule":{"id":"1"},"full_log":"`+strings.Repeat("x", 5<<20)+`"}`, wazuh4)
	r.want("5760 203.0.113.9")
	if n := strings.Count(r.log.String(), "no alert"); n != 1 {
		t.Errorf("logged %d times, want once a minute:\n%s", n, &r.log)
	}
}

func TestLongAlert(t *testing.T) {
	r := newRig(t)
	r.run()
	r.next()
	r.append(strings.Replace(wazuh4, "Failed password", strings.Repeat("x", 1<<20), 1))
	r.want("5760 203.0.113.9")
}

// Wazuh's file has a second name in a directory of the month; at midnight the
// first name goes to a new file.
func TestWazuhRotation(t *testing.T) {
	r := newRig(t)
	month := filepath.Join(filepath.Dir(r.path), "2026", "Nov")
	if err := os.MkdirAll(month, 0o755); err != nil {
		t.Fatal(err)
	}
	link := func(name string) {
		t.Helper()
		if err := os.Link(r.path, filepath.Join(month, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.append(ossec)
	link("ossec-alerts-23.json")
	r.run()
	r.next()
	r.append(wazuh4)
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.append(wazuh3)
	link("ossec-alerts-24.json")
	r.want("5760 203.0.113.9", "5716 203.0.113.3")
}

func TestNeedsAParserAndAPath(t *testing.T) {
	if _, err := alerts.New(alerts.Options{Path: "/x"}); err == nil {
		t.Error("no parser")
	}
	if _, err := alerts.New(alerts.Options{Path: "x", Parse: alertlog.Parse}); err == nil {
		t.Error("a relative path")
	}
}
