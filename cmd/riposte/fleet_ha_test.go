//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"riposte/internal/api"
	"riposte/internal/fleet"
	"riposte/internal/fleet/identity"
	"riposte/internal/lab"
)

// node is a nats-server of the real kind.
type node struct {
	name string
	argv []string
	cmd  *exec.Cmd
}

// cluster is a fleet with two servers on three brokers.
type cluster struct {
	*region
	servers []*station
	brokers *lab.Host
	nodes   []*node
	js      jetstream.JetStream
}

// natsServer is the nats-server of the module that is linked in.
func natsServer(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../build/tools/nats-server")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/nats-io/nats-server/v2")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("needs nats-server (make setup-test), and it cannot be built: %v\n%s", err, out)
	}
	return path
}

func newCluster(t *testing.T, agents int, conf string) *cluster {
	t.Helper()
	bin := natsServer(t)
	lab.Need(t, "nft", "ip", "ss")
	c := &cluster{region: &region{t: t, wire: lab.NewHost(t, "switch")}, brokers: lab.NewHost(t, "brokers")}
	c.wire.Run(t, "ip", "link", "add", "br0", "type", "bridge")
	c.wire.Run(t, "ip", "link", "set", "br0", "up")
	at, _ := c.connect(c.brokers)
	var urls, routes []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("%s:%d", at, 4222+i))
		routes = append(routes, fmt.Sprintf("%s:%d", at, 6222+i))
	}
	const quiet = "guard: {breaker: {targets: 0}}\n"
	for i, name := range []string{"hq-a", "hq-b"} {
		st := c.newStation("000", name, conf, quiet+fmt.Sprintf("fleet: {brokers: [%q, %q, %q], replicas: 3, store_mb: 64}\n", urls[0], urls[1], urls[2]))
		st.verb = "server"
		c.servers = append(c.servers, st)
		if i > 0 {
			c.copyKeys(c.servers[0], st)
			continue
		}
		st.run("server", "init")
		for i := range urls {
			n := &node{name: fmt.Sprintf("node%d", i)}
			dir := filepath.Join(t.TempDir(), n.name)
			st.run("server", "node", dir, "--name", n.name, "--address", at.String(), "--listen", urls[i], "--store", filepath.Join(dir, "store"),
				"--cluster", "riposte", "--cluster-listen", routes[i], "--route", strings.Join(routes, ","))
			n.argv = []string{bin, "-c", filepath.Join(dir, "nats.conf"), "-l", filepath.Join(dir, "log")}
			c.nodes = append(c.nodes, n)
			c.startNode(n)
		}
	}
	t.Cleanup(c.tell)
	for _, st := range c.servers {
		st.start()
	}
	c.server = c.leader()
	c.listen(strings.Join(urls, ","))
	for i := range agents {
		st := c.newStation(fmt.Sprintf("%03d", i+1), fmt.Sprintf("web-%02d", i+1), "", quiet)
		st.verb = "agent"
		c.agents = append(c.agents, st)
		st.run("agent", "join", c.token(st.host.String()))
		st.start()
	}
	c.connected()
	return c
}

// tell shows what everybody said, after a failure.
func (c *cluster) tell() {
	if !c.t.Failed() {
		return
	}
	for _, st := range append(slices.Clone(c.servers), c.agents...) {
		text := st.screen()
		c.t.Logf("%s (%s):\n%s", st.id, st.host, text[max(0, len(text)-6000):])
	}
	for _, n := range c.nodes {
		text, err := os.ReadFile(n.argv[len(n.argv)-1])
		c.t.Logf("%s: %v\n%s", n.name, err, text[max(0, len(text)-6000):])
	}
}

