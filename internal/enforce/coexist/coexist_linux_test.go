// Package coexist holds tests alone: riposte's blocks win over the firewalls
// that a host has already, whatever these accept and however often they are
// loaded anew, and take nothing of theirs away.
package coexist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"riposte/internal/enforce"
	"riposte/internal/enforce/iptables"
	"riposte/internal/enforce/nft"
	"riposte/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// mechanism is one of ours, and how all that it makes is taken away by hand.
type mechanism struct {
	name   string
	open   func() (enforce.Mechanism, error)
	remove string
}

var mechanisms = []mechanism{
	{"nftables", func() (enforce.Mechanism, error) { return nft.New() }, `nft delete table inet riposte`},
	{"iptables", func() (enforce.Mechanism, error) { return iptables.New(enforce.Exec) }, `set -e; for t in iptables ip6tables; do
		for h in PREROUTING POSTROUTING; do $t -t mangle -D $h -j RIPOSTE; done
		$t -t mangle -F RIPOSTE; $t -t mangle -X RIPOSTE
	done; ipset destroy riposte4; ipset destroy riposte6`},
}

// place is a host with a container behind a bridge, and a peer outside:
//
//	peer ── here ── docker0 ── container
//
// Port 80 of the host is to lead to the container's.
type place struct {
	here, peer, container *lab.Host
	outside               string // the interface that faces the peer
	families              []*family
}

// family is the place in one address family.
type family struct {
	ip, tool                         string // "ip", "iptables"
	host, attacker, bystander, inner netip.Addr
	hostTCP, hostUDP, innerTCP       netip.AddrPort
	established                      net.Conn // of the attacker to the host
}

