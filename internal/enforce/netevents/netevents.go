//go:build linux

package netevents

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Event is one message. Body points into a buffer that the next one overwrites.
type Event struct {
	Type uint16 // as the protocol has it
	Port uint32 // of the socket that asked for the change; 0: the kernel itself
	Body []byte // behind the netlink header
}

// receiveBuffer is how much may wait to be read.
const receiveBuffer = 4 << 20

// Listen calls each with what the kernel tells the groups of a protocol, in the
// network namespace of the calling thread, until ctx ends. When messages were
// lost, since more came than could wait, each is called with the zero Event.
func Listen(ctx context.Context, protocol int, groups []int, each func(Event)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return fmt.Errorf("listening to the kernel: %w", os.NewSyscallError("socket", err))
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	defer socket.Close()
	if err := join(fd, groups); err != nil {
		return fmt.Errorf("listening to the kernel: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	buf := make([]byte, 64<<10)
	for {
		n, err := socket.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			each(Event{})
		case err != nil:
			return fmt.Errorf("listening to the kernel: %w", err)
		default:
			parse(buf[:n], each)
		}
	}
}

func join(fd int, groups []int) error {
	// The force is root's; whoever lacks it gets what the system allows, and
	// hears that messages were lost.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil && !errors.Is(err, unix.EPERM) {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// parse passes on the messages of a datagram. What is no message ends it: the
// kernel makes none such.
func parse(b []byte, each func(Event)) {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return
		}
		each(Event{Type: binary.NativeEndian.Uint16(b[4:]), Port: binary.NativeEndian.Uint32(b[12:]), Body: b[unix.NLMSG_HDRLEN:n]})
		b = b[min((n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
}
