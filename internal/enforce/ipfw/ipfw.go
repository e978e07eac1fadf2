// Package ipfw blocks addresses with FreeBSD's ipfw: as members of its table 1,
// which rule 1 denies both ways, as OSSEC's and Wazuh's ipfw scripts do. The
// rules are made where they are missing, once: Wazuh's script looks for them in
// words that ipfw does not print, and makes them again at every block.
//
// A table does not tell whose a member is, so only those that riposte added are
// listed, and only those are deleted.
package ipfw

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// Name is how receipts call the mechanism.
const Name = "ipfw"

// The scripts' table, and the number of the rules that deny it.
const (
	table = "00001"
	rule  = "00001"
)

// New blocks by the members of table 1; run runs ipfw.
func New(run enforce.Runner) *tool.Mechanism {
	command := func(verb string) func([]netip.Prefix) []tool.Command {
		return func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string {
				return []string{"ipfw", "-q", "table", table, verb, tool.Client(p)}
			})
		}
	}
	return tool.New(tool.System{
		Name:   Name,
		Ready:  ready,
		Add:    command("add"),
		Delete: command("delete"),
		Show: func([]netip.Prefix) []tool.Command {
			return []tool.Command{{Argv: []string{"ipfw", "table", table, "list"}}}
		},
		Parse: parse,
	}, run)
}

// directions are the rules that deny the table, as ipfw is told them.
func directions() [2]string {
	return [2]string{"deny ip from table(" + table + ") to any", "deny ip from any to table(" + table + ")"}
}

// ready sees to the rules.
func ready(ctx context.Context, run enforce.Runner) error {
	out, _, err := run(ctx, []string{"ipfw", "list"}, nil)
	if err != nil {
		return err
	}
	for _, d := range directions() {
		if denies(out, d) {
			continue
		}
		if _, _, err := run(ctx, append([]string{"ipfw", "-q", "add", rule}, strings.Fields(d)...), nil); err != nil {
			return fmt.Errorf("adding the rule %q: %w", d, err)
		}
	}
	return nil
}

// denies looks for a rule in `ipfw list`, which prints a table's number without
// its zeros: "00001 deny ip from table(1) to any".
func denies(list []byte, direction string) bool {
	short := strings.ReplaceAll(direction, "("+table+")", "(1)")
	for line := range bytes.Lines(list) {
		words := strings.Fields(string(line))
		if len(words) < 2 {
			continue
		}
		if text := strings.Join(words[1:], " "); text == short || text == direction {
			return true
		}
	}
	return false
}

// parse reads `ipfw table 1 list`: a prefix and a value a line, after a line
// that names the table on some releases.
func parse(out []byte) []netip.Prefix {
	var found []netip.Prefix
	for line := range bytes.Lines(out) {
		words := bytes.Fields(line)
		if len(words) == 0 {
			continue
		}
		if p, ok := tool.ParseClient(string(words[0])); ok {
			found = append(found, p)
		}
	}
	return found
}
