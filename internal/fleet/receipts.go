package fleet

import (
	"bytes"
	"fmt"

	"riposte"
)

// Receipts is one message of receipts. Epoch and N are as in Events, or 0 when
// the sender keeps its receipts elsewhere. Whose they are says the subject, not
// Receipt.Host.
type Receipts struct {
	Epoch, N uint64
	Receipts []riposte.Receipt
}

// AppendReceipts appends the packed message to dst: one line of JSON a receipt.
// An error means that a receipt has a time beyond the year 9999.
func (c *Codec) AppendReceipts(dst []byte, r *Receipts) ([]byte, error) {
	buf := c.buffer()
	defer c.release(buf)
	b := (*buf)[:0]
	for i := range r.Receipts {
		line, err := Encode(&r.Receipts[i])
		if err != nil {
			return dst, fmt.Errorf("encode the receipt of order %s: %w", r.Receipts[i].Order, err)
		}
		b = append(append(b, line...), '\n')
	}
	*buf = b
	return c.pack(dst, formatReceipts, r.Epoch, r.N, b), nil
}

// DecodeReceipts unpacks a message.
func (c *Codec) DecodeReceipts(b []byte) (*Receipts, error) {
	buf := c.buffer()
	defer c.release(buf)
	epoch, n, err := c.unpack(b, formatReceipts, buf)
	if err != nil {
		return nil, fmt.Errorf("decode receipts: %w", err)
	}
	count := bytes.Count(*buf, []byte{'\n'})
	if count > MaxReceipts {
		return nil, fmt.Errorf("decode receipts: %d of them, expected at most %d: %w", count, MaxReceipts, ErrTooLarge)
	}
	out := &Receipts{Epoch: epoch, N: n, Receipts: make([]riposte.Receipt, 0, count)}
	for rest := *buf; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		if !ended {
			return nil, fmt.Errorf("decode receipts: the last one is cut short: %w", ErrMalformed)
		}
		var r riposte.Receipt
		if err := Decode(line, &r); err != nil {
			return nil, fmt.Errorf("decode receipts: number %d: %w", len(out.Receipts)+1, err)
		}
		// It would have no name: whoever lists it with others could read none of them.
		if r.Outcome == 0 {
			return nil, fmt.Errorf("decode receipts: number %d has no outcome: %w", len(out.Receipts)+1, ErrMalformed)
		}
		out.Receipts = append(out.Receipts, r)
		rest = after
	}
	return out, nil
}
