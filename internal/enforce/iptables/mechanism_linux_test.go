package iptables

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/enforce/enforcetest"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// wipe takes away all that the mechanism makes.
const wipe = `for t in iptables ip6tables; do
	for h in PREROUTING POSTROUTING; do while $t -t mangle -D $h -j RIPOSTE; do :; done; done
	$t -t mangle -F RIPOSTE; $t -t mangle -X RIPOSTE
done
ipset destroy riposte4; ipset destroy riposte6; true`

func open(t testing.TB) *Mechanism {
	t.Helper()
	lab.Need(t, "iptables", "ip6tables", "ipset")
	m, err := New(enforce.Exec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		lab.Here(t).Run(t, "sh", "-c", wipe)
	})
	return m
}

func set(target riposte.Target) string {
	if strings.Contains(target.Value, ":") {
		return "riposte6"
	}
	return "riposte4"
}

func TestContract(t *testing.T) {
	lab.Need(t, "iptables", "ip6tables", "ipset")
	enforcetest.Suite{
		New:    func(t testing.TB) enforce.Mechanism { return open(t) },
		Timed:  true,
		Marked: true,
		InForce: func(t testing.TB, target riposte.Target) bool {
			_, err := lab.Here(t).Try("ipset", "test", set(target), target.Value)
			return err == nil
		},
		Foreign: foreign,
	}.Run(t)
}

func TestPackets(t *testing.T) {
	enforcetest.Packets(t, func(t testing.TB) enforce.Mechanism { return open(t) }, true)
}

// foreign is an ipset and rules of somebody else's, some where ours go.
func foreign(t testing.TB, near riposte.Target) func(testing.TB) {
	here := lab.Here(t)
	const setUp = `set -e
		ipset create other hash:net; ipset add other ADDR; ipset add other 11.0.0.1
		iptables -t mangle -N RIPOSTE-NOT
		iptables -t mangle -A RIPOSTE-NOT -m set --match-set other src -j RETURN
		iptables -t mangle -A PREROUTING -j RIPOSTE-NOT
		iptables -t mangle -A POSTROUTING -s ADDR -j MARK --set-mark 7
		iptables -A INPUT -s ADDR -j ACCEPT
		iptables -A FORWARD -s ADDR -j ACCEPT
		ip6tables -t mangle -A PREROUTING -s 2001:db8::1 -j ACCEPT`
	here.Run(t, "sh", "-c", strings.ReplaceAll(setUp, "ADDR", near.Value))
	list := func() string {
		s := here.Run(t, "sh", "-c", "ipset list other; for t in iptables ip6tables; do $t -S; $t -t mangle -S; $t -t raw -S; $t -t nat -S; done")
		var kept []string
		for line := range strings.Lines(s) {
			if strings.Contains(line, "RIPOSTE\n") || strings.Contains(line, "RIPOSTE ") {
				continue // ours
			}
			kept = append(kept, line)
		}
		return strings.Join(kept, "")
	}
	before := list()
	t.Cleanup(func() {
		here.Run(t, "sh", "-c", `for t in iptables ip6tables; do for b in filter mangle; do $t -t $b -F; $t -t $b -X; done; done; ipset destroy other`)
	})
	return func(t testing.TB) {
		t.Helper()
		if now := list(); now != before {
			t.Errorf("somebody else's rules are now\n%s\nand were\n%s", now, before)
		}
	}
}

func effect(t testing.TB, text string, d time.Duration) enforce.Effect {
	t.Helper()
	target, err := riposte.ParseTarget(riposte.Address, text)
	if err != nil {
		t.Fatal(err)
	}
	e := enforce.Effect{Target: target}
	if d > 0 {
		e.Until = time.Now().Add(d)
	}
	return e
}

func must(t testing.TB, do func(context.Context, []enforce.Effect) []enforce.Result, effects ...enforce.Effect) {
	t.Helper()
	for i, r := range do(t.Context(), effects) {
		if r.Err != nil {
			t.Fatalf("%s: %v", effects[i].Target, r.Err)
		}
	}
}

