package response

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"sync"
	"time"
)

// IDs makes names for orders: ULIDs (github.com/ulid/spec), 26 characters that
// sort by time of issue and that no other host makes. It is safe for concurrent
// use; the zero value is ready.
type IDs struct {
	mu   sync.Mutex
	last [16]byte
}

var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// New returns a name for an order issued now. It is greater than all names
// before it, also when the clock stood still or went back.
func (g *IDs) New(now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16)
	if bytes.Compare(id[:6], g.last[:6]) > 0 {
		rand.Read(id[6:]) // never fails
	} else {
		id = g.last
		for i := len(id) - 1; i >= 0; i-- {
			if id[i]++; id[i] != 0 {
				break
			}
		}
	}
	g.last = id
	return text(id)
}

// IDFor returns the name of the order that a cause of the given time always has,
// whoever asks and however often.
func IDFor(t time.Time, cause string) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16)
	sum := sha256.Sum256([]byte(cause))
	copy(id[6:], sum[:])
	return text(id)
}

// text writes a name as a ULID.
func text(id [16]byte) string {
	// 128 bits are 26 characters when two zero bits stand before them.
	var b [17]byte
	carry := byte(0)
	for i, x := range id {
		b[i] = carry | x>>2
		carry = x << 6
	}
	b[16] = carry
	return crockford.EncodeToString(b[:])[:26]
}
