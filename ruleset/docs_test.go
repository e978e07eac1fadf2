package ruleset_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"riposte"
	"riposte/internal/analysis"
	"riposte/internal/ossec"
	rules "riposte/internal/ossec/ruleset"
	"riposte/internal/ossec/suite"
	"riposte/ruleset"
)

var update = flag.Bool("update", false, "write the tables of docs/rules.md anew")

// services are the headings of the tables of docs/rules.md, by the files whose
// rules they hold.
var services = []struct{ title, files string }{
	{"sshd, dropbear", "05"},
	{"PAM", "004"},
	{"su, sudo, doas, telnet", "006"},
	{"Web: access logs", "0070"},
	{"Web: error logs of apache, nginx, PHP", "007[12]"},
	{"FTP: vsftpd, ProFTPD, pure-ftpd, ftpd", "008"},
	{"Mail: postfix, dovecot, courier", "009"},
	{"Databases: MySQL, MariaDB, PostgreSQL", "0100"},
	{"OpenVPN, Samba", "0110"},
	{"Windows", "012"},
	{"System: accounts, kernel, cron, systemd, any program", "0800"},
	{"Several services together", "0900"},
	{"riposte's own responses", "003"},
	{"The agents of a fleet", "0020"},
}

// The tables of docs/rules.md say what the rules are.
func TestDocumentation(t *testing.T) {
	const file = "../docs/rules.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := load(t, ossec.Wazuh)
	only := load(t, ossec.OSSEC)
	tables, listed := tables(t, set, only)
	want := regexp.MustCompile(`(?m)^\| rules, decoders \|.*$`).ReplaceAllLiteral(doc,
		fmt.Appendf(nil, "| rules, decoders | %d, %d | %d, %d |", len(set.Rules), len(set.Decoders), len(only.Rules), len(only.Decoders)))
	at := regexp.MustCompile(`(?s)(says otherwise\.\n\n).*$`)
	want = at.ReplaceAll(want, append([]byte("${1}"), tables...))
	if string(want) != string(doc) {
		if !*update {
			t.Fatalf("%s is not up to date: go test ./ruleset -run Documentation -update", file)
		}
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range set.Rules {
		if r.Level > 0 && !slices.Contains(listed, r.ID) {
			t.Errorf("rule %d stands in no table", r.ID)
		}
	}
}

// The example of docs/rules.md works as it stands there.
func TestDocumentationExample(t *testing.T) {
	doc, err := os.ReadFile("../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) != 3 || string(blocks[0][1]) != "xml" || string(blocks[1][1]) != "xml" {
		t.Fatalf("%d examples, expected a decoder file, a rule file and a sample file", len(blocks))
	}
	dec, rul := ruleset.Files(ruleset.Wazuh)
	set, findings := rules.Load(rules.Options{
		Decoders: append(sources(dec), rules.Source{Name: "shop.xml", Data: blocks[0][2]}),
		Rules:    append(sources(rul), rules.Source{Name: "shop.xml", Data: blocks[1][2]}),
	})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	cases, findings := suite.Parse("shop.txt", blocks[2][2], ossec.Wazuh)
	if len(findings) > 0 || len(cases) != 1 {
		t.Fatal(findings, len(cases))
	}
	run := suite.NewRunner(set, analysis.Options{Host: "test"}, noon)
	run.Responses = func(a *riposte.Alert) []string {
		if a.Rule.Level >= 10 {
			return []string{"firewall-drop"}
		}
		return nil
	}
	for _, f := range run.Run(cases).Failures {
		t.Error(f)
	}
}

func tables(t *testing.T, set, ossecs *rules.Set) (text []byte, listed []int) {
	var b strings.Builder
	id := regexp.MustCompile(`<rule id="(\d+)"`)
	_, files := ruleset.Files(ruleset.Wazuh)
	for _, s := range services {
		match := regexp.MustCompile("^ruleset/rules/" + s.files)
		var rows []*rules.Rule
		for _, f := range files {
			if !match.MatchString(f.Name) && !(s.files == "05" && strings.Contains(f.Name, "/005")) {
				continue
			}
			for _, m := range id.FindAllSubmatch(f.Data, -1) {
				var n int
				fmt.Sscan(string(m[1]), &n)
				r, ok := set.Rule(n)
				if !ok {
					t.Fatalf("%s: rule %d is not in force", f.Name, n)
				}
				if r.Level > 0 {
					rows = append(rows, r)
				}
			}
		}
		if len(rows) == 0 {
			t.Fatalf("no file holds the rules of %s", s.title)
		}
		slices.SortFunc(rows, func(a, b *rules.Rule) int { return a.ID - b.ID })
		fmt.Fprintf(&b, "### %s\n\n| rule | level | detects | groups |\n| --- | --- | --- | --- |\n", s.title)
		for _, r := range rows {
			listed = append(listed, r.ID)
			mark := ""
			if _, ok := ossecs.Rule(r.ID); !ok {
				mark = " (Wazuh)"
			}
			groups := strings.ReplaceAll(strings.Trim(r.Groups, ","), ",", ", ")
			fmt.Fprintf(&b, "| %d%s | %d | %s | %s |\n", r.ID, mark, r.Level, strings.ReplaceAll(r.Description, "|", `\|`), groups)
		}
		b.WriteString("\n")
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), listed
}
