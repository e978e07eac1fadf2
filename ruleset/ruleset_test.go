package ruleset_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"riposte/internal/analysis"
	"riposte/internal/ossec"
	rules "riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/suite"
	"riposte/ruleset"
)

var dialects = []ossec.Dialect{ossec.Wazuh, ossec.OSSEC}

// noon is when the events of tests are read.
var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

func sources(files []ruleset.File) []rules.Source {
	out := make([]rules.Source, len(files))
	for i, f := range files {
		out[i] = rules.Source(f)
	}
	return out
}

func load(t testing.TB, d ossec.Dialect) *rules.Set {
	t.Helper()
	dec, rul := ruleset.Files(d.String())
	set, findings := rules.Load(rules.Options{Dialect: d, Decoders: sources(dec), Rules: sources(rul)})
	for _, f := range findings {
		t.Errorf("%s: %s", d, f)
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

// samples returns the sample cases of a dialect.
func samples(t testing.TB, d ossec.Dialect) []suite.Case {
	t.Helper()
	var out []suite.Case
	for _, f := range ruleset.Samples() {
		cases, findings := suite.Parse(f.Name, f.Data, d)
		for _, f := range findings {
			t.Fatal(f)
		}
		for _, c := range cases {
			if c.Only == "" || c.Only == d.String() {
				out = append(out, c)
			}
		}
	}
	return out
}

// Every file loads in its dialects without a remark, and every sample gives
// what it says.
func TestSamples(t *testing.T) {
	for _, d := range dialects {
		set := load(t, d)
		r := suite.NewRunner(set, analysis.Options{Host: "test"}, noon).Run(samples(t, d))
		for _, f := range r.Failures {
			t.Errorf("%s: %s", d, f)
		}
		t.Logf("%s: %d rules, %d decoders, %d cases", d, len(set.Rules), len(set.Decoders), r.Passed+r.Failed)
	}
}

// Each rule that can be final has a sample that fires it and one that nearly
// does.
func TestEveryRuleHasSamples(t *testing.T) {
	for _, d := range dialects {
		fires, misses := map[string]bool{}, map[string]bool{}
		for _, c := range samples(t, d) {
			fires[c.Want.Rule] = true
			for _, id := range c.Never {
				misses[id] = true
			}
		}
		for _, r := range load(t, d).Rules {
			id := strconv.Itoa(r.ID)
			if !r.NoAlert && !fires[id] {
				t.Errorf("%s: rule %s (%s) has no sample that fires it", d, id, r.Description)
			}
			if !r.NoAlert && !misses[id] {
				t.Errorf("%s: rule %s (%s) has no sample that nearly fires it", d, id, r.Description)
			}
			delete(fires, id)
			delete(misses, id)
		}
		delete(fires, "none")
		delete(fires, "")
		for id := range misses {
			fires[id] = true
		}
		for id := range fires {
			t.Errorf("%s: a sample is about rule %s, which is not there", d, id)
		}
	}
}

// What riposte says about its own responses is never answered, whatever the
// configuration: an answer to an answer would not end.
func TestOwnResponsesAreNotAnswered(t *testing.T) {
	for _, d := range dialects {
		n := 0
		for _, r := range load(t, d).Rules {
			if !strings.Contains(r.Groups, "active_response") {
				continue
			}
			n++
			if !r.NoAR {
				t.Errorf("%s: rule %d of group active_response may be answered", d, r.ID)
			}
		}
		if n < 9 {
			t.Errorf("%s: %d rules about responses", d, n)
		}
	}
}

// The built-in configuration answers rules that count, and of the others only
// those that name an attack nobody makes by mistake, or that count themselves
// before they say a word.
func TestSingleFailuresAreNotAnswered(t *testing.T) {
	allowed := []int{
		5707,         // an exploit
		11109, 11210, // the FTP server has counted
		31168, 31169, // Shellshock that was answered with success
	}
	groups := regexp.MustCompile("authentication_failures|web_scan|recon|attack|modsecurity|multiple_spam") // as in conf/responses.conf
	for _, d := range dialects {
		answered := 0
		for _, r := range load(t, d).Rules {
			if r.Level < 10 || !groups.MatchString(r.Groups) || r.NoAR {
				continue
			}
			answered++
			if r.Correlate == nil && !slices.Contains(allowed, r.ID) {
				t.Errorf("%s: rule %d (%s) is answered at its first event", d, r.ID, r.Description)
			}
		}
		if answered < 40 {
			t.Errorf("%s: only %d rules are answered", d, answered)
		}
	}
	if !strings.Contains(string(ruleset.Config().Data), "<rules_group>"+groups.String()+"<") {
		t.Error("the groups of this test are not those of the configuration")
	}
}

// The files keep to the forms that the translation for OSSEC knows.
func TestTranslation(t *testing.T) {
	once := regexp.MustCompile(`^\s*<(program_name|prematch|regex|match|url|id|status|user|location|field)( name="[\w.]+"| offset="\w+")?( negate="yes")? type="pcre2">[^\n]*</(\w+)>$`)
	dec, rul := ruleset.Files(ruleset.Wazuh)
	for _, f := range append(dec, rul...) {
		for i, line := range strings.Split(string(f.Data), "\n") {
			if !strings.Contains(line, "pcre2") {
				continue
			}
			m := once.FindStringSubmatch(line)
			if m == nil || m[1] != m[4] {
				t.Errorf("%s:%d: not a form that can be translated: %s", f.Name, i+1, line)
			}
		}
	}
	dec, rul = ruleset.Files(ruleset.OSSEC)
	for _, f := range append(dec, rul...) {
		for _, wrong := range []string{`type="`, "<mitre", "$(", "negate=", "<location"} {
			if strings.Contains(string(f.Data), wrong) {
				t.Errorf("%s: %q is left for OSSEC", f.Name, wrong)
			}
		}
	}
}

// An address is taken only by an expression that begins at a known place: the
// line's beginning, or the end of an expression that does.
func TestAddressesAreAnchored(t *testing.T) {
	decoder := regexp.MustCompile(`(?s)<decoder name="([^"]+)">(.*?)</decoder>`)
	expression := regexp.MustCompile(`<regex[^>]*>(.*)</regex>`)
	dec, _ := ruleset.Files(ruleset.Wazuh)
	n := 0
	for _, f := range dec {
		for _, m := range decoder.FindAllStringSubmatch(string(f.Data), -1) {
			if !strings.Contains(m[2], "srcip") {
				continue
			}
			n++
			e := expression.FindStringSubmatch(m[2])
			// courier: the address ends the line, whatever comes before it.
			if e == nil || !strings.HasPrefix(e[1], "^") && m[1] != "courier-fields" {
				t.Errorf("%s: decoder %s takes an address without an anchor", f.Name, m[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d decoders take an address", n)
	}
}
