package lab

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Patience is how long a probe waits for an answer before it says that there is
// none. Answers on one machine take well under a millisecond; a lost SYN is
// sent again after a second, which is never waited for.
const Patience = 400 * time.Millisecond

// Echo answers on the machine what it is sent, over tcp or udp, until the test
// ends, and returns the port.
func (h *Host) Echo(t testing.TB, network string, addr netip.Addr) netip.AddrPort {
	t.Helper()
	at := net.JoinHostPort(addr.String(), "0")
	if strings.HasPrefix(network, "udp") {
		var c net.PacketConn
		if err := h.Do(func() (err error) { c, err = net.ListenPacket(network, at); return err }); err != nil {
			t.Fatalf("%s: %v", h, err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(buf[:n], from) // a blocked peer hears nothing
			}
		}()
		return c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	var l net.Listener
	if err := h.Do(func() (err error) { l, err = net.Listen(network, at); return err }); err != nil {
		t.Fatalf("%s: %v", h, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // ends with the peer
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Dial opens a connection from the machine; from may be zero.
func (h *Host) Dial(network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: Patience}
	if from.IsValid() {
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
	}
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = d.Dial(network, to.String())
		return err
	})
	return c, err
}

// Reach asks an Echo for an answer over a new connection.
func (h *Host) Reach(network string, to netip.AddrPort) error {
	return h.ReachFrom(network, netip.Addr{}, to)
}

// ReachFrom is Reach from one of the machine's addresses.
func (h *Host) ReachFrom(network string, from netip.Addr, to netip.AddrPort) error {
	c, err := h.Dial(network, from, to)
	if err != nil {
		return err
	}
	defer c.Close()
	return Ask(c)
}

// Ask sends an Echo at the other end of c a word of its own and waits until it
// comes back. Answers to earlier questions, late after a stall, do not count.
func Ask(c net.Conn) error {
	word := fmt.Appendf(nil, "are you there at %d?", time.Now().UnixNano())
	if err := c.SetDeadline(time.Now().Add(Patience)); err != nil {
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
