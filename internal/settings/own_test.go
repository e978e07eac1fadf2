package settings

import (
	"os"
	"path/filepath"
	"testing"
)

// An ordinary account notes things among its own files.
func TestOwnPlaces(t *testing.T) {
	home := t.TempDir()
	for _, c := range []struct {
		name, want string
		env        map[string]string
	}{
		{"home", filepath.Join(home, ".local/state/riposte"), map[string]string{"HOME": home}},
		{"XDG", "/x/riposte", map[string]string{"HOME": home, "XDG_STATE_HOME": "/x"}},
		{"no home", filepath.Join(os.TempDir(), "riposte-1000"), map[string]string{"HOME": "/nonexistent"}},
	} {
		p := placesOn("linux", os.Getenv)
		p.own(1000, func(k string) string { return c.env[k] })
		if p.state != c.want || p.log != c.want+"/log" || p.socket != c.want+"/riposte.sock" || p.config != "/etc/riposte" {
			t.Errorf("%s: %+v, want state %s", c.name, p, c.want)
		}
	}
}
