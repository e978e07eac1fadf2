package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/ncruces/go-strftime"
)

// maxMatches bounds how many files one location may stand for.
const maxMatches = 10_000

// dated reports whether a location names a time.
func dated(location string) bool { return strings.Contains(location, "%") }

// at fills the time into a location.
func at(location string, now time.Time) string {
	if !dated(location) {
		return location
	}
	return strftime.Format(location, now)
}

// anyTime turns a dated location into the glob of all files it ever names.
func anyTime(location string) string {
	var b strings.Builder
	for i := 0; i < len(location); i++ {
		if location[i] != '%' {
			b.WriteByte(location[i])
			continue
		}
		if i++; i < len(location) && strings.IndexByte("-_0^#:EO", location[i]) >= 0 { // flags of strftime(3)
			i++
		}
		if i < len(location) && location[i] == '%' {
			b.WriteByte('%')
		} else {
			b.WriteByte('*')
		}
	}
	return b.String()
}

func hasMeta(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// match is glob(3)'s: [!a] as well as [^a], and no wild card takes the dot that
// hides a file.
func match(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
		return false
	}
	ok, err := filepath.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return ok && err == nil
}

// matchPath matches a whole path against a pattern, part by part.
func matchPath(pattern, path string) bool {
	p, w := strings.Split(pattern, string(filepath.Separator)), strings.Split(path, string(filepath.Separator))
	if len(p) != len(w) {
		return false
	}
	for i := range p {
		if p[i] != w[i] && !match(p[i], w[i]) {
			return false
		}
	}
	return true
}

// compressed reports whether the name is that of an archive. A wild card does
// not mean it.
func compressed(name string) bool {
	switch filepath.Ext(name) {
	case ".gz", ".xz", ".bz2", ".zst", ".lz4", ".Z", ".zip":
		return true
	}
	return false
}

// expansion is what a location means at one moment.
type expansion struct {
	files []string // that exist and are no directories
	dirs  []string // in which a change could change the answer
	wild  bool     // the location has a wild card
	full  bool     // there were more than maxMatches
	errs  error    // of directories that could not be read
}

// expand looks up what an absolute pattern stands for now.
func expand(pattern string) expansion {
	var x expansion
	x.wild = hasMeta(pattern)
	volume := filepath.VolumeName(pattern)
	parts := strings.Split(strings.Trim(pattern[len(volume):], string(filepath.Separator)), string(filepath.Separator))
	x.walk(volume+string(filepath.Separator), parts)
	sort.Strings(x.files)
	return x
}

func (x *expansion) walk(dir string, parts []string) {
	part, last := parts[0], len(parts) == 1
	if !hasMeta(part) {
		path := filepath.Join(dir, part)
		info, err := os.Stat(path)
		if last || err != nil {
			x.dirs = append(x.dirs, dir) // it may come, or go
		}
		x.visit(path, info, err, parts)
		return
	}
	x.dirs = append(x.dirs, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		x.errs = errors.Join(x.errs, err)
		return
	}
	for _, e := range entries {
		if !match(part, e.Name()) || last && compressed(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		x.visit(path, info, err, parts)
	}
}

func (x *expansion) visit(path string, info fs.FileInfo, err error, parts []string) {
	switch {
	case err != nil:
		if !errors.Is(err, fs.ErrNotExist) {
			x.errs = errors.Join(x.errs, err)
		}
	case len(parts) > 1:
		if info.IsDir() {
			x.walk(path, parts[1:])
		}
	case info.IsDir():
	case len(x.files) >= maxMatches:
		x.full = true
	default:
		x.files = append(x.files, path)
	}
}
