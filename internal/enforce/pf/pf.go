// Package pf blocks addresses with the packet filter of OpenBSD, FreeBSD and
// macOS: as members of a table that the operator's pf.conf blocks,
//
//	table <ossec_fwtable> persist
//	block in quick from <ossec_fwtable> to any
//
// by the commands of OSSEC's pf.sh and Wazuh's pf (whose table is
// wazuh_fwtable). The page of active responses leaves the rule to the operator,
// and so does riposte: it never edits pf.conf, but says so when pf is switched
// off or no rule blocks the table, instead of filling a table that nobody reads.
//
// A table does not tell whose a member is, so only those that riposte added are
// listed, and only those are deleted.
package pf

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
const Name = "pf"

// The tables that the stock scripts fill.
const (
	OSSECTable = "ossec_fwtable"
	WazuhTable = "wazuh_fwtable"
)

// New blocks by the members of a table; run runs pfctl.
func New(run enforce.Runner, table string) (*tool.Mechanism, error) {
	if table == "" || len(table) > 31 || table[0] == '-' || strings.Trim(table, nameBytes) != "" {
		return nil, fmt.Errorf("%s: %q is not the name of a table", Name, table)
	}
	return tool.New(tool.System{
		Name:   Name,
		Ready:  func(ctx context.Context, run enforce.Runner) error { return ready(ctx, run, table) },
		Add:    func(prefixes []netip.Prefix) []tool.Command { return change(table, "add", prefixes) },
		Delete: func(prefixes []netip.Prefix) []tool.Command { return change(table, "delete", prefixes) },
		Show: func([]netip.Prefix) []tool.Command {
			return []tool.Command{{Argv: []string{"pfctl", "-t", table, "-T", "show"}}}
		},
		Parse: parse,
		After: func(prefixes []netip.Prefix) []tool.Command { return kill(prefixes) },
	}, run), nil
}

// nameBytes is what a table's name may be made of, as pf.conf reads it.
const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

// change is `pfctl -t table -T add address`, or for more than one the same with
// the addresses on its input.
func change(table, verb string, prefixes []netip.Prefix) []tool.Command {
	argv := []string{"pfctl", "-t", table, "-T", verb}
	if len(prefixes) == 1 {
		return []tool.Command{{Argv: append(argv, tool.Client(prefixes[0])), Prefixes: prefixes}}
	}
	var in bytes.Buffer
	for _, p := range prefixes {
		fmt.Fprintln(&in, tool.Client(p))
	}
	return []tool.Command{{Argv: append(argv, "-f", "-"), Stdin: in.Bytes(), Prefixes: prefixes}}
}

// kill ends the connections from each prefix (the scripts' `pfctl -k address`),
// and those to it.
func kill(prefixes []netip.Prefix) []tool.Command {
	out := make([]tool.Command, 0, 2*len(prefixes))
	for i, p := range prefixes {
		from := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if p.Addr().Is6() {
			from = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		out = append(out,
			tool.Command{Argv: []string{"pfctl", "-k", tool.Client(p)}, Prefixes: prefixes[i : i+1]},
			tool.Command{Argv: []string{"pfctl", "-k", from.String(), "-k", tool.Client(p)}, Prefixes: prefixes[i : i+1]})
	}
	return out
}

// ready reports why members of the table would not be blocked.
func ready(ctx context.Context, run enforce.Runner, table string) error {
	info, _, err := run(ctx, []string{"pfctl", "-s", "info"}, nil)
	if err != nil {
		return err
	}
	if !enabled(info) {
		return errors.New("pf is not enabled (pfctl -e)")
	}
	// The rules may stand in an anchor, which the second form prints, too.
	for _, argv := range [][]string{{"pfctl", "-s", "rules"}, {"pfctl", "-a", "*", "-s", "rules"}} {
		rules, _, err := run(ctx, argv, nil)
		if err != nil {
			return err
		}
		if blocks(rules, table) {
			return nil
		}
	}
	return fmt.Errorf("no rule blocks the table <%s>: pf.conf needs \"table <%[1]s> persist\" and \"block in quick from <%[1]s> to any\"", table)
}

// enabled reads the first line of `pfctl -s info`: "Status: Enabled for 0 days
// 00:12:34", before which macOS may complain of ALTQ.
func enabled(info []byte) bool {
	for line := range bytes.Lines(info) {
		if words := bytes.Fields(line); len(words) > 1 && string(words[0]) == "Status:" {
			return string(words[1]) == "Enabled"
		}
	}
	return false
}

// blocks looks for a rule like "block drop in quick from <table> to any". The
// table may be followed by how many members it has: "<table:3>".
func blocks(rules []byte, table string) bool {
	for line := range bytes.Lines(rules) {
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0] != "block" {
			continue
		}
		for i, w := range words[:len(words)-1] {
			name, tabled := strings.CutPrefix(words[i+1], "<")
			name, _, _ = strings.Cut(strings.TrimSuffix(name, ">"), ":")
			if w == "from" && tabled && name == table {
				return true
			}
		}
	}
	return false
}

// parse reads `pfctl -T show`: an address or prefix a line. A member that is an
// exception (!) is nobody's that we block.
func parse(out []byte) []netip.Prefix {
	var found []netip.Prefix
	for line := range bytes.Lines(out) {
		if p, ok := tool.ParseClient(string(bytes.TrimSpace(line))); ok {
			found = append(found, p)
		}
	}
	return found
}
