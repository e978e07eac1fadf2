package host

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// Where logins are on record: utmp(5), and logind's state files, which replace
// it on systems without utmp.
const (
	utmpFile    = "/run/utmp"
	sessionsDir = "/run/systemd/sessions"
)

// Sessions returns the addresses that administrators are logged in from: root,
// and members of the groups that may become root. An account without such
// rights does not count: it would make its address immune.
func Sessions() ([]netip.Addr, error) {
	return remoteAddrs(utmpFile, sessionsDir, administrator)
}

// remoteAddrs reads both records. A record that is not there is empty.
func remoteAddrs(utmp, sessions string, counts func(name string) bool) ([]netip.Addr, error) {
	var out []netip.Addr
	var errs []error
	add := func(name string, a netip.Addr) {
		if a = a.Unmap(); a.IsValid() && !a.IsUnspecified() && !slices.Contains(out, a) && counts(name) {
			out = append(out, a)
		}
	}
	b, err := os.ReadFile(utmp)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	parseUtmp(b, add)
	files, err := os.ReadDir(sessions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(filepath.Join(sessions, f.Name())); err == nil { // the session may just have ended
			parseSession(b, add)
		}
	}
	return out, errors.Join(errs...)
}

// The layout of a record of utmp(5) on Linux, 64 bit and 32 bit alike.
const (
	utmpSize    = 384
	utmpUser    = 44 // 32 bytes, NUL padded
	utmpAddr    = 348
	utmpProcess = 7 // ut_type of a login session
)

func parseUtmp(b []byte, add func(string, netip.Addr)) {
	for ; len(b) >= utmpSize; b = b[utmpSize:] {
		if binary.NativeEndian.Uint16(b) != utmpProcess {
			continue
		}
		name, _, _ := bytes.Cut(b[utmpUser:utmpUser+32], []byte{0})
		a := [16]byte(b[utmpAddr : utmpAddr+16])
		addr := netip.AddrFrom16(a)
		if binary.NativeEndian.Uint64(a[4:]) == 0 && binary.NativeEndian.Uint32(a[12:]) == 0 {
			addr = netip.AddrFrom4([4]byte(a[:4])) // the rest stays zero for IPv4
		}
		add(string(name), addr)
	}
}

func parseSession(b []byte, add func(string, netip.Addr)) {
	var name string
	var addr netip.Addr
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), "=")
		switch key {
		case "USER_NAME", "USER":
			name = value
		case "REMOTE_HOST":
			addr, _ = netip.ParseAddr(value) // a host name protects nothing
		}
	}
	add(name, addr)
}

// administrator reports whether an account is root or may become root. USER in
// a session file is a user id.
func administrator(name string) bool {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return false
		}
	}
	if u.Uid == "0" {
		return true
	}
	ids, err := u.GroupIds()
	if err != nil {
		return false
	}
	for _, id := range ids {
		g, err := user.LookupGroupId(id)
		if err == nil && slices.Contains([]string{"root", "sudo", "wheel", "admin"}, g.Name) {
			return true
		}
	}
	return false
}
