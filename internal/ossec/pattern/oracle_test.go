// Where there is a real PCRE2 to ask.
//go:build linux || darwin

package pattern

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"go.elara.ws/pcre/lib"
	"modernc.org/libc"
)

// realPCRE2 is a pattern in the hands of PCRE2 itself (10.40, transpiled from C
// to Go): the judge of our matcher in these tests, and nowhere else.
type realPCRE2 struct {
	tls    *libc.TLS
	re, md uintptr
	groups int
}

// newRealPCRE2 compiles for PCRE2. The error names its error code and offset.
func newRealPCRE2(t testing.TB, text string, options uint32) (*realPCRE2, error) {
	if raced {
		t.Skip("the race detector stops at the pointers of transpiled C")
	}
	r := &realPCRE2{tls: libc.NewTLS()}
	buf := append([]byte(text), 0)
	code, offset := new(int32), new(lib.Tsize_t)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&buf[0])
	pin.Pin(code)
	pin.Pin(offset)
	r.re = lib.Xpcre2_compile_8(r.tls, uintptr(unsafe.Pointer(&buf[0])), lib.Tsize_t(len(text)), options,
		uintptr(unsafe.Pointer(code)), uintptr(unsafe.Pointer(offset)), 0)
	if r.re == 0 {
		r.tls.Close()
		return nil, fmt.Errorf("PCRE2 error %d at offset %d", *code, *offset)
	}
	r.md = lib.Xpcre2_match_data_create_from_pattern_8(r.tls, r.re, 0)
	r.groups = int(lib.Xpcre2_get_ovector_count_8(r.tls, r.md)) - 1
	return r, nil
}

func (r *realPCRE2) close() {
	lib.Xpcre2_match_data_free_8(r.tls, r.md)
	lib.Xpcre2_code_free_8(r.tls, r.re)
	r.tls.Close()
}

// find returns the offsets of the match and its groups up to the highest that
// took part, -1 for those that did not; nil for no match. failed says that
// PCRE2 gave up.
func (r *realPCRE2) find(s string) (offsets []int, failed bool) {
	buf := append([]byte(s), 0)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&buf[0])
	n := lib.Xpcre2_match_8(r.tls, r.re, uintptr(unsafe.Pointer(&buf[0])), lib.Tsize_t(len(s)), 0, 0, r.md, 0)
	if n == lib.DPCRE2_ERROR_NOMATCH {
		return nil, false
	}
	if n < 0 {
		return nil, true
	}
	address := lib.Xpcre2_get_ovector_pointer_8(r.tls, r.md) // of C memory, which does not move
	ovector := unsafe.Slice(*(**lib.Tsize_t)(unsafe.Pointer(&address)), 2*n)
	for _, o := range ovector {
		if o == ^lib.Tsize_t(0) {
			offsets = append(offsets, -1)
		} else {
			offsets = append(offsets, int(o))
		}
	}
	return offsets, false
}
