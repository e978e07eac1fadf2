package host

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func utmpRecord(kind uint16, name string, addr netip.Addr) []byte {
	b := make([]byte, utmpSize)
	binary.NativeEndian.PutUint16(b, kind)
	copy(b[utmpUser:], name)
	if addr.IsValid() {
		copy(b[utmpAddr:], addr.AsSlice())
	}
	return b
}

func TestSessions(t *testing.T) {
	dir := t.TempDir()
	utmp := filepath.Join(dir, "utmp")
	var b []byte
	for _, r := range []struct {
		kind uint16
		name string
		addr string
	}{
		{utmpProcess, "root", "198.51.100.1"},
		{utmpProcess, "root", "2001:db8::1"},
		{utmpProcess, "mallory", "198.51.100.66"}, // no administrator
		{8, "root", "198.51.100.2"},               // a session that ended
		{utmpProcess, "root", "0.0.0.0"},          // on the console
		{utmpProcess, "root", "198.51.100.1"},
	} {
		b = append(b, utmpRecord(r.kind, r.name, netip.MustParseAddr(r.addr))...)
	}
	b = append(b, "torn"...)
	if err := os.WriteFile(utmp, b, 0o600); err != nil {
		t.Fatal(err)
	}
	sessions := filepath.Join(dir, "sessions")
	if err := os.Mkdir(sessions, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"1": "UID=0\nUSER=root\nREMOTE=1\nREMOTE_HOST=::ffff:198.51.100.3\n",
		"2": "USER=root\nREMOTE=1\nREMOTE_HOST=a.host.example\n",
		"3": "USER=mallory\nREMOTE_HOST=198.51.100.66\n",
		"4": "=\x00garbage",
	} {
		if err := os.WriteFile(filepath.Join(sessions, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := remoteAddrs(utmp, sessions, func(name string) bool { return name == "root" })
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.3")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSessionsWithoutRecords(t *testing.T) {
	dir := t.TempDir()
	got, err := remoteAddrs(filepath.Join(dir, "none"), filepath.Join(dir, "none"), administrator)
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAdministrator(t *testing.T) {
	for name, want := range map[string]bool{"root": true, "nobody": false, "no-such-account": false, "": false} {
		if got := administrator(name); got != want {
			t.Errorf("administrator(%q) = %v, want %v", name, got, want)
		}
	}
}
