package selftest

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// path is one way for a conversation to take.
type path struct {
	name      string
	bystander bool   // it is never to be blocked
	minor     string // what it means when this path stays open; "": the mechanism has failed
	missing   error  // why this host cannot show it
	// try has a conversation. arrived says that the question was heard,
	// whatever became of the answer, as far as that can be told.
	try func(ctx context.Context) (arrived bool, err error)

	connection net.Conn // that is open already, if the path is about one
}

func (p *path) hangUp() {
	if p.connection != nil {
		p.connection.Close()
	}
}

// pave starts the servers, publishes the port, and lists the paths.
func (r *run) pave(ctx context.Context, wait *sync.WaitGroup) error {
	s := r.street
	inside := make(map[*family]netip.AddrPort)
	type servers struct{ host, container, peer *echo }
	all := make(map[*family]servers)
	for _, f := range s.families {
		var got servers
		for _, l := range []struct {
			to *(*echo)
			at *machine
			a  netip.Addr
		}{{&got.host, s.host, f.host}, {&got.container, s.container, f.inside}, {&got.peer, s.peer, f.target}} {
			e, err := listen(ctx, l.at, l.a, wait)
			if err != nil {
				return err
			}
			*l.to = e
		}
		all[f], inside[f] = got, got.container.tcp
	}
	s.publish(ctx, r.o.Run, inside)
	for _, f := range s.families {
		got := all[f]
		door := netip.AddrPortFrom(f.host, published)
		for _, who := range []struct {
			from netip.Addr
			name string
		}{{f.target, ""}, {f.bystander, "bystander's "}} {
			add := func(p *path, what string) *path {
				p.name, p.bystander = f.name+": "+who.name+what, who.name != ""
				r.paths = append(r.paths, p)
				return p
			}
			add(r.conversation(s.peer, "tcp", who.from, got.host.tcp, nil), "new TCP connection to the host")
			add(r.conversation(s.peer, "udp", who.from, got.host.udp, got.host.heard), "UDP to the host")
			add(r.established(s.peer, who.from, got.host.tcp), "open TCP connection to the host")
			add(r.conversation(s.peer, "tcp", who.from, got.container.tcp, nil), "new TCP connection, forwarded")
			add(r.conversation(s.peer, "udp", who.from, got.container.udp, got.container.heard), "UDP, forwarded")
			add(r.established(s.peer, who.from, got.container.tcp), "open TCP connection, forwarded")
			add(r.conversation(s.peer, "tcp", who.from, door, nil), "new TCP connection to a published port of the container").missing = f.publishing
			add(r.established(s.peer, who.from, door), "open TCP connection to a published port of the container").missing = f.publishing
		}
		p := r.conversation(s.host, "tcp", netip.Addr{}, got.peer.tcp, nil)
		p.name, p.minor = f.name+": new TCP connection from the host to it", "the host itself can still connect to it"
		r.paths = append(r.paths, p)
	}
	return nil
}

// conversation is a path with a connection of its own each time.
func (r *run) conversation(at *machine, network string, from netip.Addr, to netip.AddrPort, heard *mailbox) *path {
	return &path{try: func(ctx context.Context) (bool, error) {
		c, err := dial(ctx, at, network, from, to, r.o.Patience)
		if err != nil {
			return false, err
		}
		defer c.Close()
		word := r.words.next()
		err = ask(c, word, r.o.Patience)
		return heard != nil && heard.has(word), err
	}}
}

// established is a path over a connection that is opened at the first try and
// kept.
func (r *run) established(at *machine, from netip.Addr, to netip.AddrPort) *path {
	p := &path{}
	p.try = func(ctx context.Context) (_ bool, err error) {
		if p.connection == nil {
			if p.connection, err = dial(ctx, at, "tcp", from, to, r.o.Patience); err != nil {
				p.connection = nil
				return false, err
			}
		}
		return false, ask(p.connection, r.words.next(), r.o.Patience)
	}
	return p
}