func newPlace(t *testing.T) *place {
	t.Helper()
	lab.Need(t, "nft", "ip", "iptables", "ip6tables", "iptables-restore", "ipset")
	p := &place{here: lab.Here(t), peer: lab.NewHost(t, "peer"), container: lab.NewHost(t, "container")}
	out := lab.Connect(t, p.here, p.peer, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64"))
	in := lab.Connect(t, p.here, p.container, netip.Prefix{}, netip.Prefix{})
	p.outside = out.A
	p.here.Forward(t)
	p.here.Run(t, "sh", "-c", fmt.Sprintf(`set -e
		ip link add docker0 type bridge; ip link set %s master docker0; ip link set docker0 up
		ip addr add 172.17.0.1/16 dev docker0; ip addr add fd17::1/64 dev docker0 nodad`, in.A))
	t.Cleanup(func() { p.here.Run(t, "ip", "link", "del", "docker0") })
	for prefix, via := range map[string]string{"172.17.0.2/16": "172.17.0.1", "fd17::2/64": "fd17::1"} {
		p.container.AddAddr(t, in.B, netip.MustParsePrefix(prefix))
		a := netip.MustParseAddr(via)
		p.container.AddRoute(t, netip.PrefixFrom(a, 0).Masked(), a)
		p.peer.AddRoute(t, netip.MustParsePrefix(prefix).Masked(), map[bool]netip.Addr{true: out.A4, false: out.A6}[a.Is4()])
	}
	bystander4, bystander6 := netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("2001:db8::9/64")
	p.peer.AddAddr(t, out.B, bystander4)
	p.peer.AddAddr(t, out.B, bystander6)
	p.families = []*family{
		{ip: "ip", tool: "iptables", host: out.A4, attacker: out.B4, bystander: bystander4.Addr(), inner: netip.MustParseAddr("172.17.0.2")},
		{ip: "ip6", tool: "ip6tables", host: out.A6, attacker: out.B6, bystander: bystander6.Addr(), inner: netip.MustParseAddr("fd17::2")},
	}
	for _, f := range p.families {
		f.hostTCP, f.hostUDP, f.innerTCP = p.here.Echo(t, "tcp", f.host), p.here.Echo(t, "udp", f.host), p.container.Echo(t, "tcp", f.inner)
	}
	return p
}

// ways are what a peer's address tries.
func (p *place) ways(f *family, from netip.Addr) map[string]func() error {
	return map[string]func() error{
		"TCP to the host":            func() error { return p.peer.ReachFrom("tcp", from, f.hostTCP) },
		"UDP to the host":            func() error { return p.peer.ReachFrom("udp", from, f.hostUDP) },
		"TCP to the published port":  func() error { return p.peer.ReachFrom("tcp", from, netip.AddrPortFrom(f.host, 80)) },
		"TCP to the container":       func() error { return p.peer.ReachFrom("tcp", from, f.innerTCP) },
		"TCP to the host, long open": func() error { return lab.Ask(f.established) },
	}
}

// probe tries all ways at once. An open way may take a few tries.
func (p *place) probe(t *testing.T, when string, blocked bool) {
	t.Helper()
	var wg sync.WaitGroup
	for _, f := range p.families {
		for _, from := range []netip.Addr{f.attacker, f.bystander} {
			for name, try := range p.ways(f, from) {
				shut := blocked && from == f.attacker
				if from == f.bystander && strings.Contains(name, "long open") {
					continue
				}
				wg.Go(func() {
					err := try()
					for range 20 {
						if shut || err == nil {
							break
						}
						err = try()
					}
					if shut != (err != nil) {
						t.Errorf("%s: %s from %s: %v", when, name, from, err)
					}
				})
			}
		}
	}
	wg.Wait()
}

// counts are the counters in what the tools print, and when they printed it.
var counts = regexp.MustCompile(`\[\d+:\d+\]|(?m)^#.*$`)

// blank is where lines were left out.
var blank = regexp.MustCompile(`\n\n+`)

// empty is the table mangle with nothing in it: iptables makes it, and its
// chains, at the first use, and leaves them there. Nobody but we uses it here.
var empty = regexp.MustCompile(`(?m)^table ip6? mangle \{\n(\tchain [A-Z]+ \{\n\t\ttype filter hook .*\n\t\}\n|\n)*\}\n|^\*mangle\n(:[A-Z]+ ACCEPT \n)*COMMIT\n`)

// rules prints all firewall rules, by both tools, without the counters.
func (p *place) rules(t *testing.T) string {
	t.Helper()
	text := p.here.Run(t, "nft", "-s", "list ruleset")
	for _, tool := range []string{"iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"} {
		out, err := p.here.Try(tool)
		if err != nil && !strings.Contains(err.Error(), "not found") {
			t.Fatalf("%s: %v", tool, err)
		}
		text += "# " + tool + "\n" + out
	}
	return blank.ReplaceAllString(empty.ReplaceAllString(counts.ReplaceAllString(text, ""), ""), "\n")
}

// prove goes through a block with a foreign firewall in place: reload loads
// that anew, and sweeps away the rules of the mechanism named sweeps.
func (p *place) prove(t *testing.T, sweeps string, reload func()) {
	for _, m := range mechanisms {
		t.Run(m.name, func(t *testing.T) {
			ours, err := m.open()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range p.families {
				if f.established, err = p.dial(f); err != nil {
					t.Fatal(err)
				}
				defer f.established.Close()
			}
			before := p.rules(t)
			var effects []enforce.Effect
			for _, f := range p.families {
				target := enforce.AddressTarget(netip.PrefixFrom(f.attacker, f.attacker.BitLen()))
				effects = append(effects, enforce.Effect{Target: target, Until: time.Now().Add(time.Hour)})
			}
			must := func(do func(context.Context, []enforce.Effect) []enforce.Result) {
				t.Helper()
				for _, r := range do(t.Context(), effects) {
					if r.Err != nil || r.Output != "" {
						t.Fatalf("%+v", r)
					}
				}
			}
			p.probe(t, "before", false)
			must(ours.Apply)
			p.probe(t, "blocked", true)
			reload()
			list, err := ours.(enforce.Lister).List(t.Context())
			if swept := len(list) == 0; err != nil || swept != (sweeps == m.name) {
				t.Errorf("listed after the reload: %v, %v", list, err)
			}
			if sweeps == m.name {
				time.Sleep(time.Second) // for which it trusts rules that it has seen in place
				must(ours.Apply)        // as the executor does with what is not listed
			}
			p.probe(t, "blocked, and the other firewall loaded anew", true)
			must(ours.Undo)
			p.probe(t, "undone", false)
			p.here.Run(t, "sh", "-c", m.remove)
			if after := p.rules(t); after != before {
				t.Errorf("the rules are changed:\n%s", difference(before, after))
			}
			p.probe(t, "removed", false)
		})
	}
}

// difference is the lines that only one of two texts has.
func difference(before, after string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, in, out string }{{"- ", before, after}, {"+ ", after, before}} {
		for line := range strings.Lines(side.in) {
			if !strings.Contains(side.out, line) {
				b.WriteString(side.sign + line)
			}
		}
	}
	if b.Len() == 0 {
		return "the order of lines, from\n" + before + "\nto\n" + after
	}
	return b.String()
}

