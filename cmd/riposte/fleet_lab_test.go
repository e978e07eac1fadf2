//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"riposte"
	"riposte/internal/api"
	"riposte/internal/lab"
)

// long is how long a test of the fleet waits for what must happen: five
// processes and a race detector may share two cores with much else.
const long = 60 * time.Second

// region is a fleet on one network: a server, its agents, and an attacker, each
// a machine of its own with kernel tables of its own.
type region struct {
	t        *testing.T
	wire     *lab.Host // the switch between them
	server   *station
	agents   []*station // 001, 002, … by their place
	attacker *lab.Host
	from     netip.Addr // the attacker's address
	machines int
}

// station is a host of a fleet with a riposte.
type station struct {
	*installed
	id   string
	addr netip.Addr
	dev  string         // its end of the cable
	echo netip.AddrPort // what the attacker wants of it
}

// newRegion starts a server and so many agents. conf is the server's ossec.conf
// and settings more of its riposte.yaml; an agent is told by its server what to
// do and has only a log to follow.
func newRegion(t *testing.T, agents int, conf, settings string) *region {
	t.Helper()
	lab.Need(t, "nft", "ip", "ss")
	r := &region{t: t, wire: lab.NewHost(t, "switch"), attacker: lab.NewHost(t, "attacker")}
	r.wire.Run(t, "ip", "link", "add", "br0", "type", "bridge")
	r.wire.Run(t, "ip", "link", "set", "br0", "up")
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, st := range r.all() {
			if st == nil {
				continue
			}
			t.Logf("%s (%s):\n%s", st.id, st.host, st.screen())
		}
	})
	r.server = r.newStation("000", "hq", conf, settings)
	r.server.verb = "server"
	r.server.write("riposte.yaml", r.server.read("riposte.yaml")+fmt.Sprintf("fleet: {names: [%s], store_mb: 64}\n", r.server.addr))
	r.from, _ = r.connect(r.attacker)
	r.server.run("server", "init")
	r.serve()
	for i := range agents {
		r.enrol(fmt.Sprintf("%03d", i+1), fmt.Sprintf("web-%02d", i+1))
	}
	r.connected()
	return r
}

// serve starts the server and waits until it serves the fleet.
func (r *region) serve() {
	r.t.Helper()
	r.server.start()
	c := r.server.client()
	eventually(r.t, long, "the server serves the fleet", func() bool {
		_, err := c.Agents(r.t.Context())
		return err == nil
	})
}

// newStation lays a cable to a new machine and installs a riposte on it that
// follows its auth.log.
func (r *region) newStation(id, name, conf, settings string) *station {
	r.t.Helper()
	h := lab.NewHost(r.t, name)
	st := &station{installed: install(r.t, h, "", "firewall: nftables\nhost: "+name+"\n"+settings), id: id}
	st.addr, st.dev = r.connect(h)
	st.echo = h.Echo(r.t, "tcp", st.addr)
	st.write("ossec.conf", conf+fmt.Sprintf("<ossec_config><localfile><log_format>syslog</log_format><location>%s</location></localfile></ossec_config>\n", st.log()))
	st.write("auth.log", "")
	return st
}

// connect lays a cable from the switch to a machine.
func (r *region) connect(h *lab.Host) (netip.Addr, string) {
	r.t.Helper()
	l := lab.Connect(r.t, r.wire, h, netip.Prefix{}, netip.Prefix{})
	r.wire.Run(r.t, "ip", "link", "set", l.A, "master", "br0")
	r.machines++
	a := netip.AddrFrom4([4]byte{10, 99, 0, byte(r.machines)})
	h.AddAddr(r.t, l.B, netip.PrefixFrom(a, 24))
	return a, l.B
}

// enrol makes a machine an agent and starts it.
func (r *region) enrol(id, name string) *station {
	r.t.Helper()
	st := r.newStation(id, name, "", "")
	st.verb = "agent"
	r.agents = append(r.agents, st)
	st.run("agent", "join", r.token(name))
	st.start()
	return st
}

