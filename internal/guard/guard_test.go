package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"riposte"
)

func addrs(list ...string) func() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return func() ([]netip.Addr, error) { return out, nil }
}

func entries(t testing.TB, texts ...string) []Entry {
	t.Helper()
	var out []Entry
	for _, s := range texts {
		e, err := ParseEntry(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func accounts(name string) (int, bool) {
	uid, ok := map[string]int{"root": 0, "toor": 0, "daemon": 1, "sshd": 105, "nobody": 65534, "alice": 1000, "postgres": 999}[name]
	return uid, ok
}

func newGuard(t testing.TB, o Options) *Guard {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func usual(t testing.TB) *Guard {
	return newGuard(t, Options{
		Allow: entries(t, "!10.0.0.5", "10.0.0.0/24", "2001:db8:a::/48", "vpn.example.org", "198.51.100.7"),
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			return addrs("203.0.113.77", "2001:db8:b::1")()
		},
		Own:       addrs("192.0.2.10", "2001:db8::10", "127.0.0.1"),
		Gateways:  addrs("192.0.2.1", "fe80::1%eth0"),
		Resolvers: addrs("192.0.2.53"),
		Peers:     addrs("192.0.2.99"),
		Sessions:  addrs("::ffff:203.0.113.9"),
		Account:   accounts,
	})
}

func order(kind riposte.Kind, value string, force bool) *riposte.Order {
	return &riposte.Order{ID: "o", Command: riposte.Command{Name: "c"}, Target: riposte.Target{Kind: kind, Value: value}, Force: force}
}

func TestCheck(t *testing.T) {
	g := usual(t)
	const a, u, f = riposte.Address, riposte.User, riposte.File
	for _, tt := range []struct {
		kind  riposte.Kind
		value string
		code  string // "" passes
		final bool
		words string
	}{
		{riposte.None, "", "", false, ""},
		{a, "203.0.113.5", "", false, ""},
		{a, "203.0.113.0/26", "session", false, "203.0.113.0/26 covers 203.0.113.9, where an administrator"},
		{a, "2001:db8:c::7", "", false, ""},
		{a, "2001:db8:c::/64", "", false, ""},

		{a, "127.0.0.1", "loopback", true, "127.0.0.1 is a loopback address"},
		{a, "127.8.8.8", "loopback", true, ""},
		{a, "::1", "loopback", true, ""},
		{a, "126.0.0.0/7", "loopback", true, "126.0.0.0/7 covers 127.0.0.0/8, a loopback"},
		{a, "0.0.0.0", "unspecified", true, ""},
		{a, "0.0.0.0/0", "loopback", true, ""},
		{a, "::", "unspecified", true, ""},
		{a, "::/0", "loopback", true, ""},
		{a, "224.0.0.251", "multicast", true, ""},
		{a, "ff02::1", "multicast", true, ""},
		{a, "255.255.255.255", "broadcast", true, ""},
		{a, "192.0.2.10", "own-address", true, "192.0.2.10 is an address of this host"},
		{a, "2001:db8::10", "own-address", true, ""},
		{a, "192.0.2.0/28", "own-address", true, "192.0.2.0/28 covers 192.0.2.10, an address of this host"},
		{a, "::fff0:0:0/92", "malformed", true, "covers ::ffff:0.0.0.0/96, the IPv4 addresses written as IPv6"},
		{a, "::/92", "loopback", true, ""},

		{a, "169.254.169.254", "link-local", false, ""},
		{a, "fe80::2", "link-local", false, ""},
		{a, "192.0.2.1", "gateway", false, "192.0.2.1 is a gateway of this host"},
		{a, "192.0.2.53", "resolver", false, ""},
		{a, "192.0.2.99", "peer", false, ""},
		{a, "203.0.113.9", "session", false, "is where an administrator is logged in from"},
		{a, "198.51.0.0/16", "too-wide", false, "wider than /24"},
		{a, "2001:db8::/32", "own-address", true, ""},
		{a, "2001:db9::/32", "too-wide", false, "wider than /48"},

		{a, "10.0.0.4", "allow-listed", false, "10.0.0.4 is on the allow list through 10.0.0.0/24"},
		{a, "10.0.0.5", "", false, ""},
		{a, "10.0.0.4/31", "allow-listed", false, ""},
		{a, "198.51.100.7", "allow-listed", false, "198.51.100.7 is on the allow list"},
		{a, "198.51.100.0/24", "allow-listed", false, "198.51.100.0/24 is on the allow list through 198.51.100.7"},
		{a, "2001:db8:a:1::7", "allow-listed", false, ""},
		{a, "203.0.113.77", "allow-listed", false, "through vpn.example.org"},
		{a, "2001:db8:b::1", "allow-listed", false, ""},

		{a, "::ffff:203.0.113.5", "malformed", true, "is not how riposte writes 203.0.113.5"},
		{a, "203.0.113.5;id", "malformed", true, "not an IP address"},
		{a, "-h", "malformed", true, ""},
		{a, "", "malformed", true, ""},
		{a, "203.0.113.005", "malformed", true, ""},
		{a, "203.0.113.7/26", "malformed", true, ""},
		{a, "fe80::2%eth0", "malformed", true, "zone"},

		{u, "alice", "", false, ""},
		{u, "root", "root-account", true, ""},
		{u, "ROOT", "root-account", true, ""},
		{u, "toor", "root-account", true, "root by another name"},
		{u, "sshd", "system-account", false, "sshd (user id 105)"},
		{u, "postgres", "system-account", false, ""},
		{u, "nobody", "system-account", false, ""},
		{u, "mallory", "unknown-account", false, "this host has no account mallory"},
		{u, "-d", "option-like", true, ""},
		{u, "--help", "option-like", true, ""},
		{u, "0", "malformed", true, "which tools take for a user id"},
		{u, "a:b", "malformed", true, ""},
		{u, "a b", "malformed", true, ""},
		{u, "../../etc", "malformed", true, ""},
		{u, "-", "malformed", true, ""},
		{u, "", "malformed", true, ""},
		{u, "a\nb", "malformed", true, ""},
		{u, strings.Repeat("x", 300), "malformed", true, ""},

		{f, "/srv/www/shell.php", "", false, ""},
		{f, "/tmp/-rf", "", false, ""},
		{f, "shell.php", "relative-path", true, ""},
		{f, "/srv/../etc/passwd", "relative-path", true, "/etc/passwd"},
		{f, "/srv//x", "relative-path", true, ""},
		{f, "/srv/x/", "relative-path", true, ""},
		{f, "/", "protected-path", true, ""},
		{f, "/usr", "protected-path", false, ""},
		{f, "/usr/bin/ssh", "protected-path", false, "/usr/bin/ssh is in /usr"},
		{f, "/usrlocal/x", "", false, ""},
		{f, "/var/lib", "protected-path", false, ""},
		{f, "/proc/1/mem", "protected-path", false, ""},
		{f, "", "malformed", true, ""},
		{riposte.Kind(9), "x", "", false, ""},
	} {
		err := g.Check(order(tt.kind, tt.value, false))
		var r *Refusal
		if err != nil && !errors.As(err, &r) {
			t.Fatalf("%s %q: %T is no refusal", tt.kind, tt.value, err)
		}
		if r == nil {
			r = &Refusal{}
		}
		if r.Code != tt.code || r.Final != tt.final || !strings.Contains(r.Reason, tt.words) {
			t.Errorf("%s %q: %+v, want code %q, final %v, words %q", tt.kind, tt.value, r, tt.code, tt.final, tt.words)
		}
		if forced := g.Check(order(tt.kind, tt.value, true)); (forced != nil) != tt.final {
			t.Errorf("%s %q by force: %v, want refused %v", tt.kind, tt.value, forced, tt.final)
		}
		if strings.ContainsAny(r.Reason, "\n\x1b") {
			t.Errorf("%s %q: the reason carries control characters: %q", tt.kind, tt.value, r.Reason)
		}
	}
}

func TestALinkDoesNotLeadAround(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(dir, "www")); err != nil {
		t.Fatal(err)
	}
	g := newGuard(t, Options{})
	err := g.Check(order(riposte.File, filepath.Join(dir, "www", "passwd"), false))
	if err == nil || !strings.Contains(err.Error(), "is really /etc/passwd") {
		t.Errorf("through a link into /etc: %v", err)
	}
}

// The vectors 64 to 70 of spec/active-response.md, and what riposte makes of
// the quirks in them: the order decides, no list inverts its own meaning, no
// text is matched inside another.
func TestAllowListVectors(t *testing.T) {
	for _, tt := range []struct {
		list    string
		addr    string
		allowed bool
	}{
		{"10.0.0.0/24", "10.0.0.5", true},
		{"10.0.0.0/24", "10.0.1.5", false},
		{"::1 2001:db8::1", "2001:db8::12", false},
		{"!10.0.0.5", "10.0.0.5", false},
		{"!10.0.0.5", "1.2.3.4", false},
		{"!10.0.0.5 10.0.0.0/24", "10.0.0.5", false},
		{"!10.0.0.5 10.0.0.0/24", "10.0.0.6", true},
		{"10.0.0.0/24 !10.0.0.5", "10.0.0.5", true},
		{"10.0.0.0/255.255.255.0", "10.0.0.6", true},
		{"::ffff:10.0.0.0/120", "10.0.0.6", true},
		{"0.0.0.0/0 ::/0", "2001:db8::7", true},
		{"", "1.2.3.4", false},
	} {
		g := newGuard(t, Options{Allow: entries(t, strings.Fields(tt.list)...)})
		if got := g.Check(order(riposte.Address, tt.addr, false)) != nil; got != tt.allowed {
			t.Errorf("%s in %q: %v, want %v", tt.addr, tt.list, got, tt.allowed)
		}
	}
}

func TestParseEntry(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", " 192.0.2.7/24 ": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.7", "2001:DB8::/32": "2001:db8::/32",
		"192.0.2.0/255.255.255.128": "192.0.2.0/25", "!192.0.2.7": "!192.0.2.7", "Host.Example.org": "host.example.org", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if e, err := ParseEntry(in); err != nil || e.String() != want {
			t.Errorf("%q: %v %v, want %s", in, e, err, want)
		}
	}
	for _, in := range []string{"", "!", "999.1.1.1", "1.2.3", "192.0.2.0/33", "192.0.2.0/255.0.255.0", "a b", "-x.org", "a..b", "fe80::1%eth0", "x/24", "^localhost$", strings.Repeat("a", 300)} {
		if e, err := ParseEntry(in); err == nil {
			t.Errorf("%q passes as %v", in, e)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("192.0.2.0/24")
	f.Add("!::ffff:1.2.3.4/97")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEntry(s)
		if err != nil {
			return
		}
		again, err := ParseEntry(e.String())
		if err != nil || again != e {
			t.Errorf("%q reads as %v, which reads as %v (%v)", s, e, again, err)
		}
	})
}

func TestWhatCannotBeLookedUpStaysAsItWas(t *testing.T) {
	var fail error
	answer := "203.0.113.77"
	own := addrs("192.0.2.10")
	g := newGuard(t, Options{
		Allow: entries(t, "vpn.example.org"),
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(answer)}, fail
		},
		Own: func() ([]netip.Addr, error) {
			if fail != nil {
				return nil, fail
			}
			return own()
		},
	})
	fail = errors.New("server misbehaving")
	if err := g.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "vpn.example.org") || !strings.Contains(err.Error(), "own addresses") {
		t.Errorf("the failure is not said: %v", err)
	}
	for _, a := range []string{"203.0.113.77", "192.0.2.10"} {
		if g.Check(order(riposte.Address, a, false)) == nil {
			t.Errorf("%s is no longer protected", a)
		}
	}
	fail, answer = nil, "203.0.113.78"
	if err := g.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.Check(order(riposte.Address, "203.0.113.77", false)) != nil || g.Check(order(riposte.Address, "203.0.113.78", false)) == nil {
		t.Error("the new address of the name did not replace the old")
	}
	g.SetAllow(nil)
	if err := g.Check(order(riposte.Address, "203.0.113.78", false)); err != nil {
		t.Errorf("after a reload without the name: %v", err)
	}
}

func TestEntriesByHandExpireAndComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Options{Allow: entries(t, "!10.0.0.5", "10.0.0.0/24")})
		hand := entries(t, "10.0.0.5", "192.0.2.7")
		for i := range hand {
			hand[i].Until, hand[i].Source = time.Now().Add(2*time.Hour), "by hand"
		}
		g.SetByHand(hand)
		for _, a := range []string{"10.0.0.5", "192.0.2.7"} {
			if err := g.Check(order(riposte.Address, a, false)); err == nil || !strings.Contains(err.Error(), "(by hand), until ") {
				t.Errorf("%s: %v", a, err)
			}
		}
		time.Sleep(2 * time.Hour)
		for _, a := range []string{"10.0.0.5", "192.0.2.7"} {
			if err := g.Check(order(riposte.Address, a, false)); err != nil {
				t.Errorf("%s after its time: %v", a, err)
			}
		}
	})
}

func TestSessionsAreAskedWhenAnOrderComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, delay := 0, time.Duration(0)
		from := "203.0.113.9"
		g := newGuard(t, Options{Sessions: func() ([]netip.Addr, error) {
			asked++
			now := from
			time.Sleep(delay)
			return []netip.Addr{netip.MustParseAddr(now)}, nil
		}})
		refused := func(a string) bool { return g.Check(order(riposte.Address, a, false)) != nil }
		if !refused(from) || refused("203.0.113.8") || asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		from = "203.0.113.10"
		if refused(from) {
			t.Error("an answer is good for a second, and this one was new at once")
		}
		time.Sleep(sessionsGood)
		if !refused(from) || refused("203.0.113.9") {
			t.Error("the new session is not seen, or the old one is")
		}
		time.Sleep(sessionsGood)
		delay, from = time.Hour, "203.0.113.11"
		start := time.Now()
		for range 1000 {
			if !refused("203.0.113.10") {
				t.Fatal("the last answer does not stand while the provider hangs")
			}
		}
		if d := time.Since(start); d != sessionsWait {
			t.Errorf("1000 orders waited %s for a provider that hangs", d)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		delay = 0
		if !refused("203.0.113.11") {
			t.Error("the late answer was lost")
		}
	})
}

func TestRunRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, said := 0, 0
		g, err := New(Options{Own: func() ([]netip.Addr, error) {
			n++
			if n == 2 || n == 3 {
				return nil, errors.New("no netlink")
			}
			return []netip.Addr{netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", n))}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx, func(error) { said++ }) }()
		time.Sleep(hostEvery + time.Second)
		if g.Check(order(riposte.Address, "192.0.2.1", false)) == nil {
			t.Error("own address not found by Run")
		}
		time.Sleep(3 * hostEvery)
		if g.Check(order(riposte.Address, "192.0.2.4", false)) == nil || g.Check(order(riposte.Address, "192.0.2.1", false)) != nil {
			t.Error("own addresses not renewed by Run")
		}
		if said != 1 {
			t.Errorf("the same failure was reported %d times", said)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, o := range []Options{{WidestV4: 33}, {WidestV6: 129}, {WidestV4: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v passes", o)
		}
	}
}

func TestCaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Options{Limit: Limit{PerMinute: 3}, Limits: map[string]Limit{"fw": {InForce: 10}}})
		admit := func(command string, n, held int, force bool) string {
			o := order(riposte.Address, fmt.Sprintf("203.0.113.%d", n), force)
			o.Command.Name = command
			var r *Refusal
			if err := g.Admit(o, held); errors.As(err, &r) {
				return r.Code
			}
			return ""
		}
		for n := range 3 {
			if c := admit("mail", n, 0, false); c != "" {
				t.Errorf("%d: %s", n, c)
			}
			time.Sleep(10 * time.Second)
		}
		if c := admit("mail", 4, 0, false); c != "cap-per-minute" {
			t.Errorf("fourth in a minute: %q", c)
		}
		if c := admit("mail", 4, 0, true); c != "" {
			t.Errorf("by force: %q", c)
		}
		if c := admit("other", 4, 0, false); c != "" {
			t.Errorf("another response: %q", c)
		}
		time.Sleep(31 * time.Second)
		if c := admit("mail", 5, 0, false); c != "" {
			t.Errorf("after a minute: %q", c)
		}
		if c := admit("mail", 6, 0, false); c != "cap-per-minute" {
			t.Errorf("one of three slots was free: %q", c)
		}
		time.Sleep(time.Hour)
		if c := admit("mail", 6, 0, false); c != "" {
			t.Errorf("after an hour: %q", c)
		}
		if c := admit("fw", 1, 9, false); c != "" {
			t.Errorf("tenth in force: %q", c)
		}
		if c := admit("fw", 1, 10, false); c != "cap-in-force" {
			t.Errorf("eleventh in force: %q", c)
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, Options{Breaker: Breaker{Targets: 5, Within: 10 * time.Second, Cooldown: time.Minute}})
		admit := func(n int) *Refusal {
			var r *Refusal
			if err := g.Admit(order(riposte.Address, fmt.Sprintf("203.0.113.%d", n), false), 0); errors.As(err, &r) {
				return r
			}
			return nil
		}
		for n := range 20 { // slowly, and the same ones: never opens
			if r := admit(n % 4); r != nil {
				t.Fatal(r)
			}
		}
		time.Sleep(11 * time.Second)
		for n := range 20 {
			if r := admit(10 + n); r != nil {
				t.Fatal(r)
			}
			time.Sleep(3 * time.Second)
		}
		time.Sleep(11 * time.Second)
		for n := range 5 {
			if r := admit(40 + n); r != nil {
				t.Fatal(r)
			}
		}
		if r := admit(45); r == nil || r.Code != "breaker" || !r.Tripped || !strings.Contains(r.Reason, "more than 5 targets within 10s") {
			t.Errorf("sixth target: %+v", r)
		}
		if r := admit(40); r == nil || r.Tripped {
			t.Errorf("an old target while it is open: %+v", r)
		}
		if g.BreakerOpen() == "" {
			t.Error("it does not say that it is open")
		}
		if err := g.Admit(order(riposte.None, "", false), 0); err != nil {
			t.Errorf("a response without target is not the breaker's business: %v", err)
		}
		time.Sleep(time.Minute)
		if g.BreakerOpen() != "" {
			t.Error("it did not close by itself")
		}
		for n := range 6 {
			admit(50 + n)
		}
		if !g.CloseBreaker() || g.CloseBreaker() || admit(60) != nil {
			t.Error("it cannot be closed by hand")
		}
	})
}

func TestOffMeansOff(t *testing.T) {
	g := newGuard(t, Options{})
	o := order(riposte.Address, "", false)
	for n := range 20_000 {
		o.Target.Value = netip.AddrFrom4([4]byte{11, 0, byte(n >> 8), byte(n)}).String()
		if err := g.Admit(o, n); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	g := usual(b)
	o := order(riposte.Address, "203.0.113.5", false)
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Check(o); err != nil {
			b.Fatal(err)
		}
	}
}
