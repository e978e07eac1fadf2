package check

import (
	"bytes"
	"fmt"
	"strings"

	"riposte/internal/ossec"
)

// Fix applies the mends of ossec.conf's findings, and those of what then comes
// to light, until there is none left. It returns the text as it was and as it
// is then, how many findings were mended, and the report on the result; n is 0
// when there is nothing to mend.
func Fix(o Options) (before, after []byte, n int, left *Report) {
	const rounds = 10 // a mend may uncover another mistake, not many in a row
	left = Run(o)
	before = left.texts[left.File]
	after = before
	for range rounds {
		mended, k := ossec.Mend(left.File, after, left.Findings)
		if k == 0 || bytes.Equal(mended, after) {
			break
		}
		n += k
		after = mended
		o.Conf, o.Source = left.File, after
		left = Run(o)
	}
	return before, after, n, left
}

// Diff returns the difference between two texts as a unified diff with three
// lines of context, "" when they are equal.
func Diff(oldName, newName string, before, after []byte) string {
	if bytes.Equal(before, after) {
		return ""
	}
	a, b := lines(before), lines(after)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", oldName, newName)
	for _, h := range hunks(changes(a, b), len(a), len(b)) {
		h.write(&out, a, b)
	}
	return out.String()
}

func lines(text []byte) []string {
	out := strings.SplitAfter(string(text), "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// change replaces lines a0 to a1 of one text by lines b0 to b1 of the other.
type change struct{ a0, a1, b0, b1 int }

// changes compares two texts by their longest common subsequence of lines.
func changes(a, b []string) []change {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	a1, b1 := len(a)-end, len(b)-end
	const most = 16 << 20 // cells of the table; larger texts are shown as one change
	if (a1-start+1)*(b1-start+1) > most {
		return []change{{start, a1, start, b1}}
	}
	x, y := a[start:a1], b[start:b1]
	// table[i][j] is the length of the common subsequence of x[i:] and y[j:].
	width := len(y) + 1
	table := make([]int32, (len(x)+1)*width)
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				table[i*width+j] = table[(i+1)*width+j+1] + 1
			} else {
				table[i*width+j] = max(table[(i+1)*width+j], table[i*width+j+1])
			}
		}
	}
	var out []change
	for i, j := 0, 0; i < len(x) || j < len(y); {
		if i < len(x) && j < len(y) && x[i] == y[j] {
			i++
			j++
			continue
		}
		c := change{a0: start + i, b0: start + j}
		for i < len(x) || j < len(y) {
			if i < len(x) && j < len(y) && x[i] == y[j] {
				break
			}
			if j == len(y) || i < len(x) && table[(i+1)*width+j] >= table[i*width+j+1] {
				i++
			} else {
				j++
			}
		}
		c.a1, c.b1 = start+i, start+j
		out = append(out, c)
	}
	return out
}

// hunk is a run of changes with the context around them.
type hunk struct {
	change
	parts []change
}

const context = 3

// hunks joins changes whose contexts touch.
func hunks(changes []change, lenA, lenB int) []hunk {
	var out []hunk
	for _, c := range changes {
		wide := change{max(0, c.a0-context), min(lenA, c.a1+context), max(0, c.b0-context), min(lenB, c.b1+context)}
		if n := len(out) - 1; n >= 0 && wide.a0 <= out[n].a1 {
			out[n].a1, out[n].b1 = wide.a1, wide.b1
			out[n].parts = append(out[n].parts, c)
			continue
		}
		out = append(out, hunk{wide, []change{c}})
	}
	return out
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(h.a0, h.a1), span(h.b0, h.b1))
	at := h.a0
	put := func(mark byte, lines []string) {
		for _, l := range lines {
			out.WriteByte(mark)
			out.WriteString(l)
			if !strings.HasSuffix(l, "\n") {
				out.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	for _, c := range h.parts {
		put(' ', a[at:c.a0])
		put('-', a[c.a0:c.a1])
		put('+', b[c.b0:c.b1])
		at = c.a1
	}
	put(' ', a[at:h.a1])
}

// span writes the lines of a hunk as diff does.
func span(from, to int) string {
	switch n := to - from; n {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	default:
		return fmt.Sprintf("%d,%d", from+1, n)
	}
}