// token has the server make a token.
func (r *region) token(name string) string {
	r.t.Helper()
	out, err := r.server.client().Enrol(r.t.Context(), api.EnrolRequest{Name: name, For: time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Token
}

// all are the hosts that an order to all is for.
func (r *region) all() []*station { return append([]*station{r.server}, r.agents...) }

// connected waits until the server hears all agents.
func (r *region) connected() {
	r.t.Helper()
	c := r.server.client()
	eventually(r.t, long, "all agents are connected", func() bool {
		list, err := c.Agents(r.t.Context())
		up := 0
		for _, a := range list {
			if a.State == "connected" && a.Behind == 0 {
				up++
			}
		}
		return err == nil && up == len(r.agents)
	})
}

// log is the file that a station follows.
func (st *station) log() string { return st.path("auth.log") }

// sees has a station log lines.
func (st *station) sees(lines ...string) {
	st.t.Helper()
	appendTo(st.t, st.log(), strings.Join(lines, ""))
}

// holds waits until target is in force on the station by a command.
func (st *station) holds(command, target string) (b api.Block) {
	st.t.Helper()
	c := st.client()
	eventually(st.t, long, fmt.Sprintf("%s is in force on %s for %s", command, st.host, target), func() bool {
		list, err := c.InForce(st.t.Context(), api.Filter{Target: target, Command: command})
		if err != nil || len(list) == 0 || list[0].State != "in force" {
			return false
		}
		b = list[0]
		return true
	})
	return b
}

// receipts are what a station did about a target, oldest first.
func (st *station) receipts(target string) []riposte.Receipt {
	st.t.Helper()
	rs, err := st.client().History(st.t.Context(), api.Filter{Target: target, Limit: 1 << 20})
	if err != nil {
		st.t.Fatal(err)
	}
	slices.Reverse(rs)
	return rs
}

// history are all that it did, oldest first.
func (st *station) history() []riposte.Receipt { return st.receipts("") }

// waitOutcome waits for the first receipt of a kind and returns it.
func (st *station) waitOutcome(target string, o riposte.Outcome) (out riposte.Receipt) {
	st.t.Helper()
	eventually(st.t, long, fmt.Sprintf("%s: %s is %v", st.host, target, o), func() bool {
		for _, out = range st.receipts(target) {
			if out.Outcome == o {
				return true
			}
		}
		return false
	})
	return out
}

// reached returns the stations that the attacker can connect to now.
func (r *region) reached() (ids string) {
	sts := r.all()
	open := make([]bool, len(sts))
	var wg sync.WaitGroup
	for i, st := range sts {
		wg.Go(func() { open[i] = r.attacker.Reach("tcp", st.echo) == nil })
	}
	wg.Wait()
	var out []string
	for i, st := range sts {
		if open[i] {
			out = append(out, st.id)
		}
	}
	return strings.Join(out, " ")
}

// everywhere are the ids of all stations, as reached writes them.
func (r *region) everywhere() string {
	var out []string
	for _, st := range r.all() {
		out = append(out, st.id)
	}
	return strings.Join(out, " ")
}

// reaches waits until the attacker can connect to exactly these stations. A
// busy machine may be late to answer, so that too few are asked again.
func (r *region) reaches(want, when string) {
	r.t.Helper()
	eventually(r.t, long, fmt.Sprintf("%s the attacker reaches %q", when, want), func() bool { return r.reached() == want })
}

// kill ends a station's riposte as a power cut would end its machine, but for
// the kernel.
func (st *station) kill() { st.stop(syscall.SIGKILL) }

// alerts are the lines of alerts.json and the blocks of alerts.log.
func (st *station) alerts() (json []string, text []string) {
	st.t.Helper()
	dir := filepath.Join(st.dir, "log")
	j, err := os.ReadFile(filepath.Join(dir, "alerts.json"))
	if err != nil && !os.IsNotExist(err) {
		st.t.Fatal(err)
	}
	l, err := os.ReadFile(filepath.Join(dir, "alerts.log"))
	if err != nil && !os.IsNotExist(err) {
		st.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(j), "\n"), "\n"), strings.Split(strings.TrimSuffix(string(l), "\n\n"), "\n\n")
}

// sshd is a line of sshd's with words of its own.
func sshdLine(pid int, message string) string {
	return lab.SSHLine(time.Now(), "www", pid, message) + "\n"
}

// failedFrom is a failed login to an account that exists.
func failedFrom(a netip.Addr, n int) string {
	return sshdLine(n, lab.FailedPassword("root", true, netip.AddrPortFrom(a, 50022)))
}

// unknownFrom is a login with a name that does not exist.
func unknownFrom(a netip.Addr, n int) string {
	return sshdLine(n, lab.InvalidUser("oracle", netip.AddrPortFrom(a, 50022)))
}

// soak reports whether there is time for long tests.
func soak() bool { return os.Getenv("RIPOSTE_SOAK") != "" }
