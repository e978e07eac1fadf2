package pf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/enforce/tool"
)

const blockRule = "block drop in quick from <ossec_fwtable> to any\n"

// pf plays the packet filter: what pfctl would do, in pfctl's words.
type pf struct {
	disabled bool
	rules    string
	anchored string
	table    enforcetest.Table
	killed   []string
	calls    []string
	deaf     bool // adds nothing and says nothing
}

func newPF() *pf {
	return &pf{rules: "pass all flags S/SA\n" + blockRule, table: enforcetest.Table{}}
}

func (f *pf) run(ctx context.Context, argv []string, stdin []byte) (stdout, stderr []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	call := strings.Join(argv, " ")
	f.calls = append(f.calls, call)
	addresses := func(verb string) []string {
		if rest, ok := strings.CutPrefix(call, "pfctl -t ossec_fwtable -T "+verb+" "); ok && rest != "-f -" {
			return []string{rest}
		}
		return strings.Fields(string(stdin))
	}
	switch {
	case call == "pfctl -s info":
		state := "Enabled"
		if f.disabled {
			state = "Disabled"
		}
		return []byte("No ALTQ support in kernel\nStatus: " + state + " for 0 days 00:09:13           Debug: Urgent\n\nState Table   Total  Rate\n"), nil, nil
	case call == "pfctl -s rules":
		return []byte(f.rules), nil, nil
	case call == "pfctl -a * -s rules":
		return []byte(f.rules + f.anchored), nil, nil
	case call == "pfctl -t ossec_fwtable -T show":
		var b strings.Builder
		for p := range f.table {
			fmt.Fprintf(&b, "   %s\n", tool.Client(p))
		}
		return []byte(b.String()), nil, nil
	case strings.HasPrefix(call, "pfctl -t ossec_fwtable -T add"):
		n := 0
		for _, a := range addresses("add") {
			if p := enforcetest.Prefix(a); !f.table[p] && !f.deaf {
				f.table[p] = true
				n++
			}
		}
		return nil, fmt.Appendf(nil, "%d/%d addresses added.\n", n, len(addresses("add"))), nil
	case strings.HasPrefix(call, "pfctl -t ossec_fwtable -T delete"):
		for _, a := range addresses("delete") {
			delete(f.table, enforcetest.Prefix(a))
		}
		return nil, []byte("addresses deleted.\n"), nil
	case strings.HasPrefix(call, "pfctl -k "):
		f.killed = append(f.killed, strings.TrimPrefix(call, "pfctl "))
		return nil, []byte("killed 1 states from 1 sources and 0 destinations\n"), nil
	}
	return nil, nil, fmt.Errorf("unexpected command %q", call)
}

