package syslog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// framer cuts the messages out of a TCP stream (RFC 6587). Each one either has
// its length before it ("42 <34>…") or ends with a newline; senders that mix
// both are understood.
type framer struct {
	in  *bufio.Reader
	max int
}

func newFramer(r io.Reader, max int) *framer {
	return &framer{in: bufio.NewReaderSize(r, 16<<10), max: max}
}

// maxCount bounds the digits of a length.
const maxCount = 8

// count looks for a length and the blank behind it. ok is false when there is
// none; certain is false when more bytes are needed to tell.
func (f *framer) count(buf []byte) (n, head int, ok, certain bool) {
	for head < len(buf) && head <= maxCount && '0' <= buf[head] && buf[head] <= '9' {
		n = 10*n + int(buf[head]-'0')
		head++
	}
	switch {
	case head < len(buf) && (head == 0 || head > maxCount || buf[0] == '0' || buf[head] != ' '):
		return 0, 0, false, true
	case head+1 >= len(buf):
		return 0, 0, false, false
	case buf[head+1] != '<':
		return 0, 0, false, true // a line that begins with a number
	}
	return n, head + 1, true, true
}

// ready reports whether a whole message can be read without waiting.
func (f *framer) ready() bool {
	f.skip()
	buf, _ := f.in.Peek(f.in.Buffered())
	n, head, ok, certain := f.count(buf)
	if ok {
		return len(buf) >= head+n
	}
	return certain && bytes.IndexByte(buf, '\n') >= 0
}

// skip drops line ends between messages, as far as they are here already.
func (f *framer) skip() {
	for f.in.Buffered() > 0 {
		b, err := f.in.Peek(1)
		if err != nil || b[0] != '\n' && b[0] != '\r' && b[0] != 0 {
			return
		}
		_, _ = f.in.Discard(1)
	}
}

// begin waits for the first byte of a message.
func (f *framer) begin() error {
	for {
		if _, err := f.in.Peek(1); err != nil {
			return err
		}
		if f.skip(); f.in.Buffered() > 0 {
			return nil
		}
	}
}

// next reads one message, cut when it is longer than allowed. io.EOF means that
// the stream ended; the beginning of a message before that comes first.
func (f *framer) next() (text []byte, cut bool, err error) {
	if err := f.begin(); err != nil {
		return nil, false, err
	}
	for want := 1; ; want++ {
		buf, err := f.in.Peek(max(want, f.in.Buffered()))
		n, head, ok, certain := f.count(buf)
		switch {
		case ok:
			_, _ = f.in.Discard(head)
			return f.counted(n)
		case certain || err == io.EOF:
			return f.line()
		case err != nil:
			return nil, false, err
		}
		want = len(buf)
	}
}

func (f *framer) counted(n int) (text []byte, cut bool, err error) {
	text = make([]byte, min(n, f.max))
	if _, err := io.ReadFull(f.in, text); err != nil {
		return nil, false, err
	}
	if n > f.max {
		if _, err := io.CopyN(io.Discard, f.in, int64(n-f.max)); err != nil {
			return nil, false, err
		}
	}
	return text, n > f.max, nil
}

func (f *framer) line() (text []byte, cut bool, err error) {
	for {
		part, err := f.in.ReadSlice('\n')
		text = append(text, part[:min(len(part), f.max+2-len(text))]...) // two more: the line end
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (err != io.EOF || len(text) == 0) {
			return nil, false, err
		}
		text = bytes.TrimRight(text, "\r\n\x00")
		return text[:min(len(text), f.max)], len(text) > f.max, nil
	}
}
