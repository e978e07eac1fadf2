package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"riposte"
)

// runTCP serves each connection with a goroutine of its own and waits for all
// of them.
func (s *Server) runTCP(ctx context.Context, out chan<- riposte.Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = s.stream.Close() }()
	stop := context.AfterFunc(ctx, func() {
		_ = s.stream.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close()
		}
	})
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	for {
		conn, err := s.stream.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept syslog on %s: %w", s.opt.Address, err)
			}
			s.log.Warn("cannot accept a syslog connection", "error", err)
			select { // too many open files, most likely
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		from := remote(conn)
		if why := s.enter(ctx, conn, from); why != "" {
			s.refuse(from, why)
			_ = conn.Close()
			continue
		}
		serving.Go(func() {
			defer s.leave(conn, from)
			s.serve(ctx, conn, from, out)
		})
	}
}

func remote(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// enter counts a connection in, or says why not.
func (s *Server) enter(ctx context.Context, conn net.Conn, from netip.Addr) string {
	if !s.admit(from) {
		return "not allowed to send"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return "stopping"
	case len(s.conns) >= s.opt.MaxConns:
		return "too many connections"
	case s.perHost[from] >= s.opt.MaxPerHost:
		return "too many connections from this address"
	}
	s.conns[conn] = from
	s.perHost[from]++
	return ""
}

func (s *Server) leave(conn net.Conn, from netip.Addr) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	if s.perHost[from]--; s.perHost[from] == 0 {
		delete(s.perHost, from)
	}
}

// serve reads one connection to its end.
func (s *Server) serve(ctx context.Context, conn net.Conn, from netip.Addr, out chan<- riposte.Batch) {
	var in io.Reader = conn
	if s.opt.TLS != nil {
		secured := tls.Server(conn, s.opt.TLS)
		_ = conn.SetDeadline(time.Now().Add(s.opt.Patience))
		if err := secured.HandshakeContext(ctx); err != nil {
			s.refuse(from, err.Error())
			return
		}
		_ = conn.SetDeadline(time.Time{})
		in = secured
	}
	if err := s.receive(ctx, conn, in, from.String(), out); err != nil && ctx.Err() == nil {
		s.log.Info("syslog connection ended", "from", from.String(), "error", err)
	}
}

// receive reads messages until the connection ends. Waiting for a message is
// one thing, waiting for the rest of one another: the latter does not take long,
// unless somebody means to keep us busy.
func (s *Server) receive(ctx context.Context, conn net.Conn, in io.Reader, from string, out chan<- riposte.Batch) error {
	f := newFramer(in, s.opt.MaxMessage)
	var events []riposte.Event
	for {
		if !f.ready() {
			if len(events) > 0 && !s.send(ctx, out, events) {
				return nil
			}
			events = nil
			_ = conn.SetReadDeadline(time.Now().Add(s.opt.IdleTimeout))
			if err := f.begin(); err != nil {
				return ended(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(s.opt.Patience))
		}
		text, cut, err := f.next()
		if err != nil {
			return ended(err)
		}
		events = append(events, s.event(string(text), cut, from, time.Now()))
		if len(events) == maxBatch {
			if !s.send(ctx, out, events) {
				return nil
			}
			events = nil
		}
	}
}

func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
