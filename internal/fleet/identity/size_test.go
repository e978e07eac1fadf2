package identity

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"github.com/nats-io/nkeys"
)

// TestRevokedSize: the claims hold as many revoked keys as the docs say, and more
// than that is refused before the broker is asked.
func TestRevokedSize(t *testing.T) {
	a, err := Init(filepath.Join(t.TempDir(), "authority"), InitOptions{Names: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	revoked := func(n int) (keys []string) {
		for i := range n {
			var raw [32]byte
			binary.BigEndian.PutUint64(raw[:], uint64(i))
			key, err := nkeys.Encode(nkeys.PrefixByteUser, raw[:])
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, string(key))
		}
		return keys
	}
	size := func(n int) int {
		text, err := a.AccountJWT(revoked(n))
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
	if each := float64(size(2000)-size(1000)) / 1000; each > revokedSize || each < revokedSize-1 {
		t.Errorf("a revoked key takes %.2f bytes, said is %d", each, revokedSize)
	}
	const most = 89_000 // docs/scaling.md
	if n := size(most); n > MaxServerPayload {
		t.Errorf("%d keys take %d bytes", most, n)
	}
	if err := a.Push(t.Context(), nil, revoked(91_000)); !errors.Is(err, ErrManyRevoked) {
		t.Errorf("more keys than the claims hold: %v", err)
	}
}
