package ipfw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
)

// ipfw plays FreeBSD's firewall: what ipfw would do, in its words. It refuses to
// add what is there and to delete what is not.
type ipfw struct {
	rules []string
	table enforcetest.Table
	calls []string
}

func (f *ipfw) run(ctx context.Context, argv []string, _ []byte) (stdout, stderr []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	call := strings.Join(argv, " ")
	f.calls = append(f.calls, call)
	words := argv[len(argv)-2:]
	rule, added := strings.CutPrefix(call, "ipfw -q add 00001 ")
	switch {
	case call == "ipfw list":
		return []byte(strings.Join(f.rules, "\n") + "\n65535 allow ip from any to any\n"), nil, nil
	case added:
		f.rules = append(f.rules, "00001 "+strings.ReplaceAll(rule, "(00001)", "(1)"))
		return nil, nil, nil
	case call == "ipfw table 00001 list":
		var b strings.Builder
		b.WriteString("--- table(1), set(0) ---\n")
		for p := range f.table {
			fmt.Fprintf(&b, "%s 0\n", p)
		}
		return []byte(b.String()), nil, nil
	case words[0] == "add" && !f.table[enforcetest.Prefix(words[1])]:
		f.table[enforcetest.Prefix(words[1])] = true
		return nil, nil, nil
	case words[0] == "delete" && f.table[enforcetest.Prefix(words[1])]:
		delete(f.table, enforcetest.Prefix(words[1]))
		return nil, nil, nil
	case words[0] == "add", words[0] == "delete":
		return nil, []byte("ipfw: Adding record failed: record already exists\n"), errors.New("exit status 71")
	}
	return nil, nil, fmt.Errorf("unexpected command %q", call)
}

func TestContract(t *testing.T) {
	f := &ipfw{table: enforcetest.Table{}}
	enforcetest.Suite{
		New:     func(testing.TB) enforce.Mechanism { return New(f.run) },
		Bulk:    300,
		InForce: f.table.InForce,
		Foreign: f.table.Foreign,
	}.Run(t)
	if len(f.rules) != 2 {
		t.Errorf("rules\n%s", strings.Join(f.rules, "\n"))
	}
}

func TestCommands(t *testing.T) {
	f := &ipfw{table: enforcetest.Table{}, rules: []string{"00001 deny ip from any to table(1)"}}
	m := New(f.run)
	one := []enforce.Effect{{Target: enforce.AddressTarget(enforcetest.Prefix("203.0.113.9"))}}
	m.Apply(t.Context(), one)
	m.Undo(t.Context(), one)
	want := []string{
		"ipfw list", "ipfw -q add 00001 deny ip from table(00001) to any",
		"ipfw -q table 00001 add 203.0.113.9", "ipfw table 00001 list",
		"ipfw -q table 00001 delete 203.0.113.9", "ipfw table 00001 list",
	}
	if !slices.Equal(f.calls, want) {
		t.Errorf("ran\n%s\nwant\n%s", strings.Join(f.calls, "\n"), strings.Join(want, "\n"))
	}
}
