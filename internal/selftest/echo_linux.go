package selftest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// echo answers what it is sent, over TCP and UDP, until its context ends.
type echo struct {
	tcp, udp netip.AddrPort
	heard    *mailbox
}

// mailbox keeps the words that came by UDP, whether the answer got home or not.
type mailbox struct {
	mu    sync.Mutex
	words map[string]bool
}

func (b *mailbox) put(word []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.words[string(word)] = true
}

func (b *mailbox) has(word []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.words[string(word)]
}

// listen starts an echo on a machine. Its goroutines are in wait.
func listen(ctx context.Context, at *machine, a netip.Addr, wait *sync.WaitGroup) (*echo, error) {
	var l net.Listener
	var c net.PacketConn
	err := at.do(func() (err error) {
		if l, err = net.Listen("tcp", net.JoinHostPort(a.String(), "0")); err != nil {
			return err
		}
		c, err = net.ListenPacket("udp", net.JoinHostPort(a.String(), "0"))
		return err
	})
	if err != nil {
		if l != nil {
			l.Close()
		}
		return nil, fmt.Errorf("listening on the %s: %w", at.name, err)
	}
	context.AfterFunc(ctx, func() { l.Close(); c.Close() })
	e := &echo{
		tcp: l.Addr().(*net.TCPAddr).AddrPort(), udp: c.LocalAddr().(*net.UDPAddr).AddrPort(),
		heard: &mailbox{words: make(map[string]bool)},
	}
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			wait.Go(func() {
				defer stop()
				defer c.Close()
				_, _ = io.Copy(c, c) // ends with the peer, or with ctx
			})
		}
	})
	wait.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			e.heard.put(buf[:n])
			_, _ = c.WriteTo(buf[:n], from) // a blocked peer hears nothing
		}
	})
	return e, nil
}

// dial opens a connection from an address of a machine.
func dial(ctx context.Context, at *machine, network string, from netip.Addr, to netip.AddrPort, patience time.Duration) (c net.Conn, err error) {
	d := net.Dialer{Timeout: patience}
	if from.IsValid() {
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
	}
	err = at.do(func() (err error) {
		c, err = d.DialContext(ctx, network, to.String())
		return err
	})
	return c, err
}

// words numbers the questions.
type words struct{ last atomic.Uint64 }

func (w *words) next() []byte { return fmt.Appendf(nil, "are you there? (%d)", w.last.Add(1)) }

// ask sends the word and waits until it comes back. Answers to earlier
// questions, late after a stall, do not count.
func ask(c net.Conn, word []byte, patience time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(word); err != nil {
		return err
	}
	var heard []byte
	for buf := make([]byte, 1024); !bytes.HasSuffix(heard, word); {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		heard = append(heard, buf[:n]...)
	}
	return nil
}
