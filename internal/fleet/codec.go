package fleet

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The bounds of one packed message. The sender keeps below them; a receiver
// refuses what is beyond.
const (
	MaxUnpacked = 64 << 20 // bytes, decompressed
	MaxEvents   = 1 << 20
	MaxReceipts = 1 << 17
)

// A packed message is a byte that names its format, the epoch and the number
// of the sender's record (big endian, eight bytes each), and a zstd frame. The
// numbers stand outside the frame so that Stamp can set them when the record
// has got its place in the spool.
const (
	formatEvents   = 0x11
	formatAnalysed = 0x12 // events that were analysed where they come from
	formatReceipts = 0x21
	packedHead     = 1 + 8 + 8
)

// Codec packs and unpacks events and receipts. It keeps its compressors and
// buffers for the next message. It is safe for concurrent use.
type Codec struct {
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	scratch sync.Pool // *[]byte
}

// NewCodec returns a codec. It needs no closing.
func NewCodec() *Codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("fleet: " + err.Error()) // the options above are wrong
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxUnpacked),
		zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic("fleet: " + err.Error())
	}
	return &Codec{enc: enc, dec: dec}
}

// Stamp sets the epoch and the number of a packed message.
func Stamp(packed []byte, epoch, n uint64) error {
	if len(packed) < packedHead {
		return fmt.Errorf("number a message of %d bytes: %w", len(packed), ErrMalformed)
	}
	binary.BigEndian.PutUint64(packed[1:], epoch)
	binary.BigEndian.PutUint64(packed[9:], n)
	return nil
}

// maxIdle is the largest buffer kept for the next message.
const maxIdle = 4 << 20

func (c *Codec) buffer() *[]byte {
	if b, ok := c.scratch.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (c *Codec) release(b *[]byte) {
	if cap(*b) <= maxIdle {
		*b = (*b)[:0]
		c.scratch.Put(b)
	}
}

// pack appends a message with the given content.
func (c *Codec) pack(dst []byte, format byte, epoch, n uint64, content []byte) []byte {
	dst = append(dst, format)
	dst = binary.BigEndian.AppendUint64(dst, epoch)
	dst = binary.BigEndian.AppendUint64(dst, n)
	return c.enc.EncodeAll(content, dst)
}

// unpack decompresses into the buffer to.
func (c *Codec) unpack(b []byte, format byte, to *[]byte) (epoch, n uint64, err error) {
	switch {
	case len(b) > MaxMessage:
		return 0, 0, fmt.Errorf("%d bytes, expected at most %d: %w", len(b), MaxMessage, ErrTooLarge)
	case len(b) < packedHead:
		return 0, 0, fmt.Errorf("%d bytes, expected at least %d: %w", len(b), packedHead, ErrMalformed)
	case b[0] != format:
		return 0, 0, fmt.Errorf("format %#x, expected %#x: %w", b[0], format, ErrMalformed)
	}
	*to, err = c.dec.DecodeAll(b[packedHead:], (*to)[:0])
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:]), nil
}

// Numbers returns the epoch and the number of a packed message, whatever else is
// in it.
func Numbers(packed []byte) (epoch, n uint64, err error) {
	if len(packed) < packedHead {
		return 0, 0, fmt.Errorf("the number of a message of %d bytes: %w", len(packed), ErrMalformed)
	}
	return binary.BigEndian.Uint64(packed[1:]), binary.BigEndian.Uint64(packed[9:]), nil
}
