package daemon

import (
	"errors"
	"fmt"
	"slices"

	"riposte"
	"riposte/internal/enforce"
	"riposte/internal/fleet"
)

// A server that shares a cluster with others judges what the agents see and
// nothing else: two servers that both read as agent 000 would be one host with
// two logs. The logs of its own host are an agent's beside it, and so is
// everything that a response holds on this host (the firewall, routes, files,
// accounts), for two ripostes would each take back what the other made. What is
// done and over is the leading server's: mail, webhooks, scripts.

// besideAgents chooses the agents on the servers' own hosts, unless
// fleet.agents says who is meant by 000.
const besideAgents = "group:servers"

// errBeside is why a server of a cluster does not hold a response.
var errBeside = errors.New("a server of a cluster holds no responses on its own host: an agent beside it does, in the group servers (or whoever fleet.agents names for 000)")

// clustered reports whether this is a server that shares its broker.
func (d *Daemon) clustered() bool { return d.server != nil && d.server.broker == nil }

// resolve finds what carries out a command on this host.
func (d *Daemon) resolve(c riposte.Command) (enforce.Mechanism, error) {
	m, err := d.registry.Resolve(c)
	if err == nil && d.clustered() && lasting(m) {
		return nil, errBeside
	}
	return m, err
}

// mechanisms are those that may hold something on this host for this riposte.
func (d *Daemon) mechanisms() []enforce.Mechanism {
	all := d.registry.Mechanisms()
	if !d.clustered() {
		return all
	}
	return slices.DeleteFunc(all, lasting)
}

// lasting reports whether a mechanism holds something on its host.
func lasting(m enforce.Mechanism) bool {
	_, lists := m.(enforce.Lister)
	return lists
}

// leaves reports whether a command holds something on a host, and this server
// leaves that to an agent beside it.
func (s *server) leaves(c riposte.Command) bool {
	_, err := s.d.resolve(c)
	return errors.Is(err, errBeside)
}

// beside are the agents on the servers' own hosts.
func (s *server) beside() []string {
	if s.link.Load() == nil {
		return nil
	}
	meant, ok := s.d.world.Load().Settings.Fleet.Agents[fleet.Server]
	if !ok {
		meant = besideAgents
	}
	return s.selected(meant)
}

// fleetInputs are the sources of a server of a cluster, besides the agents.
func (d *Daemon) fleetInputs() []*input {
	out := []*input{d.server.noticesInput()}
	if d.opt.Input != nil {
		out = append(out, d.streamInput())
	}
	return out
}

// besideWords says at the start what this host needs besides.
func (s *server) besideWords() string {
	w := s.d.world.Load()
	text := "judges what agents see; for this host's own logs and responses run an agent beside it, in the group servers"
	if n := len(w.Config.LocalFiles); n > 0 {
		text += fmt.Sprintf(" (%d <localfile> are left to it)", n)
	}
	return text
}
