//go:build linux

package nfnetlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Request is one or more messages that are sent as one datagram. The zero value
// is ready for use, and after Reset again.
type Request struct {
	buf   []byte
	start int    // of the message being built
	first uint32 // sequence number of the first message
	count uint32 // of messages
	batch bool   // the messages are done as a whole or not at all
}

// Reset forgets the messages and keeps the memory.
func (r *Request) Reset() { *r = Request{buf: r.buf[:0]} }

// Begin begins a batch of a subsystem's messages. With a generation other than
// 0 the kernel refuses it with ERESTART when anybody has changed the
// subsystem's state since that generation (Linux 4.13 and later).
func (r *Request) Begin(subsystem uint8, generation uint32) {
	r.Message(0, unix.NFNL_MSG_BATCH_BEGIN, 0, 0, uint16(subsystem))
	if generation != 0 {
		r.Uint32(unix.NFNL_BATCH_GENID, generation)
	}
	r.batch = true
}

// Commit ends the batch.
func (r *Request) Commit(subsystem uint8) {
	r.Message(0, unix.NFNL_MSG_BATCH_END, 0, 0, uint16(subsystem))
}

// Message begins a message of a netfilter subsystem; what is added afterwards
// belongs to it. resource
// is used by the messages around a batch only.
func (r *Request) Message(subsystem, command uint8, flags uint16, family uint8, resource uint16) {
	r.finish()
	r.start = len(r.buf)
	b := binary.NativeEndian.AppendUint32(r.buf, 0) // length, set by finish
	b = binary.NativeEndian.AppendUint16(b, uint16(subsystem)<<8|uint16(command))
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, r.count) // made absolute by Conn.Do
	b = binary.NativeEndian.AppendUint32(b, 0)       // port: the kernel fills in ours
	b = append(b, family, 0)
	r.buf = binary.BigEndian.AppendUint16(b, resource)
	r.count++
}

func (r *Request) finish() {
	if r.count > 0 {
		binary.NativeEndian.PutUint32(r.buf[r.start:], uint32(len(r.buf)-r.start))
	}
}

// Bytes adds an attribute.
func (r *Request) Bytes(typ uint16, value []byte) {
	at := r.open(typ)
	r.buf = append(r.buf, value...)
	r.close(at)
}

// String adds an attribute that is a string with its NUL.
func (r *Request) String(typ uint16, value string) {
	at := r.open(typ)
	r.buf = append(r.buf, value...)
	r.buf = append(r.buf, 0)
	r.close(at)
}

// Uint8 adds an attribute of one byte.
func (r *Request) Uint8(typ uint16, value uint8) {
	at := r.open(typ)
	r.buf = append(r.buf, value)
	r.close(at)
}

// Uint32 adds an attribute in network byte order.
func (r *Request) Uint32(typ uint16, value uint32) {
	at := r.open(typ)
	r.buf = binary.BigEndian.AppendUint32(r.buf, value)
	r.close(at)
}

// NativeUint32 adds an attribute in the machine's byte order.
func (r *Request) NativeUint32(typ uint16, value uint32) {
	at := r.open(typ)
	r.buf = binary.NativeEndian.AppendUint32(r.buf, value)
	r.close(at)
}

// Uint64 adds an attribute in network byte order.
func (r *Request) Uint64(typ uint16, value uint64) {
	at := r.open(typ)
	r.buf = binary.BigEndian.AppendUint64(r.buf, value)
	r.close(at)
}

// Nest opens an attribute that holds attributes; End closes it.
func (r *Request) Nest(typ uint16) (mark int) { return r.open(typ | unix.NLA_F_NESTED) }

// End closes the attribute that Nest opened.
func (r *Request) End(mark int) { r.close(mark) }

func (r *Request) open(typ uint16) int {
	at := len(r.buf)
	r.buf = binary.NativeEndian.AppendUint16(r.buf, 0)
	r.buf = binary.NativeEndian.AppendUint16(r.buf, typ)
	return at
}

func (r *Request) close(at int) {
	binary.NativeEndian.PutUint16(r.buf[at:], uint16(len(r.buf)-at))
	for len(r.buf)%4 != 0 {
		r.buf = append(r.buf, 0)
	}
}

// number gives the messages their sequence numbers, from first on.
func (r *Request) number(first uint32) {
	r.finish()
	r.first = first
	for b := r.buf; len(b) >= unix.NLMSG_HDRLEN; {
		binary.NativeEndian.PutUint32(b[8:], first)
		first++
		b = b[min(align(int(binary.NativeEndian.Uint32(b))), len(b)):]
	}
}

func align(n int) int { return (n + 3) &^ 3 }
