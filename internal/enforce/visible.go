package enforce

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible returns text that cannot steer a terminal or pass for something else,
// for what goes into a Result or a message: line feeds and tabs stay, every
// other byte that is no printable character is written as \xNN or \u{NNNN}.
// A carriage return before a line feed, and line feeds at the end, go.
func Visible(s string) string {
	s = strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		c, n := utf8.DecodeRuneInString(s)
		switch {
		case c == '\n' || c == '\t' || unicode.IsPrint(c) && (c != utf8.RuneError || n > 1):
			b.WriteString(s[:n])
		case n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		default:
			fmt.Fprintf(&b, `\u{%04x}`, c)
		}
		s = s[n:]
	}
	return b.String()
}

// OneLine is Visible on one line of at most limit bytes.
func OneLine(s string, limit int) string {
	s = strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(Visible(Cut(s, limit)))
	return Cut(s, limit)
}

// Cut returns s, or its first limit bytes at most and an ellipsis.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
