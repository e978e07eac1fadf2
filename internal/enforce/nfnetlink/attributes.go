//go:build linux

package nfnetlink

import (
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// Message is a message from the kernel. Attrs points into the receive buffer
// and is overwritten by the next answer.
type Message struct {
	Subsystem uint8
	Command   uint8
	Flags     uint16
	Family    uint8
	Attrs     []byte
}

// Attributes yields the attributes in b, with the flags taken off their types.
// A malformed attribute ends the sequence: the kernel makes none.
func Attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.NLA_HDRLEN {
			n := int(binary.NativeEndian.Uint16(b))
			typ := binary.NativeEndian.Uint16(b[2:])
			if n < unix.NLA_HDRLEN || n > len(b) {
				return
			}
			if !yield(typ&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.NLA_HDRLEN:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// Find returns the first attribute in b of a type, nil when there is none.
func Find(b []byte, typ uint16) []byte {
	for t, value := range Attributes(b) {
		if t == typ {
			return value
		}
	}
	return nil
}

// Uint returns a number in network byte order of up to eight bytes.
func Uint(b []byte) (n uint64) {
	for _, c := range b[:min(len(b), 8)] {
		n = n<<8 | uint64(c)
	}
	return n
}

// Text returns a string without its NUL.
func Text(b []byte) string {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}

// Error is the kernel's refusal of one message of a request.
type Error struct {
	Message int // index of the message in its request
	Errno   unix.Errno
}

func (e *Error) Error() string {
	return fmt.Sprintf("netfilter refused message %d: %v", e.Message, e.Errno)
}

// Unwrap makes errors.Is work with the errno.
func (e *Error) Unwrap() error { return e.Errno }
