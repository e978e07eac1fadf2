package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// places are where things are kept on a system.
type places struct {
	config string // folder of riposte.yaml and of the user's own rules
	state  string
	log    string
	socket string
	root   string // where Wazuh's own installer puts it
	conf   string // ossec.conf below the root
}

// here are the places of this system, for the account that asks: without root
// riposte only observes, and keeps what it notes among the account's own files.
func here() places {
	p := placesOn(runtime.GOOS, os.Getenv)
	if uid := os.Geteuid(); uid > 0 { // -1 on Windows
		p.own(uid, os.Getenv)
	}
	return p
}

// own moves what is written to where an ordinary account may write:
// $XDG_STATE_HOME or ~/.local/state, or a folder of its own for temporary files
// when it has no home.
func (p *places) own(uid int, env func(string) string) {
	home := env("XDG_STATE_HOME")
	if st, err := os.Stat(env("HOME")); home == "" && err == nil && st.IsDir() {
		home = filepath.Join(env("HOME"), ".local", "state")
	}
	p.state = filepath.Join(home, "riposte")
	if home == "" {
		p.state = filepath.Join(os.TempDir(), fmt.Sprintf("riposte-%d", uid))
	}
	p.log, p.socket = filepath.Join(p.state, "log"), filepath.Join(p.state, "riposte.sock")
}

// placesOn are the places of a system, by its hier(7) or its like. What decides
// what riposte runs must not be where every account may write: on Windows
// C:\ProgramData is such a place, so settings and rules are beside the program,
// and the folder for the state is made for administrators alone.
func placesOn(goos string, env func(string) string) places {
	p := places{config: "/etc/riposte", state: "/var/db/riposte", log: "/var/log/riposte", socket: "/var/run/riposte/riposte.sock",
		root: "/var/ossec", conf: "etc/ossec.conf"}
	switch goos {
	case "linux":
		p.state, p.socket = "/var/lib/riposte", "/run/riposte/riposte.sock"
	case "freebsd", "dragonfly":
		p.config = "/usr/local/etc/riposte"
	case "darwin":
		p.root = "/Library/Ossec"
	case "windows":
		or := func(name, otherwise string) string {
			if v := env(name); v != "" {
				return v
			}
			return otherwise
		}
		p.config = or("ProgramFiles", `C:\Program Files`) + `\riposte`
		p.state = or("ProgramData", `C:\ProgramData`) + `\riposte`
		p.log = p.state + `\log`
		p.socket = `\\.\pipe\riposte`
		p.root = or("ProgramFiles(x86)", `C:\Program Files (x86)`) + `\ossec-agent`
		p.conf = "ossec.conf"
	}
	return p
}