// dial opens the attacker's long open connection.
func (p *place) dial(f *family) (c net.Conn, err error) {
	for range 20 { // neighbours are still getting to know each other
		if c, err = p.peer.Dial("tcp", f.attacker, f.hostTCP); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// site publishes the port by a table of the site's own, for firewalls that do
// not do so themselves.
func (p *place) site(t *testing.T) {
	t.Helper()
	for _, f := range p.families {
		p.here.Run(t, "nft", fmt.Sprintf(`table %s site {
			chain inward { type nat hook prerouting priority -100; %s daddr %s tcp dport 80 dnat to %s; }
		}`, f.ip, f.ip, f.host, f.innerTCP))
		t.Cleanup(func() { p.here.Run(t, "nft", "delete table "+f.ip+" site") })
	}
}

// TestDocker: chains and rules as Docker makes them, with an ACCEPT for the
// attacker in DOCKER-USER, where its handbook has people put their own.
func TestDocker(t *testing.T) {
	p := newPlace(t)
	load := func() {
		for _, f := range p.families {
			rules := strings.NewReplacer("NET", map[string]string{"ip": "172.17.0.0/16", "ip6": "fd17::/64"}[f.ip], "LOOPBACK", map[string]string{"ip": "127.0.0.0/8", "ip6": "::1/128"}[f.ip],
				"ATTACKER", f.attacker.String(), "INNER", f.inner.String(), "DEST", f.innerTCP.String(), "PORT", fmt.Sprint(f.innerTCP.Port())).Replace(docker)
			p.here.Run(t, "sh", "-c", f.tool+"-restore <<'END'\n"+rules+"END\n")
		}
	}
	load()
	t.Cleanup(func() { p.flush(t) })
	p.prove(t, "", load)
}

// docker is what dockerd loads. Loading it anew empties the tables nat and
// filter first, as its restart does in effect.
const docker = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d LOOPBACK -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s NET ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination DEST
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s ATTACKER -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d INNER ! -i docker0 -o docker0 -p tcp -m tcp --dport PORT -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -s ATTACKER -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
`

// flush leaves the tables of iptables as new.
func (p *place) flush(t *testing.T) {
	p.here.Run(t, "sh", "-c", `for t in iptables ip6tables; do
		for c in INPUT FORWARD OUTPUT; do $t -P $c ACCEPT; done
		for b in nat filter mangle; do $t -t $b -F; $t -t $b -X; done
	done`)
}

// TestUFW: the real ufw, told to let the attacker in above all.
func TestUFW(t *testing.T) {
	lab.Need(t, "ufw")
	p := newPlace(t)
	for _, dir := range []string{"/etc", "/run", "/lib/ufw"} {
		lab.PrivateDir(t, dir)
	}
	ufw := func(args ...string) {
		t.Helper()
		p.here.Run(t, append([]string{"ufw"}, args...)...)
	}
	p.site(t)
	ufw("default", "allow", "incoming")
	ufw("default", "allow", "routed")
	for _, f := range p.families {
		ufw("allow", "from", f.attacker.String())
	}
	ufw("--force", "enable")
	t.Cleanup(func() {
		ufw("disable")
		p.flush(t)
	})
	p.prove(t, "", func() { ufw("reload") })
}

// TestFirewalld: the real firewalld, whose zone trusts everybody. Its reload
// flushes the tables of iptables, whoever's rules are in there; nftables' are
// left alone.
func TestFirewalld(t *testing.T) {
	lab.Need(t, "firewalld", "firewall-cmd", "dbus-daemon")
	p := newPlace(t)
	f := lab.NewFirewalld(t)
	p.site(t)
	f.Cmd(t, "--set-default-zone=trusted")
	f.Cmd(t, "--reload") // makes empty tables for iptables
	p.prove(t, "iptables", func() { f.Cmd(t, "--reload") })
}

// TestRefusing: a firewall that refuses the attacker itself goes on doing so
// when our block is gone.
func TestRefusing(t *testing.T) {
	p := newPlace(t)
	p.site(t)
	f := p.families[0]
	p.here.Run(t, f.tool, "-I", "INPUT", "-s", f.attacker.String(), "-j", "DROP")
	t.Cleanup(func() { p.flush(t) })
	for _, m := range mechanisms {
		ours, err := m.open()
		if err != nil {
			t.Fatal(err)
		}
		effect := enforce.Effect{Target: enforce.AddressTarget(netip.PrefixFrom(f.attacker, 32))}
		for _, do := range []func(context.Context, []enforce.Effect) []enforce.Result{ours.Apply, ours.Undo} {
			if err := errors.Join(do(t.Context(), []enforce.Effect{effect})[0].Err); err != nil {
				t.Fatal(err)
			}
			if p.peer.ReachFrom("tcp", f.attacker, f.hostTCP) == nil {
				t.Errorf("%s: the attacker gets in", m.name)
			}
		}
		p.here.Try("sh", "-c", m.remove)
	}
}
