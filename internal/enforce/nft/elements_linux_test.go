package nft

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"riposte/internal/enforce"
	"riposte/internal/enforce/nfnetlink"
)

func TestTimeout(t *testing.T) {
	f := func(d time.Duration, want uint64) {
		t.Helper()
		if got := timeout(d); got != want {
			t.Errorf("%v is %d ms, want %d", d, got, want)
		}
	}
	f(time.Second, 1000)
	f(-time.Hour, 1)
	f(0, 1)
	f(1500*time.Microsecond, 2)
	f(1<<63-1, (1<<63-1)/1_000_000)
}

// elements is the attributes of a message that lists one element, the way the
// kernel writes them.
func elements(s set, key []byte, timeout, left uint64) []byte {
	list := attribute(unix.NFTA_SET_ELEM_LIST_ELEMENTS, attribute(unix.NFTA_LIST_ELEM, append(append(
		attribute(unix.NFTA_SET_ELEM_KEY, attribute(unix.NFTA_DATA_VALUE, key)),
		attribute(unix.NFTA_SET_ELEM_TIMEOUT, number(timeout))...),
		attribute(unix.NFTA_SET_ELEM_EXPIRATION, number(left))...)))
	return append(attribute(unix.NFTA_SET_ELEM_LIST_SET, append([]byte(s.String()), 0)), list...)
}

func attribute(typ byte, value []byte) []byte {
	n := len(value) + 4
	b := append([]byte{byte(n), byte(n >> 8), typ, 0}, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func number(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (56 - 8*i))
	}
	return b
}

func TestDecode(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := func(s set, key string, timeout, left uint64, want string, until time.Time) {
		t.Helper()
		var got []element
		attrs := elements(s, netip.MustParseAddr(key).AsSlice(), timeout, left)
		if err := decode(nfnetlink.Message{Attrs: attrs}, s, now, func(e element) { got = append(got, e) }); err != nil {
			t.Error(err)
		}
		switch {
		case want == "" && len(got) == 0:
		case len(got) != 1 || got[0].prefix.String() != want || !got[0].until.Equal(until):
			t.Errorf("read %v, want %s until %v", got, want, until)
		}
	}
	f(single4, "192.0.2.1", 5000, 2500, "192.0.2.1/32", now.Add(2500*time.Millisecond))
	f(single4, "192.0.2.1", 0, 0, "192.0.2.1/32", time.Time{})
	f(single4, "192.0.2.1", 5000, 0, "", time.Time{}) // over, not swept up yet
	f(set{bits: 24}, "198.51.100.0", 1000, 1000, "198.51.100.0/24", now.Add(time.Second))
	f(set{v6: true, bits: 64}, "2001:db8::", 0, 0, "2001:db8::/64", time.Time{})
	f(single6, "2001:db8::1", 1<<63, 1<<62, "2001:db8::1/128", now.Add(time.Duration(maxMilliseconds)*time.Millisecond))
	attrs := elements(single4, make([]byte, 16), 0, 0)
	if err := decode(nfnetlink.Message{Attrs: attrs}, single4, now, func(element) {}); err == nil {
		t.Error("an IPv6 key was read from an IPv4 set")
	}
}

// FuzzDecode: whatever a kernel writes, what is read is an element of the set.
func FuzzDecode(f *testing.F) {
	f.Add(elements(single4, []byte{192, 0, 2, 1}, 5000, 2500), false, 32)
	f.Add(elements(set{v6: true, bits: 64}, make([]byte, 16), 0, 0), true, 64)
	f.Fuzz(func(t *testing.T, attrs []byte, v6 bool, bits int) {
		s := set{v6: v6}
		s.bits = int(uint(bits) % uint(s.width()+1))
		err := decode(nfnetlink.Message{Attrs: attrs}, s, time.Unix(1_700_000_000, 0), func(e element) {
			if e.prefix.Bits() != s.bits || e.prefix.Addr().Is6() != v6 {
				t.Errorf("%v in set %s", e.prefix, s)
			}
		})
		_ = err // foreign bytes may well be refused
	})
}

func BenchmarkEncode(b *testing.B) {
	members := make([]*enforce.Member, chunk)
	for i := range members {
		members[i] = &enforce.Member{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 32), Until: time.Now().Add(time.Hour)}
	}
	var r nfnetlink.Request
	for b.Loop() {
		encodePut(&r, 1, single4, members, time.Now())
	}
}
