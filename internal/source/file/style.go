package file

import (
	"cmp"
	"path/filepath"
	"strings"
)

// style is how files that lost a name are named: the name with something that
// counts (app.log.1) or tells a time (app.log-20261123, app-2026-11-23.log).
type style struct {
	shape string // with # for numbers
	stamp bool   // the numbers tell a time
}

// styleOf returns the style of a name that derives from base.
func styleOf(base, name string) style {
	kept := 0
	for kept < len(base) && kept < len(name) && base[kept] == name[kept] && !digit(base[kept]) {
		kept++
	}
	if strings.HasPrefix(name, base) {
		kept = len(base)
	}
	digits := 0
	for i := kept; i < len(name); i++ {
		if digit(name[i]) {
			digits++
		}
	}
	st := style{stamp: digits >= 6}
	st.shape = st.draw(name, kept)
	return st
}

// draw replaces the numbers behind the first kept bytes: every digit of a time,
// whose length is fixed, a whole counter at once.
func (st style) draw(name string, kept int) string {
	b := []byte(name[:kept])
	for i := kept; i < len(name); i++ {
		switch {
		case !digit(name[i]):
			b = append(b, name[i])
		case st.stamp || i == kept || !digit(name[i-1]):
			b = append(b, '#')
		}
	}
	return string(b)
}

// of reports whether a name is of this style.
func (st style) of(base, name string) bool {
	return strings.Contains(st.shape, "#") && styleOf(base, name) == st
}

// compare orders two files of this style, the older one first: times count up,
// counters count down to the youngest, as logrotate has it.
func (st style) compare(a, b entry) int {
	if st.stamp {
		return cmp.Compare(a.name, b.name)
	}
	if c := cmp.Compare(len(b.name), len(a.name)); c != 0 {
		return c
	}
	return cmp.Compare(b.name, a.name)
}

// follows reports whether file e had the name after file a. Some programs count
// the other way, so a counter alone proves nothing: the file must have been
// written to later, too. When a was removed, the counters have gone on without
// it, and that is all there is to go by.
func (st style) follows(a, e entry) bool {
	if st.stamp {
		return st.compare(a, e) < 0
	}
	return (a.removed || st.compare(a, e) < 0) && !e.mtime.Before(a.mtime)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// rotated reports whether a path is that of a file which a followed path lost:
// app.log.1, app.log-20261123, app.log.old beside app.log. A wild card that
// takes in both does not mean those.
func (f *Follower) rotated(path string) bool {
	dir, name := filepath.Split(path)
	for i := len(name) - 1; i > 0; i-- {
		if strings.IndexByte(".-_", name[i]) >= 0 && suffix(name[i], name[i+1:]) && f.streams[dir+name[:i]] != nil {
			return true
		}
	}
	return false
}

// suffix reports whether text behind a separator is what rotation appends.
// Short numbers behind - and _ may as well tell living files apart.
func suffix(separator byte, text string) bool {
	switch text {
	case "old", "bak", "prev":
		return true
	}
	digits := 0
	for i := 0; i < len(text); i++ {
		if digit(text[i]) {
			digits++
		} else if strings.IndexByte(".-_:TZ", text[i]) < 0 {
			return false
		}
	}
	return digits >= 6 || digits > 0 && separator == '.'
}