func open(t testing.TB, f *pf) *tool.Mechanism {
	t.Helper()
	m, err := New(f.run, OSSECTable)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func effect(text string) enforce.Effect {
	return enforce.Effect{Target: enforce.AddressTarget(enforcetest.Prefix(text)), Until: time.Now().Add(time.Hour)}
}

func TestContract(t *testing.T) {
	f := newPF()
	enforcetest.Suite{
		New:     func(t testing.TB) enforce.Mechanism { return open(t, f) },
		Bulk:    2000,
		InForce: f.table.InForce,
		Foreign: f.table.Foreign,
	}.Run(t)
}

// TestCommands: the exact commands of one block and its undo.
func TestCommands(t *testing.T) {
	f := newPF()
	m := open(t, f)
	for _, text := range []string{"203.0.113.9", "2001:db8::/64"} {
		f.calls = nil
		if r := m.Apply(t.Context(), []enforce.Effect{effect(text)}); r[0].Err != nil || !r[0].Verified {
			t.Errorf("%+v", r)
		}
		m.Undo(t.Context(), []enforce.Effect{effect(text)})
		all := "0.0.0.0/0"
		if strings.Contains(text, ":") {
			all = "::/0"
		}
		want := []string{
			"pfctl -t ossec_fwtable -T add " + text, "pfctl -t ossec_fwtable -T show",
			"pfctl -k " + text, "pfctl -k " + all + " -k " + text,
			"pfctl -t ossec_fwtable -T delete " + text, "pfctl -t ossec_fwtable -T show",
		}
		if text == "203.0.113.9" { // once in a second
			want = append([]string{"pfctl -s info", "pfctl -s rules"}, want...)
		}
		if !slices.Equal(f.calls, want) {
			t.Errorf("ran\n%s\nwant\n%s", strings.Join(f.calls, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestNotReady: a table that nobody reads is not called a block.
func TestNotReady(t *testing.T) {
	f := func(change func(*pf), word string) {
		t.Helper()
		p := newPF()
		change(p)
		r := open(t, p).Apply(t.Context(), []enforce.Effect{effect("203.0.113.9")})
		if word == "" && r[0].Err != nil || word != "" && (r[0].Err == nil || !strings.Contains(r[0].Err.Error(), word)) {
			t.Errorf("error %v, want %q", r[0].Err, word)
		}
		if word != "" && len(p.table) > 0 {
			t.Errorf("left behind: %v", p.table)
		}
	}
	f(func(*pf) {}, "")
	f(func(p *pf) { p.disabled = true }, "not enabled")
	f(func(p *pf) { p.rules = "pass all\n" }, "no rule blocks the table <ossec_fwtable>")
	f(func(p *pf) { p.rules = "pass in from <ossec_fwtable> to any\n" }, "no rule blocks")
	f(func(p *pf) { p.rules = "block drop out quick from any to <ossec_fwtable>\n" }, "no rule blocks")
	f(func(p *pf) { p.rules = "block drop in from <ossec_fwtable2> to any\n" }, "no rule blocks")
	f(func(p *pf) { p.rules = "block return in log quick on em0 inet from <ossec_fwtable:12> to any\n" }, "")
	f(func(p *pf) { p.rules, p.anchored = "anchor \"a\" all\n", blockRule }, "")
	f(func(p *pf) { p.deaf = true }, "not in force")
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "-f", "a b", "a;b", "<a>", "../x", strings.Repeat("a", 32)} {
		if _, err := New(newPF().run, name); err == nil {
			t.Errorf("the table %q was taken", name)
		}
	}
	if _, err := New(newPF().run, WazuhTable); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	out := "   198.51.100.0/24\n   203.0.113.9\n   !203.0.113.10\n   2001:db8::1\n   2001:db8:f000::/64\n\tCleared:     Mon Nov 23 06:54:00 2026\n\nNo ALTQ support in kernel\n"
	want := []netip.Prefix{enforcetest.Prefix("198.51.100.0/24"), enforcetest.Prefix("203.0.113.9"), enforcetest.Prefix("2001:db8::1"), enforcetest.Prefix("2001:db8:f000::/64")}
	if got := parse([]byte(out)); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestKillComplains(t *testing.T) {
	f := newPF()
	m, err := New(func(ctx context.Context, argv []string, stdin []byte) ([]byte, []byte, error) {
		if argv[1] == "-k" {
			return nil, nil, errors.New("pfctl: DIOCKILLSTATES: Operation not permitted")
		}
		return f.run(ctx, argv, stdin)
	}, OSSECTable)
	if err != nil {
		t.Fatal(err)
	}
	r := m.Apply(t.Context(), []enforce.Effect{effect("203.0.113.9")})
	if r[0].Err != nil || !strings.Contains(r[0].Output, "DIOCKILLSTATES") {
		t.Errorf("%+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("   203.0.113.9\n"), []byte("Status: Enabled"), []byte(blockRule))
	f.Add([]byte("::ffff:1.2.3.4/120\n\x00"), []byte("Status:"), []byte("block\nblock from\nblock from <"))
	f.Fuzz(func(t *testing.T, show, info, rules []byte) {
		for _, p := range parse(show) {
			if !p.IsValid() {
				t.Error("an invalid prefix")
			}
		}
		enabled(info)
		blocks(rules, OSSECTable)
	})
}
