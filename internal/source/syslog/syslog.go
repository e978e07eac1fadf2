// Package syslog listens for the syslog messages of other machines: UDP, TCP
// and TLS, messages of RFC 3164 and RFC 5424.
//
// Whoever can send may write what he likes, on plain UDP even in another's name,
// and over TCP without lengths (LF framing) a newline that got into a message
// begins another one. So the senders must be named, and what they say of
// themselves proves nothing: the location of an event is the address it came
// from.
package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"riposte"
	"riposte/internal/source/lines"
)

// Options says where to listen and to whom.
type Options struct {
	Network string         // "udp" or "tcp"
	Address string         // host:port, ":514"
	TLS     *tls.Config    // for tcp; nil: in the clear
	Allowed []netip.Prefix // who may send; nobody when empty
	Denied  []netip.Prefix // who may not, although allowed

	MaxMessage  int           // bytes, longer messages are cut; 0: lines.Max
	MaxConns    int           // connections at once; 0: 512
	MaxPerHost  int           // of them from one address; 0: 32
	IdleTimeout time.Duration // a connection may say nothing for so long; 0: an hour
	Patience    time.Duration // a message, or a TLS handshake, must be whole within; 0: 30 seconds

	Log *slog.Logger
}

// maxBatch bounds the events of a batch.
const maxBatch = 256

// Server receives syslog messages.
type Server struct {
	opt    Options
	log    *slog.Logger
	key    string
	packet *net.UDPConn
	stream net.Listener

	mu      sync.Mutex
	conns   map[net.Conn]netip.Addr
	perHost map[netip.Addr]int
	refused int
	told    time.Time // when refusals were logged last
}

// Listen opens the socket, so that mistakes are known, and privileges may be
// dropped, before Run.
func Listen(opt Options) (*Server, error) {
	if opt.MaxMessage == 0 {
		opt.MaxMessage = lines.Max
	}
	if opt.MaxConns == 0 {
		opt.MaxConns = 512
	}
	if opt.MaxPerHost == 0 {
		opt.MaxPerHost = 32
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = time.Hour
	}
	if opt.Patience == 0 {
		opt.Patience = 30 * time.Second
	}
	s := &Server{opt: opt, log: opt.Log, conns: map[net.Conn]netip.Addr{}, perHost: map[netip.Addr]int{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.key = "syslog:" + opt.Network + ":" + opt.Address
	if len(opt.Allowed) == 0 {
		return nil, fmt.Errorf("listen for syslog on %s %s: nobody is allowed to send; name the senders (allowed-ips)", opt.Network, opt.Address)
	}
	var err error
	switch opt.Network {
	case "udp":
		err = s.listenUDP()
	case "tcp":
		s.stream, err = net.Listen("tcp", opt.Address)
	default:
		err = errors.New("network must be udp or tcp")
	}
	if err != nil {
		return nil, fmt.Errorf("listen for syslog on %s %s: %w", opt.Network, opt.Address, err)
	}
	return s, nil
}

// Addr returns the address that is listened on.
func (s *Server) Addr() net.Addr {
	if s.packet != nil {
		return s.packet.LocalAddr()
	}
	return s.stream.Addr()
}

// Close stops listening. Run does so by itself.
func (s *Server) Close() error {
	if s.packet != nil {
		return s.packet.Close()
	}
	return s.stream.Close()
}

// Run receives until ctx ends, then closes all sockets. There is no position:
// what is sent while nobody listens is lost.
func (s *Server) Run(ctx context.Context, out chan<- riposte.Batch) error {
	if s.packet != nil {
		return s.runUDP(ctx, out)
	}
	return s.runTCP(ctx, out)
}

// admit says whether a sender is listened to.
func (s *Server) admit(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	contains := func(list []netip.Prefix) bool {
		for _, p := range list {
			if p.Contains(from) {
				return true
			}
		}
		return false
	}
	return contains(s.opt.Allowed) && !contains(s.opt.Denied)
}

// refuse counts a sender that was turned away, and says so now and then.
func (s *Server) refuse(from netip.Addr, why string) {
	s.mu.Lock()
	s.refused++
	tell := time.Since(s.told) > time.Minute
	n := s.refused
	if tell {
		s.told, s.refused = time.Now(), 0
	}
	s.mu.Unlock()
	if tell {
		s.log.Warn("syslog refused", "from", from.Unmap().String(), "why", why, "refusals", n)
	}
}

// event makes an event of one message.
func (s *Server) event(text string, cut bool, from string, now time.Time) riposte.Event {
	return riposte.Event{Time: now, Location: from, Text: Line(text, from, now), Cut: cut}
}

func (s *Server) send(ctx context.Context, out chan<- riposte.Batch, events []riposte.Event) bool {
	select {
	case out <- riposte.Batch{Source: s.key, Events: events}:
		return true
	case <-ctx.Done():
		return false
	}
}
