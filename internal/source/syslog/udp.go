package syslog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"riposte"
)

// receiveBuffer is asked of the kernel: what comes in a burst waits there.
const receiveBuffer = 4 << 20

// datagram is a message and its sender.
type datagram struct {
	text string
	cut  bool
	from netip.Addr
}

func (s *Server) listenUDP() error {
	addr, err := net.ResolveUDPAddr("udp", s.opt.Address)
	if err != nil {
		return err
	}
	if s.packet, err = net.ListenUDP("udp", addr); err != nil {
		return err
	}
	_ = s.packet.SetReadBuffer(receiveBuffer) // the kernel gives what it allows
	return nil
}

// runUDP reads with one goroutine and makes batches with another one: of what
// has come when there is room for the next batch.
func (s *Server) runUDP(ctx context.Context, out chan<- riposte.Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = s.packet.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = s.packet.Close() })
	defer stop()
	queue := make(chan datagram, 4*maxBatch)
	var batching sync.WaitGroup
	batching.Go(func() { s.batch(ctx, queue, out) })
	err := s.readUDP(ctx, queue)
	close(queue)
	cancel()
	batching.Wait()
	return err
}

func (s *Server) readUDP(ctx context.Context, queue chan<- datagram) error {
	buf := make([]byte, 64<<10)
	for failures := 0; ; {
		n, from, err := s.packet.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if failures++; failures > 100 { // one sender's ICMP may fail a read, not a hundred in a row
				return fmt.Errorf("receive syslog on %s: %w", s.opt.Address, err)
			}
			continue
		}
		failures = 0
		if !s.admit(from.Addr()) {
			s.refuse(from.Addr(), "not allowed to send")
			continue
		}
		if n == 0 {
			continue
		}
		d := datagram{text: string(buf[:min(n, s.opt.MaxMessage)]), cut: n > s.opt.MaxMessage, from: from.Addr()}
		select {
		case queue <- d:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Server) batch(ctx context.Context, queue <-chan datagram, out chan<- riposte.Batch) {
	for d := range queue {
		now := time.Now()
		events := []riposte.Event{s.event(d.text, d.cut, d.from.Unmap().String(), now)}
	gather:
		for len(events) < maxBatch {
			select {
			case d, ok := <-queue:
				if !ok {
					break gather
				}
				events = append(events, s.event(d.text, d.cut, d.from.Unmap().String(), now))
			default:
				break gather
			}
		}
		if !s.send(ctx, out, events) {
			return
		}
	}
}
