package hostsdeny

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
)

// Format is how a line denies.
type Format uint8

// The two formats: hosts.deny denies all that it names; FreeBSD's hosts.allow
// says so in each line.
const (
	Deny  Format = iota // ALL: 203.0.113.9
	Allow               // ALL : 203.0.113.9 : deny
)

// line is what denies everything to a prefix.
func (f Format) line(p netip.Prefix) string {
	if f == Allow {
		return "ALL : " + client(p) + " : deny"
	}
	return "ALL: " + client(p)
}

// client is a prefix as libwrap reads it: IPv6 in brackets, an IPv4 network
// with its mask, since older ones know no length there.
func client(p netip.Prefix) string {
	switch a := p.Addr(); {
	case a.Is6() && p.IsSingleIP():
		return "[" + a.String() + "]"
	case a.Is6():
		return "[" + a.String() + "]/" + p.String()[strings.IndexByte(p.String(), '/')+1:]
	case p.IsSingleIP():
		return a.String()
	default:
		return a.String() + "/" + net.IP(net.CIDRMask(p.Bits(), 32)).String()
	}
}

// parse reads a line that line wrote, and no other.
func (f Format) parse(line string) (p netip.Prefix, ok bool) {
	text, found := strings.CutPrefix(line, "ALL: ")
	if f == Allow {
		text, found = strings.CutPrefix(line, "ALL : ")
		text, _ = strings.CutSuffix(text, " : deny")
	}
	if !found {
		return p, false
	}
	text, length, network := strings.Cut(text, "/")
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		return p, false
	}
	bits := a.BitLen()
	if network && a.Is4() {
		mask, err := netip.ParseAddr(length)
		if err != nil || !mask.Is4() {
			return p, false
		}
		bits, _ = net.IPMask(mask.AsSlice()).Size()
	} else if network {
		q, err := netip.ParsePrefix("::/" + length)
		if err != nil {
			return p, false
		}
		bits = q.Bits()
	}
	p = netip.PrefixFrom(a, bits)
	return p, f.line(p) == line && p == p.Masked()
}

// The comments around our lines.
const (
	begin = "# riposte blocks these; it changes no other line"
	end   = "# riposte: end"
)

// file is the content of the file, taken apart.
type file struct {
	format  Format
	others  [][]byte       // the lines that are not ours, with their ends, in order
	blocked []netip.Prefix // ours, in order
	known   map[netip.Prefix]bool
}

// read takes the content apart. Our lines are those between our comments that
// we would write so; a line of anybody else's that got in between stays, behind
// ours. Where one of the comments is gone, ours are those next to the other, up
// to the first that we would not write.
func read(format Format, content []byte) *file {
	f := &file{format: format, known: make(map[netip.Prefix]bool)}
	lines := bytes.SplitAfter(content, []byte("\n"))
	claimed := make([]bool, len(lines))
	// claim takes the lines from one place to before another for ours, and
	// stops at the first that is not if the place is open.
	claim := func(from, to, step int, open bool) {
		for i := from; i != to; i += step {
			p, ours := format.parse(text(lines[i]))
			if !ours && open || claimed[i] {
				return
			}
			if ours {
				claimed[i] = true
				f.add(p)
			}
		}
	}
	begun := -1
	for i, line := range lines {
		switch text(line) {
		case begin:
			if begun >= 0 {
				claim(begun+1, i, 1, true)
			}
			claimed[i], begun = true, i
		case end:
			if begun >= 0 {
				claim(begun+1, i, 1, false)
			} else {
				claim(i-1, -1, -1, true)
			}
			claimed[i], begun = true, -1
		}
	}
	if begun >= 0 {
		claim(begun+1, len(lines), 1, true)
	}
	for i, line := range lines {
		if !claimed[i] {
			f.others = append(f.others, line)
		}
	}
	return f
}

// text is a line without its end, of whichever system.
func text(line []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
}

// add blocks a prefix, if it is not blocked yet.
func (f *file) add(p netip.Prefix) {
	if !f.known[p] {
		f.known[p] = true
		f.blocked = append(f.blocked, p)
	}
}

// remove lets a prefix through.
func (f *file) remove(p netip.Prefix) { delete(f.known, p) }

// bytes puts the content together again.
func (f *file) bytes() []byte {
	var b bytes.Buffer
	if len(f.known) > 0 {
		b.WriteString(begin + "\n")
		for _, p := range f.blocked {
			if f.known[p] {
				b.WriteString(f.format.line(p) + "\n")
			}
		}
		b.WriteString(end + "\n")
	}
	for _, line := range f.others {
		b.Write(line)
	}
	return b.Bytes()
}
