package guard

import (
	"path/filepath"
	"runtime"
	"strings"
)

// user checks an account.
func (g *Guard) user(name string) *Refusal {
	switch {
	case name[0] == '-':
		return final("option-like", "the user name %q begins with a - and would be taken for an option", name)
	case strings.ContainsAny(name, ":/,") || len(name) > 256 || runtime.GOOS != "windows" && strings.Contains(name, " "):
		return final("malformed", "%q is not the name of an account", name)
	case strings.Trim(name, "0123456789") == "":
		return final("malformed", "the user name %q is a number, which tools take for a user id", name)
	case strings.EqualFold(name, "root") || runtime.GOOS == "windows" && strings.EqualFold(name, "administrator"):
		return final("root-account", "%s is the account that riposte and its administrators need", name)
	}
	if g.o.Account == nil {
		return nil
	}
	uid, ok := g.o.Account(name)
	switch {
	case !ok:
		return refuse("unknown-account", "this host has no account %s", name)
	case uid == 0:
		return final("root-account", "%s has user id 0 and is root by another name", name)
	case uid < g.o.SystemUID || name == "nobody":
		return refuse("system-account", "%s (user id %d) is an account of the system", name, uid)
	}
	return nil
}

// systemFolders hold what a host does not run without.
func systemFolders() []string {
	if runtime.GOOS == "windows" {
		return []string{`C:\Windows`, `C:\Program Files`, `C:\Program Files (x86)`, `C:\ProgramData\riposte`}
	}
	return []string{
		"/bin", "/sbin", "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/boot", "/dev", "/proc", "/sys", "/run", "/etc", "/System", "/Library",
		"/var/lib/riposte", "/var/ossec",
	}
}

// file checks the path of a file.
func (g *Guard) file(path string) *Refusal {
	switch {
	case !filepath.IsAbs(path):
		return final("relative-path", "%q is not an absolute path", path)
	case filepath.Clean(path) != path:
		return final("relative-path", "%q is not how its path is written in full: %q is", path, filepath.Clean(path))
	case filepath.Dir(path) == path:
		return final("protected-path", "%s is the root of a file system", path)
	}
	if in, ok := g.inProtected(path); ok {
		return refuse("protected-path", "%s is in %s, which the system needs", path, in)
	}
	// A link on the way may lead into one.
	if dir, err := g.o.Real(filepath.Dir(path)); err == nil {
		real := filepath.Join(dir, filepath.Base(path))
		if in, ok := g.inProtected(real); ok {
			return refuse("protected-path", "%s is really %s, in %s, which the system needs", path, real, in)
		}
	}
	return nil
}

func (g *Guard) inProtected(path string) (string, bool) {
	for _, dir := range g.o.Protected {
		in := path
		if runtime.GOOS == "windows" {
			in, dir = strings.ToLower(in), strings.ToLower(dir)
		}
		if in == dir || strings.HasPrefix(in, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator)) {
			return dir, true
		}
		if strings.HasPrefix(dir, in+string(filepath.Separator)) {
			return dir, true // a folder above it
		}
	}
	return "", false
}
