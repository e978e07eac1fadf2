package selftest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/iptables"
	"riposte/internal/enforce/nft"
	"riposte/internal/enforce/route"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) {
	if os.Getenv("SELFTEST_CHILD") != "" {
		_, err := Run(context.Background(), Options{Open: openNFT, Progress: func(s Step) {
			if s.Phase == "blocked" { // everything stands: now we may be killed
				os.Stdout.WriteString("ready\n")
				select {}
			}
		}})
		panic(err)
	}
	os.Exit(lab.Main(m))
}

func openNFT() (enforce.Mechanism, error) { return nft.New() }

// host is what a self-test must not change.
func host(t testing.TB) string {
	t.Helper()
	return lab.Here(t).Run(t, "sh", "-c", "nft list ruleset; ip -o link; ip route show table all; ip -6 route show table all; ipset list -n")
}

// namespaces returns the network namespaces that processes are in or hold; of
// all processes when pid is "[0-9]*".
func namespaces(t testing.TB, pid string) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	for _, pattern := range []string{"/proc/" + pid + "/task/[0-9]*/ns/net", "/proc/" + pid + "/fd/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "net:") {
				seen[to] = true
			}
		}
	}
	return seen
}

// prove runs a self-test and checks that it leaves nothing behind.
func prove(t *testing.T, o Options) *Report {
	t.Helper()
	lab.Need(t, "nft", "ip", "ipset")
	before, running := host(t), goleak.IgnoreCurrent()
	told := 0
	o.Progress = func(Step) { told++ }
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if after := host(t); after != before {
		t.Errorf("the host is now\n%s\nwas\n%s", after, before)
	}
	goleak.VerifyNone(t, running)
	if told != len(report.Steps) {
		t.Errorf("told of %d steps of %d", told, len(report.Steps))
	}
	return report
}

// want checks every step of a report: those that did not pass are named, by a
// part of their phase and name, with their outcome.
func want(t *testing.T, r *Report, passed bool, others map[string]Outcome) {
	t.Helper()
	found := make(map[string]bool)
	for _, s := range r.Steps {
		expected := Passed
		for part, outcome := range others {
			if phase, name, _ := strings.Cut(part, " "); s.Phase == phase && strings.Contains(s.Name, name) && !strings.Contains(s.Name, "bystander") {
				expected = outcome
				found[part] = true
			}
		}
		if s.Outcome != expected {
			t.Errorf("%s, %s: %s (%s), want %s", s.Phase, s.Name, s.Outcome, s.Detail, expected)
		}
	}
	for part := range others {
		if !found[part] {
			t.Errorf("no step %q", part)
		}
	}
	if r.Passed != passed {
		t.Errorf("passed: %v", r.Passed)
	}
	if t.Failed() {
		t.Logf("the report:\n%s", r)
	}
}

func TestNftables(t *testing.T) {
	r := prove(t, Options{Open: openNFT})
	want(t, r, true, nil)
	if r.Mechanism != "nftables" || !strings.Contains(r.String(), "nftables bites: ") || len(r.Steps) < 100 {
		t.Errorf("%d steps:\n%s", len(r.Steps), r)
	}
	t.Logf("%d steps in %v", len(r.Steps), r.Took)
}

func TestIptables(t *testing.T) {
	lab.Need(t, "iptables", "ip6tables")
	r := prove(t, Options{Open: func() (enforce.Mechanism, error) { return iptables.New(enforce.Exec) }})
	want(t, r, true, nil)
}

// TestNullRoute: nothing comes of a conversation, but packets still arrive, and
// the report says so.
func TestNullRoute(t *testing.T) {
	r := prove(t, Options{Open: func() (enforce.Mechanism, error) { return route.New(enforce.Exec) }})
	want(t, r, true, map[string]Outcome{"blocked UDP": Partly})
	if text := r.String(); !strings.Contains(text, "null route bites, with limits") || !strings.Contains(text, "still arrives") {
		t.Error(text)
	}
}

