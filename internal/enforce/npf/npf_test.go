package npf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/enforce/tool"
)

const shown = `# filtering:	active
# config:	loaded

table <ossec_blacklist> type lpm

group default {
	block in final family inet4 from <ossec_blacklist> # id="1"
	pass final all # id="2"
}
`

// npf plays NetBSD's packet filter: what npfctl would do, in its words. It
// refuses to add what is there and to remove what is not.
type npf struct {
	show  string
	table enforcetest.Table
	calls []string
}

func (f *npf) run(ctx context.Context, argv []string, _ []byte) (stdout, stderr []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	call := strings.Join(argv, " ")
	f.calls = append(f.calls, call)
	words := argv[len(argv)-2:]
	switch {
	case call == "npfctl show":
		return []byte(f.show), nil, nil
	case call == "npfctl table ossec_blacklist list":
		var b strings.Builder
		for p := range f.table {
			fmt.Fprintln(&b, tool.Client(p))
		}
		return []byte(b.String()), nil, nil
	case words[0] == "add" && !f.table[enforcetest.Prefix(words[1])]:
		f.table[enforcetest.Prefix(words[1])] = true
		return nil, nil, nil
	case words[0] == "rem" && f.table[enforcetest.Prefix(words[1])]:
		delete(f.table, enforcetest.Prefix(words[1]))
		return nil, nil, nil
	case words[0] == "add", words[0] == "rem":
		return nil, []byte("npfctl: no matching entry was found\n"), errors.New("exit status 1")
	}
	return nil, nil, fmt.Errorf("unexpected command %q", call)
}

func open(t testing.TB, f *npf) *tool.Mechanism {
	t.Helper()
	m, err := New(f.run, OSSECTable)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestContract(t *testing.T) {
	f := &npf{show: shown, table: enforcetest.Table{}}
	enforcetest.Suite{
		New:     func(t testing.TB) enforce.Mechanism { return open(t, f) },
		Bulk:    300,
		InForce: f.table.InForce,
		Foreign: f.table.Foreign,
	}.Run(t)
}

func TestCommands(t *testing.T) {
	f := &npf{show: shown, table: enforcetest.Table{}}
	m := open(t, f)
	one := []enforce.Effect{{Target: enforce.AddressTarget(enforcetest.Prefix("203.0.113.9")), Until: time.Now().Add(time.Hour)}}
	m.Apply(t.Context(), one)
	m.Undo(t.Context(), one)
	want := []string{
		"npfctl show", "npfctl table ossec_blacklist add 203.0.113.9", "npfctl table ossec_blacklist list",
		"npfctl table ossec_blacklist rem 203.0.113.9", "npfctl table ossec_blacklist list",
	}
	if !slices.Equal(f.calls, want) {
		t.Errorf("ran\n%s\nwant\n%s", strings.Join(f.calls, "\n"), strings.Join(want, "\n"))
	}
}

func TestNotReady(t *testing.T) {
	for text, word := range map[string]string{
		strings.Replace(shown, "active", "inactive", 1):                                   "not active",
		strings.Replace(shown, "block", "pass", 1):                                        "no rule blocks",
		strings.ReplaceAll(shown, "from <ossec_blacklist>", "from <ossec_blacklist_old>"): "no rule blocks",
		"": "not active",
	} {
		f := &npf{show: text, table: enforcetest.Table{}}
		r := open(t, f).Apply(t.Context(), []enforce.Effect{{Target: enforce.AddressTarget(enforcetest.Prefix("203.0.113.9"))}})
		if r[0].Err == nil || !strings.Contains(r[0].Err.Error(), word) || len(f.table) > 0 {
			t.Errorf("error %v, want %q; the table holds %v", r[0].Err, word, f.table)
		}
	}
	for _, name := range []string{"", "-x", "a b", "a;b", "<a>"} {
		if _, err := New(nil, name); err == nil {
			t.Errorf("the table %q was taken", name)
		}
	}
}
