package settings

import (
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
)

// check returns what to write instead of a value that cannot be; the kind
// comes from the field's tag.
func check(kind, text string) (hint string) {
	switch kind {
	case "host":
		if !isHost(text) {
			return "write an address, a network such as 192.0.2.0/24, or the name of a host"
		}
	case "listen":
		if _, port, err := net.SplitHostPort(text); err != nil || !isPort(port) {
			return "write address:port, such as 192.0.2.1:4222"
		}
	case "agents":
		kind, rest, ok := strings.Cut(text, ":")
		key, _, pair := strings.Cut(rest, "=")
		if !ok || rest == "" || kind != "name" && kind != "group" && (kind != "label" || !pair || key == "") {
			return "write name:NAME, group:GROUP or label:KEY=VALUE"
		}
	case "mail":
		if user, host, ok := strings.Cut(text, "@"); text != "" && (!ok || user == "" || host == "" || strings.ContainsAny(text, "<>\" \t\r\n\x00")) {
			return "write name@host"
		}
	case "path", "path?":
		if !filepath.IsAbs(text) && (kind == "path" || text != "") {
			if runtime.GOOS == "windows" {
				return `write a whole path, from C:\ on`
			}
			return "write a whole path, from / on"
		}
	case "syslog?":
		if u, err := url.Parse(text); text != "" && (err != nil || !isSyslog(u)) {
			return "write udp://host:port, tcp://host:port or unix:///path"
		}
	case "sha256":
		if sum, err := hex.DecodeString(text); err != nil || len(sum) != 32 {
			return "write the 64 digits that sha256sum prints"
		}
	}
	return ""
}

// isPort reports whether text is the number of a port.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// isSyslog reports whether an URL names a syslog server.
func isSyslog(u *url.URL) bool {
	switch u.Scheme {
	case "udp", "tcp":
		return u.Hostname() != "" && u.Port() != "" && u.Path == ""
	case "unix":
		return u.Host == "" && filepath.IsAbs(u.Path)
	}
	return false
}

// isHost reports whether text is an address, a network or the name of a host.
func isHost(text string) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Zone() == ""
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		return true
	}
	if text == "" || len(text) > 253 || strings.Trim(text, "0123456789./") == "" {
		return false
	}
	return strings.IndexFunc(text, func(c rune) bool {
		return c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c < 0x80
	}) < 0
}

// Keys lists every key of riposte.yaml with dots between the levels and [] for
// the items of a list and NAME for what a table is keyed by, in the order of the structures.
func Keys() []string { return keys(reflect.TypeFor[Settings](), "") }

func keys(t reflect.Type, path string) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := join(path, f.Tag.Get("yaml"))
		switch {
		case f.Type.Kind() == reflect.Struct:
			out = append(out, keys(f.Type, name)...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			out = append(out, keys(f.Type.Elem(), name+"[]")...)
		case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
			out = append(out, keys(f.Type.Elem(), name+".NAME")...)
		default:
			out = append(out, name)
		}
	}
	return out
}
