package hostsdeny

import (
	"os"
	"path/filepath"
	"testing"

	"riposte/internal/enforce/enforcetest"
)

func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts.deny")
	f := open(t, path, Deny)
	mine := func() {
		must(t, f.Apply, effect(t, "203.0.113.1"), effect(t, "203.0.113.2"))
		must(t, f.Undo, effect(t, "203.0.113.2"))
	}
	enforcetest.Watched(t, f, mine, func() { put(t, path, "# edited\n") })
	enforcetest.Watched(t, f, mine, func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNames(t *testing.T) {
	event := func(mask byte, name string) []byte {
		b := []byte{1, 0, 0, 0, 0, mask, 0, 0, 0, 0, 0, 0, byte(len(name)), 0, 0, 0}
		return append(b, name...)
	}
	for _, tt := range []struct {
		b    []byte
		want bool
	}{
		{event(1, "hosts.deny\x00\x00"), true},
		{event(1, "hosts.allow\x00"), false},
		{append(event(1, "other\x00"), event(1, "hosts.deny\x00")...), true},
		{event(0x40, ""), true}, // events were lost
		{event(1, "x\x00")[:17], true},
		{nil, false},
	} {
		if names(tt.b, "hosts.deny") != tt.want {
			t.Errorf("%q: not %v", tt.b, tt.want)
		}
	}
}