// copyKeys makes a second server of a fleet, as the operator does.
func (c *cluster) copyKeys(from, to *station) {
	c.t.Helper()
	for _, dir := range []string{"state", "state/fleet"} {
		if err := os.MkdirAll(to.path(dir), 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := os.CopyFS(to.path("state/fleet"), os.DirFS(from.path("state/fleet"))); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Chmod(to.path("state/fleet/authority.json"), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) startNode(n *node) {
	c.t.Helper()
	n.cmd = exec.Command(n.argv[0], n.argv[1:]...)
	c.brokers.Start(c.t, n.cmd)
}

// killNode kills the broker that leads a stream and returns it.
func (c *cluster) killNode(stream string) *node {
	c.t.Helper()
	name := c.stream(stream).Cluster.Leader
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		c.t.Fatalf("%s has no leader: %q", stream, name)
	}
	n := c.nodes[i]
	if err := n.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	_ = n.cmd.Wait()
	return n
}

// stream asks how a stream is, until there is an answer.
func (c *cluster) stream(name string) (info *jetstream.StreamInfo) {
	c.t.Helper()
	eventually(c.t, long, "how "+name+" is", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		s, err := c.js.Stream(ctx, name)
		if err == nil {
			info = s.CachedInfo()
		}
		return err == nil && info.Cluster != nil && info.Cluster.Leader != ""
	})
	return info
}

// whole waits until every node has all of every stream.
func (c *cluster) whole() {
	c.t.Helper()
	for _, name := range []string{fleet.EventStream, fleet.OrderStream, fleet.ReceiptStream, "KV_" + fleet.StateBucket} {
		eventually(c.t, long, name+" is on three nodes", func() bool {
			r := c.stream(name).Cluster.Replicas
			return len(r) == 2 && r[0].Current && r[1].Current
		})
	}
}

// dialer connects from the brokers' own machine.
type dialer struct{ host *lab.Host }

func (d dialer) Dial(network, address string) (conn net.Conn, err error) {
	err = d.host.Do(func() error { conn, err = net.DialTimeout(network, address, 2*time.Second); return err })
	return conn, err
}

// listen connects the test to the brokers as a server of the fleet.
func (c *cluster) listen(urls string) {
	c.t.Helper()
	a, err := identity.Open(c.servers[0].path("state/fleet"))
	if err != nil {
		c.t.Fatal(err)
	}
	user, err := a.ServerOptions()
	if err != nil {
		c.t.Fatal(err)
	}
	nc, err := nats.Connect("tls://"+strings.ReplaceAll(urls, ",", ",tls://"), append(user, nats.SetCustomDialer(dialer{c.brokers}), nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond))...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	if c.js, err = jetstream.New(nc); err != nil {
		c.t.Fatal(err)
	}
}

// says reports whether a server says so of itself.
func says(st *station, words string) bool {
	ctx, cancel := context.WithTimeout(st.t.Context(), time.Second)
	defer cancel()
	client := api.NewClient(st.path("riposte.sock"))
	defer client.Close()
	s, err := client.Status(ctx)
	return err == nil && slices.Contains(s.Fleet, words)
}

const leads, standsBy = "this server leads", "standing by: another server leads"

// leader waits until a server leads and returns it.
func (c *cluster) leader(among ...*station) (st *station) {
	c.t.Helper()
	if len(among) == 0 {
		among = c.servers
	}
	eventually(c.t, long, "a server leads", func() bool {
		i := slices.IndexFunc(among, func(st *station) bool { return says(st, leads) })
		if i >= 0 {
			st = among[i]
		}
		return i >= 0
	})
	return st
}

// other is the server that st is not.
func (c *cluster) other(st *station) *station {
	if st == c.servers[0] {
		return c.servers[1]
	}
	return c.servers[0]
}

// judged is what both servers wrote into alerts.json: by the text of the line
// the ids of its alerts, one for each time that it was written.
func (c *cluster) judged() (ids map[string][]string, rules map[string][]string) {
	c.t.Helper()
	ids, rules = map[string][]string{}, map[string][]string{}
	for _, st := range c.servers {
		for line := range strings.SplitSeq(st.read("log/alerts.json"), "\n") {
			var a struct {
				ID   string
				Full string `json:"full_log"`
				Rule struct{ ID string }
			}
			if json.Unmarshal([]byte(line), &a) != nil || a.Full == "" {
				continue // a line that a kill cut off
			}
			ids[a.Full] = append(ids[a.Full], a.ID)
			if !slices.Contains(rules[a.Rule.ID], a.ID) {
				rules[a.Rule.ID] = append(rules[a.Rule.ID], a.ID)
			}
		}
	}
	return ids, rules
}

// reaction waits until a line that is logged from now on is judged, and returns
// how long that took.
func (c *cluster) reaction(l *load) time.Duration {
	c.t.Helper()
	start, from := time.Now(), l.count()
	eventually(c.t, long, "lines come in", func() bool { return l.count() > from })
	l.mu.Lock()
	text := l.texts[from]
	l.mu.Unlock()
	eventually(c.t, long, "lines are judged", func() bool {
		return strings.Contains(c.servers[0].read("log/alerts.json"), text) || strings.Contains(c.servers[1].read("log/alerts.json"), text)
	})
	return time.Since(start)
}

// orders are the ids in the log of orders.
func (c *cluster) orders() (ids []string) {
	c.t.Helper()
	s, err := c.js.Stream(c.t.Context(), fleet.OrderStream)
	if err != nil {
		c.t.Fatal(err)
	}
	st := s.CachedInfo().State
	for seq := max(1, st.FirstSeq); seq <= st.LastSeq; seq++ {
		m, err := s.GetMsg(c.t.Context(), seq)
		if err != nil {
			c.t.Fatal(err)
		}
		ids = append(ids, m.Header.Get(jetstream.MsgIDHeader))
	}
	return ids
}

// atServers is a response on the servers' own hosts, which in a cluster are
// their agents'.
const atServers = `<ossec_config>
  <command><name>beside</name><executable>firewall-drop.sh</executable><expect>srcip</expect></command>
  <active-response><command>beside</command><location>server</location><rules_id>5712</rules_id><timeout>600</timeout></active-response>
</ossec_config>
`

// TestFleetCluster: two servers on three brokers, under load. Whichever dies or
// sleeps, the fleet goes on; every line is judged, every order issued once.
func TestFleetCluster(t *testing.T) {
	c := newCluster(t, 2, twoTimes(600)+atServers)
	c.server.run("agents", "set", "web-02", "--group", "servers")
	started := time.Now()
	l := c.startLoad(20 * time.Millisecond)
	stop := sync.OnceFunc(l.stop)
	defer stop()
	c.reaction(l)
	lead := c.leader()
	eventually(t, long, "the other stands by", func() bool { return says(c.other(lead), standsBy) })
	if sources := lead.run("status"); strings.Contains(sources, lead.log()) {
		t.Errorf("a server of a cluster reads logs of its own:\n%s", sources)
	}

	// Half a brute force is judged by one leader, and on record.
	attacker := netip.MustParseAddr("192.0.2.77")
	guess := func(n int) { c.agents[0].sees(unknownFrom(attacker, 900_000+n)) }
	for n := range 4 {
		guess(n)
	}
	eventually(t, long, "half a brute force is judged", func() bool {
		return strings.Count(lead.read("log/alerts.json"), `from `+attacker.String()) >= 4
	})
	half := time.Now()
	state, err := c.js.KeyValue(t.Context(), fleet.StateBucket)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, long, "it is on record", func() bool {
		e, err := state.Get(t.Context(), "judged")
		var at struct{ Time time.Time }
		return err == nil && json.Unmarshal(e.Value(), &at) == nil && at.Time.After(half)
	})

	t.Log("kill -9 of the leading server")
	died := time.Now()
	lead.kill()
	next := c.other(lead)
	c.leader(next)
	took := time.Since(died)
	t.Logf("the other leads after %v; a line logged then is judged after %v", took.Round(time.Millisecond), c.reaction(l).Round(time.Millisecond))
	for n := 4; n < 8; n++ {
		guess(n)
	}
	eventually(t, long, "the whole brute force is recognised by the new leader", func() bool {
		return strings.Contains(next.read("log/alerts.json"), `"id":"5712"`)
	})
	c.agents[1].holds("beside", attacker.String())
	if list, err := c.agents[0].client().InForce(t.Context(), api.Filter{Command: "beside"}); err != nil || len(list) != 0 {
		t.Errorf("what is for the servers' hosts is in force elsewhere: %v, %v", list, err)
	}
	lead.start()
	eventually(t, long, "the old leader stands by", func() bool { return says(lead, standsBy) })

	// Whoever stands by takes what a person wants, too.
	lead.run("block", "192.0.2.99", "--on", "web-01", "--for", "10m")
	c.agents[0].holds("firewall-drop", "192.0.2.99")

	t.Log("the leading server sleeps for five seconds")
	lead, next = next, lead
	slept := time.Now()
	if err := lead.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.leader(next)
	t.Logf("the other leads after %v", time.Since(slept).Round(time.Millisecond))
	time.Sleep(time.Until(slept.Add(5 * time.Second)))
	if err := lead.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, long, "who slept stands by", func() bool { return says(lead, standsBy) })
	c.reaction(l)

	for _, stream := range []string{fleet.EventStream, "KV_" + fleet.StateBucket} {
		n := c.killNode(stream)
		t.Logf("kill -9 of %s, which leads %s", n.name, stream)
		took := c.reaction(l)
		t.Logf("a line logged then is judged after %v", took.Round(time.Millisecond))
		c.startNode(n)
		c.whole()
		t.Logf("a line is judged after %v", c.reaction(l).Round(time.Millisecond))
	}

	t.Log("the leading server is stopped")
	lead = c.leader()
	stopped := time.Now()
	lead.stop(syscall.SIGTERM)
	c.leader(c.other(lead))
	t.Logf("the other leads after %v", time.Since(stopped).Round(time.Millisecond))
	c.reaction(l)
	stop()

	// Nothing lost; what is there twice is the same.
	var ids, rules map[string][]string
	missing := func() (n int) {
		ids, rules = c.judged()
		all := strings.Builder{}
		for text := range ids {
			all.WriteString(text + "\n")
		}
		for _, text := range l.texts {
			if !strings.Contains(all.String(), text) {
				n++
			}
		}
		return n
	}
	eventually(t, long, "every line is judged", func() bool { return missing() == 0 })
	doubles := 0
	for text, list := range ids {
		doubles += len(list) - 1
		if different := slices.Compact(slices.Sorted(slices.Values(list))); len(different) > 1 {
			t.Errorf("alerts %q of one line: %s", different, text)
		}
	}
	if n := len(rules["5712"]); n != 1 {
		t.Errorf("the brute force was recognised %d times", n)
	}
	orders := c.orders()
	if n := len(slices.Compact(slices.Sorted(slices.Values(orders)))); n != len(orders) {
		t.Errorf("%d orders in the log, %d different ones", len(orders), n)
	}
	// One order a line, and those of the brute force.
	if n := len(orders); n < len(l.texts) {
		t.Errorf("%d orders for %d lines", n, len(l.texts))
	}
	for _, st := range c.agents {
		st.everything(l)
	}
	t.Logf("%d lines in %v, %d alerts in both logs, %d orders", len(l.texts), time.Since(started).Round(time.Second), doubles, len(orders))
}

// everything waits until all addresses are in force on an agent.
func (st *station) everything(l *load) {
	st.t.Helper()
	client := st.client()
	eventually(st.t, long, "all addresses are in force on "+st.host.String(), func() bool {
		held := map[string]bool{}
		list, err := client.InForce(st.t.Context(), api.Filter{Limit: 1 << 20})
		if err != nil {
			return false
		}
		for _, b := range list {
			held[b.Target.Value] = true
		}
		for _, a := range slices.Concat(l.short, l.lasting) {
			if !held[a] {
				return false
			}
		}
		return true
	})
}
