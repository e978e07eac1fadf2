//go:build linux

package netevents

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func message(typ uint16, port uint32, body string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint32(b, port)
	b = append(b, body...)
	return append(b, make([]byte, -len(b)&3)...)
}

func TestParse(t *testing.T) {
	var got []Event
	parse(append(append(message(24, 7, "abc"), message(25, 0, "")...), 9, 0, 0, 0, 0, 0, 0, 0), func(e Event) { got = append(got, e) })
	if len(got) != 2 || got[0].Type != 24 || got[0].Port != 7 || !bytes.Equal(got[0].Body, []byte("abc")) || got[1].Type != 25 || len(got[1].Body) != 0 {
		t.Errorf("%+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(append(message(24, 7, "abc"), message(25, 0, "")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		parse(b, func(e Event) { total += 16 + len(e.Body) })
		if total > len(b) {
			t.Errorf("%d bytes of events in %d", total, len(b))
		}
	})
}
