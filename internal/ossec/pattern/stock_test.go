package pattern

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"riposte/internal/ossec"
	"riposte/internal/ossec/xml"
)

// stockPattern is an expression of the real systems' own rules and decoders.
type stockPattern struct {
	dialect  ossec.Dialect
	syntax   Syntax
	text     string
	captures bool
	place    string // file: element
}

// stockFiles returns the real systems' rule and decoder files, by dialect.
func stockFiles(t testing.TB) map[ossec.Dialect][]string {
	base := shared(t, "RIPOSTE_CONFORMANCE", "../shared/conformance", ".")
	glob := func(pattern string) []string {
		files, err := filepath.Glob(filepath.Join(base, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		return files
	}
	return map[ossec.Dialect][]string{
		ossec.Wazuh: slices.Concat(glob("wazuh/decoders/*.xml"), glob("wazuh/rules/*.xml"), glob("wazuh/test-ruleset/*.xml")),
		ossec.OSSEC: slices.Concat(glob("ossec/decoder.xml"), glob("ossec/rules/*.xml")),
	}
}

// stockPatterns returns all distinct expressions of the real systems.
func stockPatterns(t testing.TB) []stockPattern {
	var all []stockPattern
	seen := map[stockPattern]bool{}
	for d, files := range stockFiles(t) {
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			nodes, err := xml.Parse(file, src, d)
			if err == nil {
				nodes, err = xml.ApplyVariables(nodes, d)
			}
			if err != nil {
				t.Fatal(err)
			}
			collect := func(p stockPattern) {
				p.dialect = d
				key := p
				key.place = ""
				if !seen[key] {
					seen[key] = true
					p.place = filepath.Base(file) + ": " + p.place
					all = append(all, p)
				}
			}
			for _, n := range nodes {
				switch n.Name {
				case "decoder":
					collectElements(n, d, true, collect)
				case "group":
					for _, rule := range n.Children {
						collectElements(rule, d, false, collect)
					}
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b stockPattern) int {
		return strings.Compare(a.place+a.text+a.syntax.String(), b.place+b.text+b.syntax.String())
	})
	return all
}

// collectElements finds the expressions of a decoder or rule. The texts of
// repeated elements are one expression, except those of field.
func collectElements(n *xml.Node, d ossec.Dialect, decoder bool, collect func(stockPattern)) {
	texts := map[string]*stockPattern{}
	var order []string
	for _, c := range n.Children {
		name := strings.ToLower(c.Name)
		syntax, ok := elementSyntax(name, decoder)
		if !ok {
			continue
		}
		if word, _ := c.Attr("type"); d == ossec.Wazuh {
			switch strings.ToLower(word) {
			case "osmatch":
				syntax = OSMatch
			case "osregex":
				syntax = OSRegex
			case "pcre2":
				syntax = PCRE2
			}
		}
		p := stockPattern{syntax: syntax, text: c.Text, place: name, captures: decoder && (name == "regex" || name == "pcre2")}
		if name == "field" {
			collect(p)
			continue
		}
		if texts[name] == nil {
			texts[name] = &stockPattern{}
			order = append(order, name)
		}
		p.text = texts[name].text + c.Text
		*texts[name] = p
	}
	for _, name := range order {
		collect(*texts[name])
	}
}

// elementSyntax is the language an element is in by default.
func elementSyntax(name string, decoder bool) (Syntax, bool) {
	if strings.HasSuffix(name, "pcre2") {
		return PCRE2, true
	}
	switch name {
	case "prematch", "regex", "field", "if_matched_regex":
		return OSRegex, true
	case "if_group":
		return Words, true
	case "action":
		return Exact, true
	case "program_name":
		return OSMatch, true
	case "match", "user", "url", "id", "status", "hostname", "srcport", "dstport", "srcgeoip", "dstgeoip", "extra_data",
		"data", "location", "protocol", "system_name", "if_matched_group":
		return OSMatch, !decoder
	}
	return 0, false
}

// stockLines returns the distinct log lines of the real systems' test suites.
func stockLines(t testing.TB) []string {
	var lines []string
	seen := map[string]bool{}
	for _, product := range []string{"ossec", "wazuh"} {
		f, err := os.Open(shared(t, "RIPOSTE_CONFORMANCE", "../shared/conformance", product+"/cases.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		in := bufio.NewScanner(f)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			var c struct{ Lines []string }
			if err := json.Unmarshal(in.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			for _, l := range c.Lines {
				if !seen[l] {
					seen[l] = true
					lines = append(lines, l)
				}
			}
		}
		if err := in.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// TestStockPatternsCompile: every expression that the real systems ship is
// accepted.
func TestStockPatternsCompile(t *testing.T) {
	patterns := stockPatterns(t)
	count := map[string]int{}
	for _, p := range patterns {
		if _, err := Compile(p.syntax, p.dialect, p.text, p.captures); err != nil {
			t.Errorf("%s (%v, %v): %q: %v", p.place, p.dialect, p.syntax, p.text, err)
		}
		count[p.dialect.String()+" "+p.syntax.String()]++
	}
	t.Logf("%d distinct expressions compiled: %v", len(patterns), count)
}