func TestVerified(t *testing.T) {
	m := open(t)
	effects := []enforce.Effect{effect(t, "192.0.2.1", time.Hour), effect(t, "2001:db8::1", 0), effect(t, "198.51.100.0/24", time.Minute)}
	for range 2 {
		for i, r := range m.Apply(t.Context(), effects) {
			if r.Err != nil || !r.Verified {
				t.Errorf("%s: %+v", effects[i].Target, r)
			}
		}
	}
}

func TestEnds(t *testing.T) {
	m := open(t)
	must(t, m.Apply, effect(t, "192.0.2.1", time.Second), effect(t, "192.0.2.2", time.Hour), effect(t, "192.0.2.3", 100*365*24*time.Hour))
	must(t, m.Apply, effect(t, "192.0.2.2", 10*time.Millisecond))
	list, err := m.List(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("listed %v, %v", list, err)
	}
	for _, e := range list {
		if far := e.Target.Value == "192.0.2.3"; e.Until.IsZero() != far {
			t.Errorf("%s ends at %v", e.Target, e.Until)
		}
	}
	for deadline := time.Now().Add(4 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if list, err = m.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after their time: %v", list)
		}
	}
}

func TestOverlapping(t *testing.T) {
	m := open(t)
	nested := []enforce.Effect{
		effect(t, "10.0.0.0/8", time.Hour), effect(t, "10.1.0.0/16", 24*time.Hour), effect(t, "10.1.2.3", 2*time.Hour),
		effect(t, "2001:db8::/32", 0), effect(t, "2001:db8::/64", time.Minute), effect(t, "0.0.0.0/1", time.Minute),
	}
	must(t, m.Apply, nested...)
	must(t, m.Undo, nested[0], nested[3], nested[5])
	list, err := m.List(t.Context())
	if err != nil || len(list) != 3 {
		t.Errorf("listed %v, %v", list, err)
	}
	all := effect(t, "0.0.0.0/0", time.Hour)
	if r := m.Apply(t.Context(), []enforce.Effect{all}); r[0].Err == nil {
		t.Error("a set holds all addresses")
	}
	must(t, m.Undo, all)
}

// TestMended: whatever somebody else does to the rules, the next Apply blocks,
// and until then nothing is listed that does not block.
func TestMended(t *testing.T) {
	lab.Need(t, "iptables", "ip6tables", "ipset")
	here := lab.Here(t)
	f := func(name, damage string, listed int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			m := open(t)
			both := []enforce.Effect{effect(t, "192.0.2.1", time.Hour), effect(t, "2001:db8::/64", time.Hour)}
			must(t, m.Apply, both...)
			rules := func() string {
				return here.Run(t, "sh", "-c", "iptables -t mangle -S; ip6tables -t mangle -S")
			}
			want := rules()
			here.Run(t, "sh", "-c", "set -e; "+damage)
			if list, err := m.List(t.Context()); err != nil || len(list) != listed {
				t.Errorf("damaged: listed %v, %v; expected %d", list, err, listed)
			}
			m.checked = [2]time.Time{} // a second later
			must(t, m.Apply, both...)
			if list, err := m.List(t.Context()); err != nil || len(list) != 2 {
				t.Errorf("mended: listed %v, %v", list, err)
			}
			if got := rules(); got != want {
				t.Errorf("mended:\n%s\nwas\n%s", got, want)
			}
		})
	}
	f("nothing", "true", 2)
	f("flushed", "iptables -t mangle -F", 1)
	f("flushed and deleted", "iptables -t mangle -F; iptables -t mangle -X", 1)
	f("everything", wipe, 0)
	f("rule before the jump", "iptables -t mangle -I PREROUTING -j RETURN; iptables -t mangle -D PREROUTING -j RETURN; ip6tables -t mangle -D POSTROUTING -j RIPOSTE", 1)
	f("jump twice", "iptables -t mangle -A PREROUTING -j RIPOSTE", 1)
	f("accept in ours", "iptables -t mangle -I RIPOSTE -j ACCEPT; ip6tables -t mangle -I RIPOSTE -j ACCEPT", 0)
	f("flushed set", "ipset flush riposte4", 1)
}

