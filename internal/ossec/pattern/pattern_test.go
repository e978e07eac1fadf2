package pattern

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"riposte/internal/ossec"
)

// repoRoot is the directory of go.mod.
func repoRoot(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// shared returns a path below a directory that stands outside the repository,
// or skips the test when it is not there.
func shared(t testing.TB, env, def, name string) string {
	base := os.Getenv(env)
	if base == "" {
		base = filepath.Join(repoRoot(t), def)
	}
	path := filepath.Join(base, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: set %s to the directory that holds it", path, env)
	}
	return path
}

func readJSON(t testing.TB, path string, v any) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// latin1 turns the vectors' one-rune-a-byte strings into bytes.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

type regexVerdict struct {
	Compile        *bool
	Match          bool
	Groups         []string
	Rest           *string
	EndBeforeStart bool `json:"end_before_start"`
}

func TestOSRegexVectors(t *testing.T) {
	var vectors []struct {
		Pattern, Subject string
		Wazuh, Ossec     regexVerdict
	}
	readJSON(t, shared(t, "RIPOSTE_SPEC", "../shared/spec", "vectors/osregex.json"), &vectors)
	for _, v := range vectors {
		checkRegexVector(t, ossec.Wazuh, latin1(v.Pattern), latin1(v.Subject), v.Wazuh)
		checkRegexVector(t, ossec.OSSEC, latin1(v.Pattern), latin1(v.Subject), v.Ossec)
	}
	t.Logf("%d vectors, both products", len(vectors))
}

func checkRegexVector(t *testing.T, d ossec.Dialect, pattern, subject string, want regexVerdict) {
	t.Helper()
	p, err := Compile(OSRegex, d, pattern, true)
	if compiles := want.Compile == nil || *want.Compile; compiles != (err == nil) {
		t.Errorf("%v %q: compiles: %v, got error %v", d, pattern, compiles, err)
		return
	}
	if err != nil {
		return
	}
	end, caps, ok := p.Find(subject, nil)
	if ok != want.Match {
		t.Errorf("%v %q on %q: match %v, want %v", d, pattern, subject, ok, want.Match)
		return
	}
	if !ok {
		return
	}
	if p.Match(subject) != ok {
		t.Errorf("%v %q on %q: Match and Find differ", d, pattern, subject)
	}
	got := texts(subject, caps)
	for i, g := range want.Groups {
		want.Groups[i] = latin1(g)
	}
	if len(got) != len(want.Groups) {
		t.Errorf("%v %q on %q: captures %q, want %q", d, pattern, subject, got, want.Groups)
		return
	}
	for i := range got {
		if got[i] != want.Groups[i] {
			t.Errorf("%v %q on %q: captures %q, want %q", d, pattern, subject, got, want.Groups)
			return
		}
	}
	if want.EndBeforeStart {
		if end != -1 {
			t.Errorf("%v %q on %q: end %d, want -1", d, pattern, subject, end)
		}
		return
	}
	if rest := subject[p.Continue(subject, end, 0):]; rest != latin1(*want.Rest) {
		t.Errorf("%v %q on %q: rest %q, want %q", d, pattern, subject, rest, latin1(*want.Rest))
	}
}

func texts(s string, caps []Span) []string {
	out := make([]string, len(caps))
	for i, c := range caps {
		out[i] = s[c.Start:c.End]
	}
	return out
}

func TestOSMatchVectors(t *testing.T) {
	var vectors []struct {
		Pattern, Subject string
		Wazuh, Ossec     bool
	}
	readJSON(t, shared(t, "RIPOSTE_SPEC", "../shared/spec", "vectors/osmatch.json"), &vectors)
	check := func(d ossec.Dialect, pattern, subject string, want bool) {
		t.Helper()
		p, err := Compile(OSMatch, d, pattern, false)
		if err != nil {
			t.Errorf("%v %q: %v", d, pattern, err)
			return
		}
		if got := p.Match(subject); got != want {
			t.Errorf("%v %q on %q: %v, want %v", d, pattern, subject, got, want)
		}
	}
	for _, v := range vectors {
		check(ossec.Wazuh, latin1(v.Pattern), latin1(v.Subject), v.Wazuh)
		check(ossec.OSSEC, latin1(v.Pattern), latin1(v.Subject), v.Ossec)
	}
	t.Logf("%d vectors, both products", len(vectors))
}
