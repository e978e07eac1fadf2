package check

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	"riposte/internal/ossec"
)

// Text writes the report for a person: each finding with its line and a caret
// under the place, then what each response does.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		r.finding(&b, f)
	}
	if len(r.Responses) > 0 {
		b.WriteString("Responses:\n")
		for _, e := range r.Responses {
			fmt.Fprintf(&b, "  line %d: %s", e.Pos.Line, visible(e.String()))
			if e.Mechanism != "" {
				fmt.Fprintf(&b, "; here by %s", visible(e.Mechanism))
			}
			b.WriteString("\n")
		}
	}
	if len(r.Unused) > 0 {
		b.WriteString("Not used by riposte: " + r.unused() + "\n")
	}
	b.WriteString(r.verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// unused lists the sections that riposte has no use for, each once.
func (r *Report) unused() string {
	var names []string
	lines := map[string][]string{}
	for _, s := range r.Unused {
		if lines[s.Name] == nil {
			names = append(names, s.Name)
		}
		lines[s.Name] = append(lines[s.Name], fmt.Sprint(s.Pos.Line))
	}
	for i, n := range names {
		word := "line"
		if len(lines[n]) > 1 {
			word = "lines"
		}
		names[i] = fmt.Sprintf("%s (%s %s)", n, word, strings.Join(lines[n], ", "))
	}
	return strings.Join(names, ", ")
}

// verdict sums the report up in a line.
func (r *Report) verdict() string {
	var count [3]int
	fixes := 0
	for _, f := range r.Findings {
		count[f.Severity]++
		if f.Fix != nil && f.Pos.File == r.File {
			fixes++
		}
	}
	var parts []string
	for _, s := range []ossec.Severity{ossec.Error, ossec.Warning, ossec.Note} {
		if n := count[s]; n > 0 {
			parts = append(parts, plural(n, s.String()))
		}
	}
	s := visible(r.File) + ": "
	if len(parts) == 0 {
		s += "no findings"
	} else {
		s += strings.Join(parts, ", ")
	}
	if fixes > 0 {
		s += fmt.Sprintf("; --fix mends %d", fixes)
	}
	if r.Loaded > 0 {
		s += "; " + plural(r.Loaded, "rule") + " loaded"
	}
	return s
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// finding writes one finding with its source line.
func (r *Report) finding(b *strings.Builder, f ossec.Finding) {
	fmt.Fprintf(b, "%s: %s: %s\n", visible(f.Pos.String()), f.Severity, visible(f.Message))
	if line, ok := r.line(f.Pos); ok {
		text, caret := underline(line, f.Pos.Col, f.Len)
		number := fmt.Sprint(f.Pos.Line)
		gap := strings.Repeat(" ", len(number))
		fmt.Fprintf(b, "  %s | %s\n  %s | %s\n", number, text, gap, caret)
	}
	if f.Hint != "" {
		fmt.Fprintf(b, "  hint: %s\n", visible(f.Hint))
	}
}

// maxSource bounds what is read of a file to show one of its lines.
const maxSource = 16 << 20

// line returns the line that a place is in.
func (r *Report) line(p ossec.Pos) (string, bool) {
	if p.Line == 0 {
		return "", false
	}
	src, ok := r.texts[p.File]
	if !ok {
		if r.text != nil {
			src = r.text(p.File)
		}
		if src == nil {
			src = readFile(p.File)
		}
		r.texts[p.File] = src
	}
	for range p.Line - 1 {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return "", false
		}
		src = src[i+1:]
	}
	if len(src) == 0 {
		return "", false
	}
	if i := bytes.IndexByte(src, '\n'); i >= 0 {
		src = src[:i]
	}
	return strings.TrimPrefix(strings.TrimSuffix(string(src), "\r"), "\ufeff"), true
}

func readFile(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxSource))
	if err != nil {
		return nil
	}
	return src
}

// underline returns a line as a terminal can show it and a line with a caret
// under its character col, with tildes to the end of a piece of size bytes.
// Both are cut to what surrounds that place.
func underline(line string, col, size int) (text, caret string) {
	const before, after = 60, 60 // characters shown around the place
	var t, c strings.Builder
	if col > before {
		t.WriteString("…")
		c.WriteString(" ")
	}
	end := -1 // offset where the piece ends
	i := 0
	for off := 0; off < len(line); {
		i++
		r, n := utf8.DecodeRuneInString(line[off:])
		shown, cells := cell(r, n)
		if i == col {
			end = off + max(size, 1)
		}
		if i > col-before && i <= col+after {
			t.WriteString(shown)
			switch {
			case i == col:
				c.WriteString("^" + strings.Repeat("~", max(0, cells-1)))
			case i > col && off < end:
				c.WriteString(strings.Repeat("~", cells))
			case i < col && r == '\t':
				c.WriteByte('\t')
			case i < col:
				c.WriteString(strings.Repeat(" ", cells))
			}
		}
		if i == col+after {
			t.WriteString("…")
			break
		}
		off += n
	}
	if i < col {
		c.WriteString("^")
	}
	return t.String(), c.String()
}

// cell returns how a character is shown and how many columns that takes.
func cell(r rune, n int) (string, int) {
	switch {
	case r == '\t':
		return "\t", 1
	case r == utf8.RuneError && n <= 1:
		return "\ufffd", 1
	case unicode.IsControl(r):
		return "·", 1
	case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		return string(r), 0
	case unicode.Is(unicode.Cf, r) || !unicode.IsPrint(r): // cannot be seen, or steers the terminal
		return "·", 1
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return string(r), 2
	}
	return string(r), 1
}

// visible returns text that cannot steer a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}
