// Package npf blocks addresses with NetBSD's packet filter: as members of a
// table that the operator's npf.conf blocks,
//
//	table <ossec_blacklist> type lpm
//	block in final from <ossec_blacklist>
//
// by the commands of OSSEC's npf.sh and Wazuh's npf (whose table is
// wazuh_blacklist). A table does not tell whose a member is, so only those that
// riposte added are listed, and only those are deleted.
package npf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"riposte/internal/enforce"
	"riposte/internal/enforce/tool"
)

// Name is how receipts call the mechanism.
const Name = "npf"

// The tables that the stock scripts fill.
const (
	OSSECTable = "ossec_blacklist"
	WazuhTable = "wazuh_blacklist"
)

// New blocks by the members of a table; run runs npfctl.
func New(run enforce.Runner, table string) (*tool.Mechanism, error) {
	if table == "" || strings.ContainsFunc(table, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) || table[0] == '-' {
		return nil, fmt.Errorf("%s: %q is not the name of a table", Name, table)
	}
	command := func(verb string) func([]netip.Prefix) []tool.Command {
		return func(prefixes []netip.Prefix) []tool.Command {
			return tool.Each(prefixes, func(p netip.Prefix) []string {
				return []string{"npfctl", "table", table, verb, tool.Client(p)}
			})
		}
	}
	return tool.New(tool.System{
		Name:   Name,
		Ready:  func(ctx context.Context, run enforce.Runner) error { return ready(ctx, run, table) },
		Add:    command("add"),
		Delete: command("rem"), // npf.sh says del, which NetBSD's manual does not know
		Show: func([]netip.Prefix) []tool.Command {
			return []tool.Command{{Argv: []string{"npfctl", "table", table, "list"}}}
		},
		Parse: parse,
	}, run), nil
}

// ready reads `npfctl show`, as npf.sh does: filtering must be active and the
// table must be there and blocked.
func ready(ctx context.Context, run enforce.Runner, table string) error {
	out, _, err := run(ctx, []string{"npfctl", "show"}, nil)
	if err != nil {
		return err
	}
	active, blocked := false, false
	for line := range bytes.Lines(out) {
		words := strings.Fields(strings.TrimLeft(string(line), "# \t"))
		if len(words) > 1 && words[0] == "filtering:" {
			active = words[1] == "active"
		}
		if len(words) > 0 && words[0] == "block" {
			for _, w := range words[1:] {
				blocked = blocked || w == "<"+table+">"
			}
		}
	}
	switch {
	case !active:
		return errors.New("npf is not active (npfctl start)")
	case !blocked:
		return fmt.Errorf("no rule blocks the table <%s>: npf.conf needs \"table <%[1]s> type lpm\" and \"block in final from <%[1]s>\"", table)
	}
	return nil
}

// parse reads `npfctl table … list`: an address or prefix a line.
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
