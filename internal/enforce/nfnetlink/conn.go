//go:build linux

package nfnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Conn is a socket of the network namespace it was opened in. It is used by one
// goroutine at a time.
type Conn struct {
	fd   int
	seq  uint32
	buf  []byte
	port atomic.Uint32
}

// The bounds of a socket: how much may be sent in one request, how much may
// wait to be read, and how long the kernel may take over an answer.
const (
	sendBuffer    = 4 << 20
	receiveBuffer = 8 << 20
	answerTime    = 10 // seconds
)

// Dial opens a socket in the network namespace of the calling thread.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening a netfilter socket: %w", os.NewSyscallError("socket", err))
	}
	c := &Conn{fd: fd, buf: make([]byte, 64<<10)}
	if err := c.configure(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening a netfilter socket: %w", err)
	}
	return c, nil
}

func (c *Conn) configure() error {
	for option, size := range map[int]int{unix.SO_SNDBUFFORCE: sendBuffer, unix.SO_RCVBUFFORCE: receiveBuffer} {
		// The force is root's; whoever lacks it gets what the system allows,
		// and an error later if that is too little.
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, option, size); err != nil && !errors.Is(err, unix.EPERM) {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// A refusal shall not carry the whole refused message back.
	if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTime}); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if n, ok := name.(*unix.SockaddrNetlink); ok {
		c.port.Store(n.Pid)
	}
	return nil
}

// Port is the number by which the kernel names the socket to others as the
// author of a change. It may be asked for by any goroutine.
func (c *Conn) Port() uint32 { return c.port.Load() }

// Close closes the socket.
func (c *Conn) Close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// ErrInterrupted says that what was dumped changed meanwhile: entries may be
// missing or repeated. What was read has been passed on all the same.
var ErrInterrupted = errors.New("changed while it was read")

// Do sends the request and passes the kernel's messages, if any, to each. It
// returns when the last message of the request (of a batch, the last but its
// end) is acknowledged or its dump is complete; that message must have asked
// for one of the two. The first refusal is returned as an *Error. Any other
// error but ErrInterrupted means that the socket failed and that nobody knows
// what was done; the next request gets a fresh socket.
func (c *Conn) Do(r *Request, each func(Message)) error {
	err := c.do(r, each)
	var refused *Error
	if err == nil || errors.As(err, &refused) || errors.Is(err, ErrInterrupted) {
		return err
	}
	// If there is no other socket to be had this one stays, and fails again.
	if fresh, dialErr := Dial(); dialErr == nil {
		unix.Close(c.fd)
		c.fd = fresh.fd
		c.port.Store(fresh.Port())
	}
	return err
}

func (c *Conn) do(r *Request, each func(Message)) error {
	r.number(c.seq + 1)
	c.seq += r.count
	final := c.seq
	if r.batch {
		final--
	}
	if err := unix.Sendto(c.fd, r.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sending to netfilter: %w", os.NewSyscallError("sendto", err))
	}
	var refusal, interrupted error
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		for len(b) >= unix.NLMSG_HDRLEN {
			n := int(binary.NativeEndian.Uint32(b))
			if n < unix.NLMSG_HDRLEN || n > len(b) {
				return fmt.Errorf("netfilter sent a message of %d bytes in %d", n, len(b))
			}
			typ, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
			seq, body := binary.NativeEndian.Uint32(b[8:]), b[unix.NLMSG_HDRLEN:n]
			b = b[min(align(n), len(b)):]
			index := seq - r.first
			if index >= r.count {
				continue // what is left of an earlier request that failed
			}
			if flags&unix.NLM_F_DUMP_INTR != 0 {
				interrupted = ErrInterrupted
			}
			switch typ {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				var errno int32
				if len(body) >= 4 {
					errno = int32(binary.NativeEndian.Uint32(body))
				}
				if errno < 0 && refusal == nil {
					refusal = &Error{Message: int(index), Errno: unix.Errno(-errno)}
				}
				// A batch that is refused as a whole is refused by its first
				// message, and the others may not be answered.
				if seq == final || r.batch && index == 0 && errno < 0 {
					if refusal == nil {
						return interrupted
					}
					return refusal
				}
			default:
				if len(body) >= 4 && each != nil {
					each(Message{Subsystem: uint8(typ >> 8), Command: uint8(typ), Flags: flags, Family: body[0], Attrs: body[4:]})
				}
			}
		}
	}
}

// receive reads one datagram, which may hold many messages. The kernel makes
// none of more than 32 KiB, refusals capped.
func (c *Conn) receive() ([]byte, error) {
	for {
		n, err := unix.Read(c.fd, c.buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, fmt.Errorf("hearing from netfilter: %w", os.NewSyscallError("read", err))
		case n == len(c.buf):
			return nil, fmt.Errorf("netfilter sent a message of %d bytes or more", n)
		default:
			return c.buf[:n], nil
		}
	}
}
