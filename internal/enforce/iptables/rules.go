//go:build linux

package iptables

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
)

// family is what differs between IPv4 and IPv6.
type family struct {
	number  uint8
	set     string
	tool    string // iptables
	restore string // iptables-restore
}

func families() [2]*family {
	return [2]*family{
		{number: unix.AF_INET, set: "riposte4", tool: "iptables", restore: "iptables-restore"},
		{number: unix.AF_INET6, set: "riposte6", tool: "ip6tables", restore: "ip6tables-restore"},
	}
}

// The place of our chain, and the chains that jump to it first of all.
const (
	table = "mangle"
	chain = "RIPOSTE"
)

func hooks() [2]string { return [2]string{"PREROUTING", "POSTROUTING"} }

// patience is how many seconds the tools wait for the lock that they share.
const patience = "5"

// rules is our chain, as `iptables -S` prints it.
func (f *family) rules() []string {
	return []string{
		"-A " + chain + " -m set --match-set " + f.set + " src -j DROP",
		"-A " + chain + " -m set --match-set " + f.set + " dst -j DROP",
	}
}

// state is what there is of our rules.
type state struct {
	chain []string        // rules of our chain
	first map[string]bool // the hook jumps to our chain before anything else
	jumps map[string]int  // how often it does
}

func (s *state) whole(f *family) bool {
	if !slices.Equal(s.chain, f.rules()) {
		return false
	}
	for _, h := range hooks() {
		if !s.first[h] || s.jumps[h] != 1 {
			return false
		}
	}
	return true
}

// read asks the tool for the table's rules.
func (f *family) read(ctx context.Context, run enforce.Runner) (*state, error) {
	out, _, err := run(ctx, []string{f.tool, "-w", patience, "-t", table, "-S"}, nil)
	if err != nil {
		return nil, fmt.Errorf("listing rules: %w", err)
	}
	return parse(out), nil
}

// parse reads what `iptables -S` prints: one rule a line, as one would add it.
func parse(out []byte) *state {
	s := &state{first: make(map[string]bool), jumps: make(map[string]int)}
	seen := make(map[string]bool)
	for line := range bytes.Lines(out) {
		rule := strings.Join(strings.Fields(string(line)), " ")
		words := strings.SplitN(rule, " ", 3)
		if len(words) < 3 || words[0] != "-A" {
			continue
		}
		switch in := words[1]; {
		case in == chain:
			s.chain = append(s.chain, rule)
		case words[2] == "-j "+chain:
			s.jumps[in]++
			s.first[in] = s.first[in] || !seen[in]
			seen[in] = true
		default:
			seen[in] = true
		}
	}
	return s
}

// mend is the input that makes iptables-restore put our rules in place, in one
// piece. With --noflush it empties no chain but those it declares, ours.
func (s *state) mend(f *family) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%s\n:%s - [0:0]\n", table, chain)
	for _, r := range f.rules() {
		fmt.Fprintln(&b, r)
	}
	for _, h := range hooks() {
		for range s.jumps[h] {
			fmt.Fprintf(&b, "-D %s -j %s\n", h, chain)
		}
		fmt.Fprintf(&b, "-I %s 1 -j %s\n", h, chain)
	}
	b.WriteString("COMMIT\n")
	return b.Bytes()
}

// ensure puts our rules in place where they are not. The set must be there.
func (f *family) ensure(ctx context.Context, run enforce.Runner) (err error) {
	for range 3 { // another hand may be at work between reading and mending
		var s *state
		if s, err = f.read(ctx, run); err != nil {
			return err
		}
		if s.whole(f) {
			return nil
		}
		if _, _, err = run(ctx, []string{f.restore, "-w", patience, "--noflush"}, s.mend(f)); err != nil {
			err = fmt.Errorf("making chain %s: %w", chain, err)
		}
	}
	if err == nil {
		err = fmt.Errorf("chain %s does not stay in place: somebody else changes it", chain)
	}
	return err
}
