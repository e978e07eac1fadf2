package route

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func open(t testing.TB) *Table {
	t.Helper()
	lab.Need(t, "ip")
	m, err := New(enforce.Exec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		lab.Here(t).Run(t, "sh", "-c", fmt.Sprintf("ip -4 route flush proto %d; ip -6 route flush proto %[1]d", Protocol))
	})
	return m
}

func effect(t testing.TB, text string) enforce.Effect {
	t.Helper()
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		t.Fatal(err)
	}
	return enforce.Effect{Target: target}
}

func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, effects ...enforce.Effect) {
	t.Helper()
	for i, r := range do(t.Context(), effects) {
		if r.Err != nil {
			t.Fatalf("%s: %v", effects[i].Target, r.Err)
		}
	}
}

func TestContract(t *testing.T) {
	lab.Need(t, "ip")
	enforcetest.Suite{
		New:    func(t testing.TB) enforce.Mechanism { return open(t) },
		Marked: true,
		InForce: func(t testing.TB, target riposte.Target) bool {
			p, _ := target.Prefix()
			family := "-4"
			if p.Addr().Is6() {
				family = "-6"
			}
			out := lab.Here(t).Run(t, "ip", family, "route", "show", "exact", p.String())
			return strings.HasPrefix(out, "blackhole "+target.Value) && strings.Contains(out, fmt.Sprint("proto ", Protocol))
		},
		Foreign: foreign,
	}.Run(t)
}

func TestPackets(t *testing.T) {
	enforcetest.Packets(t, func(t testing.TB) enforce.Mechanism { return open(t) }, false)
}

// foreign is null routes of somebody else's: a provider's, by BGP, and one of
// the operator's.
func foreign(t testing.TB, near riposte.Target) func(testing.TB) {
	here := lab.Here(t)
	here.Run(t, "ip", "route", "add", "blackhole", near.Value, "proto", "bgp")
	here.Run(t, "ip", "route", "add", "blackhole", "198.51.100.0/24")
	here.Run(t, "ip", "-6", "route", "add", "blackhole", "2001:db8:bbbb::/48", "proto", "186")
	list := func() string {
		var kept []string
		for line := range strings.Lines(here.Run(t, "ip", "route", "show", "table", "all") + here.Run(t, "ip", "-6", "route", "show", "table", "all")) {
			if !strings.Contains(line, fmt.Sprint("proto ", Protocol)) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	before := list()
	t.Cleanup(func() {
		here.Run(t, "ip", "route", "del", "blackhole", near.Value)
		here.Run(t, "ip", "route", "del", "blackhole", "198.51.100.0/24")
		here.Run(t, "ip", "-6", "route", "del", "blackhole", "2001:db8:bbbb::/48")
	})
	return func(t testing.TB) {
		t.Helper()
		if now := list(); now != before {
			t.Errorf("somebody else's routes are now\n%s\nand were\n%s", now, before)
		}
	}
}

// TestTaken: where somebody else has a route to the very target ours fails, and
// theirs stays.
func TestTaken(t *testing.T) {
	m := open(t)
	here := lab.Here(t)
	here.Run(t, "ip", "route", "add", "192.0.2.1", "dev", "lo")
	t.Cleanup(func() { here.Run(t, "ip", "route", "del", "192.0.2.1", "dev", "lo") })
	results := m.Apply(t.Context(), []enforce.Effect{effect(t, "192.0.2.1"), effect(t, "192.0.2.2")})
	if results[0].Err == nil || !strings.Contains(results[0].Err.Error(), "somebody else") || results[1].Err != nil || !results[1].Verified {
		t.Errorf("results %+v", results)
	}
	must(t, m.Undo, effect(t, "192.0.2.1"), effect(t, "192.0.2.2"))
	if out := here.Run(t, "ip", "route"); !strings.Contains(out, "192.0.2.1 dev lo") {
		t.Errorf("routes are\n%s", out)
	}
}

// TestWithoutEffect: a null route that another table overrules is not called a
// block.
func TestWithoutEffect(t *testing.T) {
	m := open(t)
	here := lab.Here(t)
	here.Run(t, "ip", "rule", "add", "priority", "100", "lookup", "77")
	here.Run(t, "ip", "route", "add", "192.0.2.0/24", "dev", "lo", "table", "77")
	t.Cleanup(func() {
		here.Run(t, "ip", "rule", "del", "priority", "100")
		here.Run(t, "ip", "route", "flush", "table", "77")
	})
	r := m.Apply(t.Context(), []enforce.Effect{effect(t, "192.0.2.1"), effect(t, "198.51.100.1")})
	if r[0].Err == nil || !strings.Contains(r[0].Err.Error(), "ip rule") || r[1].Err != nil {
		t.Errorf("results %+v", r)
	}
	if list, err := m.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("listed %v, %v", list, err)
	}
}

func BenchmarkRoutes(b *testing.B) {
	m := open(b)
	for _, n := range []int{1, 10_000, 100_000} {
		all := make([]enforce.Effect, n)
		for i := range all {
			all[i].Target = enforcetest.Addresses(i)
		}
		b.Run(fmt.Sprint(n, "/apply"), func(b *testing.B) {
			for b.Loop() {
				must(b, m.Apply, all...)
				b.StopTimer()
				must(b, m.Undo, all...)
				b.StartTimer()
			}
		})
		must(b, m.Apply, all...)
		b.Run(fmt.Sprint(n, "/list"), func(b *testing.B) {
			for b.Loop() {
				if list, err := m.List(b.Context()); err != nil || len(list) != n {
					b.Fatalf("%d, %v", len(list), err)
				}
			}
		})
		b.Run(fmt.Sprint(n, "/undo"), func(b *testing.B) {
			for b.Loop() {
				must(b, m.Undo, all...)
				b.StopTimer()
				must(b, m.Apply, all...)
				b.StartTimer()
			}
		})
		must(b, m.Undo, all...)
	}
}

// A host whose interfaces are all down has no routes, which is no error.
func TestListWithoutAnyRoute(t *testing.T) {
	lab.Need(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread is lost to its namespace, and ends with the goroutine
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			m, err := New(enforce.Exec)
			if err != nil {
				return err
			}
			defer m.Close()
			list, err := m.List(t.Context())
			if err == nil && len(list) > 0 {
				err = fmt.Errorf("listed %v", list)
			}
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
