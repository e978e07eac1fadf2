package tool

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"riposte/internal/enforce"
)

// toy is a tool that keeps one list, with switches for what may go wrong.
type toy struct {
	list      map[string]bool
	unready   error
	unread    error
	refuse    error
	complaint error
}

func (y *toy) run(_ context.Context, argv []string, stdin []byte) ([]byte, []byte, error) {
	switch argv[0] {
	case "ready":
		return nil, nil, y.unready
	case "show":
		var b strings.Builder
		for a := range y.list {
			b.WriteString(a + "\n")
		}
		return []byte(b.String()), nil, y.unread
	case "add":
		if y.refuse == nil {
			y.list[argv[1]] = true
		}
		return nil, nil, y.refuse
	case "delete":
		if y.refuse == nil {
			delete(y.list, argv[1])
		}
		return nil, nil, y.refuse
	}
	return nil, nil, y.complaint
}

func open(y *toy) *Mechanism {
	command := func(verb string) func([]netip.Prefix) []Command {
		return func(ps []netip.Prefix) []Command {
			return Each(ps, func(p netip.Prefix) []string { return []string{verb, Client(p)} })
		}
	}
	return New(System{
		Name: "toy",
		Ready: func(ctx context.Context, run enforce.Runner) error {
			_, _, err := run(ctx, []string{"ready"}, nil)
			return err
		},
		Add: command("add"), Delete: command("delete"), After: command("after"),
		Show: func([]netip.Prefix) []Command { return []Command{{Argv: []string{"show"}}} },
		Parse: func(out []byte) (found []netip.Prefix) {
			for line := range strings.Lines(string(out)) {
				if p, ok := ParseClient(strings.TrimSpace(line)); ok {
					found = append(found, p)
				}
			}
			return found
		},
	}, y.run)
}

func TestFailures(t *testing.T) {
	wrong := errors.New("wrong")
	one := []enforce.Effect{{Target: enforce.AddressTarget(netip.MustParsePrefix("192.0.2.1/32"))}}
	f := func(name string, y *toy, applied, undone error, output string) {
		t.Helper()
		y.list = map[string]bool{"198.51.100.7": true}
		m := open(y)
		r := m.Apply(t.Context(), one)
		if !errors.Is(r[0].Err, applied) || r[0].Verified != (applied == nil) || !strings.Contains(r[0].Output, output) {
			t.Errorf("%s: applied: %+v", name, r[0])
		}
		if r := m.Undo(t.Context(), one); !errors.Is(r[0].Err, undone) {
			t.Errorf("%s: undone: %+v", name, r[0])
		}
		if !y.list["198.51.100.7"] {
			t.Errorf("%s: somebody else's is gone", name)
		}
	}
	f("well", &toy{}, nil, nil, "")
	f("not ready", &toy{unready: wrong}, wrong, nil, "")
	f("cannot be read", &toy{unread: wrong}, wrong, wrong, "")
	f("refuses", &toy{refuse: wrong}, wrong, nil, "") // there is nothing to undo
	f("connections go on", &toy{complaint: wrong}, nil, nil, "wrong")
}

func TestList(t *testing.T) {
	y := &toy{list: map[string]bool{"198.51.100.7": true}}
	m := open(y)
	two := []enforce.Effect{
		{Target: enforce.AddressTarget(netip.MustParsePrefix("192.0.2.1/32"))},
		{Target: enforce.AddressTarget(netip.MustParsePrefix("2001:db8::/64"))},
	}
	m.Apply(t.Context(), two)
	delete(y.list, "192.0.2.1") // by another hand
	if list, err := m.List(t.Context()); err != nil || len(list) != 1 || list[0].Target != two[1].Target {
		t.Errorf("listed %v, %v", list, err)
	}
	y.unready, m = errors.New("switched off"), open(y)
	if list, err := m.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v while nothing blocks", list, err)
	}
	y.unready, y.unread = nil, errors.New("wrong")
	if list, err := m.List(t.Context()); !errors.Is(err, y.unread) {
		t.Errorf("listed %v, %v", list, err)
	}
}

func TestClient(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1/32": "192.0.2.1", "192.0.2.1/24": "192.0.2.0/24", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:DB8::1": "2001:db8::1", "fe80::1%em0": "fe80::1", "2001:db8::/64": "2001:db8::/64",
	} {
		if p, ok := ParseClient(text); !ok || Client(p) != want {
			t.Errorf("%q is read as %v, %v", text, p, ok)
		}
	}
	for _, text := range []string{"", "!192.0.2.1", "192.0.2", "any", "192.0.2.1/33", "192.0.2.1 0"} {
		if p, ok := ParseClient(text); ok {
			t.Errorf("%q is read as %v", text, p)
		}
	}
}