// TestFirst: the jump comes first again when somebody got before it.
func TestFirst(t *testing.T) {
	m := open(t)
	here := lab.Here(t)
	must(t, m.Apply, effect(t, "192.0.2.1", time.Hour))
	here.Run(t, "iptables", "-t", "mangle", "-I", "PREROUTING", "-s", "192.0.2.1", "-j", "ACCEPT")
	t.Cleanup(func() { here.Run(t, "iptables", "-t", "mangle", "-D", "PREROUTING", "-s", "192.0.2.1", "-j", "ACCEPT") })
	m.checked = [2]time.Time{}
	must(t, m.Apply, effect(t, "192.0.2.2", time.Hour))
	want := "-A PREROUTING -j RIPOSTE\n-A PREROUTING -s 192.0.2.1/32 -j ACCEPT\n"
	if got := here.Run(t, "iptables", "-t", "mangle", "-S", "PREROUTING"); !strings.HasSuffix(got, want) {
		t.Errorf("rules are\n%s", got)
	}
}

func TestParse(t *testing.T) {
	f := func(text string, whole bool) {
		t.Helper()
		if got := parse([]byte(text)).whole(families()[0]); got != whole {
			t.Errorf("whole is %v for\n%s", got, text)
		}
	}
	const ours = "-A RIPOSTE -m set --match-set riposte4 src -j DROP\n-A RIPOSTE -m set --match-set riposte4 dst -j DROP\n"
	const jumps = "-A PREROUTING -j RIPOSTE\n-A POSTROUTING -j RIPOSTE\n"
	f("", false)
	f("-P PREROUTING ACCEPT\n-N RIPOSTE\n"+jumps+ours, true)
	f("-P PREROUTING ACCEPT\n-N RIPOSTE\n"+jumps+"-A PREROUTING -j OTHER\n"+ours, true)
	f("-A PREROUTING -j OTHER\n"+jumps+ours, false)
	f(jumps+jumps+ours, false)
	f(jumps+ours+"-A RIPOSTE -j RETURN\n", false)
	f(jumps, false)
	f(ours, false)
	f(strings.ReplaceAll(jumps+ours, " ", "  "), true)
}

// FuzzParse: no output of a tool makes the reader fail.
func FuzzParse(f *testing.F) {
	f.Add([]byte("-A PREROUTING -j RIPOSTE\n-A RIPOSTE -m set --match-set riposte4 src -j DROP\n"))
	f.Add([]byte("-A\n-A  \n\x00 -A"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := parse(b)
		if s.jumps["PREROUTING"] == 0 && s.first["PREROUTING"] {
			t.Error("first without a jump")
		}
	})
}

// TestNotHere: what is missing is said.
func TestNotHere(t *testing.T) {
	lab.Need(t)
	run := func(context.Context, []string, []byte) ([]byte, []byte, error) { return nil, nil, os.ErrNotExist }
	if _, err := New(run); err == nil || !strings.HasPrefix(err.Error(), "iptables: ") {
		t.Errorf("opened without iptables: %v", err)
	}
}

// TestLegacy: the older tools of the same name, which know nothing of nftables.
func TestLegacy(t *testing.T) {
	lab.Need(t, "iptables-legacy", "ip6tables-legacy", "ipset")
	here := lab.Here(t)
	legacy := func(ctx context.Context, argv []string, stdin []byte) ([]byte, []byte, error) {
		tool := strings.Replace(argv[0], "tables", "tables-legacy", 1)
		return enforce.Exec(ctx, append([]string{tool}, argv[1:]...), stdin)
	}
	enforcetest.Suite{
		New: func(t testing.TB) enforce.Mechanism {
			m, err := New(legacy)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				m.Close()
				here.Run(t, "sh", "-c", strings.ReplaceAll(wipe, "tables", "tables-legacy"))
			})
			return m
		},
		Bulk: 50, Timed: true, Marked: true,
	}.Run(t)
}
