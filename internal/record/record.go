// Package record is what riposte's SQLite databases have in common: how they
// hold times and targets, how they are named for the driver, and how a query is
// narrowed.
package record

import (
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"riposte"
)

// DSN names a database file for the driver, whatever characters the path has.
// mode is SQLite's, such as rwc; each pragma is written as busy_timeout(5000).
func DSN(path, mode string, pragmas ...string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = filepath.ToSlash(abs)
	}
	if path != "" && path[0] != '/' { // C:/…
		path = "/" + path
	}
	q := url.Values{"mode": {mode}}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// Nanos is a time as the tables hold it: nanoseconds since 1970 in UTC, 0 for
// the zero time.
func Nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// Time reads back what Nanos wrote.
func Time(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Target is a target as the tables hold it: kind, blank, text.
func Target(t riposte.Target) string { return t.Kind.String() + " " + t.Value }

// ParseTarget reads back what Target wrote.
func ParseTarget(s string) (riposte.Target, error) {
	kind, value, _ := strings.Cut(s, " ")
	var t riposte.Target
	if err := t.Kind.UnmarshalText([]byte(kind)); err != nil {
		return riposte.Target{}, err
	}
	t.Value = value
	return t, nil
}