// toothless claims to block.
type toothless struct{ broken error }

func (toothless) Name() string       { return "toothless" }
func (toothless) Kind() riposte.Kind { return riposte.Address }
func (toothless) Durable() bool      { return false }
func (m toothless) Apply(_ context.Context, effects []enforce.Effect) []enforce.Result {
	return enforce.Fail(effects, m.broken)
}
func (toothless) Undo(_ context.Context, effects []enforce.Effect) []enforce.Result {
	return make([]enforce.Result, len(effects))
}

func TestToothless(t *testing.T) {
	r := prove(t, Options{Open: func() (enforce.Mechanism, error) { return toothless{}, nil }})
	want(t, r, false, map[string]Outcome{
		"block block": Partly, "blocked new TCP connection to": Failed, "blocked new TCP connection, forwarded": Failed, "blocked open": Failed, "blocked UDP": Failed, "blocked from the host": Partly,
	})
	if !strings.Contains(r.String(), "does NOT bite") {
		t.Error(r)
	}
	r = prove(t, Options{Open: func() (enforce.Mechanism, error) { return toothless{broken: errors.New("no teeth")}, nil }})
	want(t, r, false, map[string]Outcome{"block block": Failed})
}

// tooMuch blocks the bystander, too.
type tooMuch struct{ enforce.Mechanism }

func (m tooMuch) Apply(ctx context.Context, effects []enforce.Effect) []enforce.Result {
	for i := range effects {
		effects[i].Target.Value = map[bool]string{false: "198.51.100.0/24", true: "2001:db8::/64"}[strings.Contains(effects[i].Target.Value, ":")]
	}
	return m.Mechanism.Apply(ctx, effects)
}

func TestTooMuch(t *testing.T) {
	lab.Need(t, "nft")
	r, err := Run(t.Context(), Options{Stamina: time.Second, Open: func() (enforce.Mechanism, error) {
		m, err := nft.New()
		return tooMuch{m}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		if bystander := strings.Contains(s.Name, "bystander"); s.Phase == "blocked" && (s.Outcome == Failed) != bystander {
			t.Errorf("%+v", s)
		}
	}
	if r.Passed {
		t.Error("passed")
	}
}

func TestErrors(t *testing.T) {
	lab.Need(t)
	if _, err := Run(t.Context(), Options{Open: func() (enforce.Mechanism, error) { return nil, errors.New("no such thing") }}); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Run(ctx, Options{Open: openNFT}); err == nil && r.Passed {
		t.Error("passed though cancelled")
	}
}

func TestJSON(t *testing.T) {
	r := &Report{Mechanism: "m", Passed: true, Steps: []Step{{Phase: "before", Name: "n", Outcome: Partly, Took: time.Second}}}
	var b strings.Builder
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	step := back["steps"].([]any)[0].(map[string]any)
	if back["passed"] != true || step["outcome"] != "partly" || step["took"] != 1e9 {
		t.Error(b.String())
	}
}

// TestKilled: a self-test that is killed leaves nothing behind either.
func TestKilled(t *testing.T) {
	lab.Need(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SELFTEST_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lab.Here(t).Start(t, cmd)
	if n, err := out.Read(make([]byte, 16)); err != nil || n == 0 {
		t.Fatalf("the child does not come so far: %v", err)
	}
	its := namespaces(t, strconv.Itoa(cmd.Process.Pid))
	for ns := range namespaces(t, "self") {
		delete(its, ns)
	}
	if len(its) != 3 {
		t.Errorf("the child has %d namespaces of its own, want 3", len(its))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed is what we asked for
	left := namespaces(t, "[0-9]*")
	for ns := range its {
		if left[ns] {
			t.Errorf("%s is left", ns)
		}
	}
	if links := lab.Here(t).Run(t, "ip", "-o", "link"); strings.Count(links, "\n") != 1 {
		t.Errorf("interfaces are left:\n%s", links)
	}
}
